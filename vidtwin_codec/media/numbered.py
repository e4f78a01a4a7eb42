"""Numbered images such as ``frames_%04d.png``: which there are, and what each is called."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from vidtwin_codec.errors import VidtwinError

_FIELD = re.compile(r"%(?:0?(?P<digits>\d+))?d")


@dataclass(frozen=True)
class Numbered:
    """A name with one number field.

    Attributes:
        path: as the user wrote it.
        before: what stands before the number in the file's name, a doubled % made single.
        after: likewise what stands after it.
        field: the number field itself.
        width: digits that a number is padded to with zeros; 0 for none.
    """

    path: Path
    before: str
    after: str
    field: str
    width: int

    @staticmethod
    def of(path: Path) -> Numbered | None:
        """Understand a name; None if it has no number field.

        Raises:
            VidtwinError: it has several.
        """
        fields = list(_FIELD.finditer(path.name))
        if not fields:
            return None
        if len(fields) > 1:
            raise VidtwinError(
                f"{path}: no such file", "a sequence has exactly one number field, as in frames_%04d.png"
            )
        start, end = fields[0].span()
        # Elsewhere in the name a % may be doubled, as ffmpeg wants it, or not.
        before, after = (part.replace("%%", "%") for part in (path.name[:start], path.name[end:]))
        return Numbered(path, before, after, fields[0][0], int(fields[0]["digits"] or 0))

    def name(self, number: int) -> str:
        """Return the name of the image of this number, without its folder."""
        return f"{self.before}{number:0{self.width}d}{self.after}"

    def found(self) -> dict[int, int]:
        """Return the sizes in bytes of the existing images by number."""
        numbers: dict[int, int] = {}
        if not self.path.parent.is_dir():
            return numbers
        with os.scandir(self.path.parent) as entries:
            for entry in entries:
                # int(...) of what lies between the fixed parts; zero padding must be what the pattern would print
                middle = entry.name[len(self.before) : len(entry.name) - len(self.after)]
                digits = middle.isascii() and middle.isdigit()
                if digits and entry.name == self.name(int(middle)) and entry.is_file():
                    numbers[int(middle)] = entry.stat().st_size
        return numbers

    def pattern(self, folder: str | os.PathLike[str] | None = None) -> str:
        """Return the arguments with which ffmpeg opens the images.

        Args:
            folder: where they lie; None: where the name says.
        """
        place = os.path.abspath(self.path.parent if folder is None else folder)
        before, after = (part.replace("%", "%%") for part in (os.path.join(place, self.before), self.after))
        return f"file:{before}{self.field}{after}"

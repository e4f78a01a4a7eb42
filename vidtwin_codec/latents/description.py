"""The JSON that travels with exported latents: enough to make the same .vtw again.

``{"format": "vidtwin-latents", "version": 1, "files": {NAME: {"header": …, "version": [1, n], "steps": …, "frames":
n, "group_clips": […], "placements": […]}}}``. ``header`` has the keys of docs/FORMAT.md but ``audio``: sound does not
travel along. ``placements`` is there where the file follows the camera: for each clip null or ``{"canvas": [rows,
columns, top, left], "corners": [[row, column], …]}``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np

from vidtwin_codec.coding import Steps
from vidtwin_codec.coding.layout import LatentShapes
from vidtwin_codec.coding.placement import Placement
from vidtwin_codec.container import Header
from vidtwin_codec.container.fields import from_json, to_json
from vidtwin_codec.container.format import FIRST_VERSION
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.latents.clips import largest_layout

FORMAT = "vidtwin-latents"
VERSION = 1


@dataclass(frozen=True)
class Description:
    """One video among exported latents.

    Attributes:
        header: of the .vtw, without sound.
        frames: true frames.
        group_clips: how many clips each group holds.
        placements: of each clip, in a file that follows the camera; else empty.
    """

    header: Header
    frames: int
    group_clips: tuple[int, ...]
    placements: tuple[Placement | None, ...] = ()

    @property
    def shapes(self) -> LatentShapes:
        """Shapes of a clip's tensors: those that hold the largest."""
        return largest_layout(self.header.layout, self.placements)

    @property
    def tiles(self) -> int:
        """Tiles of a clip's tensors: those that hold the most."""
        return max((self.header.tiles_on(one) for one in self.placements), default=self.header.tiles)

    def placement(self, clip: int) -> Placement | None:
        """Return where a clip lies."""
        return self.placements[clip] if self.placements else None

    @property
    def clips(self) -> int:
        """Clips of the video."""
        return sum(self.group_clips)

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "header": to_json(replace(self.header, audio=None)),
            "version": list(self.header.version),
            "steps": self.header.steps.to_json(),
            "frames": self.frames,
            "group_clips": list(self.group_clips),
            **({"placements": [_placed(one) for one in self.placements]} if self.placements else {}),
        }

    @classmethod
    def from_json(cls, value: object) -> Description:
        """Inverse of `to_json`.

        Raises:
            VidtwinError: something is missing, of a wrong type, or contradicts the rest.
        """
        if not isinstance(value, dict) or not isinstance(value.get("header"), dict):
            raise VidtwinError("no header")
        version = value.get("version", list(FIRST_VERSION))
        numbers = isinstance(version, list) and len(version) == 2 and all(map(_is_minor, version))
        if not numbers or version[0] != FIRST_VERSION[0]:
            raise VidtwinError("version must be that of a .vtw format")
        steps = Steps.from_json(value.get("steps"))
        header = Header(**from_json(value["header"]), steps=steps, version=(version[0], version[1]))
        frames, groups = value.get("frames"), value.get("group_clips")
        if not isinstance(groups, list) or not all(_is_count(clips, header.clips_per_group) for clips in groups):
            raise VidtwinError(f"group_clips must be whole numbers from 1 to {header.clips_per_group}")
        if not _is_count(frames, 1 << 32) or -(-frames // header.clip_frames) != sum(groups):
            raise VidtwinError(f"{frames} frames do not fill its clips of {header.clip_frames}")
        placements = value.get("placements", [])
        if not isinstance(placements, list) or len(placements) not in (0, sum(groups)):
            raise VidtwinError("placements must be a list, one for each clip")
        try:
            return cls(header, frames, tuple(groups), tuple(_placement(one, header) for one in placements))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise VidtwinError(f"placements are not usable ({error})") from error


def dump(files: dict[str, Description]) -> str:
    """The whole text."""
    described = {name: file.to_json() for name, file in files.items()}
    return json.dumps({"format": FORMAT, "version": VERSION, "files": described}, ensure_ascii=False)


def load(text: str) -> dict[str, Description]:
    """Inverse of `dump`.

    Raises:
        VidtwinError: not such a text, or of a newer version.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise VidtwinError(f"its metadata is not JSON ({error})") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT or not isinstance(value.get("files"), dict):
        raise VidtwinError("its metadata is not that of exported latents")
    if value.get("version") != VERSION:
        raise VidtwinError(
            f"its metadata are of version {value.get('version')!r}, this program reads version {VERSION}",
            "install a newer vidtwin",
        )
    found = {}
    for name, described in value["files"].items():
        try:
            found[name] = Description.from_json(described)
        except VidtwinError as error:
            raise VidtwinError(f"its metadata of {name!r} is not usable: {error.message}", error.hint) from error
    return found


def _placed(placement: Placement | None) -> dict[str, Any] | None:
    if placement is None:
        return None
    return {"canvas": list(placement.canvas), "corners": placement.corners.tolist()}


def _placement(value: Any, header: Header) -> Placement | None:
    if value is None:
        return None
    if not header.camera:
        raise ValueError("the file does not follow the camera")
    rows, columns, top, left = value["canvas"]
    if not all(isinstance(side, int) for side in (rows, columns, top, left)):
        raise ValueError("a canvas is four whole numbers")
    corners = np.array(value["corners"])
    if corners.dtype.kind != "i" or np.abs(corners).max(initial=0) > 0x7FFF:
        raise ValueError("corners are small whole numbers")
    placement = Placement(rows, columns, top, left, corners.astype(np.int16))
    placement.check(header.layout, header.frame)
    return placement


def _is_minor(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _is_count(value: object, most: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most

"""The header's entry for the audio."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vidtwin_codec.container.checks import check_integer, check_text, take
from vidtwin_codec.errors import VidtwinError

MATROSKA = "matroska"
"""The only file format that audio is stored in."""


@dataclass(frozen=True)
class AudioInfo:
    """The audio file that the audio frames hold.

    Attributes:
        codec: name of the codec in ffmpeg, such as ``opus`` or ``aac``.
        bytes: size of the audio file where it was known when the header was written, else None.
        container: file format of the audio, ``matroska``; programs that this version does not know may write others.
        extra: JSON keys of a newer minor version, which are kept.

    Raises:
        VidtwinError: a field is of a wrong type.
    """

    codec: str
    bytes: int | None = None
    container: str = MATROSKA
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_text("audio codec", self.codec)
        check_text("audio container", self.container)
        if self.bytes is not None:
            check_integer("audio bytes", self.bytes, 0, 1 << 63)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        known = {"codec": self.codec, "container": self.container}
        return self.extra | known | ({} if self.bytes is None else {"bytes": self.bytes})

    @classmethod
    def from_json(cls, value: object) -> AudioInfo | None:
        """Read what `to_json` returned; None stays None.

        Raises:
            VidtwinError: a key is missing or of a wrong type.
        """
        if value is None:
            return None
        if not isinstance(value, dict):
            raise VidtwinError("header: audio must be an object")
        rest = dict(value)
        codec, container = take(rest, "codec"), take(rest, "container")
        return cls(codec=codec, bytes=rest.pop("bytes", None), container=container, extra=rest)

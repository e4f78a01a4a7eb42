"""The JSON of the header: names, types and limits of its fields; each error is one line that names the field."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vidtwin_codec.coding import PLACED, LatentLayout
from vidtwin_codec.errors import VidtwinError

if TYPE_CHECKING:
    from vidtwin_codec.container.header import Header


MAX_RATIO_PART = 0x7FFFFFFF  # numerator and denominator of a rate or an aspect, as ffmpeg stores them
MAX_TEXT = 1000


def take(values: dict[str, Any], name: str) -> Any:
    """Remove and return a required key.

    Raises:
        VidtwinError: the key is missing.
    """
    if name not in values:
        raise VidtwinError(f"header: {name} is missing")
    return values.pop(name)


def check_integer(name: str, value: object, low: int, high: int) -> None:
    """Refuse anything but an integer from ``low`` to ``high``."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise VidtwinError(f"header: {name} is {_shown(value)}, allowed are whole numbers from {low} to {high}")


def check_text(name: str, value: object) -> None:
    """Refuse anything but a short printable string (a terminal escape in a name would reach the reader's terminal)."""
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        raise VidtwinError(f"header: {name} must be printable text of at most {MAX_TEXT} characters")


def check_ratio(name: str, value: object) -> None:
    """Refuse anything but a positive fraction of 31-bit parts."""
    if not isinstance(value, Fraction) or value <= 0 or max(value.numerator, value.denominator) > MAX_RATIO_PART:
        raise VidtwinError(f"header: {name} is {_shown(value)}, expected a positive fraction")


def parse_ratio(name: str, value: object) -> Fraction:
    """Return the fraction of a JSON list of numerator and denominator."""
    parts = value if isinstance(value, list) and len(value) == 2 else [None, None]
    for part in parts:
        check_integer(name, part, 1, MAX_RATIO_PART)
    return Fraction(*parts)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


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


MAX_SIZE = 0xFFFF  # pixels
MAX_CLIP_FRAMES = 0xFFFF
MAX_GROUP_CLIPS = 0xFFFF

_DIGEST = re.compile(r"[0-9a-f]{64}")
_INTEGERS: dict[str, tuple[int, int]] = {
    "coder": (1, 255),
    "width": (1, MAX_SIZE),
    "height": (1, MAX_SIZE),
    "coded_width": (1, MAX_SIZE),
    "coded_height": (1, MAX_SIZE),
    "clip_frames": (1, MAX_CLIP_FRAMES),
    "tile_height": (1, MAX_SIZE),
    "tile_width": (1, MAX_SIZE),
    "overlap": (0, MAX_SIZE),
    "clips_per_group": (1, MAX_GROUP_CLIPS),
}
_TEXTS = ("weights_name", "weights_sha256", "created_by")
_RATIOS = ("fps", "sample_aspect")
_OBJECTS = ("options", "source")


def check(header: Header) -> None:
    """Refuse a header whose fields are of wrong types or outside the limits.

    Raises:
        VidtwinError: a field is wrong; the message names it.
    """
    for name, (low, high) in _INTEGERS.items():
        check_integer(name, getattr(header, name), low, high)
    for name in _TEXTS:
        check_text(name, getattr(header, name))
    for name in _RATIOS:
        check_ratio(name, getattr(header, name))
    for name in (*_OBJECTS, "extra"):
        if not isinstance(getattr(header, name), dict):
            raise VidtwinError(f"header: {name} must be an object")
    if not _DIGEST.fullmatch(header.weights_sha256):
        raise VidtwinError("header: weights_sha256 must be 64 lower-case hexadecimal digits")
    if not isinstance(header.abutting, bool):
        raise VidtwinError("header: abutting must be true or false")
    if header.abutting and header.overlap:
        raise VidtwinError(f"header: tiles that abut cannot overlap by {header.overlap} pixels")
    if header.overlap >= min(header.tile_width, header.tile_height):
        raise VidtwinError(f"header: an overlap of {header.overlap} pixels leaves nothing of a tile")
    _check_camera(header)


def _check_camera(header: Header) -> None:
    if not isinstance(header.camera, bool):
        raise VidtwinError("header: camera must be true or false")
    if not header.camera:
        return
    patterns = header.layout.patterns
    if patterns is None:
        _check_tiled_camera(header)
        return
    if not header.abutting or header.tiles > 1:
        raise VidtwinError("header: with patterns, only clips of one tile that abuts can follow the camera")
    if (header.tile_height, header.tile_width) != tuple(side * patterns.size for side in header.layout.structure[1:3]):
        raise VidtwinError("header: a tile that follows the camera must have the size of its patches")


def _check_tiled_camera(header: Header) -> None:
    if header.abutting:
        raise VidtwinError("header: without patterns, tiles that abut cannot follow the camera")
    if header.clip_frames != header.layout.dynamics_x[1]:
        raise VidtwinError("header: to follow the camera, a clip must have as many frames as its dynamics")
    if header.coder < PLACED:
        raise VidtwinError(f"header: coder {header.coder} cannot follow the camera, coder {PLACED} does")


def to_json(header: Header) -> dict[str, Any]:
    """Return all fields but version and steps, which are stored in binary."""
    values: dict[str, Any] = {name: getattr(header, name) for name in (*_TEXTS, *_INTEGERS, *_OBJECTS)}
    values |= {name: [getattr(header, name).numerator, getattr(header, name).denominator] for name in _RATIOS}
    values["layout"] = header.layout.to_json()
    if header.abutting:
        values["abutting"] = True
    if header.camera:
        values["camera"] = True
    if header.audio is not None:
        values["audio"] = header.audio.to_json()
    return header.extra | values


def from_json(value: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `Header` other than version and steps; unknown keys go to ``extra``.

    Raises:
        VidtwinError: a key is missing or of a wrong type.
    """
    rest = dict(value)
    values: dict[str, Any] = {name: take(rest, name) for name in (*_TEXTS, *_INTEGERS, *_OBJECTS)}
    values |= {name: parse_ratio(name, take(rest, name)) for name in _RATIOS}
    values["layout"] = LatentLayout.from_json(take(rest, "layout"))
    values["audio"] = AudioInfo.from_json(rest.pop("audio", None))
    values["abutting"] = rest.pop("abutting", False)
    values["camera"] = rest.pop("camera", False)
    values["extra"] = rest
    return values

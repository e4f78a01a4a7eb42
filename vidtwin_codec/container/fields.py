"""The JSON of the header: names, types and limits of its fields."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from vidtwin_codec.coding import PLACED, LatentLayout
from vidtwin_codec.container.audio import AudioInfo
from vidtwin_codec.container.checks import check_integer, check_ratio, check_text, parse_ratio, take
from vidtwin_codec.errors import VidtwinError

if TYPE_CHECKING:
    from vidtwin_codec.container.header import Header

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

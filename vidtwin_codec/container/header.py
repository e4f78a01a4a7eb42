"""The header of a .vtw: everything a decoder must know before the first group."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

from vidtwin_codec.coding import (
    Allowance,
    CorruptGroupError,
    GroupSpan,
    LatentLayout,
    OpenGroup,
    Steps,
    max_content,
    zstd_frame,
)
from vidtwin_codec.coding.allowance import UNLIMITED
from vidtwin_codec.coding.placement import CELL, MAX_AREA, Placement, rest_grid
from vidtwin_codec.container import fields
from vidtwin_codec.container.fields import AudioInfo
from vidtwin_codec.container.format import (
    FIRST_VERSION,
    HEADER_TAG,
    MAX_HEADER_BYTES,
    MAX_JSON_BYTES,
    VERSION,
    DamagedError,
    build_frame,
    open_frame,
)
from vidtwin_codec.container.packed_json import pack_json, unpack_json
from vidtwin_codec.container.tiling import tile_count
from vidtwin_codec.errors import VidtwinError

RAW_STEPS, ZSTD_STEPS = 0, 1
_LEVEL = 19


def pack_steps(steps: Steps) -> tuple[int, bytes]:
    """Return (encoding, bytes): the steps as they are, or one Zstandard frame where that is smaller."""
    raw = steps.to_bytes()
    packed = zstd_frame.compress(raw, _LEVEL, checksum=False)  # the header's frame has a checksum
    return (ZSTD_STEPS, packed) if len(packed) < len(raw) else (RAW_STEPS, raw)


def unpack_steps(encoding: int, data: bytes, layout: LatentLayout) -> Steps:
    """Unpack what `pack_steps` returned; the bytes need not be trusted.

    Nothing larger than the layout's steps is ever allocated.

    Raises:
        VidtwinError: the encoding is unknown, the bytes are damaged, or the steps do not fit the layout.
    """
    if encoding == ZSTD_STEPS:
        try:
            data = zstd_frame.decompress_exactly(data, 2 * layout.channels)
        except zstd_frame.FrameError as error:
            raise VidtwinError(f"header: its quantisation steps cannot be read: the frame {error}") from error
    elif encoding != RAW_STEPS:
        raise VidtwinError(f"header: quantisation steps in unknown encoding {encoding}", "install a newer vidtwin")
    return Steps.from_bytes(data, layout)


_START = struct.Struct("<BBBBI")  # major, minor, JSON encoding, encoding of steps, stored JSON bytes


@dataclass(frozen=True, kw_only=True)
class Header:
    """The facts that a decoder needs before the first group.

    Attributes:
        version: (major, minor) version of the format.
        weights_name: name of the weights that wrote the latents.
        weights_sha256: digest of these weights, 64 lower-case hex digits.
        layout: shapes of the latents.
        steps: quantisation steps of the latents.
        coder: highest coder id that a group may use; a reader that knows it knows every group.
        width: display width in pixels, after rotation, which decode writes unless told otherwise.
        height: display height in pixels, after rotation.
        coded_width: width in pixels that was cut into tiles, before padding.
        coded_height: height in pixels that was cut into tiles, before padding.
        fps: exact frame rate.
        sample_aspect: width of a pixel over its height.
        clip_frames: number of frames in a clip.
        tile_height: height of a tile in pixels.
        tile_width: width of a tile in pixels.
        overlap: least number of pixels that neighbouring tiles share.
        clips_per_group: most clips in a group.
        abutting: tiles lie side by side from the top left corner on, and the last ones reach beyond the frame.
        camera: clips may lie on canvases of their own, which follow the camera; windows only where a clip is one.
        audio: None for a silent file.
        options: options of the encoder, such as the quality, as free JSON.
        source: facts about the input, as free JSON.
        created_by: program and version.
        extra: JSON keys of a newer minor version, which are kept.

    Raises:
        VidtwinError: a field is of a wrong type or outside the limits in docs/FORMAT.md.
    """

    weights_name: str
    weights_sha256: str
    layout: LatentLayout
    steps: Steps
    width: int
    height: int
    coded_width: int
    coded_height: int
    fps: Fraction
    clip_frames: int
    tile_height: int
    tile_width: int
    overlap: int
    clips_per_group: int
    coder: int
    abutting: bool = False
    camera: bool = False
    sample_aspect: Fraction = Fraction(1)
    audio: AudioInfo | None = None
    options: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    created_by: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    version: tuple[int, int] = VERSION

    def __post_init__(self) -> None:
        fields.check(self)
        self.steps.check(self.layout)

    @property
    def tiles(self) -> int:
        """Number of tiles of a clip (docs/FORMAT.md, Geometry)."""
        rows, columns = self.tile_grid
        return rows * columns

    @property
    def tile_grid(self) -> tuple[int, int]:
        """Number of rows and of columns of tiles."""
        rows = tile_count(self.coded_height, self.tile_height, self.overlap)
        return rows, tile_count(self.coded_width, self.tile_width, self.overlap)

    def tiles_of(self, height: int, width: int) -> int:
        """Tiles that a picture of this size in pixels is cut into, as frames are."""
        rows = tile_count(height, self.tile_height, self.overlap)
        return rows * tile_count(width, self.tile_width, self.overlap)

    def grid_on(self, placement: Placement | None) -> tuple[int, int]:
        """Rows and columns of tiles of a clip: of its canvas, if it has one that is cut into tiles."""
        if placement is None or self.layout.patterns is not None:
            return self.tile_grid
        rows = tile_count(placement.rows * CELL, self.tile_height, self.overlap)
        return rows, tile_count(placement.columns * CELL, self.tile_width, self.overlap)

    def tiles_on(self, placement: Placement | None) -> int:
        """Tiles of a clip."""
        rows, columns = self.grid_on(placement)
        return rows * columns

    @property
    def frame(self) -> tuple[int, int]:
        """Height and width in pixels of what is cut into tiles."""
        return self.coded_height, self.coded_width

    @cached_property
    def most_tiles(self) -> int:
        """Most tiles that a clip can have, on whatever canvas."""
        if not self._on_tiled_canvases:
            return self.tiles
        height, width = rest_grid(self.layout, self.frame)
        # no canvas is smaller than the frame, so each side has at most `MAX_AREA` times its cells
        canvases = ((rows, MAX_AREA * height * width // rows) for rows in range(height, MAX_AREA * height + 1))
        return max(self.tiles_of(rows * CELL, columns * CELL) for rows, columns in canvases)

    @property
    def _on_tiled_canvases(self) -> bool:
        return self.camera and self.layout.patterns is None

    def check_span(self, span: GroupSpan) -> None:
        """Make sure that a group can hold these frames and clips.

        Raises:
            ValueError: there are too many clips, or the frames do not fill all clips but the last.
        """
        if not 1 <= span.clips <= self.clips_per_group:
            raise ValueError(f"claims {span.clips} clips, allowed are 1 to {self.clips_per_group}")
        if span.first_frame != span.first_clip * self.clip_frames:
            raise ValueError(f"starts at frame {span.first_frame}, which is not the start of clip {span.first_clip}")
        if not (span.clips - 1) * self.clip_frames < span.frames <= span.clips * self.clip_frames:
            raise ValueError(f"claims {span.frames} frames in {span.clips} clips of {self.clip_frames}")

    def open_group(self, data: bytes, allowance: Allowance = UNLIMITED) -> OpenGroup:
        """Open a packed group, as `coding.OpenGroup`, within the limits of this file.

        Raises:
            CorruptGroupError: the group is damaged, or this file cannot hold it.
        """
        group = OpenGroup(
            data,
            self.layout,
            max_clips=self.clips_per_group,
            max_tiles=self.most_tiles,
            frame=self.frame if self.camera else None,
            tiles_of=self.tiles_of if self._on_tiled_canvases else None,
            allowance=allowance,
        )
        try:
            self.check_span(group.span)
            if not group.on_canvases and group.tiles != self.tiles:
                raise ValueError(f"has {group.tiles} tiles a clip, expected {self.tiles}")
        except ValueError as error:
            raise CorruptGroupError(f"damaged group: {error}") from error
        return group

    @property
    def max_group_content(self) -> int:
        """The most bytes that a group of this file holds before zstd."""
        limits = {"max_clips": self.clips_per_group, "max_tiles": self.most_tiles}
        return max_content(self.layout, **limits, camera=self._on_tiled_canvases)

    def to_bytes(self) -> bytes:
        """Return the header as a skippable frame.

        Raises:
            VidtwinError: options, source and extra make the header larger than the format allows.
        """
        first = self.version == FIRST_VERSION
        encoding, text = pack_json(fields.to_json(self), max_bytes=MAX_JSON_BYTES, digest_apart=not first)
        steps_encoding, steps = (RAW_STEPS, self.steps.to_bytes()) if first else pack_steps(self.steps)
        start = _START.pack(*self.version, encoding, steps_encoding, len(text))
        data = build_frame(HEADER_TAG, start + text + steps)
        if len(data) > MAX_HEADER_BYTES:
            raise VidtwinError(f"the header takes {len(data)} bytes, at most {MAX_HEADER_BYTES} are allowed")
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        """Read the skippable frame that `to_bytes` returned.

        Raises:
            DamagedError: the checksum does not hold.
            VidtwinError: the format has a newer major version, or a field is outside the limits.
        """
        body = open_frame(data, HEADER_TAG)
        if len(body) < 2:
            raise DamagedError("is too short")
        if body[0] != VERSION[0]:
            raise VidtwinError(
                f"is a .vtw of format version {body[0]}.{body[1]}, this program reads version {VERSION[0]}",
                "install a newer vidtwin" if body[0] > VERSION[0] else None,
            )
        if len(body) < _START.size:
            raise DamagedError("is too short")
        major, minor, encoding, steps_encoding, length = _START.unpack_from(body)
        if length > len(body) - _START.size:
            raise DamagedError("has a length that does not fit its contents")
        text = bytes(body[_START.size : _START.size + length])
        values = fields.from_json(unpack_json(encoding, text, max_bytes=MAX_JSON_BYTES))
        if (major, minor) == FIRST_VERSION:
            steps_encoding = RAW_STEPS  # the byte was reserved, and ignored
        steps = unpack_steps(steps_encoding, bytes(body[_START.size + length :]), values["layout"])
        return cls(**values, steps=steps, version=(major, minor))

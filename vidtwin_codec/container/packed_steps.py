"""Quantisation steps in few bytes: thousands of channels mostly share a step, and then pack to next to nothing."""

from __future__ import annotations

from vidtwin_codec.coding import LatentLayout, Steps, zstd_frame
from vidtwin_codec.errors import VidtwinError

RAW, ZSTD = 0, 1
_LEVEL = 19


def pack_steps(steps: Steps) -> tuple[int, bytes]:
    """(encoding, bytes): as they are, or one Zstandard frame where that is smaller."""
    raw = steps.to_bytes()
    packed = zstd_frame.compress(raw, _LEVEL, checksum=False)  # the header's frame has a checksum
    return (ZSTD, packed) if len(packed) < len(raw) else (RAW, raw)


def unpack_steps(encoding: int, data: bytes, layout: LatentLayout) -> Steps:
    """Inverse of `pack_steps`, for bytes from anywhere; nothing larger than the layout's steps is ever allocated.

    Raises:
        VidtwinError: unknown encoding, damaged, not as many steps as the layout has channels, or steps out of range.
    """
    if encoding == ZSTD:
        try:
            data = zstd_frame.decompress_exactly(data, 2 * layout.channels)
        except zstd_frame.FrameError as error:
            raise VidtwinError(f"header: its quantisation steps cannot be read: the frame {error}") from error
    elif encoding != RAW:
        raise VidtwinError(f"header: quantisation steps in unknown encoding {encoding}", "install a newer vidtwin")
    return Steps.from_bytes(data, layout)

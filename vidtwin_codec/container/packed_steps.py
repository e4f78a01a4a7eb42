"""Compact quantisation steps: thousands of channels mostly share a step, and then pack to a few bytes."""

from __future__ import annotations

from vidtwin_codec.coding import LatentLayout, Steps, zstd_frame
from vidtwin_codec.errors import VidtwinError

RAW, ZSTD = 0, 1
_LEVEL = 19


def pack_steps(steps: Steps) -> tuple[int, bytes]:
    """Return (encoding, bytes): the steps as they are, or one Zstandard frame where that is smaller."""
    raw = steps.to_bytes()
    packed = zstd_frame.compress(raw, _LEVEL, checksum=False)  # the header's frame has a checksum
    return (ZSTD, packed) if len(packed) < len(raw) else (RAW, raw)


def unpack_steps(encoding: int, data: bytes, layout: LatentLayout) -> Steps:
    """Unpack what `pack_steps` returned; the bytes need not be trusted.

    Nothing larger than the layout's steps is ever allocated.

    Raises:
        VidtwinError: the encoding is unknown, the bytes are damaged, or the steps do not fit the layout.
    """
    if encoding == ZSTD:
        try:
            data = zstd_frame.decompress_exactly(data, 2 * layout.channels)
        except zstd_frame.FrameError as error:
            raise VidtwinError(f"header: its quantisation steps cannot be read: the frame {error}") from error
    elif encoding != RAW:
        raise VidtwinError(f"header: quantisation steps in unknown encoding {encoding}", "install a newer vidtwin")
    return Steps.from_bytes(data, layout)

"""The kind of a file by its first bytes, for files with a wrong name: a video called .png is a video."""

from __future__ import annotations

import struct
from typing import BinaryIO

_HEAD_BYTES = 512
# Offset, bytes, and ffmpeg's demuxer, of containers that hold moving pictures.
_MOVING = (
    (0, b"GIF8", "gif"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, b"OggS", "ogg"),
    (0, b"FLV\x01", "flv"),
    (0, b"DKIF", "ivf"),
    (0, b".RMF", "rm"),
    (0, b"YUV4MPEG2", "yuv4mpegpipe"),
    (0, b"\x00\x00\x01\xba", "mpeg"),
    (0, b"\x00\x00\x01\xb3", "mpegvideo"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "asf"),
    (0, b"\x06\x0e+4\x02\x05\x01\x01", "mxf"),
    (8, b"AVI ", "avi"),
    *((4, kind, "mov") for kind in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),
)
_STILL = (
    (0, b"\xff\xd8\xff", "jpeg_pipe"),
    (0, b"BM", "bmp_pipe"),
    (0, b"II*\x00", "tiff_pipe"),
    (0, b"MM\x00*", "tiff_pipe"),
)
_PNG = b"\x89PNG\r\n\x1a\n"
_PACKET = 188  # bytes of an MPEG transport stream's packets, each of which begins with a G


def recognise(stream: BinaryIO) -> tuple[str, bool] | None:
    """Return ffmpeg's demuxer for a file and whether its pictures move, or None if its first bytes do not tell.

    Args:
        stream: a seekable stream at its beginning.
    """
    head = stream.read(_HEAD_BYTES)
    if head.startswith(_PNG):
        return ("apng", True) if _is_animated_png(stream) else ("png_pipe", False)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        moves = head[12:16] == b"VP8X" and bool(head[20] & 2)
        return ("webp_anim", True) if moves else ("webp_pipe", False)
    if head[0:1] == head[_PACKET : _PACKET + 1] == head[2 * _PACKET : 2 * _PACKET + 1] == b"G":
        return "mpegts", True
    for kinds, moves in ((_MOVING, True), (_STILL, False)):
        for offset, mark, demuxer in kinds:
            if head[offset : offset + len(mark)] == mark:
                return demuxer, moves
    return None


def _is_animated_png(stream: BinaryIO) -> bool:
    """Return whether a chunk of animation control comes before the first picture's data."""
    place = len(_PNG)
    while True:
        stream.seek(place)
        start = stream.read(8)
        if len(start) < 8 or start[4:] in (b"IDAT", b"IEND"):
            return False
        if start[4:] == b"acTL":
            return True
        place += struct.unpack(">I", start[:4])[0] + 12  # with length, type and checksum

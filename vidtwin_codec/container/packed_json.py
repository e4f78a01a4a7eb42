"""JSON in few bytes: deflate with a preset dictionary that already holds a typical header."""

from __future__ import annotations

import json
import zlib
from typing import Any

from vidtwin_codec.errors import VidtwinError

RAW, DEFLATE = 0, 1

# Part of format version 1: not one byte of it may change. Deflate reaches back into it as if it stood before the text,
# which saves some 200 bytes a file; a header that looks like nothing in it only packs less well.
DICTIONARY = (
    b'"short_side":224,"target":"preset":"effort":"name":".mp4","duration":"width":"height":"frames":"codec":"h264"'
    b'"weights_name":"base","weights_sha256":"{"weights_name":"mini","weights_sha256":"0123456789abcdef",'
    b'"created_by":"vidtwin 0.1.0","coder":2,"width":1920,"height":1080,"coded_width":398,"coded_height":224,'
    b'"clip_frames":16,"tile_height":224,"tile_width":224,"overlap":16,"clips_per_group":16,'
    b'"options":{"quality":75.0,"short_side":null},"source":{"bytes":1},"fps":[24000,1001],"fps":[30000,1001],'
    b'"fps":[25,1],"sample_aspect":[1,1],"layout":{"structure":[16,7,7,8],"dynamics_x":[8,16,7],'
    b'"dynamics_y":[8,16,7]}},"audio":{"codec":"opus","container":"matroska","bytes":'
)
_RAW_DEFLATE = -15  # zlib's name for no zlib header and no checksum: the frame has one


def pack_json(value: dict[str, Any], *, max_bytes: int) -> tuple[int, bytes]:
    """(encoding, bytes): compact UTF-8 JSON, deflated when that is smaller.

    Raises:
        VidtwinError: the object holds what JSON cannot express, or takes more than ``max_bytes`` as text.
    """
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise VidtwinError(f"header: options and source must be plain JSON ({error})") from error
    if len(text) > max_bytes:
        raise VidtwinError(f"header: its JSON takes {len(text)} bytes, at most {max_bytes} are allowed")
    compressor = zlib.compressobj(9, zlib.DEFLATED, _RAW_DEFLATE, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    packed = compressor.compress(text) + compressor.flush()
    return (DEFLATE, packed) if len(packed) < len(text) else (RAW, text)


def unpack_json(encoding: int, data: bytes, *, max_bytes: int) -> dict[str, Any]:
    """Inverse of `pack_json`, for bytes from anywhere.

    Raises:
        VidtwinError: unknown encoding, too large, or not a JSON object in UTF-8.
    """
    try:
        if encoding == DEFLATE:
            data = _inflate(data, max_bytes)
        elif encoding != RAW:
            raise ValueError(f"unknown encoding {encoding}")
        if len(data) > max_bytes:
            raise ValueError(f"more than the {max_bytes} bytes allowed")
        value = json.loads(data.decode(), parse_constant=_refuse)
        # escapes such as \ud800 pass the parser, but no text that holds them can be written anywhere
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise VidtwinError(f"header: its JSON cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise VidtwinError("header: its JSON is not an object")
    return value


def _inflate(data: bytes, max_bytes: int) -> bytes:
    decompressor = zlib.decompressobj(_RAW_DEFLATE, DICTIONARY)
    try:
        text = decompressor.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise ValueError("its compressed text is damaged") from error
    if len(text) <= max_bytes and (not decompressor.eof or decompressor.unused_data):
        raise ValueError("its compressed text does not end where it should")
    return text


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number")

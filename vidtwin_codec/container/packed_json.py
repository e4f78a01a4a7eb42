"""Compact JSON: deflate with a preset dictionary that holds a typical header, and the digest in binary."""

from __future__ import annotations

import json
import math
import re
import zlib
from typing import Any

from vidtwin_codec.errors import VidtwinError

RAW, DEFLATE, DEFLATE_DIGEST = 0, 1, 2

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
# The dictionary of format version 1.1: headers of wide layouts, in the order in which their keys are written.
WIDE_DICTIONARY = (
    b'"audio":{"codec":"opus","container":"matroska","bytes":{"weights_name":"compact","created_by":"vidtwin 0.1.0",'
    b'"coder":3,"width":1280,"height":720,"coded_width":854,"coded_height":480,"clip_frames":16,"tile_height":1088,'
    b'"tile_width":1920,"overlap":0,"clips_per_group":95,"options":{"quality":60.0,"short_side":360,'
    b'"target":{"kbps":500.0},"target":{"psnr":30.0},"effort":1},"source":{"bytes":1},"fps":[24000,1001],"fps":[24,1],'
    b'"fps":[30,1],"sample_aspect":[4,3],"layout":{"structure":[16,23,40,512],"dynamics_x":[3,16,40],'
    b'"dynamics_y":[3,16,23],"patterns":[32,440,44,28]},"abutting":true,"camera":true,"audio":{"codec":"opus",'
    b'"container":"matroska","bytes":1}}{"weights_name":"mini","created_by":"vidtwin 0.1.0","coder":4,"width":1920,'
    b'"height":1080,"coded_width":1920,"coded_height":1080,"clip_frames":16,"tile_height":224,"tile_width":224,"tile_height":384,'
    b'"tile_width":640,"overlap":0,"clips_per_group":114,"clips_per_group":96,"options":{"quality":75.0,'
    b'"short_side":null,"effort":1},"source":{"bytes":1},"fps":[30000,1001],"fps":[25,1],"sample_aspect":[1,1],'
    b'"layout":{"structure":[16,34,60,512],"dynamics_x":[3,16,60],"dynamics_y":[3,16,34],"patterns":[32,440,44,28]},'
    b'"abutting":true,"camera":true}'
)
DIGEST = "weights_sha256"
_DIGEST_BYTES = 32
_DIGEST = re.compile("[0-9a-f]{64}")
_RAW_DEFLATE = -15  # zlib's name for no zlib header and no checksum: the frame has one


def pack_json(value: dict[str, Any], *, max_bytes: int, digest_apart: bool = True) -> tuple[int, bytes]:
    """Pack an object as compact UTF-8 JSON, deflated when that is smaller, and return (encoding, bytes).

    Args:
        value: the object.
        max_bytes: most bytes of its text.
        digest_apart: whether to allow `DEFLATE_DIGEST`, which readers of format version 1.0 do not know.

    Raises:
        VidtwinError: the object holds what JSON cannot express, or takes more than ``max_bytes`` as text.
    """
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise VidtwinError(f"header: options and source must be plain JSON ({error})") from error
    if len(text) > max_bytes:
        raise VidtwinError(f"header: its JSON takes {len(text)} bytes, at most {max_bytes} are allowed")
    candidates = [(RAW, text), (DEFLATE, deflate(text, DICTIONARY))]
    if digest_apart and _DIGEST.fullmatch(str(value.get(DIGEST))):
        rest = {name: part for name, part in value.items() if name != DIGEST}
        short = json.dumps(rest, separators=(",", ":"), ensure_ascii=False).encode()
        candidates.append((DEFLATE_DIGEST, bytes.fromhex(value[DIGEST]) + deflate(short, WIDE_DICTIONARY)))
    return min(candidates, key=lambda candidate: len(candidate[1]))


def unpack_json(encoding: int, data: bytes, *, max_bytes: int) -> dict[str, Any]:
    """Unpack what `pack_json` returned; the bytes need not be trusted.

    Raises:
        VidtwinError: the encoding is unknown, the text is too large, or it is not a JSON object in UTF-8.
    """
    try:
        digest = b""
        if encoding == DEFLATE:
            data = inflate(data, max_bytes, DICTIONARY)
        elif encoding == DEFLATE_DIGEST:
            digest, data = data[:_DIGEST_BYTES], inflate(data[_DIGEST_BYTES:], max_bytes, WIDE_DICTIONARY)
        elif encoding != RAW:
            raise ValueError(f"unknown encoding {encoding}")
        if len(data) > max_bytes:
            raise ValueError(f"more than the {max_bytes} bytes allowed")
        value = json.loads(data.decode(), parse_constant=_refuse, parse_float=_finite)
        # escapes such as \ud800 pass the parser, but no text that holds them can be written anywhere
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise VidtwinError(f"header: its JSON cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise VidtwinError("header: its JSON is not an object")
    return {**value, DIGEST: digest.hex()} if digest else value


def deflate(text: bytes, dictionary: bytes = b"") -> bytes:
    """Return a raw deflate stream of a text, with a preset dictionary."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, _RAW_DEFLATE, 9, zlib.Z_DEFAULT_STRATEGY, dictionary)
    return compressor.compress(text) + compressor.flush()


def inflate(data: bytes, max_bytes: int, dictionary: bytes = b"") -> bytes:
    """Inflate what `deflate` returned; at most ``max_bytes`` + 1 bytes of text come back.

    Raises:
        ValueError: the stream is damaged, or more bytes follow.
    """
    decompressor = zlib.decompressobj(_RAW_DEFLATE, dictionary)
    try:
        text = decompressor.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise ValueError("its compressed text is damaged") from error
    if len(text) <= max_bytes and (not decompressor.eof or decompressor.unused_data):
        raise ValueError("its compressed text does not end where it should")
    return text


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number")

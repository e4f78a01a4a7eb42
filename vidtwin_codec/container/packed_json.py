"""JSON in as few bytes as a small object needs."""

from __future__ import annotations

import json
from typing import Any

from vidtwin_codec.coding import zstd_frame
from vidtwin_codec.errors import VidtwinError

RAW, ZSTD = 0, 1
_LEVEL = 19


def pack_json(value: dict[str, Any]) -> tuple[int, bytes]:
    """(encoding, bytes): compact UTF-8 JSON, as one Zstandard frame when that is smaller.

    Raises:
        VidtwinError: the object holds what JSON cannot express.
    """
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise VidtwinError(f"header: options and source must be plain JSON ({error})") from error
    packed = zstd_frame.compress(text, _LEVEL)
    return (ZSTD, packed) if len(packed) < len(text) else (RAW, text)


def unpack_json(encoding: int, data: bytes, *, max_bytes: int) -> dict[str, Any]:
    """Inverse of `pack_json`, for bytes from anywhere.

    Raises:
        VidtwinError: unknown encoding, too large, or not a JSON object in UTF-8.
    """
    try:
        if encoding == ZSTD:
            data = zstd_frame.decompress(data, max_content=max_bytes)
        elif encoding != RAW:
            raise ValueError(f"unknown encoding {encoding}")
        if len(data) > max_bytes:
            raise ValueError(f"{len(data)} bytes, at most {max_bytes} are allowed")
        value = json.loads(data.decode(), parse_constant=_refuse)
        # escapes such as \ud800 pass the parser, but no text that holds them can be written anywhere
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise VidtwinError(f"header: its JSON cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise VidtwinError("header: its JSON is not an object")
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number")

"""Text for people and for programs: words from files made harmless for terminals, JSON and tables; numbers in words."""

from __future__ import annotations

import json
import math
import re
from typing import Any

# Controls (escape sequences begin with one), line separators, overrides of the writing direction, and lone surrogates:
# the last stand for bytes of a file name that are not UTF-8 (PEP 383).
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# JSON escapes the lower controls itself.
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_NEWLINES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@")


def printable(text: str) -> str:
    """One line that a terminal shows and does not obey.

    A byte that is not UTF-8 becomes ``\\xe9``, a control character ``\\x1b``, a line break ``\\n``.
    """
    return _UNSAFE.sub(_escaped, text)


def valid(text: str) -> str:
    """``text`` with ``\\xe9`` for each byte of a file name that is not UTF-8: can be written as UTF-8."""
    return _SURROGATE.sub(_escaped, text)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON that is valid UTF-8 and safe to show, whatever names ``value`` holds.

    File names that are not UTF-8 are shown as by :func:`valid`; numbers that are not finite become ``null``.

    Args:
        value: dicts, lists, tuples, texts, numbers, booleans, None.
        indent: spaces of each level; one line if None.
    """
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, indent=indent)
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def csv_cell(value: Any) -> Any:
    """A cell of a CSV table: texts printable, and never a formula (an apostrophe before them, as spreadsheets have)."""
    if not isinstance(value, str):
        return value
    # spreadsheets pass over blanks before a formula
    return f"'{printable(value)}" if value.lstrip().startswith(_FORMULA) else printable(value)


def counted(number: int, thing: str) -> str:
    """1 frame, 2 frames."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def human_bytes(count: float) -> str:
    """12345678 → '12.3 MB' (powers of 1000, as disks and bit rates are sold)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def human_ratio(ratio: float) -> str:
    """3.14159 → '3.1:1', 1234.5 → '1234:1'."""
    return f"{ratio:.0f}:1" if ratio >= 100 else f"{ratio:.3g}:1" if ratio >= 1 else f"{ratio:.2g}:1"


def human_time(seconds: float) -> str:
    """7.25 → '7.2 s', 75 → '1:15', 3725 → '1:02:05'."""
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)


def clock(seconds: float) -> str:
    """75 → '1:15', 3725 → '1:02:05'."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # the byte that it stands for
    return _NEWLINES.get(match[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return valid(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_plain(key) if isinstance(key, str) else key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value

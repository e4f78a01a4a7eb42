"""Checks of single header fields, each with an error message of one line that names the field."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from vidtwin_codec.errors import VidtwinError

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

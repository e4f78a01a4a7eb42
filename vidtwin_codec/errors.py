"""The one exception a user can cause."""

from __future__ import annotations


class VidtwinError(Exception):
    """Something the user can put right: a bad input, a missing file, wrong weights.

    The command line prints ``message`` and, indented below it, ``hint`` (what to do next), and
    exits with code 1. Anything else that escapes is a bug and keeps its traceback.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

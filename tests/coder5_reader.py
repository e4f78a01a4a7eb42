"""Coder 5 as docs/FORMAT.md has it, in the plainest Python: where clips lie, before what another coder says."""

from __future__ import annotations

Canvas = tuple[int, int, list[tuple[int, int]]]


def read(body: bytes, clips: int, frames: int) -> tuple[int, list[Canvas | None], bytes]:
    """The inner coder, rows, columns and corners of each clip's canvas, and the inner body."""
    at, canvases = 1, list[Canvas | None]()
    for _ in range(clips):
        moved, at = body[at], at + 1
        if not moved:
            canvases.append(None)
            continue
        rows, columns = (int.from_bytes(body[at + 2 * k : at + 2 * k + 2], "little") for k in (0, 1))
        at += 4
        y = x = 0
        corners = []
        for _ in range(frames):
            y += int.from_bytes(body[at : at + 2], "little", signed=True)
            x += int.from_bytes(body[at + 2 : at + 4], "little", signed=True)
            at += 4
            corners.append((y, x))
        canvases.append((rows, columns, corners))
    return body[0], canvases, body[at:]


def tiles(side: int, tile: int, overlap: int) -> int:
    """Of a side in pixels."""
    return 1 if side <= tile else -(-(side - overlap) // (tile - overlap))

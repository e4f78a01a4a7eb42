"""Where the camera looks over time, as SVG."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.evaluation.report.axes import Scale, linear_range, linear_ticks
from vidtwin_codec.evaluation.report.bars import HEIGHT, WIDTH

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 26, 40
_NAMES = ("down", "right")
_DASHES = ("", "5 3")


def path_plot(places: NDArray[np.integer], clip_frames: int) -> str:
    """An ``<svg>`` with a line for each direction; lines break where a clip begins elsewhere.

    Args:
        places: ``[frames, 2]``, pixels down and to the right.
        clip_frames: frames of a clip.
    """
    low, high = linear_range([float(places.min()), float(places.max())])
    x = Scale(0, max(1, len(places) - 1), _LEFT, WIDTH - _RIGHT)
    y = Scale(low, high, HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="Places of frames over time, in pixels">'
    ]
    for tick in linear_ticks(low, high, 5):
        parts.append(f'<path class="grid" d="M{_LEFT} {y(tick):.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    jumps = np.abs(np.diff(places, axis=0)).max(axis=1, initial=0)
    usual = np.median(jumps) if len(jumps) else 0
    for side, (name, dashes) in enumerate(zip(_NAMES, _DASHES, strict=True)):
        steps = []
        for frame, place in enumerate(places[:, side].tolist()):
            begins = frame == 0 or (frame % clip_frames == 0 and jumps[frame - 1] > 8 * usual + 16)
            steps.append(f"{'M' if begins else 'L'}{x(frame):.1f} {y(place):.1f}")
        style = f'fill="none" stroke="currentColor" stroke-width="1.5" stroke-dasharray="{dashes or "none"}"'
        parts.append(f'<path {style} d="{"".join(steps)}"/>')
        parts.append(f'<path {style} d="M{_LEFT + 110 * side} 11h18"/>')
        parts.append(f'<text x="{_LEFT + 110 * side + 24}" y="15">{name}</text>')
    parts.append(f'<path class="axis" d="M{_LEFT} {HEIGHT - _BOTTOM}H{WIDTH - _RIGHT}"/>')
    for tick in sorted({int(tick) for tick in linear_ticks(0, max(1, len(places) - 1), 8)}):
        parts.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{tick}</text>')
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">frame; pixels</text></svg>')
    return "".join(parts)

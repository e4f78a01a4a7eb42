"""Stacked bars, and places over time, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.evaluation.report.axes import Scale, linear_range, linear_ticks

WIDTH, HEIGHT = 420, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 26, 40


def bar_plot(series: Sequence[tuple[str, NDArray[np.float64]]], across: str, up: str) -> str:
    """An ``<svg>`` of bars, numbered from 0, the series on top of each other.

    Args:
        series: names, which are classes of the page's style, and values of the same length.
        across: what a bar is.
        up: what its height is.
    """
    total = np.sum([values for _, values in series], axis=0)
    count = len(total)
    high = float(total.max()) or 1.0
    x = Scale(0, count, _LEFT, WIDTH - _RIGHT)
    y = Scale(0, high * 1.05, HEIGHT - _BOTTOM, _TOP)
    parts: list[str] = []
    bottom = np.zeros(count)
    gap = 0.15 if count <= 80 else 0.0
    for number, (name, values) in enumerate(series):
        parts.append(f'<g class="{escape(name)}">')
        for index, (low, value) in enumerate(zip(bottom, values, strict=True)):
            left, right, top = x(index + gap / 2), x(index + 1 - gap / 2), y(low + value)
            parts.append(
                f'<rect x="{left:.2f}" y="{top:.2f}" width="{right - left:.2f}" height="{y(low) - top:.2f}">'
                f"<title>{escape(f'{across} {index}, {name}: {value:.0f} {up}')}</title></rect>"
            )
        parts.append(f'<rect x="{_LEFT + 110 * number}" y="6" width="10" height="10"/></g>')
        parts.append(f'<text x="{_LEFT + 110 * number + 15}" y="15">{escape(name)}</text>')
        bottom = bottom + values
    names = " and ".join(name for name, _ in series)
    ticks = {int(tick) for tick in linear_ticks(0, max(count - 1, 1), 8) if tick < count}
    places = {tick: x(tick + 0.5) for tick in sorted(ticks)}
    return _framed(parts, y, places, f"{names}: {up} of each {across}", f"{across}; {up}")


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
    parts: list[str] = []
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
    ticks = sorted({int(tick) for tick in linear_ticks(0, max(1, len(places) - 1), 8)})
    return _framed(
        parts, y, {tick: x(tick) for tick in ticks}, "Places of frames over time, in pixels", "frame; pixels"
    )


def _framed(parts: Sequence[str], y: Scale, ticks: Mapping[int, float], label: str, caption: str) -> str:
    """Put a grid behind the drawn parts, and numbers and a caption below them."""
    grid = "".join(
        f'<path class="grid" d="M{_LEFT} {y(tick):.1f}H{WIDTH - _RIGHT}"/>'
        f'<text x="{_LEFT - 7}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in linear_ticks(y.low, y.high, 5)
    )
    numbers = "".join(
        f'<text x="{place:.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{tick}</text>'
        for tick, place in ticks.items()
    )
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{grid}'
        f'{"".join(parts)}<path class="axis" d="M{_LEFT} {HEIGHT - _BOTTOM}H{WIDTH - _RIGHT}"/>{numbers}'
        f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(caption)}</text></svg>'
    )

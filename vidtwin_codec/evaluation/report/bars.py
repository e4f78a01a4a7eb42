"""Stacked bars as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.evaluation.report.axes import Scale, linear_ticks

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
    names = " and ".join(name for name, _ in series)
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(f"{names}: {up} of each {across}")}">'
    ]
    for tick in linear_ticks(0, high * 1.05, 5):
        parts.append(f'<path class="grid" d="M{_LEFT} {y(tick):.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
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
    parts.append(f'<path class="axis" d="M{_LEFT} {HEIGHT - _BOTTOM}H{WIDTH - _RIGHT}"/>')
    for tick in sorted({int(tick) for tick in linear_ticks(0, max(count - 1, 1), 8) if tick < count}):
        parts.append(f'<text x="{x(tick + 0.5):.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{tick}</text>')
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(f"{across}; {up}")}</text></svg>')
    return "".join(parts)

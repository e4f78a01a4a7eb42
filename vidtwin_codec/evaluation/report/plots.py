"""Rate-distortion curves as SVG: drawn here so that the page reads without scripts, which only add hovering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from vidtwin_codec.evaluation.compare.results import VIDTWIN
from vidtwin_codec.evaluation.report.axes import Scale, linear_range, linear_ticks, log_range, log_ticks, spread
from vidtwin_codec.evaluation.report.text import resource

WIDTH, HEIGHT = 420, 312
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 74, 14, 44
_LABEL_GAP = 15
TITLES = {"psnr": "PSNR (RGB), dB", "ssim": "SSIM", "vmaf": "VMAF"}
DIGITS = {"psnr": 2, "psnr_y": 2, "ssim": 4, "vmaf": 1}
_MARKS = {"x264": 4, "x265": 3, "svt-av1": -4, "vvenc": -3, "aom": 6}
"""Corners of a codec's mark (a circle for vidtwin), turned if negative: colour is not the only difference."""


@dataclass(frozen=True)
class Dot:
    """A point of a plot: bits per pixel, value, and what to say about it."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Curve:
    """One codec's curve.

    Attributes:
        codec: chooses colour and mark.
        label: written at its end.
        dots: joined, in order.
        aside: measured but not on the curve, drawn small.
    """

    codec: str
    label: str
    dots: list[Dot]
    aside: list[Dot]


def rd_plot(lines: Sequence[Curve], metric: str, about: str) -> str:
    """An ``<svg>`` of curves over bits per pixel (logarithmic), each labelled at its end.

    Args:
        lines: those without dots are left out.
        metric: a key of :data:`TITLES`.
        about: what the plot shows, for those who do not see it.

    Returns:
        Markup; a paragraph saying so if there is nothing to draw.
    """
    lines = [line for line in lines if line.dots]
    every = [dot for line in lines for dot in (*line.dots, *line.aside)]
    if not every:
        return '<p class="nothing">Nothing could be measured here.</p>'
    x = Scale(*log_range([dot.x for dot in every]), _LEFT, WIDTH - _RIGHT, log=True)
    y = Scale(*linear_range([dot.y for dot in every]), HEIGHT - _BOTTOM, _TOP)
    # vidtwin last, on top of the others
    ordered = sorted(lines, key=lambda line: line.codec == VIDTWIN)
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" tabindex="0" aria-label="{escape(about)}">',
        *_grid(x, y, metric),
        *_labels(ordered, x, y),
        *(part for line in ordered for part in _curve(line, x, y)),
        f'<g class="cursor" hidden=""><line y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/><circle r="7"/></g>',
        "</svg>",
    ]
    return "".join(parts)


def standalone(plot: str, metric: str) -> str:
    """A plot of :func:`rd_plot` as a file of its own: titled, with its colours for light and dark."""
    alone = "background: var(--paper); font-family: sans-serif; width: auto; cursor: auto"
    style = f"{resource('plots.css')}.plot {{ {alone} }} .cursor {{ display: none }}"
    room, height = 22, HEIGHT + 22
    begin, rest = plot.replace(f"0 0 {WIDTH} {HEIGHT}", f"0 -{room} {WIDTH} {height}").split(">", 1)
    head = f'xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
    title = f'<text class="tick" x="8" y="-6">{TITLES[metric]}</text>'
    return f"{begin} {head}><style>{style}</style>{title}{rest}\n"


def _grid(x: Scale, y: Scale, metric: str) -> list[str]:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = []
    for tick in linear_ticks(y.low, y.high):
        at = y(tick)
        parts.append(f'<path class="grid" d="M{_LEFT} {at:.1f}H{right}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">{_short(tick)}</text>')
    ticks = log_ticks(x.low, x.high)
    if len(ticks) > 7:  # labels would touch
        ticks = [tick for tick in ticks if not math.isclose(tick / 10 ** math.floor(math.log10(tick * 1.001)), 2)]
    for tick in ticks:
        at = x(tick)
        parts.append(f'<path class="grid" d="M{at:.1f} {_TOP}V{bottom}"/>')
        parts.append(f'<text class="tick" x="{at:.1f}" y="{bottom + 17}" text-anchor="middle">{_short(tick)}</text>')
    middle = (_LEFT + right) / 2
    parts.append(f'<path class="axis" d="M{_LEFT} {bottom}H{right}"/>')
    parts.append(f'<text class="tick" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">bits per pixel</text>')
    return [*parts, f"<title>{TITLES[metric]} over bits per pixel</title>"]


def _labels(lines: Sequence[Curve], x: Scale, y: Scale) -> list[str]:
    ends = [line.dots[-1] for line in lines]
    places = spread([y(end.y) for end in ends], _LABEL_GAP, _TOP + 4, HEIGHT - _BOTTOM - 2)
    parts = []
    for line, end, place in zip(lines, ends, places, strict=True):
        begin, at = x(end.x) + 5, WIDTH - _RIGHT + 8
        leader = f'<path class="leader" d="M{begin:.1f} {y(end.y):.1f}L{at - 3} {place:.1f}"/>'
        text = f'<text class="label" x="{at}" y="{place + 4:.1f}">{escape(line.label)}</text>'
        parts.append(f'<g class="codec {escape(line.codec)}">{leader}{text}</g>')
    return parts


def _curve(line: Curve, x: Scale, y: Scale) -> list[str]:
    name = escape(line.codec)
    path = "M" + "L".join(f"{x(dot.x):.1f} {y(dot.y):.1f}" for dot in line.dots)
    parts = [f'<g class="codec {name}" data-label="{escape(line.label)}"><path class="curve" d="{path}"/>']
    for dots, kind in ((line.aside, "aside"), (line.dots, "dot")):
        for dot in dots:
            at = f'data-x="{x(dot.x):.1f}" data-y="{y(dot.y):.1f}"'
            mark = _mark(line.codec, x(dot.x), y(dot.y), 2.2 if kind == "aside" else 3.6)
            parts.append(f'<g class="{kind}" {at} data-text="{escape(dot.text)}">{mark}</g>')
    return [*parts, "</g>"]


def _mark(codec: str, x: float, y: float, radius: float) -> str:
    corners = _MARKS.get(codec)
    if corners is None:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'
    # a square stands on an edge, a triangle on its base; negative: on a corner
    turn = (math.pi / 4 if corners == 4 else 0) if corners > 0 else (0 if corners == -4 else math.pi)
    count = abs(corners)
    angles = [2 * math.pi * corner / count - math.pi / 2 + turn for corner in range(count)]
    radius *= 1.25
    points = " ".join(f"{x + radius * math.cos(a):.1f},{y + radius * math.sin(a):.1f}" for a in angles)
    return f'<polygon points="{points}"/>'


def _short(tick: float) -> str:
    return f"{tick:.6f}".rstrip("0").rstrip(".") or "0"

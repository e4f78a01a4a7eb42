"""Linear maps of patches that come apart into maps of rows, of columns and of colours.

A cosine transform of patches is such a map. Written as one matrix it takes every pixel to every channel; row by row and
column by column it takes a seventh of the multiplications. :meth:`SeparableMap.of` finds the factors in the matrix,
once, after loading. Weights are stored with 16 bits, so a matrix is never quite the product of its factors: they are
taken where they give back every stored number within that rounding.

Source: K. R. Rao and P. Yip, "Discrete Cosine Transform", 1990 (rows, then columns); L. De Lathauwer, B. De Moor and
J. Vandewalle, "On the best rank-1 and rank-(R1, …, RN) approximation of higher-order tensors", SIAM Journal on Matrix
Analysis and Applications 21, 2000 (factors by fixing all but one).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidtwin_codec.model.layers import COLOURS

_ALIKE = 0.99999
"""Cosine between two factors that are taken for one."""
_ROUNDING = 2.0**-10
"""Largest error of a number, in proportion: that of storing it with 11 bits, twice."""
_TINY = 2.0**-23
"""Largest error of numbers next to zero, which float16 stores in steps of half of this."""
_BLOCK = 16
"""What the number of lines is rounded up to: products of other widths take up to two and a half times as long."""


class SeparableMap(nn.Module):
    """Maps patches of p · p pixels to D channels and, by the transposed map, channels to patches.

    Frames are not cut into patches for it: rows of pixels are mapped for all patches beside each other, and what is
    moved to where patches have it is half as much.

    Attributes:
        rows: maps of the p rows, ``[R, p]``.
        lines: maps of the p pixels of a line and their colours, ``[L, p·3]``; some of them may be zero.
        places: where each channel is found among rows and lines, ``[D]``, each r · L + l.
        channels: which channel is found at each of these places, ``[R · L]``; D where there is none.
        scales: what each channel is multiplied by, ``[D]``.
    """

    rows: Tensor
    lines: Tensor
    places: Tensor
    channels: Tensor
    scales: Tensor

    def __init__(self, rows: Tensor, lines: Tensor, places: Tensor, scales: Tensor) -> None:
        super().__init__()
        channels = torch.full((len(rows) * len(lines),), len(places)).index_copy_(0, places, torch.arange(len(places)))
        parts = {"rows": rows, "lines": lines, "places": places, "channels": channels, "scales": scales}
        for name, part in parts.items():
            self.register_buffer(name, part, persistent=False)

    @staticmethod
    def of(weight: Tensor, patch: int) -> SeparableMap | None:
        """Take a matrix apart.

        Args:
            weight: the matrix ``[D, p·p·3]``, colour fastest.
            patch: p.

        Returns:
            The map, float32, or None where the matrix does not come apart, its parts would take longer, or two
            channels are the same.
        """
        if weight.device.type != "cpu":  # elsewhere one large product is as good
            return None
        maps = weight.detach().double().contiguous().view(-1, patch, patch, COLOURS)
        if not _comes_apart(maps[:1]) or not _comes_apart(maps):
            return None
        rows, columns, colours = factors = _factors(maps)
        pairs = colours.which * len(columns.vectors) + columns.which
        found, line = torch.unique(pairs, return_inverse=True)
        lines = torch.einsum(
            "lx,lc->lxc",
            columns.vectors[found % len(columns.vectors)],
            colours.vectors[found // len(columns.vectors)],
        ).flatten(1)
        lines = functional.pad(lines, (0, 0, 0, -len(lines) % _BLOCK))
        scales = torch.einsum("dyxc,dy,dx,dc->d", maps, *(factor.vectors[factor.which] for factor in factors))
        again = torch.einsum("d,dy,dxc->dyxc", scales, rows.vectors[rows.which], lines[line].view(-1, patch, COLOURS))
        within = (again - maps).abs() <= _ROUNDING * maps.abs() + _TINY
        if not bool(within.all()):
            return None
        count_rows, count_lines = len(rows.vectors), len(lines)
        places = rows.which * count_lines + line
        # for each number of a line: its sums over rows, then those over lines
        slow = count_rows * (patch + count_lines) >= len(maps) * patch
        if slow or len(torch.unique(places)) < len(places):
            return None
        return SeparableMap(rows.vectors.float(), lines.float(), places, scales.float())

    def analyse(self, frames: Tensor) -> Tensor:
        """Map the S patches of frames ``[..., H, W, 3]`` to ``[..., S, D]``."""
        *others, height, width, colours = frames.shape
        patch, columns = self.rows.shape[1], width // self.rows.shape[1]
        by_row = torch.matmul(self.rows, frames.reshape(-1, patch, width * colours))
        spread = torch.mm(by_row.view(-1, patch * colours), self.lines.T)
        by_patch = spread.view(-1, len(self.rows), columns, len(self.lines)).transpose(1, 2).flatten(2).flatten(0, 1)
        found = by_patch.index_select(1, self.places).mul_(self.scales)
        return found.view(*others, height // patch * columns, -1)

    def synthesise(self, channels: Tensor, grid: tuple[int, int]) -> Tensor:
        """Map ``[..., S, D]`` to frames ``[..., H, W, 3]`` of these rows and columns of patches."""
        rows, columns = grid
        scaled = functional.pad(channels.reshape(-1, len(self.scales)) * self.scales, (0, 1))
        spread = scaled.index_select(1, self.channels).view(-1, columns, len(self.rows), len(self.lines))
        by_row = torch.mm(spread.transpose(1, 2).reshape(-1, len(self.lines)), self.lines)
        bands = torch.matmul(self.rows.T, by_row.view(len(spread), len(self.rows), -1))
        patch = self.rows.shape[1]
        return bands.view(*channels.shape[:-2], rows * patch, columns * patch, COLOURS)


class _Factors(NamedTuple):
    """Along one axis: the distinct unit vectors ``[n, length]``, and which of them each channel has, ``[D]``."""

    vectors: Tensor
    which: Tensor


def _fibres(maps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the largest number of each channel, and the numbers along each axis through it, ``[D, length]``."""
    largest = maps.flatten(1).abs().argmax(dim=1)
    _, _, width, colours = maps.shape
    # torch.unravel_index would import sympy, for a second
    y, x, c = largest // (width * colours), largest // colours % width, largest % colours
    d = torch.arange(len(maps))
    return maps[d, y, x, c], maps[d, :, x, c], maps[d, y, :, c], maps[d, y, x, :]


def _comes_apart(maps: Tensor) -> bool:
    """Return whether each channel is nearly the product of its fibres."""
    peak, rows, columns, colours = _fibres(maps)
    if not bool(peak.all()):
        return False
    products = torch.einsum("dy,dx,dc,d->dyxc", rows, columns, colours, peak**-2)
    return bool(((products - maps).abs() <= 8 * _ROUNDING * peak.abs()[:, None, None, None]).all())


def _factors(maps: Tensor) -> tuple[_Factors, _Factors, _Factors]:
    """Return the factors of channels that come apart: their fibres, then each anew from the whole and the others."""
    rows, columns, colours = (_distinct(fibres) for fibres in _fibres(maps)[1:])
    parts = [factor.vectors[factor.which] for factor in (rows, columns, colours)]
    return (
        _mean(torch.einsum("dyxc,dx,dc->dy", maps, parts[1], parts[2]), rows),
        _mean(torch.einsum("dyxc,dy,dc->dx", maps, parts[0], parts[2]), columns),
        _mean(torch.einsum("dyxc,dy,dx->dc", maps, parts[0], parts[1]), colours),
    )


def _distinct(vectors: Tensor) -> _Factors:
    """Return the first of all vectors that differ by more than their length and sign."""
    units = vectors / vectors.norm(dim=1, keepdim=True)
    which = torch.full((len(units),), -1)
    found: list[Tensor] = []
    while bool((left := which < 0).any()):
        found.append(units[left][0])
        which[left & ((units @ found[-1]).abs() > _ALIKE)] = len(found) - 1
    return _Factors(torch.stack(found), which)


def _mean(vectors: Tensor, factors: _Factors) -> _Factors:
    """Return factors with the mean direction of the vectors that have each of them, whatever their signs."""
    signs = (vectors * factors.vectors[factors.which]).sum(dim=1, keepdim=True).sign()
    sums = torch.zeros_like(factors.vectors).index_add(0, factors.which, vectors * signs)
    return _Factors(sums / sums.norm(dim=1, keepdim=True), factors.which)

"""Lapped patches: an orthonormal filter across patch borders, before patches are cut and after they are joined.

Cosines of separate patches leave steps at their borders. Here the pixels on both sides of a border are first rotated
so that a signal smooth across it becomes smooth towards it on either side; afterwards they are rotated back. A flat
picture stays as it is. Source: T. Tran, J. Liang and C. Tu, "Lapped transform via time-domain pre- and post-
filtering", IEEE Transactions on Signal Processing 51 (2003), with the rotation of Malvar's lapped orthogonal
transform ("Lapped transforms for efficient transform/subband coding", IEEE Transactions on Acoustics, Speech, and
Signal Processing 38, 1990) in the odd half.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vidtwin_codec.model.layers import COLOURS
from vidtwin_codec.model.transformer import in_full


class Lapping(nn.Module):
    """The filter and its inverse, on frames ``[..., H, W, 3]``.

    Args:
        patch: pixels along a side of a patch.
        reach: pixels on each side of a border that take part; 0 for none.
    """

    across_rows: Tensor
    across_columns: Tensor

    def __init__(self, patch: int, reach: int) -> None:
        super().__init__()
        self.patch, self.reach = patch, reach
        turn = border_filter(reach)
        # colours lie between neighbouring columns
        wide = torch.kron(turn, torch.eye(COLOURS, dtype=turn.dtype, device=turn.device))
        self.register_buffer("across_rows", turn.float(), persistent=False)
        self.register_buffer("across_columns", wide.float(), persistent=False)

    def before(self, frames: Tensor) -> Tensor:
        """Filter float frames in place, before patches are cut."""
        if self.reach:
            with in_full(frames):
                self._rows(frames, self.across_rows)
                self._columns(frames, self.across_columns)
        return frames

    def after(self, frames: Tensor) -> Tensor:
        """Undo :meth:`before` in place, after patches are joined."""
        if self.reach:
            with in_full(frames):
                self._columns(frames, self.across_columns.T)
                self._rows(frames, self.across_rows.T)
        return frames

    def _rows(self, frames: Tensor, turn: Tensor) -> None:
        height, width = frames.shape[-3:-1]
        if height > self.patch:
            borders = self._borders(frames.view(-1, height, width * COLOURS), 1)  # [n, borders, width, 2 reach]
            borders.copy_(torch.matmul(turn.to(frames), borders.transpose(2, 3)).transpose(2, 3))

    def _columns(self, frames: Tensor, turn: Tensor) -> None:
        width = frames.shape[-2]
        if width > self.patch:
            # a product for each border, of all lines: their numbers can stay where they are
            borders = self._borders(frames.view(-1, width * COLOURS), COLOURS).transpose(0, 1)  # [borders, n, 6 reach]
            borders.copy_(torch.bmm(borders, turn.T.to(frames).expand(len(borders), -1, -1)))

    def _borders(self, lines: Tensor, wide: int) -> Tensor:
        """Return a view of both sides of each border along the second axis; a pixel is ``wide`` numbers."""
        edge = (self.patch - self.reach) * wide
        return lines[:, edge : lines.shape[1] - edge].unfold(1, 2 * self.reach * wide, self.patch * wide)


def border_filter(reach: int) -> Tensor:
    """Return the orthonormal filter of the pixels across a border, ``[2 reach, 2 reach]``, float64."""
    # on the CPU even when the network is built on the meta device: nothing would fill these in later
    if not reach:
        return torch.zeros(0, 0, dtype=torch.float64, device="cpu")
    number = torch.arange(reach, dtype=torch.float64, device="cpu")
    second = torch.cos(math.pi * (number + 0.5) * number[:, None] / reach) * math.sqrt(2 / reach)
    second[0] /= math.sqrt(2)
    fourth = torch.cos(math.pi * (number + 0.5) * (number[:, None] + 0.5) / reach) * math.sqrt(2 / reach)
    one = torch.eye(reach, dtype=torch.float64, device="cpu")
    flip = one.flip(0)
    odd = flip @ second.T @ fourth @ flip
    halves = torch.cat([torch.cat([one, flip], 1), torch.cat([flip, -one], 1)]) / math.sqrt(2)
    turned = torch.cat([halves[:reach], odd @ halves[reach:]])
    return halves @ turned

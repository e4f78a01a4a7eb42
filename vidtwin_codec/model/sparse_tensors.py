"""Storage of tensors that are nearly all zeros, as places and values.

In a weights file such a tensor ``name`` is ``name#places`` (int32, flat, ascending) and ``name#values``; one that is
zero throughout is not there at all. The metadata's ``sparse`` gives the shapes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model.config import Shape

if TYPE_CHECKING:
    from vidtwin_codec.model.checkpoint import TensorSource

SPARSE_KEY = "sparse"
LARGEST_SHARE = 0.05
"""Largest share of numbers that are not zero, in a tensor that is stored so."""
LEAST_SIZE = 4096
MAX_SIZE = 1 << 31
_PLACES, _VALUES = "#places", "#values"


def is_sparse(tensor: Tensor) -> bool:
    """Return whether a tensor is large enough, and empty enough, to be stored so."""
    return LEAST_SIZE <= tensor.numel() < MAX_SIZE and int(tensor.count_nonzero()) <= LARGEST_SHARE * tensor.numel()


def split_sparse(state: Mapping[str, Tensor], sparse: Iterable[str]) -> dict[str, Tensor]:
    """Return a state in which the named tensors are stored as places and values."""
    split = dict(state)
    for name in sparse:
        flat = split.pop(name).detach().flatten()
        places = flat.nonzero()[:, 0]
        if len(places):
            split[name + _PLACES], split[name + _VALUES] = places.int(), flat[places]
    return split


def dense_shapes(stated: Mapping[str, Any], stored: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shapes that a file's metadata states for its sparse tensors.

    Raises:
        VidtwinError: the metadata are not shapes, or do not fit the stored tensors.
    """
    shapes: dict[str, Shape] = {}
    for name, sizes in stated.items():
        fine = isinstance(sizes, list) and len(sizes) <= 8 and all(type(n) is int and 0 < n < MAX_SIZE for n in sizes)
        if not fine or math.prod(sizes) >= MAX_SIZE:
            raise VidtwinError(f"its metadata gives sparse tensor {name} no readable shape")
        places, values = stored.get(name + _PLACES), stored.get(name + _VALUES)
        if places != values or name in stored or (places is not None and len(places) != 1):
            raise VidtwinError(f"sparse tensor {name} is not stored as places and values")
        shapes[name] = tuple(sizes)
    return shapes


class DenseSource:
    """Reads sparse tensors as dense ones.

    Args:
        source: the stored tensors.
        sparse: shapes by name of sparse tensors.
        stored: shapes by name of all stored tensors.
    """

    def __init__(self, source: TensorSource, sparse: Mapping[str, Shape], stored: Mapping[str, Shape]) -> None:
        self._source, self._sparse, self._stored = source, sparse, stored

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Yield each name and its tensor, one at a time.

        Raises:
            VidtwinError: a place lies outside its tensor.
        """
        for name in names:
            if name not in self._sparse:
                yield from self._source.read([name])
                continue
            shape = self._sparse[name]
            flat = torch.zeros(math.prod(shape))
            if name + _PLACES in self._stored:
                parts = dict(self._source.read([name + _PLACES, name + _VALUES]))
                places = parts[name + _PLACES].long()
                if len(places) and not 0 <= int(places.min()) <= int(places.max()) < len(flat):
                    raise VidtwinError(f"sparse tensor {name} has numbers outside its shape")
                flat[places] = parts[name + _VALUES].float()
            yield name, flat.view(shape)

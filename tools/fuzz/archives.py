"""Changes to zip archives, with checksums made right again, and to the pickles in them."""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Sequence
from random import Random
from typing import Any

import torch

from tools.fuzz.changes import INTEGERS, change_bytes


def make_torch(random: Random, samples: Sequence[bytes]) -> bytes:
    """A file of torch that was changed: its pickle, its entries, or its bytes."""
    data = random.choice(samples)
    kind = random.randrange(10)
    if kind == 0:
        return change_bytes(random, data, samples)
    entries = entries_of(data)
    structure = next(name for name in entries if name.endswith("data.pkl"))
    if kind <= 6:
        entries[structure] = _change_pickle(random, entries[structure])
    elif kind == 7:
        entries[structure] = change_bytes(random, entries[structure], [entries_of(random.choice(samples))[structure]])
    else:
        change_entries(random, entries)
    return zipped(random, entries)


def entries_of(data: bytes) -> dict[str, bytes]:
    """Contents of an archive by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(random: Random, entries: dict[str, bytes]) -> bytes:
    """An archive, mostly stored as it is, and mostly sound."""
    stream = io.BytesIO()
    kind = zipfile.ZIP_STORED if random.random() < 0.9 else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(stream, "w", kind) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, kind)
    data = stream.getvalue()
    return data if random.random() < 0.95 else change_bytes(random, data)


def change_entries(random: Random, entries: dict[str, bytes]) -> None:
    """Drop, rename, resize or change an entry."""
    name, kind = random.choice(sorted(entries)), random.randrange(6)
    data = entries.pop(name)
    if kind == 1:
        entries[random.choice((name + "x", "data.pkl", "../a", "a/" + name, "\x1b.npy", ".npy", "metadata.npy"))] = data
    elif kind == 2:
        entries[name] = data[: len(data) // 2]
    elif kind == 3:
        entries[name] = data * random.choice((2, 20))
    elif kind > 3:
        entries[name] = change_bytes(random, data, list(entries.values()))


def _change_pickle(random: Random, data: bytes) -> bytes:
    """Change operations of a pickle and their arguments, so that it mostly stays one."""
    starts = [position for _, _, position in pickletools.genops(data) if position is not None]
    pieces = [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]
    for _ in range(random.choice((1, 1, 1, 4))):
        at, kind = random.randrange(len(pieces)), random.randrange(9)
        numbers = [place for place, piece in enumerate(pieces) if piece[:1] in b"KMJ\x8a" and len(piece) > 1]
        if kind <= 1 and numbers:
            place = random.choice(numbers)
            size = min(len(pieces[place]) - 1, 4)
            value = int.from_bytes(pieces[place][1 : 1 + size], "little") + random.choice((1, -1, 2))
            pieces[place] = _number(value)
        elif kind <= 3 and numbers:
            pieces[random.choice(numbers)] = _number(random.choice(INTEGERS) * random.choice((1, 1, 1 << 33)))
        elif kind == 4:
            del pieces[at : at + random.choice((1, 1, 3, 40))]
        elif kind == 5:
            pieces[at:at] = [random.choice(pieces)] * random.choice((1, 1, 5, 1000))
        elif kind == 6:
            other = random.randrange(len(pieces))
            pieces[at], pieces[other] = pieces[other], pieces[at]
        elif kind == 7:
            pieces[at] = random.choice(_OPERATIONS)
        else:
            pieces[at] = change_bytes(random, pieces[at])
        if not pieces:
            break
    return b"".join(pieces)


def _number(value: int) -> bytes:
    """A whole number as an operation of a pickle."""
    data = value.to_bytes(16, "little", signed=True)
    return b"\x8a\x10" + data


_OPERATIONS = (
    b"N", b"\x88", b")", b"]", b"}", b"\x8f", b"(", b"0", b"2", b"\x85", b"\x86", b"\x87", b"t", b"R", b"b", b"a", b"e",
    b"s", b"u", b"\x90", b"\x91", b"\x81", b"\x92", b"Q", b"1", b"h\0", b"q\0", b"G\x7f\xf0\0\0\0\0\0\0",
    b"G\x7f\xf8\0\0\0\0\0\0", b"X\x01\0\0\0a", b"cos\nsystem\n", b"ccollections\nOrderedDict\n", b"c_codecs\nencode\n",
    b"ctorch\nFloatStorage\n", b"ctorch\nQInt8Storage\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nSize\n",
    b"c__builtin__\nset\n", b"\x80\xff", b"L9\n", b"I01\n", b"F1e999\n", b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
)  # fmt: skip


def saved(content: Any) -> bytes:
    """What torch saves."""
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()

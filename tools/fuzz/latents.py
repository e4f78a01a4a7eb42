"""Hostile files of latents, in safetensors and in .npz."""

from __future__ import annotations

import io
import json
import math
import shutil
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tools.fuzz.archives import change_entries, entries_of, zipped
from tools.fuzz.changes import change_bytes, change_json, to_text
from tools.fuzz.tensor_files import make_safetensors
from tools.fuzz.videos import GOLDEN
from vidtwin_codec.latents.exporting import export_latents
from vidtwin_codec.latents.importing import ImportLatentsOptions, import_latents


@cache
def _latents(suffix: str) -> tuple[bytes, ...]:
    """Exported latents of one video and of two, of every layout; and such of another program."""
    files = [GOLDEN / f"{name}.vtw" for name in ("v1_coder3", "v1_1_packed", "v1_1_camera", "v1_1_placed")]
    made = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a{suffix}")
        for sources in (*([file] for file in files), files[1:3]):
            export_latents(sources, path, force=True)
            made.append(path.read_bytes())
    return tuple(made)


def make_latents(random: Random) -> bytes:
    """Latents in safetensors."""
    return make_safetensors(random, _latents(".safetensors"))


def read_latents(path: Path) -> bool:
    """Import latents, as their own description says or, one in four, like another file."""
    output = path.with_name("made")
    if output.is_dir():
        shutil.rmtree(output)
    output.unlink(missing_ok=True)
    like = GOLDEN / "v1_coder3.vtw" if zlib.crc32(path.read_bytes()) % 4 == 0 else None
    import_latents(path, output, ImportLatentsOptions(like=like, level=1))
    return True


def make_npz(random: Random) -> bytes:
    """Latents in an archive of numpy."""
    data = random.choice(_latents(".npz"))
    kind = random.randrange(10)
    if kind == 0:
        return change_bytes(random, data, _latents(".npz"))
    entries = entries_of(data)
    if kind <= 4:
        text = str(np.load(io.BytesIO(entries["metadata.npy"])))
        changed = to_text(random, change_json(random, json.loads(text))).decode("utf-8", "replace")
        entries["metadata.npy"] = _npy(np.array(changed))
    elif kind <= 6:
        name = random.choice(sorted(entries))
        entries[name] = _npy(_resized(random, np.load(io.BytesIO(entries[name]))))
    elif kind == 7:  # the header of an array, which is text of Python
        name = random.choice(sorted(entries))
        entries[name] = change_bytes(random, entries[name][:128]) + entries[name][128:]
    else:
        change_entries(random, entries)
    return zipped(random, entries)


def _resized(random: Random, array: Any) -> Any:
    """An array of another shape, type, order or content."""
    if array.dtype.kind != "f":
        return array.reshape(random.choice(((), (1,), (1, 1))))
    kinds = ("<f2", ">f4", "<f8", "i1", "u8", "?", "c8", "U2", "M8[s]", "V4", "S3")
    changes: tuple[Callable[[], Any], ...] = (
        lambda: array.astype("i1").astype(random.choice(kinds)),
        lambda: np.asfortranarray(array),
        lambda: array[..., :0],
        lambda: np.concatenate([array] * random.choice((2, 300))),
        lambda: random.choice((array.reshape(-1), array[None])),
        lambda: np.full_like(array, random.choice((1e30, math.nan, math.inf, 0, -1e5))),
        lambda: array[:1],
    )
    return random.choice(changes)()


def _npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()

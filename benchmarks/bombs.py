"""Small files that claim much: what `verify`, `info`, `weights import` and `import` take of each, as whole processes.

    python benchmarks/bombs.py [--keep FOLDER]

Makes files of less than 1 MB of many kinds, and prints for each the seconds of one core, the seconds that passed, and
the largest memory. No file should take 10 s or 1 GiB. The first run of a version compiles kernels, some seconds more.
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import click
import numpy as np
import torch

from vidtwin_codec.coding import GroupSpan, LatentLayout, Steps, pack_body
from vidtwin_codec.coding.patterns import Patterns
from vidtwin_codec.container import Header
from vidtwin_codec.container.format import AUDIO_TAG, build_frame
from vidtwin_codec.container.index import GroupEntry, Index
from vidtwin_codec.latents.description import Description, dump
from vidtwin_codec.model import QFormerConfig, TransformerConfig, VidTwin, VidTwinConfig
from vidtwin_codec.safetensors_file import write_safetensors

MOST = 1_000_000
FRAMES = 4
PLAIN, CONTEXT, SPARSE, PLACED = 1, 3, 4, 5
TINY = LatentLayout((1, 1, 1, 1), (1, FRAMES, 1), (1, FRAMES, 1))
ROWS = LatentLayout((1, 1, 1, 1), (3, FRAMES, 1), (3, FRAMES, 1))
FLAT = LatentLayout((1, 127, 128, 1024), (1, FRAMES, 1), (1, FRAMES, 1))
WIDE = LatentLayout((16, 20, 20, 512), (1, FRAMES, 20), (1, FRAMES, 20), Patterns(32, (440, 44, 28)))
HUGE = LatentLayout((4, 90, 90, 1024), (1, FRAMES, 90), (1, FRAMES, 90), Patterns(32, (1024, 0, 0)))
LINES = LatentLayout((1, 2, 2, 4), (1, 4096, 2047), (1, 4096, 2047), Patterns(2, (4, 0, 0)))
RANDOM = np.random.default_rng(0)
# from a process of its own, for a new process counts as at least as large as the one that it comes from
_MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], capture_output=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


def header(layout: LatentLayout, **changes: object) -> Header:
    """A header that allows as much as any."""
    slots, channels, lines = layout.structure[0], layout.structure[3], layout.dynamics_x[0]
    steps = Steps(np.ones((slots, channels), np.float32), *np.ones((2, lines), np.float32))
    cell = layout.patterns.size if layout.patterns else 16
    height, width = (side * cell for side in layout.structure[1:3]) if layout.patterns else (cell, cell)
    values: dict[str, object] = {
        "weights_name": "mini", "weights_sha256": "ab" * 32, "layout": layout, "steps": steps, "width": width,
        "height": height, "coded_width": width, "coded_height": height, "fps": Fraction(25), "overlap": 0,
        "clip_frames": layout.dynamics_x[1], "tile_height": height, "tile_width": width, "clips_per_group": 0xFFFF,
        "coder": PLACED, "abutting": layout.patterns is not None,
    }  # fmt: skip
    return Header(**{**values, **changes})  # type: ignore[arg-type]


def groups(head: Header, coder: int, clips: int, body: Callable[[], bytes], *, index: bool = True) -> bytes:
    """As many groups as a file has room for."""
    out, entries, clip = bytearray(head.to_bytes()), list[GroupEntry](), 0
    while len(out) < 0.9 * MOST and (clip + clips) * head.clip_frames < 1 << 32:
        span = GroupSpan(clip * head.clip_frames, clips * head.clip_frames, clip, clips)
        packed = pack_body(coder, span, 1, body(), 9)
        if len(out) + len(packed) > 0.95 * MOST:
            break
        entries.append(GroupEntry(len(out), len(packed), zlib.crc32(packed), *span))
        out += packed
        clip += clips
        if len(entries) >= 15_000:
            break
    crc = int.from_bytes(head.to_bytes()[-4:], "little")
    return bytes(out) + (Index(tuple(entries), len(out), 0, 0, crc).to_bytes(packed=True) if index else b"")


def noise(size: int) -> Callable[[], bytes]:
    return lambda: b"\x40\x40" + RANDOM.integers(0, 256, size, dtype=np.uint8).tobytes()


def canvases(clips: int) -> bytes:
    place = b"\1" + struct.pack("<2H", 1, 1) + bytes(4 * FRAMES)
    return bytes([PLAIN]) + place * clips + bytes(clips * TINY.elements)


def damage() -> bytes:
    pieces = (b"g" + build_frame(AUDIO_TAG, struct.pack("<I", number) + b"x") for number in range(40_000))
    return header(TINY).to_bytes() + b"".join(pieces)


def videos() -> dict[str, bytes]:
    """Bombs in the format of videos, by name."""
    full = b"\x40\x40" + b"\xff" * 3_000_000
    camera = header(TINY, camera=True)
    made = {
        "plain": groups(header(FLAT), PLAIN, 8, lambda: bytes(8 * FLAT.elements)),
        "context-rows": groups(header(ROWS), CONTEXT, 40_000, lambda: bytes(99)),
        "sparse-empty": groups(header(WIDE), SPARSE, 1, lambda: bytes(2)),
        "sparse-noise": groups(header(WIDE), SPARSE, 1, noise(800)),
        "sparse-full": groups(header(HUGE), SPARSE, 40, lambda: full),
        "sparse-lines": groups(header(LINES), SPARSE, 60, lambda: full),
        "sparse-canvases": groups(header(WIDE, camera=True), SPARSE, 400, noise(100_000)),
        "canvases": groups(camera, PLACED, 0xFFFF, lambda: canvases(0xFFFF)),
        "canvases-unindexed": groups(camera, PLACED, 1000, lambda: canvases(1000), index=False),
        "many-groups": groups(header(TINY), PLAIN, 1, lambda: bytes(TINY.elements)),
        "damage": damage(),
    }
    for name, value in (("text", "x " * 520_000), ("list", [0] * 340_000)):
        made[f"json-{name}"] = groups(header(TINY, options={"a": value}), PLAIN, 1, lambda: bytes(TINY.elements))
    return made


def config(hidden: int, depth: int, /, **changes: object) -> VidTwinConfig:
    side = TransformerConfig(hidden, depth, 1 if hidden < 8 else 2)
    values: dict[str, object] = {
        "frames": 4, "height": 32, "width": 32, "patch_size": 8, "encoder": side, "decoder": side, "qformer":
        QFormerConfig(3, 8, 1, 16, 2), "structure_blocks": 0, "dynamics_blocks": 0, "structure_width": 8,
    }  # fmt: skip
    return VidTwinConfig(**{**values, **changes})  # type: ignore[arg-type]


def checkpoint(path: Path, network: VidTwinConfig) -> None:
    """A network of zeros, which take no room."""
    with torch.device("meta"):
        state = VidTwin(network).state_dict()
    sparse = {name: list(tensor.shape) for name, tensor in state.items()}
    values = {"format": "vidtwin", "version": "1", "name": "a", "compute_dtype": "float32", "origin": "a"}
    values |= {"config": json.dumps(network.to_dict()), "sparse": json.dumps(sparse)}
    write_safetensors(path, values, [], [])


def latents(path: Path, layout: LatentLayout, split: list[int]) -> None:
    """Zeros that a compressed archive packs to nothing."""
    video = Description(header(layout), FRAMES * sum(split), tuple(split))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        arrays = {"metadata": np.array(dump({"a": video}))}
        names = ("structure", "dynamics_x", "dynamics_y")
        arrays |= {n: np.zeros((video.clips, 1, *s), np.int8) for n, s in zip(names, video.shapes, strict=True)}
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.save(stream, array)
            archive.writestr(f"{name}.npy", stream.getvalue())


def make(folder: Path) -> list[tuple[list[str], Path]]:
    """Make all files; return the verbs and the file of each run."""
    runs: list[tuple[list[str], Path]] = []
    for name, data in videos().items():
        (folder / f"{name}.vtw").write_bytes(data)
        runs += [([verb], folder / f"{name}.vtw") for verb in ("verify", "info")]
    for name, network in {
        "released": VidTwinConfig(),
        "tokens": config(4, 1, height=1024, width=1024),
        "pixels": config(4, 1, frames=1, height=4096, width=4096, patch_size=128),
        "long": config(4, 1, frames=1024, height=128, width=128),
        "deep": config(16, 8),
        "wide": config(1024, 2),
        "channels": config(16, 1, dynamics_channels=4096),
    }.items():
        checkpoint(folder / f"{name}.safetensors", network)
        runs.append((["weights", "import"], folder / f"{name}.safetensors"))
    cube = LatentLayout((1, 64, 64, 64), (1, FRAMES, 1), (1, FRAMES, 1))
    archives = {"large": (cube, [400]), "allowed": (cube, [25, 25])}
    archives |= {"groups": (TINY, [1] * 100_000), "clips": (TINY, [0xFFFF] * 9)}
    for name, (layout, split) in archives.items():
        latents(folder / f"{name}.npz", layout, split)
        runs.append((["import"], folder / f"{name}.npz"))
    return runs


def measure(verb: list[str], path: Path, target: Path) -> tuple[float, float, float]:
    """Seconds of one core, seconds that passed, and MiB, of a whole process."""
    more = {"weights": ["--output", f"{target}.safetensors", "--force"], "import": [f"{target}.vtw", "--force"]}
    command = [sys.executable, "-m", "vidtwin_codec", *verb, str(path), *more.get(verb[0], [])]
    began = time.monotonic()
    told = subprocess.run([sys.executable, "-c", _MEASURE, *command], capture_output=True, text=True, check=True)
    core, memory = told.stdout.split()
    return float(core), time.monotonic() - began, float(memory) / _unit()


def _unit() -> int:
    return 1 << 20 if sys.platform == "darwin" else 1 << 10


@click.command()
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the files in this folder.")
def main(keep: Path | None) -> None:
    """Make the files and measure the commands on them."""
    with tempfile.TemporaryDirectory() as name:
        folder = keep or Path(name)
        folder.mkdir(exist_ok=True)
        for verb, path in make(folder):
            core, passed, memory = measure(verb, path, Path(name, "made"))
            size = path.stat().st_size
            over = "  OVER" if core > 10 or memory > 1024 else ""
            click.echo(f"{' '.join(verb):15}{path.name:24}{size:9}{core:7.1f}{passed:7.1f} s{memory:7.0f} MiB{over}")


if __name__ == "__main__":
    main()

"""Whole processes: frames a second with start-up, and peak memory, which must not grow with duration.

    python benchmarks/end_to_end.py VIDEO [--seconds 60 --seconds 600] [--size 640x360] [--weights NAME] [--measure]

VIDEO is repeated until it is so long, and scaled to the size. Prints frames a second of `vidtwin encode` and
of `vidtwin decode` to MP4, and the largest resident memory of that process and of the largest ffmpeg beside it.
--measure (slower) does the same for measuring the encoded file with all metrics.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import click

from vidtwin_codec.media import probe
from vidtwin_codec.media.ffmpeg import executable

SCRIPT = """
import atexit, resource, sys
from vidtwin_codec.cli.main import main
def tell():
    usage = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(*usage, file=sys.stderr)
atexit.register(tell)
main()  # as the command runs, with what it sets for the process
"""


class Run(NamedTuple):
    """Of one process: seconds, and MiB of itself and of its largest child."""

    seconds: float
    own: float
    child: float


def run(*arguments: str | Path) -> Run:
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments), "-q"]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Run(time.perf_counter() - began, *(float(value) for value in done.stderr.split()[-2:]))


def repeated(video: Path, target: Path, seconds: int, size: str) -> int:
    """Write ``video`` over and over for so long; the number of frames."""
    scale = f"scale={size.replace('x', ':')},setsar=1"
    loop = [executable(), "-v", "error", "-stream_loop", "-1", "-i", video, "-t", str(seconds), "-vf", scale]
    subprocess.run([*loop, "-c:v", "libx264", "-preset", "veryfast", "-crf", "14", target], check=True)
    frames = probe(target).frames
    assert frames is not None  # an MP4 says
    return frames


@click.command()
@click.argument("video", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seconds", "lengths", type=int, multiple=True, default=(60, 600), show_default=True)
@click.option("--size", default="640x360", show_default=True)
@click.option("--weights", default="mini", show_default=True)
@click.option("--measure", is_flag=True)
def main(video: Path, lengths: tuple[int, ...], size: str, weights: str, measure: bool) -> None:
    if sys.platform == "win32":
        raise SystemExit(f"needs {resource.__name__}, which this platform does not have")
    print("| seconds | verb | frames/s | MiB | ffmpeg, MiB |\n|---:|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for length in lengths:
            source, packed, decoded = (Path(folder, f"{length}.{suffix}") for suffix in ("mp4", "vtw", "out.mp4"))
            frames = repeated(video, source, length, size)
            verbs = {
                "encode": (source, packed, "--weights", weights),
                "decode": (packed, decoded, "--weights", weights),
            }
            if measure:
                verbs["measure"] = (source, packed, "--weights", weights)
            for verb, arguments in verbs.items():
                found = run(verb, *arguments)
                told = f"{frames / found.seconds:.1f} | {found.own:.0f} | {found.child:.0f}"
                print(f"| {length} | {verb} | {told} |", flush=True)


if __name__ == "__main__":
    main()

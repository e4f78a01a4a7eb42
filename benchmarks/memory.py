"""Peak memory of encode, decode and measure against duration: it must not grow.

    python benchmarks/memory.py [SECONDS ...] [--short-side 224] [--measure]

Makes videos of these lengths (default 60 and 600 seconds of 640 x 360 at 25 fps, with sound) from ffmpeg's test
pictures, encodes and decodes each in a process of its own, and prints the largest resident memory of that process and
of the ffmpeg beside it. --measure (slower) does the same for measuring the encoded file with all metrics.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from vidtwin_codec.media.ffmpeg import executable

SCRIPT = """
import resource, sys
from vidtwin_codec.cli.main import cli
cli(sys.argv[1:], standalone_mode=False)
usage = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(*usage, file=sys.stderr)
"""


def peak_mib(*arguments: str | Path) -> list[float]:
    """Largest resident memory of this process and of its largest child, in MiB."""
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments), "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(value) for value in done.stderr.split()[-2:]]


@click.command()
@click.argument("seconds", type=int, nargs=-1)
@click.option("--short-side", default="224", show_default=True)
@click.option("--weights", default="mini", show_default=True)
@click.option("--measure", is_flag=True)
def main(seconds: tuple[int, ...], short_side: str, weights: str, measure: bool) -> None:
    if sys.platform == "win32":
        raise SystemExit(f"needs {resource.__name__}, which this platform does not have")
    print("seconds  encode MiB (ffmpeg)  decode MiB (ffmpeg)" + "  measure MiB (ffmpeg)" * measure)
    with tempfile.TemporaryDirectory() as folder:
        for length in seconds or (60, 600):
            source, packed, decoded = (Path(folder, f"{length}.{suffix}") for suffix in ("mp4", "vtw", "out.mp4"))
            picture = f"testsrc2=size=640x360:rate=25:duration={length}"
            sound = f"sine=frequency=440:duration={length}"
            inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
            subprocess.run([executable(), "-v", "error", *inputs, "-preset", "ultrafast", source], check=True)
            encode = peak_mib("encode", source, packed, "--short-side", short_side, "--weights", weights)
            decode = peak_mib("decode", packed, decoded, "--weights", weights)
            peaks = [encode, decode]
            if measure:
                peaks.append(peak_mib("measure", source, packed, "--weights", weights))
            print(f"{length:7}" + "".join(f"  {own:10.0f} ({child:6.0f})" for own, child in peaks), flush=True)


if __name__ == "__main__":
    main()

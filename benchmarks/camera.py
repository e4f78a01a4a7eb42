"""What following the camera gains: the same frames with and without, and a pan over a picture against x264.

    python benchmarks/camera.py FOLDER [--frames 64] [--quality 25 --quality 40 ...] [--weights NAME|FILE]

The first frames of each video at its own size, without sound. BD values compare the bytes of both ways (headers and
index included) at equal RGB PSNR; a negative rate is bytes saved. *followed* is the share of clips that lie on a canvas
of their own, *time* the time of encoding with it over that without, the second of two runs each.

The second table is of a picture (the first frame of the first video) seen through a window that moves over it: bytes
against those of an x264 medium stream of equal PSNR, tuned for it, with closed GOPs as long as a clip.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import fmean

import click
import numpy as np
from one_gop import CLIP_FRAMES, CRFS, mean_psnr

from vidtwin_codec import weights as known_weights
from vidtwin_codec.decoding.decoder import Decoder
from vidtwin_codec.encoding.encode import encode
from vidtwin_codec.encoding.encoder import EncodeJob, Encoder
from vidtwin_codec.encoding.rate.spool import LatentSpool
from vidtwin_codec.encoding.writing import write_vtw
from vidtwin_codec.evaluation.compare.bd import delta
from vidtwin_codec.evaluation.compare.codecs import CODECS, Gop
from vidtwin_codec.evaluation.compare.reference import Reference, prepare
from vidtwin_codec.evaluation.compare.results import Point
from vidtwin_codec.evaluation.compare.sources import find_videos
from vidtwin_codec.evaluation.compare.streams import decode_stream, encode_stream
from vidtwin_codec.media import FrameReader, probe
from vidtwin_codec.media.excerpt import write_lossless
from vidtwin_codec.network.runner import NetworkCache
from vidtwin_codec.options import DecodeOptions, EncodeOptions

STEP = 3
"""Pixels a frame that the window moves to the side."""


class Way:
    """One video, followed or not: through the network once, then at any quality."""

    def __init__(
        self, reference: Reference, folder: Path, weights: str, networks: NetworkCache, *, camera: bool
    ) -> None:
        self._reference, self._folder, self._networks = reference, folder, networks
        self._options = EncodeOptions(weights=weights, audio="none", camera=camera, force=True)
        entry = known_weights.resolve(weights)
        network = networks.load(entry, self._options, "encoder")
        self._encoder = Encoder(EncodeJob(probe(reference.rgb), network, entry, self._options))
        self._spool = LatentSpool(folder / f"latents-{camera}", self._encoder)
        clips = followed = 0
        for piece in self._spool.keeping(self._encoder.pieces()):
            clips += piece.span.clips
            followed += piece.placement is not None
        self.followed = followed / clips

    def seconds(self) -> float:
        """What encoding takes at the default quality."""
        began = time.perf_counter()
        encode(self._reference.rgb, self._folder / "timed.vtw", self._options, load=self._networks.load)
        return time.perf_counter() - began

    def point(self, quality: float) -> Point:
        packed = self._folder / "x.vtw"
        with packed.open("wb") as stream:
            size = write_vtw(stream, self._encoder, self._spool, quality=quality).video_bytes
        network = DecodeOptions(weights=self._options.weights)
        with Decoder(packed, network, load=self._networks.load) as decoder:
            found = mean_psnr(self._reference, list(decoder.frames()))
        return point(self._reference, f"quality {quality:g}", size, found)


def point(reference: Reference, setting: str, size: int, found: float) -> Point:
    """Of a curve; nothing is timed."""
    kbps = 8 * size / 1000 * float(reference.fps) / reference.frames
    return Point(setting, size, 8 * size / reference.pixels, kbps, {"psnr": found}, 0.0, 0.0)


def pan(video: str, target: Path, count: int) -> Path:
    """A window of two thirds of a picture that moves over it, to and fro, as a lossless video."""
    info = probe(video)
    with FrameReader(info, max_frames=1) as reader:
        (picture,) = reader.read(1)
    height, width = (side * 2 // 3 // 2 * 2 for side in picture.shape[:2])
    reach = picture.shape[1] - width
    across = np.abs((np.arange(count) * STEP + reach) % (2 * reach) - reach)
    down = across * (picture.shape[0] - height) // reach
    shown = np.stack([picture[y : y + height, x : x + width] for y, x in zip(down, across, strict=True)])
    write_lossless([shown], target, width=width, height=height, fps=info.fps)
    return target


def x264_curve(reference: Reference, folder: Path) -> list[Point]:
    codec, points = CODECS["x264"], []
    for crf in CRFS:
        made = encode_stream(
            *(codec, reference, folder / f"{crf}.264"),
            **{"preset": "medium", "gop": Gop.CLIP, "clip_frames": CLIP_FRAMES, "crf": float(crf)},
        )
        found = mean_psnr(reference, list(decode_stream(codec, made.path, reference)))
        points.append(point(reference, f"CRF {crf}", made.bytes, found))
    return points


def show(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


@click.command()
@click.argument("folder", type=click.Path(exists=True))
@click.option("--frames", default=64, show_default=True)
@click.option("--weights", default="mini", show_default=True)
@click.option("--quality", "qualities", multiple=True, type=float, default=(20, 35, 50, 65, 80), show_default=True)
@click.option("--time/--no-time", "timed", default=True, show_default=True)
def main(folder: str, frames: int, weights: str, qualities: tuple[float, ...], timed: bool) -> None:
    entry, networks, videos = known_weights.resolve(weights), NetworkCache(), find_videos([folder])
    print(f"weights {entry.name} {entry.sha256[:12]}\n")
    show("video", "followed", "BD-rate", "BD-PSNR", "time")
    show("---", "---:", "---:", "---:", "---:")
    rates, gains = [], []
    for video in videos:
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary)
            reference = prepare(video, work, frames=frames, seconds=1)
            followed, still = (Way(reference, work, weights, networks, camera=camera) for camera in (True, False))
            if not followed.followed:
                rates.append(0.0)
                gains.append(0.0)
                show(Path(video).stem[:24], "0 %", "0", "0", "")
                continue
            curves = [[way.point(quality) for quality in qualities] for way in (still, followed)]
            found = delta(*curves, "psnr")
            ratio = ""
            if timed:
                seconds = [[way.seconds() for _ in range(2)][-1] for way in (followed, still)]
                ratio = f"{seconds[0] / seconds[1]:.2f}"
            if found.rate is None or found.quality is None:
                show(Path(video).stem[:24], f"{100 * followed.followed:.0f} %", found.reason, "", ratio)
                continue
            rates.append(found.rate)
            gains.append(found.quality)
            values = (f"{100 * followed.followed:.0f} %", f"{found.rate:+.1f} %", f"{found.quality:+.2f} dB", ratio)
            show(Path(video).stem[:24], *values)
    show("**mean**", "", f"{fmean(rates):+.1f} %", f"{fmean(gains):+.2f} dB", "")
    print("\nA window that moves over a picture, against x264 with closed GOPs:\n")
    show("way", "BD-rate", "BD-PSNR", "followed")
    show("---", "---:", "---:", "---:")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        reference = prepare(pan(str(videos[0]), work / "pan.mkv", frames), work, frames=frames, seconds=1)
        anchor = x264_curve(reference, work)
        for name, camera in (("followed", True), ("not followed", False)):
            way = Way(reference, work, weights, networks, camera=camera)
            found = delta(anchor, [way.point(quality) for quality in qualities], "psnr")
            rate = "no overlap" if found.rate is None else f"{found.rate:+.0f} %"
            gain = "" if found.quality is None else f"{found.quality:+.2f} dB"
            show(name, rate, gain, f"{100 * way.followed:.0f} %")


if __name__ == "__main__":
    main()

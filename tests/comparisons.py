"""Made-up comparisons: curves of a known shape, for the tests of deltas and of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vidtwin_codec.evaluation.compare.results import VIDTWIN, Clip, Comparison, Point, Series, Variant

SEQUENCE, CLIP = Variant("medium", "sequence"), Variant("medium", "clip")
WIDTH, HEIGHT, FRAMES = 96, 64, 32


def point(size: int, psnr: float, setting: str = "", short_side: int | None = None) -> Point:
    """A point whose SSIM and VMAF follow from its PSNR."""
    metrics: dict[str, float | None] = {"psnr": psnr, "psnr_y": psnr + 1, "ssim": 1 - 10 / psnr**2, "vmaf": 2 * psnr}
    bits = 8 * size / (WIDTH * HEIGHT * FRAMES)
    return Point(setting or f"CRF {size}", size, bits, 8 * size / 1280, metrics, 2.0, 0.5, short_side)


def curve(sizes: Sequence[int], at_1000: float, slope: float = 2.0) -> list[Point]:
    """PSNR ``at_1000`` bytes, rising by ``slope`` with every doubling."""
    return [point(size, at_1000 + slope * math.log2(size / 1000)) for size in sizes]


def ladder(sizes: Sequence[int], at_1000: float) -> Series:
    """vidtwin's series: a native ladder, and one of half the size that is worth it at the low end only."""
    native = [
        point(p.bytes, p.metrics["psnr"] or 0, f"quality {q * 20}", HEIGHT)
        for q, p in enumerate(curve(sizes, at_1000), 1)
    ]
    small = [
        point(size // 2, at_1000 - 1 + 0.5 * q, f"quality {q * 20}, 32 px", 32) for q, size in enumerate(sizes[:3], 1)
    ]
    points = sorted([*native, *small], key=lambda p: p.bytes)
    return Series(VIDTWIN, VIDTWIN, None, points, points.index(native[2]), views=views(0))


def views(shade: int) -> list[np.ndarray]:
    """Three frames, each of one colour that tells it from the others."""
    frames = np.zeros((3, HEIGHT, WIDTH, 3), np.uint8)
    for number, frame in enumerate(frames):
        frame[:] = (60 * number + 60, shade, 128)
    return list(frames)


def clip(name: str, ahead: float) -> Clip:
    """x264 behind vidtwin by one dB, x265 ``ahead`` of it; with short GOPs both a dB worse."""
    sizes = [500, 1000, 2000, 4000, 8000]
    others = []
    for codec, gain in (("x264", -1.0), ("x265", ahead)):
        for variant, loss in ((SEQUENCE, 0.0), (CLIP, 1.0)):
            points = curve([600, 1000, 2000, 4000, 8000], 25 + gain - loss)
            others.append(Series(codec, codec, variant, points, 2, views=views(100 if codec == "x264" else 200)))
    others[0].notes.append("takes 600 bytes even at its coarsest setting; vidtwin's smallest takes 250")
    return Clip(name, WIDTH, HEIGHT, FRAMES, "25", ladder(sizes, 25), others, view_frames=[5, 16, 26], views=views(50))


def comparison(*clips: Clip) -> Comparison:
    """x264 and x265 on these clips, or on two of our own."""
    codecs = {"x264": "x264", "x265": "x265"}
    settings = {label: {v.key: "-c:v lib… -crf CRF" for v in (SEQUENCE, CLIP)} for label in codecs.values()}
    used = {"vidtwin": "0", "weights": "micro", "device": "cpu float32", "ffmpeg": "n0", "processor": "CPU, 2 cores"}
    return Comparison(
        clips=list(clips) or [clip("one.mp4", 3.0), clip("two.mp4", 2.0)],
        codecs=codecs,
        variants=[SEQUENCE, CLIP],
        missing={"VVenC": "this ffmpeg was built without libvvenc"},
        failed={},
        settings=settings,
        clip_frames=16,
        excerpt="32 frames",
        used=used,
    )

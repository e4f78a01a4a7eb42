"""Each metric against another program on the same frames, and what is said where there is none."""

from __future__ import annotations

import re
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from media_samples import running_ffmpeg
from metric_samples import ffmpeg_says, libvmaf_says, picture, worsened
from pytorch_msssim import ms_ssim as library_ms_ssim
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from vidtwin_codec.media import MediaInfo, probe
from vidtwin_codec.media.color import luma_matrix
from vidtwin_codec.metrics import (
    METRICS,
    ClipBoundaries,
    FilterMeter,
    Frames,
    MetricSet,
    PsnrMeter,
    Scores,
    luma,
    ms_ssim,
    psnr,
    psnr_y,
    ssim,
    why_not,
)

TOLERANCE = 1e-3
LPIPS_REFERENCE = [0.00412726541981101, 0.005019372329115868]
"""The lpips package, 0.1.4, on these frames, with the stand-in for torchvision that the test uses."""


@pytest.mark.parametrize("size", [(24, 40), (61, 33)])
def test_psnr_is_that_of_scikit_image(size: tuple[int, int]) -> None:
    reference = picture(3, *size)
    decoded = worsened(reference)
    expected = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(reference, decoded, strict=True)]
    assert psnr(reference, decoded) == pytest.approx(expected, abs=TOLERANCE)
    assert psnr(reference, reference) == pytest.approx(80)


def test_psnr_sees_what_rounding_hides() -> None:
    reference = picture(1, 16, 16) // 2 + 50  # away from the ends, where values are clipped
    exact = (reference / np.float32(255)).astype(np.float32)
    assert psnr(reference, exact) == pytest.approx(80)
    assert psnr(reference, exact + np.float32(0.001)) == pytest.approx(-10 * np.log10(1e-6 + 1e-8), abs=TOLERANCE)
    assert psnr_y(reference, exact + np.float32(0.001)) == pytest.approx(100)


def test_luma_psnr_is_that_of_ffmpeg(tmp_path: Path) -> None:
    reference = picture(3, 50, 66)
    decoded = worsened(reference)
    lines = ffmpeg_says(tmp_path, reference, decoded, "psnr=stats_file=-")[0].splitlines()
    expected = [10 * np.log10(255**2 / float(found[1])) for line in lines if (found := re.search(r"mse_y:(\S+)", line))]
    # ffmpeg prints the error with two digits
    assert psnr_y(reference, decoded) == pytest.approx(expected, abs=TOLERANCE)
    assert psnr_y(reference, decoded) == pytest.approx(
        libvmaf_says(tmp_path, reference, decoded, "psnr_y", "psnr"), abs=1e-5
    )


@pytest.mark.parametrize("matrix", ["bt709", "bt601", "bt2020"])
def test_luma_is_that_of_swscale(matrix: str) -> None:
    from media_samples import ffmpeg

    frames = picture(2, 32, 48)
    scale = f"scale=out_color_matrix={matrix}:out_range=limited:flags=accurate_rnd+full_chroma_int,format=yuv444p"
    given = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "48x32", "-i", "-")
    raw = ffmpeg(*given, "-vf", scale, "-f", "rawvideo", "-", data=frames.tobytes())
    expected = np.frombuffer(raw, np.uint8).reshape(2, 3, 32, 48)[:, 0].astype(int)
    assert np.abs(luma(frames, matrix) - expected).max() <= 1
    assert np.mean(luma(frames, matrix) != expected) < 0.02


@pytest.mark.parametrize("size", [(24, 40), (61, 33), (11, 11)])
def test_ssim_is_that_of_scikit_image(size: tuple[int, int]) -> None:
    reference = picture(3, *size)
    decoded = worsened(reference)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    pairs = zip(reference, decoded, strict=True)
    expected = [structural_similarity(a, b, channel_axis=-1, **settings) for a, b in pairs]
    assert ssim(reference, decoded) == pytest.approx(expected, abs=1e-5)
    assert ssim(reference, reference) == pytest.approx(1)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_ssim_of_flat_frames_keeps_its_digits(level: int) -> None:
    reference = np.full((1, 32, 32, 3), level, np.uint8)
    decoded = reference + np.uint8(3) if level == 0 else reference - np.uint8(3)
    expected = structural_similarity(
        reference[0], decoded[0], channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(reference, decoded) == pytest.approx([expected], abs=1e-5)


def test_ssim_is_that_of_libvmaf(tmp_path: Path) -> None:
    reference = picture(2, 176, 208)
    decoded = worsened(reference)
    grey = [np.repeat(luma(frames)[..., None], 3, axis=-1) for frames in (reference, decoded)]
    assert ssim(*grey) == pytest.approx(libvmaf_says(tmp_path, reference, decoded, "float_ssim"), abs=TOLERANCE)
    # libvmaf halves through a longer filter
    assert ms_ssim(*grey) == pytest.approx(libvmaf_says(tmp_path, reference, decoded, "float_ms_ssim"), abs=5e-3)


def test_ms_ssim_is_that_of_pytorch_msssim() -> None:
    reference = picture(2, 176, 192)
    decoded = worsened(reference)
    planes = [torch.from_numpy(frames).permute(0, 3, 1, 2).double() for frames in (reference, decoded)]
    expected = library_ms_ssim(*planes, data_range=255, size_average=False).tolist()
    assert ms_ssim(reference, decoded) == pytest.approx(expected, abs=1e-5)
    assert ms_ssim(reference, reference) == pytest.approx(1)
    assert ms_ssim(reference, 255 - reference).min() >= 0


def test_an_odd_side_is_halved_with_its_last_pixel_repeated() -> None:
    whole = picture(1, 176, 192)
    whole[:, -1] = whole[:, -2]
    decoded = worsened(whole)
    decoded[:, -1] = decoded[:, -2]
    # all scales but the finest are those of the even frame
    odd, even = ms_ssim(whole[:, :-1], decoded[:, :-1]), ms_ssim(whole, decoded)
    assert odd == pytest.approx(even, abs=3e-4)


@pytest.mark.parametrize("size", [(48, 80), (61, 45)])
def test_vmaf_and_xpsnr_are_those_of_two_files(tmp_path: Path, size: tuple[int, int]) -> None:
    reference = picture(5, *size)
    decoded = worsened(reference)
    with FilterMeter(("vmaf", "xpsnr"), size[1], size[0]) as meter:
        meter.add(reference[:2], decoded[:2])
        meter.add(reference[2:], decoded[2:])
        found = meter.finish()
    for name, graph, told in (("vmaf", "libvmaf", r"VMAF score: (\S+)"), ("xpsnr", "xpsnr", r"y: (\S+)")):
        expected = re.findall(told, ffmpeg_says(tmp_path, reference, decoded, graph)[1])[-1]
        assert found[name] == pytest.approx(float(expected), abs=TOLERANCE)
    assert 0 < found["vmaf"] < 95  # type: ignore[operator]


def test_identical_frames_have_finite_xpsnr() -> None:
    frames = picture(2, 48, 66)
    with FilterMeter(("xpsnr",), 66, 48, fps=Fraction(30000, 1001)) as meter:
        meter.add(frames, frames)
        assert meter.finish() == {"xpsnr": 100}


def test_a_filter_that_dies_gives_a_reason_and_no_error() -> None:
    frames = picture(2, 48, 66)
    with FilterMeter(("vmaf",), 66, 48) as meter:
        meter.add(frames, frames)
        child = running_ffmpeg()
        child.kill()
        while child.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        meter.add(frames, frames)
        assert "libvmaf gave no result" in str(meter.finish()["vmaf"])


def lpips_scores(reference: Frames, decoded: Frames) -> Scores:
    with MetricSet(("lpips",), reference.shape[2], reference.shape[1]) as metrics:
        metrics.add(reference, decoded)
        return metrics.finish()


def use_torchvision(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``torchvision`` imported from a folder, and torchmetrics look for it again."""
    for name in list(sys.modules):
        if name.partition(".")[0] in {"torchvision", "torchmetrics"}:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(folder)


def test_lpips_is_that_of_its_authors_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    frames = picture(2, 67, 90)
    scores = lpips_scores(frames, worsened(frames))
    assert scores.means == {"lpips": None}
    assert scores.reasons == {"lpips": "torchvision is not installed: pip install 'vidtwin-codec[lpips]'"}

    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms\\ndoes not exist')")
    use_torchvision(tmp_path, monkeypatch)
    reason = lpips_scores(frames, frames).reasons["lpips"]
    assert "AlexNet does not load" in reason
    assert "operator torchvision::nms does not exist" in reason

    use_torchvision(Path(__file__).parent / "stand_ins", monkeypatch)
    scores = lpips_scores(frames, worsened(frames))
    assert scores.per_frame["lpips"] == pytest.approx(LPIPS_REFERENCE, rel=1e-4)
    assert lpips_scores(frames, frames).means == {"lpips": 0}


def test_pieces_do_not_matter() -> None:
    reference = picture(5, 170, 180)
    decoded = worsened(reference)
    found = []
    for cut in (1, 5):
        with MetricSet([name for name in METRICS if name != "lpips"], 180, 170) as metrics:
            metrics.add(reference[:cut], decoded[:cut])
            if cut < 5:
                metrics.add(reference[cut:], decoded[cut:])
            found.append(metrics.finish())
    assert found[0].frames == found[1].frames == 5
    assert found[0].means == pytest.approx(found[1].means)
    assert None not in found[0].means.values()
    assert found[0].means["ssim"] == pytest.approx(float(ssim(reference, decoded).mean()))
    assert found[0].per_frame["psnr"] == pytest.approx(psnr(reference, decoded))
    meter = PsnrMeter()
    meter.add(reference, decoded)
    assert meter.mean == pytest.approx(found[0].means["psnr"])


@pytest.mark.parametrize(
    ("size", "possible"),
    [
        ((10, 400), {"psnr", "psnr_y"}),
        ((11, 11), {"psnr", "psnr_y", "ssim"}),
        ((32, 32), {"psnr", "psnr_y", "ssim", "vmaf", "xpsnr"}),
        ((160, 161), {"psnr", "psnr_y", "ssim", "vmaf", "xpsnr"}),
        ((161, 161), {"psnr", "psnr_y", "ssim", "ms_ssim", "vmaf", "xpsnr"}),
    ],
)
def test_small_frames_have_fewer_metrics_and_reasons(size: tuple[int, int], possible: set[str]) -> None:
    frames = picture(1, *size)
    with MetricSet(METRICS, size[1], size[0]) as metrics:
        metrics.add(frames, frames)
        scores = metrics.finish()
    assert {name for name, value in scores.means.items() if value is not None} == possible
    assert set(scores.reasons) == set(METRICS) - possible
    assert all("too small" in reason or "not installed" in reason for reason in scores.reasons.values())


def test_a_filter_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidtwin_codec.metrics.filters.has_filters", lambda *names: "libvmaf" not in names)
    assert why_not("vmaf", 64, 64) == "this ffmpeg was built without the filter libvmaf"
    assert why_not("xpsnr", 64, 64) is None
    with MetricSet(("vmaf", "psnr"), 64, 64) as metrics:
        frames = picture(1, 64, 64)
        metrics.add(frames, frames)
        assert metrics.finish().means == {"vmaf": None, "psnr": pytest.approx(80)}


def test_what_cannot_be_compared_is_refused() -> None:
    frames = picture(2, 40, 48)
    for metric in (psnr, psnr_y, ssim, ms_ssim):
        with pytest.raises(ValueError, match="cannot be compared"):
            metric(frames, frames[:1])
    with pytest.raises(ValueError, match="shorter than 11"):
        ssim(frames[:, :10], frames[:, :10])
    with pytest.raises(ValueError, match="shorter than 161"):
        ms_ssim(frames, frames)
    with pytest.raises(ValueError, match="no metric is called sharpness"):
        MetricSet(("sharpness",), 48, 40)
    with MetricSet(("psnr",), 40, 48) as metrics:
        with pytest.raises(ValueError, match="size announced"):
            metrics.add(frames, frames)
        with pytest.raises(ValueError, match="no frames"):
            metrics.finish()


def test_clip_boundaries() -> None:
    values = np.tile([20.0, 30, 40, 30, 30, 50, 30, 26], 2)
    found = ClipBoundaries.of(np.append(values, 99), 8)  # the last one is of no whole clip
    assert found == ClipBoundaries(ends=23, middle=30)
    assert found.drop == 7
    assert ClipBoundaries.of(values[:5], 5) == ClipBoundaries(ends=25, middle=40)
    assert ClipBoundaries.of(values[:7], 8) is None
    assert ClipBoundaries.of(values, 3) is None


@pytest.mark.parametrize(("tag", "matrix"), [("smpte170m", "bt601"), ("bt709", "bt709"), ("bt2020nc", "bt2020")])
def test_luma_is_made_by_the_matrix_of_the_file(tmp_path: Path, tag: str, matrix: str) -> None:
    from media_samples import bars

    info: MediaInfo = probe(bars(tmp_path / "bars.mkv", tag, full=False, size=(64, 48)))
    assert luma_matrix(info) == matrix


def test_luma_of_rgb_is_that_of_bt709(tmp_path: Path) -> None:
    from media_samples import lavfi

    assert luma_matrix(probe(lavfi(tmp_path / "rgb.mkv", "-c:v", "ffv1", "-pix_fmt", "gbrp"))) == "bt709"

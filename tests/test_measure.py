"""``vidtwin measure``: a video against its .vtw, or through the network alone."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeVideo
from media_samples import ffmpeg, read_all, write_all
from numpy.typing import NDArray

from vidtwin_codec import (
    DecodeOptions,
    EncodeOptions,
    MeasureOptions,
    Reporter,
    VidtwinError,
    decode_frames,
    encode,
    measure,
)
from vidtwin_codec.evaluation.measure.options import KEYS
from vidtwin_codec.evaluation.measure.run import MeasureJob, pair, summarize
from vidtwin_codec.evaluation.measure.side_by_side import panels
from vidtwin_codec.media import OutputOptions, probe
from vidtwin_codec.metrics import psnr, psnr_y, ssim
from vidtwin_codec.model import load_checkpoint
from vidtwin_codec.network.cropping import covering_size, scale_and_crop

QUICK = ("psnr", "psnr_y", "ssim")


@pytest.fixture
def options(micro_weights: Path) -> MeasureOptions:
    return MeasureOptions(weights=str(micro_weights), metrics=QUICK, audio="none", batch=4)


def decoded(packed: Path, weights: Path) -> NDArray[np.uint8]:
    return np.concatenate(list(decode_frames(packed, DecodeOptions(weights=str(weights)))))


@pytest.mark.parametrize(("size", "frames"), [("40x36", 10), ("33x75", 4), ("64x20", 1)])
def test_a_vtw_is_compared_frame_by_frame(
    make_video: MakeVideo, micro_weights: Path, tmp_path: Path, options: MeasureOptions, size: str, frames: int
) -> None:
    source, packed = make_video("in.mp4", size=size, frames=frames, audio=True), tmp_path / "a.vtw"
    result = encode(source, packed, EncodeOptions(weights=str(micro_weights), quality=60))
    reference, ours = read_all(source), decoded(packed, micro_weights)
    expected = {"psnr": psnr, "psnr_y": lambda a, b: psnr_y(a, b, "bt601"), "ssim": ssim}
    found = measure(source, packed, options).to_json()
    for name, metric in expected.items():
        assert found[name] == pytest.approx(float(metric(reference, ours).mean()), abs=1e-6)
    assert found["luma_matrix"] == "bt601"  # small and untagged
    same = {name: value for name, value in result.to_json().items() if name in KEYS and name not in ("seconds", "fps")}
    assert {name: found[name] for name in same} == {**same, "source": str(source), "output": str(packed)}
    assert (found["fps"], found["quality"], found["short_side"]) == ("25", 60, None)
    assert tuple(found) == KEYS


def test_without_a_vtw_one_is_made_and_forgotten(
    make_video: MakeVideo, tmp_path: Path, options: MeasureOptions, micro_weights: Path
) -> None:
    source = make_video("in.mp4", frames=9)
    before = sorted(tmp_path.iterdir())
    stages: list[tuple[int | None, str]] = []
    given = dataclasses.replace(options, quality=40, short_side=18)
    found = measure(source, None, given, reporter=Reporter(started=lambda *said: stages.append(said)))
    assert sorted(tmp_path.iterdir()) == before
    assert stages == [(9, "encoding on cpu float32"), (9, "comparing on cpu float32")]
    packed = tmp_path / "a.vtw"
    encode(source, packed, EncodeOptions(weights=str(micro_weights), quality=40, short_side=18, audio="none"))
    again = measure(source, packed, options)
    assert (found.output, again.output) == (None, str(packed))
    kept = set(KEYS) - {"seconds", "output"}
    first, second = found.to_json(), again.to_json()
    assert {name: first[name] for name in kept} == {name: second[name] for name in kept}
    # what the network saw was smaller; what is compared is not
    assert (found.width, found.height, found.short_side) == (40, 36, 18)


def test_resampled_frames_are_compared_with_resampled_ones(make_video: MakeVideo, options: MeasureOptions) -> None:
    source = make_video("in.mp4", rate="30", frames=12)
    found = measure(source, None, dataclasses.replace(options, fps=Fraction(15)))
    assert (found.frames, found.fps, found.duration) == (6, 15, pytest.approx(0.4))


def test_images_are_compared_one_by_one(tmp_path: Path, make_video: MakeVideo, options: MeasureOptions) -> None:
    ffmpeg("-i", make_video("in.mp4", frames=5), tmp_path / "%03d.png")
    found = measure(tmp_path / "%03d.png", None, dataclasses.replace(options, fps=Fraction(10)))
    assert (found.frames, found.fps) == (5, 10)


def test_a_vtw_of_another_video_is_refused(
    make_video: MakeVideo, micro_weights: Path, tmp_path: Path, options: MeasureOptions
) -> None:
    packed = tmp_path / "a.vtw"
    encode(make_video("in.mp4", frames=6), packed, EncodeOptions(weights=str(micro_weights)))
    for other, said in (
        (make_video("wide.mp4", size="44x36", frames=6), "40 x 36, those of .* 44 x 36"),
        (make_video("short.mp4", frames=5), "has 6 frames, .*short.mp4 only 5"),
        (make_video("long.mp4", frames=7), "has 6 frames, .*long.mp4 has more"),
    ):
        with pytest.raises(VidtwinError, match=said):
            measure(other, packed, options)


def test_every_null_has_its_reason(make_video: MakeVideo, options: MeasureOptions) -> None:
    source = make_video("in.mp4", size="20x10", frames=3)
    found = measure(source, None, dataclasses.replace(options, metrics=("psnr", "ssim", "vmaf"))).to_json()
    empty = {name for name, value in found.items() if value is None} - {"output", "short_side"}
    assert empty == set(found["reasons"])
    assert "too small" in found["reasons"]["vmaf"]
    assert found["reasons"]["ms_ssim"] == "not asked for"
    assert "whole clip" in found["reasons"]["clip_boundary_drop"]


def test_clip_boundaries_come_from_the_clips(
    make_video: MakeVideo, micro_weights: Path, tmp_path: Path, options: MeasureOptions
) -> None:
    source, packed = make_video("in.mp4", frames=10), tmp_path / "a.vtw"
    encode(source, packed, EncodeOptions(weights=str(micro_weights)))
    values = psnr(read_all(source), decoded(packed, micro_weights))
    found = measure(source, packed, options).to_json()
    assert found["clips"] == 3
    assert found["psnr_clip_ends"] == pytest.approx(values[[0, 3, 4, 7]].mean())
    assert found["psnr_clip_middle"] == pytest.approx(values[[1, 2, 5, 6]].mean())
    assert found["clip_boundary_drop"] == pytest.approx(found["psnr_clip_middle"] - found["psnr_clip_ends"])


@torch.inference_mode()
def test_the_papers_protocol_step_by_step(make_video: MakeVideo, micro_weights: Path, options: MeasureOptions) -> None:
    # every second of 20 frames, the ends of ten: two clips of four, and two frames with the last one repeated
    source = make_video("in.mp4", size="96x64", rate="50", frames=20)
    frames = read_all(source)
    found = measure(source, None, dataclasses.replace(options, protocol="vidtwin"))
    assert (found.frames, found.clips, found.fps, found.width, found.height) == (10, 3, 25, 32, 32)
    chosen = [frames[first : first + 20 : 2] for first in (0, 1)]
    model, values = load_checkpoint(micro_weights), []
    for taken in chosen:
        padded = torch.from_numpy(np.concatenate([taken, taken[[-1, -1]]])).permute(0, 3, 1, 2)
        scaled = torch.nn.functional.interpolate(padded, (32, 48), mode="bilinear", antialias=True)[..., 8:40]
        clips = scaled.unflatten(0, (3, 4)).transpose(1, 2).float() / 255
        error = (model.decode(model.encode(clips * 2 - 1)).clamp(-1, 1) / 2 + 0.5 - clips).square()
        values.append(float((-10 * torch.log10(error.mean(dim=(1, 3, 4)) + 1e-8)).mean()))
    # which one of two ffmpeg takes is its own affair
    assert min(abs(found.scores.means["psnr"] - value) for value in values) < 1e-4  # type: ignore[operator]
    assert found.to_json()["reasons"]["video_bytes"] == "the vidtwin protocol packs no bytes"


@pytest.mark.parametrize("size", [(64, 96), (96, 64), (20, 48), (32, 32), (33, 32)])
def test_scaled_and_cropped_frames_are_the_centre(size: tuple[int, int]) -> None:
    height, width = size
    ramp = np.empty((1, height, width, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.linspace(0, 255, width), np.linspace(0, 255, height)[:, None]
    ramp[..., 2] = 7
    out = scale_and_crop(torch.from_numpy(ramp), (32, 32)).numpy()
    assert out.shape == (1, 32, 32, 3)
    assert out.flags["C_CONTIGUOUS"]
    assert abs(out[..., 0].mean() - 127.5) < 5
    assert abs(out[..., 1].mean() - 127.5) < 5
    short = min(height, width)
    span = 255 * (short / width, short / height)[0] * 31 / 32
    assert int(out[0, 16, -1, 0]) - int(out[0, 16, 0, 0]) == pytest.approx(span, abs=8)
    assert (out[..., 2] == 7).all()


def test_frames_are_scaled_by_an_exact_ratio() -> None:
    # 402 · 224 / 384 is 234.5, which rounds to even; in floats it is a little more
    assert covering_size((384, 402), (224, 224)) == (224, 234)
    assert covering_size((1080, 1920), (224, 224)) == (224, 398)
    assert covering_size((10, 7), (224, 224)) == (320, 224)


def test_side_by_side_shows_source_decoded_and_difference(
    make_video: MakeVideo, micro_weights: Path, tmp_path: Path, options: MeasureOptions
) -> None:
    source, packed, shown = make_video("in.mp4", frames=6), tmp_path / "a.vtw", tmp_path / "shown.mkv"
    encode(source, packed, EncodeOptions(weights=str(micro_weights)))
    measure(source, packed, dataclasses.replace(options, side_by_side=str(shown)))
    assert (probe(shown).width, probe(shown).height, probe(shown).frames) == (120, 36, 6)
    reference, ours = read_all(source), decoded(packed, micro_weights)
    exact = write_all(tmp_path / "exact.mkv", panels(reference, ours), options=OutputOptions(codec="libx264"))
    assert np.abs(read_all(shown).astype(int) - read_all(exact)).max() <= 2
    with pytest.raises(VidtwinError, match="already exists"):
        measure(source, packed, dataclasses.replace(options, side_by_side=str(shown)))
    with pytest.raises(VidtwinError, match="same file"):
        measure(source, packed, dataclasses.replace(options, side_by_side=str(source), force=True))


def test_panels() -> None:
    one, other = np.full((2, 3, 4, 3), 100, np.uint8), np.full((2, 3, 4, 3), 90, np.uint8)
    shown = panels(one, other)
    assert shown.shape == (2, 3, 12, 3)
    assert [int(shown[0, 0, column, 0]) for column in (0, 4, 8)] == [100, 90, 88]
    assert panels(one, one + np.uint8(100))[0, 0, 8, 0] == 255


def test_a_failed_measurement_leaves_no_side_by_side(
    make_video: MakeVideo, micro_weights: Path, tmp_path: Path, options: MeasureOptions
) -> None:
    packed = tmp_path / "a.vtw"
    encode(make_video("in.mp4", frames=6), packed, EncodeOptions(weights=str(micro_weights)))
    other = make_video("short.mp4", frames=5)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(VidtwinError, match="only 5"):
        measure(other, packed, dataclasses.replace(options, side_by_side=str(tmp_path / "shown.mp4")))
    assert sorted(tmp_path.iterdir()) == before


def test_pairs(tmp_path: Path) -> None:
    clips, packed = tmp_path / "clips", tmp_path / "packed"
    for name in ("a.mp4", "deep/b.mkv", "c.mov", "notes.txt"):
        (clips / name).parent.mkdir(parents=True, exist_ok=True)
        (clips / name).touch()
    packed.mkdir()
    for name in ("a.vtw", "b.vtw"):
        (packed / name).touch()
    said: list[str] = []
    videos = [str(clips / name) for name in ("a.mp4", "c.mov", "deep/b.mkv")]
    assert pair(str(clips), []) == [MeasureJob(video, None) for video in videos]
    assert pair(videos[0], []) == [MeasureJob(videos[0], None)]
    files = [str(packed / name) for name in ("a.vtw", "b.vtw")]
    assert pair(videos[0], files[::-1]) == [MeasureJob(videos[0], file) for file in files[::-1]]
    expected = [MeasureJob(videos[0], files[0]), MeasureJob(videos[2], files[1])]
    assert pair(str(clips), [str(packed)], said.append) == pair(str(clips), files) == expected
    assert said == ["1 of 3 videos have no .vtw and are left out"]
    (packed / "d.vtw").touch()
    with pytest.raises(VidtwinError, match=r"d\.vtw: no video is called d"):
        pair(str(clips), [str(packed)])
    (clips / "a.webm").touch()
    with pytest.raises(VidtwinError, match="2 videos are called a"):
        pair(str(clips), files[:1])
    with pytest.raises(VidtwinError, match="no videos in it"):
        pair(str(packed), [])
    with pytest.raises(VidtwinError, match=r"no \.vtw files in it"):
        pair(str(clips), [str(clips)])


def test_the_set_adds_counts_and_averages_metrics(make_video: MakeVideo, options: MeasureOptions) -> None:
    files = [make_video("a.mp4", frames=4), make_video("b.mp4", size="10x50", frames=12)]
    measured = [measure(file, None, options) for file in files]
    each = [one.to_json() for one in measured]
    found = summarize("clips", measured)
    assert set(found) == set(KEYS)
    assert (found["source"], found["files"], found["frames"], found["width"], found["fps"]) == (
        *("clips", 2, 16, None),
        "25",
    )
    assert found["video_bytes"] == sum(one["video_bytes"] for one in each)
    assert found["compression_ratio"] == pytest.approx(found["raw_bytes"] / found["video_bytes"])
    assert found["psnr"] == pytest.approx((each[0]["psnr"] + each[1]["psnr"]) / 2)
    assert found["ssim"] == each[0]["ssim"]  # ten pixels are too few
    assert found["reasons"]["ssim"].startswith("1 of 2 files are left out: frames of 10 x 50")
    assert found["reasons"]["vmaf"] == "not asked for"
    paper = [measure(files[0], None, dataclasses.replace(options, protocol="vidtwin"))] * 2
    assert summarize("clips", paper)["reasons"]["kbps"] == "the vidtwin protocol packs no bytes"


def test_wrong_options_are_refused(make_video: MakeVideo, options: MeasureOptions) -> None:
    with pytest.raises(VidtwinError, match="no metric is called 'sharpness'"):
        MeasureOptions(metrics=("sharpness",))
    with pytest.raises(VidtwinError, match="protocol 'other'"):
        MeasureOptions(protocol="other")  # type: ignore[arg-type]
    with pytest.raises(VidtwinError, match="network alone"):
        measure(make_video("in.mp4"), "a.vtw", dataclasses.replace(options, protocol="vidtwin"))

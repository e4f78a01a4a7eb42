"""Targets for wide latents: what is foretold, what is kept on disk, and how near files come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeVideo
from cosines import loader
from media_samples import write_all
from micro import window_config, window_model, write_weights

from vidtwin_codec import DecodeOptions, EncodeOptions, encode, weights
from vidtwin_codec.coding import DEFAULT_QUALITY, PlacedClip
from vidtwin_codec.container import VtwReader
from vidtwin_codec.decoding.decoder import Decoder
from vidtwin_codec.encoding.encoder import EncodeJob, Encoder
from vidtwin_codec.encoding.rate.forecast import ClipError, Forecast, solve
from vidtwin_codec.encoding.rate.run import WideRun
from vidtwin_codec.encoding.rate.spool import LatentSpool
from vidtwin_codec.encoding.writing import write_vtw
from vidtwin_codec.media import FrameReader, MediaInfo, probe
from vidtwin_codec.media.color import luma_matrix
from vidtwin_codec.metrics import MetricSet, psnr
from vidtwin_codec.network.runner import LoadNetwork
from vidtwin_codec.options import Reporter

CONFIG = window_config(structure_channels=60, patterns=(40, 12, 8))


@pytest.fixture(scope="module")
def cosine_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Names the layout and steps of what is loaded in place of a network."""
    path = tmp_path_factory.mktemp("weights") / "cosines.safetensors"
    return write_weights(path, window_model(structure_channels=60, patterns=(40, 12, 8)), 0.3)


@pytest.fixture
def options(cosine_weights: Path) -> dict[str, Any]:
    return {"weights": str(cosine_weights), "device": "cpu", "audio": "none", "force": True}


@pytest.fixture(scope="module")
def load() -> LoadNetwork:
    return loader(CONFIG)


def encoder_of(info: MediaInfo, options: dict[str, Any], load: LoadNetwork, **changes: Any) -> Encoder:
    chosen = EncodeOptions(**{**options, **changes})
    entry = weights.resolve(chosen.weights)
    return Encoder(EncodeJob(info, load(entry, chosen, "encoder"), entry, chosen))


def whole_psnr(source: Path, packed: Path, options: dict[str, Any], load: LoadNetwork) -> float:
    network = DecodeOptions(weights=options["weights"], device="cpu")
    with Decoder(packed, network, load=load) as decoder, FrameReader(probe(source)) as reader:
        return float(np.concatenate([psnr(reader.read(len(each)), each) for each in decoder.frames()]).mean())


@pytest.mark.parametrize("effort", [0, 1])
def test_what_the_spool_keeps_is_coded_as_if_all_were_there(
    effort: int, make_video: MakeVideo, options: dict[str, Any], load: LoadNetwork, tmp_path: Path
) -> None:
    # a frame a second: groups of 2 clips, or of 16 where little moves
    source = make_video("in.mp4", size="70x50", rate=1, frames=75)
    encoder = encoder_of(probe(source), options, load, effort=effort)
    spool = LatentSpool(tmp_path / "spool", encoder, finest=80)
    whole = list(spool.keeping(encoder.pieces()))
    kept = list(spool)
    assert [piece.span for piece in kept] == [piece.span for piece in whole]
    zeros = sum(int((part == 0).sum()) for piece in kept for part in piece.latents)
    assert zeros > sum(int((part == 0).sum()) for piece in whole for part in piece.latents)
    for quality in (20, 60, 80):
        for name, pieces in (("a", whole), ("b", kept)):
            with (tmp_path / name).open("wb") as stream:
                write_vtw(stream, encoder, pieces, quality=quality)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("name", ["kbps", "size", "ratio"])
@pytest.mark.parametrize("quality", [25, 70])
def test_targets_of_bytes_come_within_5_percent(
    name: str, quality: float, make_video: MakeVideo, options: dict[str, Any], load: LoadNetwork, tmp_path: Path
) -> None:
    source = make_video("in.mp4", size="72x48", frames=60)
    plain = encode(source, tmp_path / "plain.vtw", EncodeOptions(quality=quality, **options), load=load)
    wanted = {"kbps": plain.kbps, "size": plain.vtw_bytes, "ratio": plain.compression_ratio}[name]
    runs: list[int] = []
    counted = Encoder.pieces
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Encoder, "pieces", lambda self, *args: runs.append(1) or counted(self, *args))
        chosen = EncodeOptions(**{f"target_{name}": wanted}, **options)  # type: ignore[arg-type]
        result = encode(source, tmp_path / "out.vtw", chosen, load=load)
    assert result.target is not None
    assert result.target.reason is None
    assert abs(result.target.value / wanted - 1) < 0.05
    assert result.short_side is None
    assert runs == [1], "the network saw the video once"
    if name == "size":
        assert result.vtw_bytes <= wanted
    again = encode(source, tmp_path / "again.vtw", EncodeOptions(quality=result.quality, **options), load=load)
    with VtwReader(tmp_path / "out.vtw") as one, VtwReader(tmp_path / "again.vtw") as other:
        assert again.quality == result.quality
        assert [entry.crc for entry in one.groups] == [entry.crc for entry in other.groups]


def test_a_target_below_the_scale_takes_a_smaller_size(
    make_video: MakeVideo, options: dict[str, Any], load: LoadNetwork, tmp_path: Path
) -> None:
    source = make_video("in.mp4", size="144x96", frames=40)
    coarse = encode(source, tmp_path / "plain.vtw", EncodeOptions(quality=0, **options), load=load)
    wanted = (coarse.vtw_bytes + 2 * 280) // 3
    result = encode(source, tmp_path / "out.vtw", EncodeOptions(target_size=wanted, **options), load=load)
    assert result.short_side is not None
    assert result.vtw_bytes <= wanted
    assert result.warnings == []
    kept = EncodeOptions(target_size=wanted, short_side=96, **options)
    (warning,) = encode(source, tmp_path / "out.vtw", kept, load=load).warnings
    assert "--short-side" in warning


def test_more_bytes_than_the_scale_has_are_not_a_size_missed(
    make_video: MakeVideo, options: dict[str, Any], load: LoadNetwork, tmp_path: Path
) -> None:
    source = make_video("in.mp4", size="40x24", frames=8)
    result = encode(source, tmp_path / "out.vtw", EncodeOptions(target_size=1e7, **options), load=load)
    assert (result.quality, result.warnings) == (100, [])
    result = encode(source, tmp_path / "out.vtw", EncodeOptions(target_kbps=1e6, **options), load=load)
    assert (result.quality, result.warnings) == (100, [])
    assert result.target is not None
    assert (result.target.reason, result.target.ceiling) == (None, True)


def test_where_nothing_is_to_be_seen_the_coarsest_quality_is_enough(
    options: dict[str, Any], load: LoadNetwork, tmp_path: Path
) -> None:
    source = write_all(tmp_path / "black.mkv", np.zeros((20, 48, 64, 3), np.uint8))
    result = encode(source, tmp_path / "out.vtw", EncodeOptions(target_kbps=5000, **options), load=load)
    assert result.quality < 100
    assert result.target is not None
    assert (result.target.reason, result.target.ceiling) == (None, True)
    encode(source, tmp_path / "fine.vtw", EncodeOptions(quality=100, **options), load=load)
    found, finest = (whole_psnr(source, tmp_path / name, options, load) for name in ("out.vtw", "fine.vtw"))
    assert found == pytest.approx(finest, abs=0.1)
    with VtwReader(tmp_path / "out.vtw") as one, VtwReader(tmp_path / "fine.vtw") as other:
        assert sum(group.size for group in one.groups) <= sum(group.size for group in other.groups)


def test_a_vmaf_of_wide_latents_is_what_measuring_finds(
    make_video: MakeVideo, options: dict[str, Any], load: LoadNetwork, tmp_path: Path
) -> None:
    source = make_video("in.mp4", size="72x48", frames=60)

    def vmaf(packed: Path) -> float:
        network = DecodeOptions(weights=options["weights"], device="cpu")
        with (
            Decoder(packed, network, load=load) as decoder,
            FrameReader(probe(source)) as reader,
            MetricSet(("vmaf",), 72, 48, matrix=luma_matrix(probe(source))) as metrics,
        ):
            for frames in decoder.frames():
                metrics.add(reader.read(len(frames)), frames)
            return metrics.finish().means["vmaf"] or 0

    encode(source, tmp_path / "plain.vtw", EncodeOptions(quality=35, **options), load=load)
    wanted = vmaf(tmp_path / "plain.vtw")
    result = encode(source, tmp_path / "out.vtw", EncodeOptions(target_vmaf=wanted, **options), load=load)
    assert result.target is not None
    assert result.target.reason is None
    assert vmaf(tmp_path / "out.vtw") == pytest.approx(wanted, abs=1.5)


@pytest.mark.parametrize("short_side", [None, 32])
def test_a_psnr_is_what_comes_back(
    short_side: int | None, make_video: MakeVideo, options: dict[str, Any], load: LoadNetwork, tmp_path: Path
) -> None:
    source = make_video("in.mp4", size="72x48", frames=60)
    middle = EncodeOptions(quality=40, short_side=short_side, **options)
    encode(source, tmp_path / "plain.vtw", middle, load=load)
    wanted = whole_psnr(source, tmp_path / "plain.vtw", options, load)
    chosen = EncodeOptions(target_psnr=wanted, short_side=short_side, **options)
    result = encode(source, tmp_path / "out.vtw", chosen, load=load)
    assert result.target is not None
    assert result.target.reason is None
    found = whole_psnr(source, tmp_path / "out.vtw", options, load)
    assert found == pytest.approx(wanted, abs=0.15)
    assert found == pytest.approx(result.target.value, abs=0.1)


@pytest.mark.parametrize(("wanted", "quality", "says"), [(70, 100, "--weights"), (3, 0, "coarser")])
def test_a_psnr_beyond_the_scale_is_said(
    wanted: float,
    quality: float,
    says: str,
    make_video: MakeVideo,
    options: dict[str, Any],
    load: LoadNetwork,
    tmp_path: Path,
) -> None:
    source = make_video("in.mp4", size="40x24", frames=10)
    result = encode(source, tmp_path / "out.vtw", EncodeOptions(target_psnr=wanted, **options), load=load)
    assert result.quality == quality
    assert says in result.warnings[0]


@pytest.mark.parametrize("target", [{"target_ratio": 400.0}, {"target_psnr": 28.0}])
def test_tries_are_counted(
    target: dict[str, float],
    make_video: MakeVideo,
    options: dict[str, Any],
    load: LoadNetwork,
    tmp_path: Path,
) -> None:
    stages: list[list[Any]] = []
    reporter = Reporter(
        lambda total, doing: stages.append([doing, total, 0]), lambda count: stages[-1].append(stages[-1].pop() + count)
    )
    source = make_video("in.mp4", size="72x48", frames=40)
    encode(source, tmp_path / "out.vtw", EncodeOptions(**target, **options), reporter=reporter, load=load)
    tries = [stage for stage in stages if stage[0].startswith("try")]
    most = 4 if "target_psnr" in target else 5
    assert [name.split(",")[0] for name, _, _ in tries] == [
        f"try {number} of at most {most}" for number in range(1, len(tries) + 1)
    ]
    assert len(tries) > 1
    assert all(done == total for _, total, done in stages)
    assert any(name == "measuring" for name, _, _ in stages) == ("target_psnr" in target)


def test_sizes_foretell_errors_and_bytes(
    make_video: MakeVideo, options: dict[str, Any], load: LoadNetwork, tmp_path: Path
) -> None:
    encoder = encoder_of(probe(make_video("in.mp4", size="72x48", frames=16)), options, load)
    run = WideRun(encoder, tmp_path, Reporter(), 1)
    pieces = list(run.pieces(DEFAULT_QUALITY))
    assert len(run.tallies) == 4
    forecast = Forecast(run.total(), 1)
    forecast.learn(40.0, 1000.0)
    assert forecast.bytes(40.0) == pytest.approx(1000)
    assert forecast.quality_for(1000.0) == pytest.approx(40, abs=0.02)
    assert forecast.bytes(60.0) > 1500
    for quality in (20.0, 50.0, 80.0):
        steps = run.steps(quality)
        errors = ClipError(steps)
        number = 0

        def watch(latents: Any, clip: PlacedClip, errors: ClipError = errors) -> None:
            nonlocal number
            errors.add(latents, clip.symbols, run.tallies[number].energy)
            number += 1

        with (tmp_path / "a.vtw").open("wb") as stream:
            write_vtw(stream, encoder, pieces, quality=quality, watch=watch)
        with VtwReader(tmp_path / "a.vtw") as reader:
            symbols = [clip.structure for clip in reader.clips(0)]
        wide = steps.structure[:, None, None]
        latents = np.concatenate([piece.latents.structure for piece in pieces])
        exact = [
            float(((a - b[0] * wide).astype(np.float64) ** 2).sum()) for a, b in zip(latents, symbols, strict=True)
        ]
        assert errors.sums == pytest.approx(exact, rel=1e-3)
        scale = float(steps.structure[0, 0]) / 0.3
        foretold = run.total().error(scale)
        assert 0.9 < sum(exact) / foretold < 2


def test_solve_finds_where_a_function_passes() -> None:
    assert solve(lambda quality: quality**2, 400) == 20
    assert solve(lambda quality: quality, -5) == 0
    assert solve(lambda quality: quality, 500) == 100

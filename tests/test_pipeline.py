"""Encode and decode whole videos with a micro-sized network."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeVideo
from media_samples import read_all
from micro import micro_config, pipeline_model

from vidtwin_codec import DecodeOptions, EncodeOptions, Reporter, VidtwinError, decode, decode_frames, encode
from vidtwin_codec.container import VtwReader
from vidtwin_codec.media import probe
from vidtwin_codec.model.checkpoint import save_checkpoint
from vidtwin_codec.network.device import Device, select_device, tiles_per_batch
from vidtwin_codec.network.memory import Batches
from vidtwin_codec.network.runner import NetworkRunner


@pytest.fixture
def options(micro_weights: Path) -> dict[str, str]:
    return {"weights": str(micro_weights), "device": "cpu"}


@pytest.mark.parametrize(
    ("size", "rate", "frames"),
    [("40x36", "25", 10), ("33x21", "24000/1001", 4), ("8x70", "30000/1001", 5), ("100x64", "12", 1)],
)
def test_sizes_rates_and_frame_counts_come_back(
    make_video: MakeVideo, options: dict[str, str], tmp_path: Path, size: str, rate: str, frames: int
) -> None:
    source = make_video("in.mp4", size=size, rate=rate, frames=frames, audio=True)
    encoded = encode(source, tmp_path / "out.vtw", EncodeOptions(**options))
    decoded = decode(tmp_path / "out.vtw", tmp_path / "out.mp4", DecodeOptions(**options))
    width, height = map(int, size.split("x"))
    for result in (encoded, decoded):
        assert (result.width, result.height, result.frames, result.fps) == (width, height, frames, Fraction(rate))
    assert encoded.vtw_bytes == (tmp_path / "out.vtw").stat().st_size == encoded.video_bytes + encoded.audio_bytes
    info = probe(tmp_path / "out.mp4")
    assert (info.width, info.height, info.frames, info.fps) == (width, height, frames, Fraction(rate))
    assert len(info.audio_streams) == 1
    assert len(read_all(tmp_path / "out.mp4")) == frames


def test_frames_are_what_the_network_makes_of_the_source(
    make_video: MakeVideo, options: dict[str, str], tmp_path: Path
) -> None:
    """The whole walk, against the network called by hand: one tile, no quantisation to speak of."""
    source = make_video("in.mp4", size="32x32", frames=8)
    frames = read_all(source)
    encode(source, tmp_path / "a.vtw", EncodeOptions(quality=100, **options))
    found = np.concatenate(list(decode_frames(tmp_path / "a.vtw", DecodeOptions(**options))))
    model = pipeline_model()
    clips = torch.from_numpy(frames).view(2, 4, 32, 32, 3).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
    with torch.inference_mode():
        expected = ((model.decode(model.encode(clips)) + 1) * 127.5).clamp(0, 255).permute(0, 2, 3, 4, 1).flatten(0, 1)
    assert np.abs(found - expected.numpy()).max() < 4
    assert expected.std() > 5


def test_a_video_of_several_groups_equals_its_parts(
    make_video: MakeVideo, options: dict[str, str], tmp_path: Path
) -> None:
    source = make_video("in.mp4", size="40x36", rate="2", frames=50)
    encode(source, tmp_path / "a.vtw", EncodeOptions(quality=100, **options))
    with VtwReader(tmp_path / "a.vtw") as reader:
        assert [group.first_frame for group in reader.groups] == [0, 20, 40]
        assert reader.frames == 50
    whole = np.concatenate(list(decode_frames(tmp_path / "a.vtw", DecodeOptions(**options))))
    assert whole.shape == (50, 36, 40, 3)
    # first wanted frame, one past the last: within a clip, on borders of clips and groups, to the end
    for first, last in ((0, 1), (3, 5), (19, 21), (20, 40), (37, 50), (49, 50)):
        part = DecodeOptions(start=first / 2, duration=(last - first) / 2, **options)
        found = np.concatenate(list(decode_frames(tmp_path / "a.vtw", part)))
        # another batch may round the last bit of the network's sums differently
        assert found.shape == whole[first:last].shape
        assert np.abs(found.astype(int) - whole[first:last]).max() <= 1
    past = DecodeOptions(start=25, **options)
    with pytest.raises(VidtwinError, match=r"only 25\.00 seconds"):
        next(decode_frames(tmp_path / "a.vtw", past))


def test_decoding_twice_gives_identical_files(make_video: MakeVideo, options: dict[str, str], tmp_path: Path) -> None:
    encode(make_video("in.mp4", frames=9), tmp_path / "a.vtw", EncodeOptions(**options))
    for name in ("1.mp4", "2.mp4"):
        decode(tmp_path / "a.vtw", tmp_path / name, DecodeOptions(lossless=True, **options))
    assert np.array_equal(read_all(tmp_path / "1.mp4"), read_all(tmp_path / "2.mp4"))


def test_encoding_twice_gives_identical_bytes(make_video: MakeVideo, options: dict[str, str], tmp_path: Path) -> None:
    source = make_video("in.mp4", frames=9)
    for name in ("1.vtw", "2.vtw"):
        encode(source, tmp_path / name, EncodeOptions(**options))
    assert (tmp_path / "1.vtw").read_bytes() == (tmp_path / "2.vtw").read_bytes()


def test_lossless_output_holds_the_decoded_frames(
    make_video: MakeVideo, options: dict[str, str], tmp_path: Path
) -> None:
    encode(make_video("in.mp4", frames=6), tmp_path / "a.vtw", EncodeOptions(**options))
    decode(tmp_path / "a.vtw", tmp_path / "a.mkv", DecodeOptions(lossless=True, **options))
    in_memory = np.concatenate(list(decode_frames(tmp_path / "a.vtw", DecodeOptions(**options))))
    assert np.array_equal(read_all(tmp_path / "a.mkv"), in_memory)


def test_short_side_is_coded_smaller_and_decoded_to_the_display_size(
    make_video: MakeVideo, options: dict[str, str], tmp_path: Path
) -> None:
    source = make_video("in.mp4", size="128x96", frames=4)
    large = encode(source, tmp_path / "large.vtw", EncodeOptions(**options))
    small = encode(source, tmp_path / "small.vtw", EncodeOptions(short_side=32, **options))
    assert small.video_bytes < large.video_bytes / 2
    assert (small.width, small.height) == (128, 96)
    (restored,) = decode_frames(tmp_path / "small.vtw", DecodeOptions(**options))
    assert restored.shape == (4, 96, 128, 3)
    (coded,) = decode_frames(tmp_path / "small.vtw", DecodeOptions(coded_size=True, **options))
    assert coded.shape == (4, 32, 43, 3)


def test_quality_is_monotone_in_bytes(make_video: MakeVideo, options: dict[str, str], tmp_path: Path) -> None:
    source = make_video("in.mp4", size="96x96", frames=16)
    sizes = [
        encode(source, tmp_path / "a.vtw", EncodeOptions(quality=quality, force=True, **options)).video_bytes
        for quality in (0, 20, 40, 60, 80, 100)
    ]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 2 * sizes[0]


def test_branches_decode_alone(make_video: MakeVideo, options: dict[str, str], tmp_path: Path) -> None:
    encode(make_video("in.mp4", frames=4), tmp_path / "a.vtw", EncodeOptions(**options))
    full, structure, dynamics = (
        next(decode_frames(tmp_path / "a.vtw", DecodeOptions(only=only, **options)))
        for only in (None, "structure", "dynamics")
    )
    assert not np.array_equal(full, structure)
    assert not np.array_equal(structure, dynamics)


def test_progress_counts_every_frame(make_video: MakeVideo, options: dict[str, str], tmp_path: Path) -> None:
    source = make_video("in.mp4", frames=10)
    seen: list[object] = []
    reporter = Reporter(lambda total, device: seen.append((total, device)), seen.append)
    encode(source, tmp_path / "a.vtw", EncodeOptions(**options), reporter=reporter)
    assert seen[0] == (10, "cpu float32")
    assert sum(count for count in seen[1:] if isinstance(count, int)) == 10


def test_batches_and_order_do_not_change_the_result(make_video: MakeVideo, options: dict[str, str]) -> None:
    frames = read_all(make_video("in.mp4", size="60x50", frames=10))
    networks = [
        NetworkRunner(pipeline_model(), Device(torch.device("cpu"), torch.float32), batch) for batch in (1, 3, 64)
    ]
    geometry = networks[0].geometry(60, 50, 8)
    one, *others = (network.encode(frames, geometry) for network in networks)
    for other in others:
        for a, b in zip(one, other, strict=True):
            assert np.allclose(a, b, atol=1e-5)


def test_memory_shortage_halves_the_batch_for_good() -> None:
    tried: list[int] = []

    def network(piece: slice) -> list[int]:
        tried.append(piece.stop - piece.start)
        if piece.stop - piece.start > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(range(piece.start, piece.stop))

    batches = Batches(8)
    assert [number for part in batches.run(network, 7) for number in part] == list(range(7))
    assert tried == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert batches.size == 1


def test_memory_too_small_for_one_tile_is_said_and_other_errors_pass_through() -> None:
    def starving(piece: slice) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes")

    with pytest.raises(VidtwinError, match="not enough memory for one tile"):
        list(Batches(4).run(starving, 4))

    def broken(piece: slice) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="multiplied"):
        list(Batches(4).run(broken, 4))


def test_devices() -> None:
    assert str(select_device("cpu", "auto", "float32")) == "cpu float32"
    assert str(select_device("cpu", "bfloat16", "float32")) == "cpu bfloat16"
    with pytest.raises(VidtwinError, match="no abacus device"):
        select_device("abacus", "auto", "float32")
    if not torch.cuda.is_available():
        with pytest.raises(VidtwinError, match="no cuda device"):
            select_device("cuda", "auto", "float32")
    assert 1 <= tiles_per_batch(micro_config(), select_device("cpu", "auto", "float32")) <= 8


def test_bfloat16_is_close_to_float32(make_video: MakeVideo) -> None:
    frames = read_all(make_video("in.mp4", size="32x32", frames=4))
    exact, rough = (
        NetworkRunner(pipeline_model(), Device(torch.device("cpu"), dtype), 4)
        for dtype in (torch.float32, torch.bfloat16)
    )
    geometry = exact.geometry(32, 32, 0)
    for a, b in zip(exact.encode(frames, geometry), rough.encode(frames, geometry), strict=True):
        assert b.dtype == np.float32
        assert np.abs(a - b).max() < 0.1 * np.abs(a).max()


def test_other_weights_than_the_files_are_refused(
    make_video: MakeVideo, options: dict[str, str], micro_weights: Path, tmp_path: Path
) -> None:
    encode(make_video("in.mp4", frames=4), tmp_path / "a.vtw", EncodeOptions(**options))
    other = tmp_path / "other.safetensors"
    with VtwReader(tmp_path / "a.vtw") as reader:
        steps = reader.header.steps
    save_checkpoint(
        other,
        pipeline_model(seed=1),
        name="other",
        steps=steps,
        compute_dtype="float32",
        storage="float32",
        origin="test",
    )
    with pytest.raises(VidtwinError, match=r"'micro' \(SHA-256 .*not 'other' \(SHA-256"):
        decode(tmp_path / "a.vtw", tmp_path / "a.mp4", DecodeOptions(weights=str(other)))
    # nothing on this machine is called so either
    with pytest.raises(VidtwinError, match="which are not on this machine"):
        decode(tmp_path / "a.vtw", tmp_path / "a.mp4", DecodeOptions())
    assert not (tmp_path / "a.mp4").exists()

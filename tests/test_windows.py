"""Networks that see whole frames, and make wide latents: from video to .vtw and back, a clip at a time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeVideo
from cosines import loader
from media_samples import ffmpeg, read_all
from micro import window_config, window_model

from vidtwin_codec import DecodeOptions, EncodeOptions, VidtwinError, decode, decode_frames, encode
from vidtwin_codec.coding import SPARSE, dequantize
from vidtwin_codec.container import VtwReader, verify
from vidtwin_codec.model import Latents, load_checkpoint
from vidtwin_codec.network import geometry
from vidtwin_codec.network.device import select_device
from vidtwin_codec.network.runner import NetworkRunner


@pytest.fixture
def options(window_weights: Path) -> dict[str, Any]:
    return {"weights": str(window_weights), "device": "cpu"}


def network_of(path: Path, batch: int | None = None) -> NetworkRunner:
    return NetworkRunner(load_checkpoint(path), select_device("cpu", "float32", "float32"), batch)


@pytest.mark.parametrize(("size", "frames"), [("40x36", 10), ("33x21", 4), ("8x70", 5), ("5x3", 1)])
def test_a_frame_is_one_window(
    size: str, frames: int, make_video: MakeVideo, options: dict[str, Any], tmp_path: Path
) -> None:
    source, packed = make_video("a.mp4", size=size, frames=frames), tmp_path / "a.vtw"
    width, height = map(int, size.split("x"))
    result = encode(source, packed, EncodeOptions(**options))
    assert (result.width, result.height, result.frames) == (width, height, frames)
    assert verify(packed) == []
    with VtwReader(packed) as reader:
        header = reader.header
        assert (header.abutting, header.tiles, header.overlap, header.coder) == (True, 1, 0, SPARSE)
        assert (header.tile_width, header.tile_height) == (-(-width // 8) * 8, -(-height // 8) * 8)
        assert header.layout.structure[1:3] == (header.tile_height // 8, header.tile_width // 8)
        assert header.layout.patterns is not None
    decoded = np.concatenate(list(decode_frames(packed, DecodeOptions(**options))))
    assert decoded.shape == (frames, height, width, 3)
    decode(packed, tmp_path / "b.mkv", DecodeOptions(lossless=True, **options))
    assert np.array_equal(read_all(tmp_path / "b.mkv"), decoded)


def test_what_is_decoded_is_what_the_network_makes_of_the_symbols(
    make_video: MakeVideo, window_weights: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    source, packed = make_video("a.mp4", size="37x30", frames=11), tmp_path / "a.vtw"
    encode(source, packed, EncodeOptions(**options))
    decoded = np.concatenate(list(decode_frames(packed, DecodeOptions(**options))))
    model = window_model()
    with VtwReader(packed) as reader:
        for number, symbols in enumerate(reader.clips(0)):
            latents = Latents(*(torch.from_numpy(part) for part in dequantize(symbols, reader.header.steps)))
            window = model.decode_levels(latents)[0].numpy()
            wanted = decoded[4 * number : 4 * number + 4]
            assert np.abs(window[: len(wanted), :30, :37].astype(int) - wanted).max() <= 1


def test_large_frames_are_windows_side_by_side(
    make_video: MakeVideo,
    window_weights: Path,
    options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = make_video("a.mp4", size="70x50", frames=9)
    frames, whole = read_all(source), network_of(window_weights)
    monkeypatch.setattr(geometry, "MAX_WINDOW_PIXELS", 40 * 32)
    for batch in (1, None):
        network = network_of(window_weights, batch)
        tiled = network.geometry(70, 50, 16)
        assert (tiled.tile_width, tiled.tile_height, len(tiled.tiles)) == (40, 32, 4)
        latents = network.encode(frames, tiled)
        assert network.layout_of(tiled).check(latents) == 12
        # the first window of the second clip, alone
        window = torch.from_numpy(np.ascontiguousarray(frames[None, 4:8, :32, :40]))
        for one, other in zip(whole.encode_windows(window), latents, strict=True):
            assert np.allclose(one.numpy(), other[4:5], atol=1e-4)
    encode(source, tmp_path / "a.vtw", EncodeOptions(**options))
    # files say how their windows lie; a decoder needs no such bound
    monkeypatch.undo()
    decoded = np.concatenate(list(decode_frames(tmp_path / "a.vtw", DecodeOptions(**options))))
    assert decoded.shape == frames.shape
    with VtwReader(tmp_path / "a.vtw") as reader:
        assert reader.header.tiles == 4


def test_groups_end_after_ten_seconds_unless_the_scene_stands_still(
    make_video: MakeVideo, options: dict[str, Any], tmp_path: Path
) -> None:
    # a frame a second: 2 clips in ten seconds, 16 in a minute
    source = make_video("a.mp4", size="24x16", rate=1, frames=70)
    encode(source, tmp_path / "a.vtw", EncodeOptions(quality=100, **options))
    with VtwReader(tmp_path / "a.vtw") as reader:
        clips = [entry.clips for entry in reader.groups]
        assert sum(clips) == 18
        starts = [entry.first_clip for entry in reader.groups]
        assert 16 in starts
        assert all(start % 2 == 0 for start in starts)
        assert reader.header.clips_per_group == 16


def test_a_still_scene_is_a_group_a_minute(window_weights: Path, tmp_path: Path) -> None:
    config = window_config()
    network = loader(config)
    picture = "testsrc2=size=48x32:rate=1,trim=end_frame=1,loop=-1:1,setpts=N/TB"
    ffmpeg(*("-f", "lavfi", "-i", picture, "-frames:v", "150"), *("-c:v", "ffv1"), f"file:{tmp_path / 'a.mkv'}")
    options = EncodeOptions(weights=str(window_weights), device="cpu", quality=60)
    encode(tmp_path / "a.mkv", tmp_path / "a.vtw", options, load=network)
    with VtwReader(tmp_path / "a.vtw") as reader:
        # 64 frames a minute: 16 clips of 4
        assert [entry.clips for entry in reader.groups] == [16, 16, 6]


def test_any_stretch_decodes_alone(make_video: MakeVideo, options: dict[str, Any], tmp_path: Path) -> None:
    source = make_video("a.mp4", size="24x16", rate=1, frames=70)
    encode(source, tmp_path / "a.vtw", EncodeOptions(quality=95, **options))
    whole = np.concatenate(list(decode_frames(tmp_path / "a.vtw", DecodeOptions(**options))))
    for first, count in ((0, 1), (9, 12), (63, 3), (69, 1)):
        part = DecodeOptions(start=first, duration=count, **options)
        found = np.concatenate(list(decode_frames(tmp_path / "a.vtw", part)))
        assert np.abs(found.astype(int) - whole[first : first + count]).max() <= 1


def test_a_damaged_group_holds_the_last_frame(make_video: MakeVideo, options: dict[str, Any], tmp_path: Path) -> None:
    source, packed = make_video("a.mp4", size="24x16", rate=Fraction(1, 2), frames=60), tmp_path / "a.vtw"
    encode(source, packed, EncodeOptions(quality=100, **options))
    whole = np.concatenate(list(decode_frames(packed, DecodeOptions(**options))))
    with VtwReader(packed) as reader:
        hurt, after = reader.groups[1], reader.groups[2]
    data = bytearray(packed.read_bytes())
    data[hurt.offset + hurt.size // 2] ^= 1
    packed.write_bytes(data)
    with pytest.raises(VidtwinError, match="group 1"):
        list(decode_frames(packed, DecodeOptions(**options)))
    found = np.concatenate(list(decode_frames(packed, DecodeOptions(recover=True, **options))))
    assert len(found) == 60
    assert np.array_equal(found[hurt.first_frame : after.first_frame], found[[hurt.first_frame - 1] * hurt.frames])
    assert np.abs(found[after.first_frame :].astype(int) - whole[after.first_frame :]).max() <= 1


def test_other_windows_than_the_weights_make_are_refused(
    make_video: MakeVideo, micro_weights: Path, window_weights: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    source = make_video("a.mp4", size="24x16", frames=4)
    encode(source, tmp_path / "a.vtw", EncodeOptions(**options))
    encode(source, tmp_path / "b.vtw", EncodeOptions(weights=str(micro_weights), device="cpu"))
    with VtwReader(tmp_path / "b.vtw") as reader:
        assert not reader.header.abutting
        assert reader.header.coder == 5
    with pytest.raises(VidtwinError, match="made with weights"):
        list(decode_frames(tmp_path / "b.vtw", DecodeOptions(**options)))


@pytest.mark.parametrize("only", ["structure", "dynamics"])
def test_branches_and_coded_size(only: str, make_video: MakeVideo, options: dict[str, Any], tmp_path: Path) -> None:
    source = make_video("a.mp4", size="48x40", frames=4)
    encode(source, tmp_path / "a.vtw", EncodeOptions(short_side=20, **options))
    frames = np.concatenate(list(decode_frames(tmp_path / "a.vtw", DecodeOptions(only=only, **options))))  # type: ignore[arg-type]
    assert frames.shape == (4, 40, 48, 3)
    coded = DecodeOptions(coded_size=True, **options)
    assert np.concatenate(list(decode_frames(tmp_path / "a.vtw", coded))).shape == (4, 20, 24, 3)

"""Tiles of fixed size that follow the camera, through the whole product."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from micro import pipeline_model, write_weights
from numpy.typing import NDArray
from pans import pan, picture, write_pan

from vidtwin_codec import DecodeOptions, EncodeOptions, VidtwinError, VtwDataset, VtwFile, encode, weights
from vidtwin_codec.batch.ray.segments import encode_segment, joining
from vidtwin_codec.coding import PLACED, dequantize
from vidtwin_codec.container import VtwReader, verify
from vidtwin_codec.decoding.decoder import Decoder
from vidtwin_codec.encoding.encoder import EncodeJob, Encoder
from vidtwin_codec.encoding.rate.spool import LatentSpool
from vidtwin_codec.encoding.writing import write_vtw
from vidtwin_codec.evaluation.report.latents import inspect_page
from vidtwin_codec.latents.cache import GroupCache
from vidtwin_codec.latents.exporting import export_latents
from vidtwin_codec.latents.importing import ImportLatentsOptions, import_latents
from vidtwin_codec.latents.mixing import mix_to_vtw
from vidtwin_codec.media import probe
from vidtwin_codec.network.following import Follower, cut_out, placed_geometry
from vidtwin_codec.network.geometry import Geometry, window_layout
from vidtwin_codec.network.runner import NetworkCache, NetworkRunner, Showing

Frames = NDArray[np.uint8]
LOAD = NetworkCache().load


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> EncodeOptions:
    path = write_weights(tmp_path_factory.mktemp("weights") / "tiles.safetensors", pipeline_model(), 0.1)
    return EncodeOptions(weights=str(path), device="cpu", audio="none", force=True, quality=60)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """11 clips and a bit; the camera stops in the eighth."""
    return write_pan(tmp_path_factory.mktemp("video") / "pan.mkv", moving())


@pytest.fixture(scope="module")
def packed(source: Path, options: EncodeOptions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "a.vtw"
    encode(source, path, options, load=LOAD)
    return path


def moving() -> Frames:
    return pan(46, size=(40, 72), step=(1, 5), stop=30)


def decoded(path: Path, options: EncodeOptions, **choices: Any) -> Frames:
    with Decoder(path, DecodeOptions(weights=options.weights, device="cpu", **choices), load=LOAD) as decoder:
        return np.concatenate(list(decoder.frames()))


def encoder_of(path: Path, options: EncodeOptions) -> Encoder:
    entry = weights.resolve(options.weights)
    return Encoder(EncodeJob(probe(path), LOAD(entry, options, "encoder"), entry, options))


def test_clips_of_a_pan_lie_on_canvases(packed: Path, source: Path, options: EncodeOptions, tmp_path: Path) -> None:
    with VtwReader(packed) as reader:
        header = reader.header
        assert (header.camera, header.coder, header.abutting) == (True, PLACED, False)
        groups = [list(reader.placed(number)) for number in range(len(reader.groups))]
        for group in groups:
            counts = {header.tiles_on(clip.placement) for clip in group}
            assert counts == {len(clip.symbols.structure) for clip in group}
            assert len(counts) == 1
        placements = [clip.placement for group in groups for clip in group]
        assert len(placements) == 12
        assert sum(each is not None for each in placements) >= 6
        assert placements[-1] is None
        assert any(one != other for one, other in pairwise(placements))
    assert verify(packed) == []
    encode(source, tmp_path / "still.vtw", replace(options, camera=False), load=LOAD)
    with VtwReader(tmp_path / "still.vtw") as reader:
        assert (reader.header.camera, reader.header.coder) == (False, 3)
        assert all(clip.placement is None for n in range(len(reader.groups)) for clip in reader.placed(n))


def test_frames_are_cut_out_of_what_the_network_makes_of_a_canvas(packed: Path, options: EncodeOptions) -> None:
    found = decoded(packed, options)
    assert found.shape == moving().shape
    codec: NetworkRunner = LOAD(weights.resolve(options.weights), options, "decoder")
    with VtwReader(packed) as reader:
        header, at = reader.header, 0
        for number in range(len(reader.groups)):
            for symbols, placement in reader.placed(number):
                height, width = (40, 72) if placement is None else (16 * placement.rows, 16 * placement.columns)
                geometry = Geometry(width, height, 4, header.tile_height, header.tile_width, header.overlap)
                (clip,) = codec.decode(dequantize(symbols, header.steps), geometry, Showing(1.0))
                corners = [(0, 0)] * 4 if placement is None else placement.corners.tolist()
                for frame, (y, x) in zip(clip, corners, strict=True):
                    if at < len(found):
                        wanted = frame[y : y + 40, x : x + 72].astype(int)
                        assert np.abs(found[at].astype(int) - wanted).max() <= 1
                    at += 1
    assert at == 48


def test_nothing_changes_where_nothing_moves(options: EncodeOptions, tmp_path: Path) -> None:
    still = write_pan(tmp_path / "still.mkv", np.repeat(picture(40, 72)[None], 9, axis=0))
    for name, camera in (("a", True), ("b", False)):
        encode(still, tmp_path / f"{name}.vtw", replace(options, camera=camera), load=LOAD)
    with VtwReader(tmp_path / "a.vtw") as one, VtwReader(tmp_path / "b.vtw") as other:
        assert [entry.crc for entry in one.groups] == [entry.crc for entry in other.groups]


def test_any_stretch_decodes_alone(packed: Path, options: EncodeOptions) -> None:
    whole = decoded(packed, options)
    for first, count in ((0, 1), (3, 9), (21, 20), (45, 1)):
        part = decoded(packed, options, start=first / 4, duration=count / 4)
        assert np.abs(part.astype(int) - whole[first : first + count]).max() <= 1


def test_a_damaged_group_holds_the_last_frame(packed: Path, options: EncodeOptions, tmp_path: Path) -> None:
    whole, hurt = decoded(packed, options), tmp_path / "hurt.vtw"
    with VtwReader(packed) as reader:
        assert len(reader.groups) >= 2
        entry = reader.groups[1]
    data = bytearray(packed.read_bytes())
    data[entry.offset + entry.size // 2] ^= 1
    hurt.write_bytes(data)
    found = decoded(hurt, options, recover=True)
    lost = slice(entry.first_frame, entry.first_frame + entry.frames)
    assert np.array_equal(found[lost], whole[[entry.first_frame - 1] * entry.frames])
    assert np.array_equal(found[: lost.start], whole[: lost.start])
    assert np.array_equal(found[lost.stop :], whole[lost.stop :])


def test_segments_are_what_the_whole_is(options: EncodeOptions, tmp_path: Path) -> None:
    source = write_pan(tmp_path / "pan.mkv", pan(70, size=(32, 40), step=(0, 3)), Fraction(1, 2))
    encode(source, tmp_path / "whole.vtw", options, load=LOAD)
    most = encoder_of(source, options).most_clips_per_group
    segments = [
        encode_segment(probe(source), tmp_path / f"{first}", options, first=first, count=count, load=LOAD)
        for first, count in ((0, most), (most, most), (2 * most, None))
    ]
    encode(source, tmp_path / "joined.vtw", options, load=LOAD, write=joining(segments))
    assert (tmp_path / "joined.vtw").read_bytes() == (tmp_path / "whole.vtw").read_bytes()
    with VtwFile(tmp_path / "joined.vtw") as file:
        assert any(file.placements())


def test_the_spool_keeps_what_is_coded(source: Path, options: EncodeOptions, tmp_path: Path) -> None:
    encoder = encoder_of(source, options)
    spool = LatentSpool(tmp_path / "spool", encoder)
    whole = list(spool.keeping(encoder.pieces()))
    assert any(piece.placement for piece in whole)
    assert len({piece.tiles for piece in whole}) > 1
    for name, pieces in (("a", whole), ("b", list(spool))):
        with (tmp_path / name).open("wb") as stream:
            write_vtw(stream, encoder, pieces, quality=30)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_size_is_met(source: Path, options: EncodeOptions, tmp_path: Path) -> None:
    wanted = encode(source, tmp_path / "plain.vtw", replace(options, quality=45), load=LOAD).vtw_bytes
    base = EncodeOptions(weights=options.weights, device="cpu", audio="none", force=True, target_size=wanted)
    result = encode(source, tmp_path / "a.vtw", base, load=LOAD)
    assert 0.8 * wanted < result.vtw_bytes <= wanted
    with VtwFile(tmp_path / "a.vtw") as file:
        assert any(file.placements())


def test_latents_come_with_their_canvases(packed: Path, tmp_path: Path) -> None:
    cache = GroupCache(0, tmp_path / "unpacked")
    for _ in range(2):  # decoded, then from the disk
        with VtwFile(packed, cache=cache) as file:
            whole, layout = file[:], file.header.layout
            assert whole.placements == file.placements()
            most = max(whole.tile_counts)
            assert whole.structure.shape[1] == most > file.tiles
            for number, placement in enumerate(whole.placements):
                one = file[number]
                assert (one.placements, file.placement(number)) == ((placement,), placement)
                tiles = file.header.tiles_on(placement)
                assert one.structure.shape[1] == tiles == whole.tile_counts[number]
                for own, padded, array in zip(
                    whole.own(number, layout), (part[number] for part in whole.symbols), one.symbols, strict=True
                ):
                    assert np.array_equal(own, array[0])
                    assert not padded[tiles:].any()
            pieces = list(file.pieces())
            assert [count for piece in pieces for count in piece.tile_counts] == list(whole.tile_counts)


def test_a_page_draws_the_path(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidtwin_codec.evaluation.report.latents._moments", lambda *_: [])
    page = inspect_page(packed)
    assert "Where the camera went" in page
    assert "of 12 clips lie on canvases" in page


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_what_is_exported_comes_back(suffix: str, packed: Path, options: EncodeOptions, tmp_path: Path) -> None:
    export_latents([packed], tmp_path / f"a{suffix}")
    import_latents(tmp_path / f"a{suffix}", tmp_path / "b.vtw")
    with VtwFile(packed) as one, VtwFile(tmp_path / "b.vtw") as other:
        assert one.header == other.header
        assert one.group_clips == other.group_clips
        assert one.placements() == other.placements()
        assert all(np.array_equal(*pair) for pair in zip(one[:].symbols, other[:].symbols, strict=True))
    assert np.array_equal(decoded(packed, options), decoded(tmp_path / "b.vtw", options))
    import_latents(tmp_path / f"a{suffix}", tmp_path / "c.vtw", ImportLatentsOptions(like=packed))
    assert (tmp_path / "c.vtw").read_bytes() == (tmp_path / "b.vtw").read_bytes()


def test_mixing_wants_one_path(packed: Path, source: Path, options: EncodeOptions, tmp_path: Path) -> None:
    mix_to_vtw(packed, packed, tmp_path / "same.vtw")
    with VtwFile(packed) as one, VtwFile(tmp_path / "same.vtw") as other:
        assert other.placements() == one.placements()
        assert all(np.array_equal(a, b) for a, b in zip(one[:].symbols, other[:].symbols, strict=True))
    for name, changes in (("still", {"camera": False}), ("overlap", {"overlap": 8})):
        encode(source, tmp_path / f"{name}.vtw", replace(options, **changes), load=LOAD)
        with pytest.raises(VidtwinError, match="camera along the same path"):
            mix_to_vtw(packed, tmp_path / f"{name}.vtw", tmp_path / "m.vtw")
    assert not (tmp_path / "m.vtw").exists()


def test_a_dataset_fills_up_with_tiles(packed: Path) -> None:
    with VtwFile(packed) as file:
        whole, most = file[:], max(file[:].tile_counts)
    dataset = VtwDataset(packed, clips=2, tiles="all", random=False, most_tiles=most)
    batch = torch.utils.data.default_collate([dataset[number] for number in range(len(dataset))])
    assert batch["structure"].shape[:3] == (5, 2, most)
    assert batch["tiles"].flatten().tolist() == list(whole.tile_counts[:10])
    canvases = [(3, 5, 0, 0) if one is None else one.canvas for one in whole.placements[:10]]
    assert batch["canvas"].reshape(-1, 4).tolist() == [list(one) for one in canvases]
    with pytest.raises(VidtwinError, match="more than 1"):
        VtwDataset(packed, clips=2, tiles="all", random=False, most_tiles=1)[0]
    single = VtwDataset(packed, clips=1, random=False)
    assert torch.equal(single[0]["structure"][0], torch.from_numpy(whole.structure[0, 0]))


@given(
    steps=st.lists(st.tuples(st.integers(-3, 3), st.integers(-6, 6)), min_size=4, max_size=17),
    size=st.tuples(st.integers(17, 50), st.integers(17, 80)),
)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_frames_come_back_exactly_from_canvases(steps: list[tuple[int, int]], size: tuple[int, int]) -> None:
    at = np.cumsum(np.array(steps), axis=0)
    at -= at.min(0)
    whole = picture(*(int(side) for side in at.max(0) + size))
    frames = np.stack([whole[y : y + size[0], x : x + size[1]] for y, x in at])
    config = pipeline_model().config
    geometry = Geometry(size[1], size[0], 4, 32, 32, 8)
    layout = window_layout(config, 32, 32)
    found = []
    for stretch in Follower(geometry, layout, 16).follow(frames, 0):
        clips = stretch.frames.reshape(len(stretch.placements), 4, *stretch.frames.shape[1:])
        for clip, placement in zip(clips, stretch.placements, strict=True):
            if placement is not None:
                placement.check(layout, size)
                canvas = placed_geometry(geometry, layout, placement)
                assert (canvas.height, canvas.width) == clip.shape[1:3]
                assert len(canvas.tiles) >= len(geometry.tiles)
            found.append(cut_out(clip, placement, *size))
    wanted = np.concatenate([frames, np.repeat(frames[-1:], -len(frames) % 4, axis=0)])
    assert np.array_equal(np.concatenate(found), wanted)

"""Windows that follow the camera, through the whole product."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from cosines import loader
from media_samples import psnr
from micro import window_config, window_model, write_weights
from numpy.typing import NDArray
from pans import pan, picture, write_pan

from vidtwin_codec import DecodeOptions, EncodeOptions, VidtwinError, VtwDataset, VtwFile, encode, weights
from vidtwin_codec.batch.ray.segments import encode_segment, joining
from vidtwin_codec.cli.main import cli
from vidtwin_codec.coding import SPARSE, pack_body, zstd_frame
from vidtwin_codec.coding.group import PREFIX
from vidtwin_codec.container import Header, VtwReader, VtwWriter, verify
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
from vidtwin_codec.network.runner import LoadNetwork

CHANGES: dict[str, Any] = {"structure_channels": 120, "patterns": (64, 28, 28)}
CONFIG = window_config(**CHANGES)
Frames = NDArray[np.uint8]


@pytest.fixture(scope="module")
def cosine_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "cosines.safetensors"
    return write_weights(path, window_model(**CHANGES), 0.15)


@pytest.fixture
def options(cosine_weights: Path) -> EncodeOptions:
    return EncodeOptions(weights=str(cosine_weights), device="cpu", audio="none", force=True, quality=60)


@pytest.fixture(scope="module")
def load() -> LoadNetwork:
    return loader(CONFIG)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """11 clips and a bit; the camera stops in the eighth."""
    return write_pan(tmp_path_factory.mktemp("video") / "pan.mkv", pan(46, stop=30))


@pytest.fixture
def packed(source: Path, options: EncodeOptions, load: LoadNetwork, tmp_path: Path) -> Path:
    encode(source, tmp_path / "a.vtw", options, load=load)
    return tmp_path / "a.vtw"


def decoded(path: Path, load: LoadNetwork, options: EncodeOptions, **choices: Any) -> Frames:
    with Decoder(path, DecodeOptions(weights=options.weights, device="cpu", **choices), load=load) as decoder:
        return np.concatenate(list(decoder.frames()))


def encoder_of(path: Path, options: EncodeOptions, load: LoadNetwork) -> Encoder:
    entry = weights.resolve(options.weights)
    return Encoder(EncodeJob(probe(path), load(entry, options, "encoder"), entry, options))


def test_a_pan_takes_far_fewer_bytes_and_looks_no_worse(
    source: Path, packed: Path, options: EncodeOptions, load: LoadNetwork, tmp_path: Path
) -> None:
    encode(source, tmp_path / "b.vtw", replace(options, camera=False), load=load)
    frames = pan(46, stop=30)
    found, still = (decoded(tmp_path / name, load, options) for name in ("a.vtw", "b.vtw"))
    assert found.shape == frames.shape
    # to the borders: what a canvas shows beside the frame is not seen
    assert psnr(frames, found) > psnr(frames, still) - 0.3
    for side in (found[:, 0], found[:, -1]), (found[:, :, 0], found[:, :, -1]):
        for line, wanted in zip(side, (frames[:, 0], frames[:, -1]), strict=False):
            if line.shape == wanted.shape:
                assert psnr(wanted, line) > 28
    with VtwReader(packed) as one, VtwReader(tmp_path / "b.vtw") as other:
        assert (one.header.camera, other.header.camera) == (True, False)
        assert one.counts.video_bytes < 0.6 * other.counts.video_bytes
        placements = [clip.placement for number in range(len(one.groups)) for clip in one.placed(number)]
        assert len(placements) == 12
        assert sum(placement is not None for placement in placements) >= 7
        lefts = [each.left for each in placements if each]
        assert lefts == sorted(lefts)
        assert lefts[-1] >= 8, "the world goes on from clip to clip"
        assert all(clip.placement is None for n in range(len(other.groups)) for clip in other.placed(n))
    assert verify(packed) == []


def test_nothing_changes_where_nothing_moves(options: EncodeOptions, load: LoadNetwork, tmp_path: Path) -> None:
    still = write_pan(tmp_path / "still.mkv", np.repeat(picture(40, 56)[None], 9, axis=0))
    for name, camera in (("a", True), ("b", False)):
        encode(still, tmp_path / f"{name}.vtw", replace(options, camera=camera), load=load)
    with VtwReader(tmp_path / "a.vtw") as one, VtwReader(tmp_path / "b.vtw") as other:
        assert [entry.crc for entry in one.groups] == [entry.crc for entry in other.groups]
        assert one.groups[0].offset - other.groups[0].offset <= 4, "a header that says little more"


def test_any_stretch_decodes_alone(packed: Path, load: LoadNetwork, options: EncodeOptions) -> None:
    whole = decoded(packed, load, options)
    for first, count in ((0, 1), (3, 9), (21, 20), (45, 1)):
        part = decoded(packed, load, options, start=first / 4, duration=count / 4)
        assert np.array_equal(part, whole[first : first + count])


def test_scaled_down_and_back(source: Path, options: EncodeOptions, load: LoadNetwork, tmp_path: Path) -> None:
    encode(source, tmp_path / "a.vtw", replace(options, short_side=33), load=load)
    assert decoded(tmp_path / "a.vtw", load, options).shape == (46, 48, 72, 3)
    assert decoded(tmp_path / "a.vtw", load, options, coded_size=True).shape[1:3] == (33, 50)


@pytest.mark.parametrize("batch", [1, 3])
def test_clips_at_once_change_nothing(
    batch: int, packed: Path, source: Path, options: EncodeOptions, load: LoadNetwork, tmp_path: Path
) -> None:
    network = load(weights.resolve(options.weights), options, "encoder")
    whole = decoded(packed, load, options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(network), "clips_at_once", lambda self, geometry: batch)
        encode(source, tmp_path / "b.vtw", options, load=load)
        assert (tmp_path / "b.vtw").read_bytes() == packed.read_bytes()
        assert np.abs(decoded(packed, load, options).astype(int) - whole).max() <= 1


def test_a_damaged_group_holds_the_last_frame(options: EncodeOptions, load: LoadNetwork, tmp_path: Path) -> None:
    # a frame in two seconds: a group may end after two clips
    source = write_pan(tmp_path / "pan.mkv", pan(60), Fraction(1, 2))
    encode(source, tmp_path / "a.vtw", options, load=load)
    whole, packed = decoded(tmp_path / "a.vtw", load, options), tmp_path / "a.vtw"
    with VtwReader(packed) as reader:
        assert len(reader.groups) > 2
        hurt, after = reader.groups[1], reader.groups[2]
    data = bytearray(packed.read_bytes())
    data[hurt.offset + hurt.size // 2] ^= 1
    packed.write_bytes(data)
    found = decoded(packed, load, options, recover=True)
    assert np.array_equal(found[hurt.first_frame : after.first_frame], found[[hurt.first_frame - 1] * hurt.frames])
    assert np.array_equal(found[after.first_frame :], whole[after.first_frame :])
    assert any("lost" in problem for problem in verify(packed))


def test_segments_are_what_the_whole_is(options: EncodeOptions, load: LoadNetwork, tmp_path: Path) -> None:
    source = write_pan(tmp_path / "pan.mkv", pan(70, size=(32, 40), step=(0, 2)), Fraction(1, 2))
    encode(source, tmp_path / "whole.vtw", options, load=load)
    most = encoder_of(source, options, load).most_clips_per_group
    assert most == 8
    segments = [
        encode_segment(probe(source), tmp_path / f"{first}", options, first=first, count=count, load=load)
        for first, count in ((0, most), (most, most), (2 * most, None))
    ]
    encode(source, tmp_path / "joined.vtw", options, load=load, write=joining(segments))
    assert (tmp_path / "joined.vtw").read_bytes() == (tmp_path / "whole.vtw").read_bytes()


@pytest.mark.parametrize("effort", [0, 1])
def test_the_spool_keeps_what_is_coded(
    effort: int, source: Path, options: EncodeOptions, load: LoadNetwork, tmp_path: Path
) -> None:
    encoder = encoder_of(source, replace(options, effort=effort), load)
    spool = LatentSpool(tmp_path / "spool", encoder, finest=80)
    whole = list(spool.keeping(encoder.pieces()))
    assert any(piece.placement for piece in whole)
    for quality in (30, 80):
        for name, pieces in (("a", whole), ("b", list(spool))):
            with (tmp_path / name).open("wb") as stream:
                write_vtw(stream, encoder, pieces, quality=quality)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("name", ["size", "psnr"])
def test_targets_are_met(name: str, source: Path, options: EncodeOptions, load: LoadNetwork, tmp_path: Path) -> None:
    frames = pan(46, stop=30)
    plain = encode(source, tmp_path / "plain.vtw", replace(options, quality=45), load=load)

    def seen(path: Path) -> float:
        found = decoded(path, load, options)
        return float(np.mean([psnr(one, other) for one, other in zip(frames, found, strict=True)]))

    wanted = plain.vtw_bytes if name == "size" else seen(tmp_path / "plain.vtw")
    base = EncodeOptions(weights=options.weights, device="cpu", audio="none", force=True)
    result = encode(source, tmp_path / "a.vtw", replace(base, **{f"target_{name}": wanted}), load=load)
    assert result.target is not None
    assert result.target.reason is None
    if name == "size":
        assert 0.9 * wanted < result.vtw_bytes <= wanted
    else:
        assert seen(tmp_path / "a.vtw") == pytest.approx(wanted, abs=0.15)


def test_latents_come_with_their_canvases(packed: Path, tmp_path: Path) -> None:
    cache = GroupCache(0, tmp_path / "unpacked")
    for _ in range(2):  # decoded, then from the disk
        with VtwFile(packed, cache=cache) as file:
            layout = file.header.layout
            pieces = list(file.pieces())
            whole = file[:]
            assert whole.placements == tuple(piece.placements[0] for piece in pieces)
            rows = max(one.rows if one else layout.structure[1] for one in whole.placements)
            assert whole.structure.shape[3] == rows
            for number, piece in enumerate(pieces):
                own = file[number]
                assert own.placements == piece.placements
                for array, part, padded in zip(own.symbols, piece.symbols, whole.own(number, layout), strict=True):
                    assert np.array_equal(array, part)
                    assert np.array_equal(padded, part[0])
            assert sum(map(np.count_nonzero, whole.symbols)) == sum(
                np.count_nonzero(part) for piece in pieces for part in piece.symbols
            )


def test_a_page_draws_the_path(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidtwin_codec.evaluation.report.latents._moments", lambda *_: [])
    page = inspect_page(packed)
    assert "Where the camera went" in page
    assert "of 12 clips lie on canvases" in page


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_what_is_exported_comes_back(
    suffix: str, packed: Path, load: LoadNetwork, options: EncodeOptions, tmp_path: Path
) -> None:
    export_latents([packed], tmp_path / f"a{suffix}")
    import_latents(tmp_path / f"a{suffix}", tmp_path / "b.vtw")
    with VtwFile(packed) as one, VtwFile(tmp_path / "b.vtw") as other:
        assert one.header == other.header
        assert one.group_clips == other.group_clips
        assert one[:].placements == other[:].placements
        assert all(np.array_equal(*pair) for pair in zip(one[:].symbols, other[:].symbols, strict=True))
    assert np.array_equal(decoded(packed, load, options), decoded(tmp_path / "b.vtw", load, options))
    # ways of coding the same symbols may differ once, not twice
    export_latents([tmp_path / "b.vtw"], tmp_path / f"b{suffix}")
    import_latents(tmp_path / f"b{suffix}", tmp_path / "c.vtw", ImportLatentsOptions(like=packed))
    assert (tmp_path / "c.vtw").read_bytes() == (tmp_path / "b.vtw").read_bytes()


def test_mixing_wants_one_path(
    packed: Path, source: Path, options: EncodeOptions, load: LoadNetwork, tmp_path: Path
) -> None:
    mix_to_vtw(packed, packed, tmp_path / "same.vtw")
    with VtwFile(packed) as one, VtwFile(tmp_path / "same.vtw") as other:
        assert other[:].placements == one[:].placements
        assert all(np.array_equal(a, b) for a, b in zip(one[:].symbols, other[:].symbols, strict=True))
    encode(source, tmp_path / "still.vtw", replace(options, camera=False), load=load)
    with pytest.raises(VidtwinError, match="camera along the same path") as caught:
        mix_to_vtw(packed, tmp_path / "still.vtw", tmp_path / "m.vtw")
    assert "--no-camera" in (caught.value.hint or "")
    assert not (tmp_path / "m.vtw").exists()


def test_a_dataset_fills_up_to_a_grid(packed: Path) -> None:
    dataset = VtwDataset(packed, clips=2, random=False, grid=(9, 14))
    batch = torch.utils.data.default_collate([dataset[number] for number in range(len(dataset))])
    assert batch["structure"].shape[3:5] == (9, 14)
    assert batch["canvas"].shape == (len(dataset), 2, 4)
    with VtwFile(packed) as file:
        own = file[1]
        wanted = own.placements[0].canvas if own.placements[0] else (6, 9, 0, 0)
        assert tuple(batch["canvas"][0, 1].tolist()) == wanted
        rows, columns = own.structure.shape[3:5]
        assert np.array_equal(batch["structure"][0, 1, :, :rows, :columns].numpy(), own.structure[0, 0])
    with pytest.raises(VidtwinError, match="larger than"):
        VtwDataset(packed, clips=2, random=False, grid=(3, 3))[0]


def test_the_command_line_says_so(source: Path, window_weights: Path, tmp_path: Path) -> None:
    network = ["--weights", str(window_weights), "--device", "cpu", "--quiet"]
    for name, more in (("a", []), ("b", ["--no-camera"])):
        done = CliRunner().invoke(cli, ["encode", *network, *more, str(source), str(tmp_path / f"{name}.vtw")])
        assert done.exit_code == 0, done.output
        told = json.loads(CliRunner().invoke(cli, ["info", "--json", str(tmp_path / f"{name}.vtw")]).output)
        assert told["camera"] == (name == "a")
        with VtwReader(tmp_path / f"{name}.vtw") as reader:
            assert reader.header.camera == (name == "a")


def test_a_header_follows_only_what_can_move(packed: Path) -> None:
    with VtwReader(packed) as reader:
        header = reader.header
    assert Header.from_bytes(header.to_bytes()) == header
    for changes in (
        {"abutting": False},
        {"coded_width": 200},
        {"camera": 1},
        {"tile_height": header.tile_height + 1},
        {"layout": replace(header.layout, patterns=None)},
    ):
        with pytest.raises(VidtwinError, match="header"):
            replace(header, **changes)  # type: ignore[arg-type]


def test_verify_looks_at_symbols_behind_sound_checksums(packed: Path, tmp_path: Path) -> None:
    with VtwReader(packed) as reader:
        header, (entry,) = reader.header, reader.groups
        content = zstd_frame.decompress(
            packed.read_bytes()[entry.offset : entry.offset + entry.size], max_content=1 << 24
        )
    forged = tmp_path / "forged.vtw"
    with forged.open("wb") as stream:
        writer = VtwWriter(stream, header)
        writer.write_group(pack_body(SPARSE, entry.span, 1, content[PREFIX.size : -3]), entry.span)
        writer.finish()
    with VtwReader(forged, recover=True) as reader:
        assert reader.damage == []
    assert any("frames 0 to 45 are lost" in problem for problem in verify(forged))
    with VtwReader(forged, recover=True, symbols=True) as reader:
        assert reader.groups == []

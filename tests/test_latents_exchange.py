"""Export and import: exact there and back, streamed, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import MakeVideo
from hypothesis import given
from hypothesis import strategies as st
from latent_samples import CLIP_FRAMES, LAYOUT, sample_header, write_sample
from safetensors import safe_open
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from vidtwin_codec import DecodeOptions, EncodeOptions, VidtwinError, VtwFile, decode_frames, encode, weights
from vidtwin_codec.cli.main import cli
from vidtwin_codec.coding import MAX_SYMBOL, LatentArrays, LatentLayout, Steps, dequantize, quality_scale, requantize
from vidtwin_codec.container import VtwReader, verify
from vidtwin_codec.latents.exporting import export_latents
from vidtwin_codec.latents.importing import ImportLatentsOptions, import_latents
from vidtwin_codec.model import VidTwinConfig

SUFFIXES = pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
FIELDS = LatentArrays._fields


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return {name: archive[name] for name in archive.files if name != "metadata"}
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@given(
    symbols=st.lists(st.integers(-MAX_SYMBOL, MAX_SYMBOL), min_size=1, max_size=20),
    step=st.floats(2.0**-14, 60000),
)
def test_every_symbol_survives_being_a_float(symbols: list[int], step: float) -> None:
    numbers = np.array(symbols, dtype=np.int32)
    steps = Steps(np.full((1, 1), step), np.full(1, step), np.full(1, step))
    before = LatentArrays(numbers.reshape(-1, 1, 1, 1, 1), *[numbers.reshape(-1, 1, 1, 1)] * 2)
    after = requantize(dequantize(before, steps), steps)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_largest_symbols_survive_every_step() -> None:
    """Where a quotient in float32 would be off by one."""
    numbers = np.arange(MAX_SYMBOL - 63, MAX_SYMBOL + 1, dtype=np.int32)
    every = np.arange(0x0400, 0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    before = LatentArrays(*[np.broadcast_to(numbers[:, None, None, None], (64, len(every), 1, 1))] * 3)
    steps = Steps(np.ones((1, 1)), every, every)
    after = requantize(dequantize(before._replace(structure=np.zeros((1, 1, 1, 1, 1))), steps), steps)
    assert np.array_equal(after.dynamics_x, before.dynamics_x)


@pytest.mark.parametrize(("bits", "refused"), [(0x7FA00000, True), (0x7F7FFFFF, False)])
def test_no_latent_makes_numpy_warn(bits: int, refused: bool) -> None:
    """Neither a NaN that signals, nor a number so large that its quotient is infinite."""
    value = np.array([bits], np.uint32).view(np.float32)
    if not refused:
        value = value.astype(np.float64) * 2.0**895
    steps = Steps(np.full((1, 1), 2.0**-14), np.ones(1), np.ones(1))
    latents = LatentArrays(value.reshape(1, 1, 1, 1, 1), *np.zeros((2, 1, 1, 1, 1)))
    if refused:
        with pytest.raises(VidtwinError, match="not finite"):
            requantize(latents, steps)
    else:
        assert requantize(latents, steps).structure.item() == MAX_SYMBOL


@SUFFIXES
def test_a_file_comes_back_byte_for_byte(tmp_path: Path, suffix: str) -> None:
    header = sample_header(coded_width=40, width=44, options={"quality": 75.0}, extra={"later": 1})
    write_sample(tmp_path / "a.vtw", (3, 1, 4), missing_frames=2, header=header, largest=9000)
    archive = tmp_path / f"a{suffix}"
    exported = export_latents([tmp_path / "a.vtw"], archive)
    assert (exported.files, exported.clips, exported.bytes) == (1, 8, archive.stat().st_size)
    with VtwFile(tmp_path / "a.vtw") as file:
        latents = file[:].numpy()
    found = tensors_of(archive)
    assert set(found) == set(FIELDS)
    for name, array in latents._asdict().items():
        assert found[name].dtype == np.float32
        assert np.array_equal(found[name], array)
    (done,) = import_latents(archive, tmp_path / "b.vtw", ImportLatentsOptions(level=1))
    assert (done.frames, done.clips) == (8 * CLIP_FRAMES - 2, 8)
    assert (tmp_path / "a.vtw").read_bytes() == (tmp_path / "b.vtw").read_bytes()


@SUFFIXES
def test_several_files_in_one(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    write_sample(tmp_path / "in" / "a.vtw", (2,), seed=1)
    write_sample(tmp_path / "in" / "deep" / "b.vtw", (1, 2), seed=2)
    export_latents([tmp_path / "in"], tmp_path / f"all{suffix}")
    assert set(tensors_of(tmp_path / f"all{suffix}")) == {f"{name}/{field}" for name in "ab" for field in FIELDS}
    with pytest.raises(VidtwinError, match="not a folder"):
        import_latents(tmp_path / f"all{suffix}", tmp_path / "in" / "a.vtw")
    done = import_latents(tmp_path / f"all{suffix}", tmp_path / "out", ImportLatentsOptions(level=1))
    assert [Path(one.output).name for one in done] == ["a.vtw", "b.vtw"]
    assert (tmp_path / "out" / "a.vtw").read_bytes() == (tmp_path / "in" / "a.vtw").read_bytes()
    assert (tmp_path / "out" / "b.vtw").read_bytes() == (tmp_path / "in" / "deep" / "b.vtw").read_bytes()


def test_files_of_one_name_keep_their_folders(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write_sample(tmp_path / folder / "a.vtw", (1,))
    export_latents([tmp_path / "x", tmp_path / "y"], tmp_path / "all.npz")
    assert f"{tmp_path}/y/a/structure" in tensors_of(tmp_path / "all.npz")
    with pytest.raises(VidtwinError, match="named twice"):
        export_latents([tmp_path / "x"] * 2, tmp_path / "twice.npz")


def test_frames_are_the_same_after_export_and_import(
    make_video: MakeVideo, micro_weights: Path, tmp_path: Path
) -> None:
    network = {"weights": str(micro_weights), "device": "cpu"}
    encode(make_video("in.mp4", frames=10, audio=True), tmp_path / "a.vtw", EncodeOptions(**network))
    export_latents([tmp_path / "a.vtw"], tmp_path / "a.npz")
    import_latents(tmp_path / "a.npz", tmp_path / "b.vtw")
    before, after = (
        np.concatenate(list(decode_frames(tmp_path / name, DecodeOptions(**network)))) for name in ("a.vtw", "b.vtw")
    )
    assert np.array_equal(before, after)
    # sound is not among the latents, but can be taken from the original
    import_latents(tmp_path / "a.npz", tmp_path / "c.vtw", ImportLatentsOptions(like=tmp_path / "a.vtw"))
    assert (tmp_path / "c.vtw").read_bytes() == (tmp_path / "a.vtw").read_bytes()


@SUFFIXES
def test_generated_latents_need_only_a_file_to_be_like(tmp_path: Path, suffix: str) -> None:
    write_sample(tmp_path / "like.vtw", (2,))
    rng = np.random.default_rng(0)
    # one tile: its axis may be left out
    latents = {name: rng.normal(size=(11, *shape)) for name, shape in zip(FIELDS, LAYOUT.shapes(), strict=True)}
    archive = tmp_path / f"new{suffix}"
    save_file(latents, archive) if suffix == ".safetensors" else np.savez(archive, **latents)
    with pytest.raises(VidtwinError, match="does not say") as refused:
        import_latents(archive, tmp_path / "new.vtw")
    assert "--like" in str(refused.value.hint)
    (done,) = import_latents(archive, tmp_path / "new.vtw", ImportLatentsOptions(like=tmp_path / "like.vtw"))
    assert (done.frames, done.clips) == (11 * CLIP_FRAMES, 11)
    assert verify(tmp_path / "new.vtw") == []
    with VtwFile(tmp_path / "new.vtw") as file:
        assert file.group_clips == (8, 3)
        steps = file.header.steps
        for field, wide in zip(
            FIELDS,
            (steps.structure[:, None, None], steps.dynamics_x[:, None, None], steps.dynamics_y[:, None, None]),
            strict=True,
        ):
            error = np.abs(getattr(file[:], field)[:, 0] - latents[field])
            assert (error <= wide * 0.50001).all()


def test_bfloat16_and_changed_latents(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.vtw", (2, 1), largest=100)
    export_latents([tmp_path / "a.vtw"], tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in FIELDS}
        metadata = file.metadata()
    # bfloat16 has 8 bits: symbols up to 100 survive
    save_torch({name: tensor.bfloat16() for name, tensor in tensors.items()}, tmp_path / "b.safetensors", metadata)
    import_latents(tmp_path / "b.safetensors", tmp_path / "b.vtw", ImportLatentsOptions(level=1))
    assert (tmp_path / "b.vtw").read_bytes() == (tmp_path / "a.vtw").read_bytes()
    save_torch(
        {name: tensor[1:2].contiguous() for name, tensor in tensors.items()}, tmp_path / "c.safetensors", metadata
    )
    (done,) = import_latents(tmp_path / "c.safetensors", tmp_path / "c.vtw")
    assert (done.clips, done.frames) == (1, CLIP_FRAMES)
    with VtwFile(tmp_path / "a.vtw") as before, VtwFile(tmp_path / "c.vtw") as after:
        assert np.array_equal(before[1].symbols.structure, after[0].symbols.structure)
    tensors["structure"][0, 0, 0, 0, 0, 0] = float("nan")
    save_torch(tensors, tmp_path / "d.safetensors", metadata)
    with pytest.raises(VidtwinError, match="not finite"):
        import_latents(tmp_path / "d.safetensors", tmp_path / "d.vtw")
    assert not (tmp_path / "d.vtw").exists()


def test_another_quality_has_the_weights_steps(tmp_path: Path) -> None:
    entry = weights.resolve("mini")
    assert entry.metadata.steps is not None
    config = VidTwinConfig.from_dict(entry.metadata.config)
    layout = LatentLayout(config.structure_shape, config.dynamics_x_shape, config.dynamics_y_shape)
    fine = entry.metadata.steps.scaled(quality_scale(90))
    header = sample_header(weights_sha256=entry.sha256, layout=layout, steps=fine)
    write_sample(tmp_path / "a.vtw", (2,), header=header)
    export_latents([tmp_path / "a.vtw"], tmp_path / "a.npz")
    import_latents(tmp_path / "a.npz", tmp_path / "b.vtw", ImportLatentsOptions(quality=40))
    with VtwFile(tmp_path / "a.vtw") as before, VtwFile(tmp_path / "b.vtw") as after:
        assert after.header.steps == entry.metadata.steps.scaled(quality_scale(40))
        assert after.header.options["quality"] == 40
        expected = requantize(before[:].numpy(), after.header.steps)
        assert all(np.array_equal(a, b) for a, b in zip(after[:].symbols, expected, strict=True))
    with pytest.raises(VidtwinError, match="out of range"):
        import_latents(tmp_path / "a.npz", tmp_path / "c.vtw", ImportLatentsOptions(quality=101))
    write_sample(tmp_path / "d.vtw", (1,))
    export_latents([tmp_path / "d.vtw"], tmp_path / "d.npz")
    with pytest.raises(VidtwinError, match="not on this machine"):
        import_latents(tmp_path / "d.npz", tmp_path / "c.vtw", ImportLatentsOptions(quality=40))


def damaged(text: str, change: str) -> str:
    """The metadata with one thing wrong."""
    value = json.loads(text)
    described = value["files"]["a"]
    if change == "format":
        value["format"] = "other"
    elif change == "version":
        value["version"] = 2
    elif change == "frames":
        described["frames"] += CLIP_FRAMES
    elif change == "groups":
        described["group_clips"] = [0, 3]
    elif change == "steps":
        del described["steps"]
    elif change == "one version":
        described["version"] = [1]
    elif change == "header":
        described["header"]["tile_width"] = "wide"
    return "{" if change == "text" else json.dumps(value)


@SUFFIXES
@pytest.mark.parametrize("change", ["text", "format", "version", "frames", "groups", "steps", "one version", "header"])
def test_damaged_metadata_are_refused_in_one_line(tmp_path: Path, suffix: str, change: str) -> None:
    write_sample(tmp_path / "a.vtw", (2, 1))
    archive = tmp_path / f"a{suffix}"
    export_latents([tmp_path / "a.vtw"], archive)
    tensors = tensors_of(archive)
    if suffix == ".npz":
        with np.load(archive) as file:
            text = str(file["metadata"])
        np.savez(archive, metadata=np.array(damaged(text, change)), **tensors)
    else:
        with safe_open(archive, framework="numpy") as file:
            text = file.metadata()["metadata"]
        save_file(tensors, archive, {"metadata": damaged(text, change)})
    with pytest.raises(VidtwinError, match=rf"a\{suffix}: "):
        import_latents(archive, tmp_path / "b.vtw")


@SUFFIXES
def test_files_that_hold_something_else_are_refused(tmp_path: Path, suffix: str) -> None:
    write_sample(tmp_path / "a.vtw", (2,))
    archive = tmp_path / f"a{suffix}"
    archive.write_bytes(b"\x80\x04 not tensors")
    with pytest.raises(VidtwinError, match="is not a sound"):
        import_latents(archive, tmp_path / "b.vtw")
    with pytest.raises(VidtwinError, match="missing"):
        import_latents(tmp_path / f"missing{suffix}", tmp_path / "b.vtw")
    tensors = {name: np.zeros((2, 1, *shape), np.float32) for name, shape in zip(FIELDS, LAYOUT.shapes(), strict=True)}
    for change, message in (
        ({"structure": np.zeros((2, 1, 1, 1, 1, 1), np.float32)}, "structure has shape"),
        ({"dynamics_x": np.zeros((3, 1, *LAYOUT.dynamics_x), np.float32)}, "same number of clips"),
        ({"dynamics_y": None}, "no tensor 'dynamics_y'"),
    ):
        changed = {name: array for name, array in {**tensors, **change}.items() if array is not None}
        save_file(changed, archive) if suffix == ".safetensors" else np.savez(archive, **changed)
        with pytest.raises(VidtwinError, match=message):
            import_latents(archive, tmp_path / "b.vtw", ImportLatentsOptions(like=tmp_path / "a.vtw"))
    with pytest.raises(VidtwinError, match=r"\.safetensors or \.npz"):
        export_latents([tmp_path / "a.vtw"], tmp_path / "a.pt")


def test_a_pickle_in_an_npz_is_not_run(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.vtw", (2,))
    np.savez(tmp_path / "a.npz", structure=np.array([object()], dtype=object))
    with pytest.raises(VidtwinError, match="is not a sound"):
        import_latents(tmp_path / "a.npz", tmp_path / "b.vtw", ImportLatentsOptions(like=tmp_path / "a.vtw"))


def test_names_in_a_file_cannot_leave_the_folder(tmp_path: Path) -> None:
    (tmp_path / "deep" / "out").mkdir(parents=True)
    for name in ("a", "b"):
        write_sample(tmp_path / f"{name}.vtw", (1,))
    export_latents([tmp_path / "a.vtw", tmp_path / "b.vtw"], tmp_path / "all.safetensors")
    tensors = tensors_of(tmp_path / "all.safetensors")
    with safe_open(tmp_path / "all.safetensors", framework="numpy") as file:
        text = file.metadata()["metadata"].replace('"a":', '"../../a":')
    renamed = {name.replace("a/", "../../a/"): array for name, array in tensors.items()}
    save_file(renamed, tmp_path / "all.safetensors", {"metadata": text})
    done = import_latents(tmp_path / "all.safetensors", tmp_path / "deep" / "out")
    assert {Path(one.output).parent for one in done} == {tmp_path / "deep" / "out"}


def test_other_weights_than_those_of_the_file_to_be_like_are_refused(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.vtw", (1,))
    write_sample(tmp_path / "b.vtw", (1,), header=replace(sample_header(), weights_sha256="cd" * 32))
    export_latents([tmp_path / "a.vtw"], tmp_path / "a.npz")
    with pytest.raises(VidtwinError, match=r"SHA-256 abab.*SHA-256 cdcd"):
        import_latents(tmp_path / "a.npz", tmp_path / "c.vtw", ImportLatentsOptions(like=tmp_path / "b.vtw"))


def test_command_line(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.vtw", (1, 2))
    runner = CliRunner()
    archive, again = str(tmp_path / "a.safetensors"), str(tmp_path / "b.vtw")
    done = runner.invoke(cli, ["export", str(tmp_path / "a.vtw"), archive, "--json", "-q"])
    assert json.loads(done.stdout) == {
        "output": archive, "files": 1, "clips": 3, "bytes": Path(archive).stat().st_size, "with_sound": 0
    }  # fmt: skip
    done = runner.invoke(cli, ["import", archive, again, "--json", "-q"])
    assert json.loads(done.stdout)["vtw_bytes"] == Path(again).stat().st_size
    with VtwReader(tmp_path / "a.vtw") as before, VtwReader(again) as after:
        assert before.header == after.header
    assert isinstance(runner.invoke(cli, ["export", again, archive]).exception, VidtwinError)
    assert runner.invoke(cli, ["export", archive]).exit_code == 2

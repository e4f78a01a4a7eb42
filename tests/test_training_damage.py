"""Damaged states of interrupted runs: one clear line, and never a traceback."""

from __future__ import annotations

import dataclasses
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from training_runs import micro_options

from vidtwin_codec.cli.main import cli
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.training import train
from vidtwin_codec.training.state import VERSION, State


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of two steps, and its state."""
    folder = tmp_path_factory.mktemp("run")
    train(micro_options(folder, steps=2, eval_every=2))
    return folder


@pytest.fixture
def state(run: Path) -> Path:
    """The path of the state, whose contents come back after the test."""
    path = micro_options(run).folder / "state.pt"
    kept = run / "kept.pt"
    if not kept.exists():
        kept.write_bytes(path.read_bytes())
    path.write_bytes(kept.read_bytes())
    return path


def refused(path: Path) -> None:
    with pytest.raises(VidtwinError, match=r"state\.pt: (the state is damaged|a state of version)") as caught:
        State.load(path)
    assert "\n" not in caught.value.message


def test_a_state_that_is_cut_off_or_changed_is_damaged(state: Path) -> None:
    whole, chance = state.read_bytes(), random.Random(3)
    assert State.load(state).step == 2
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        state.write_bytes(whole[:size])
        refused(state)
    sound = 0
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 2, 8])):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        state.write_bytes(data)
        try:
            found = State.load(state)
        except VidtwinError:
            continue
        else:  # only what stands between the entries of the archive was hit
            sound += 1
            state.write_bytes(whole)
            for name, tensor in State.load(state).model.items():
                assert torch.equal(tensor, found.model[name])
    assert sound < 100


def test_a_state_of_other_types_is_damaged(state: Path) -> None:
    good: dict[str, Any] = dataclasses.asdict(State.load(state))
    others: list[Any] = [[1], 5, "x", torch.ones(2), {}, {"step": 1}, {"version": float("nan"), **good}, good]
    others += [{"version": VERSION, **good, "more": 1}]
    for name in good:
        fewer = {key: value for key, value in good.items() if key != name}
        if name != "rate":  # which a run need not have
            others.append({"version": VERSION, **fewer})
        others += [{"version": VERSION, **good, name: wrong} for wrong in (None, -1, [None], True, torch.ones(1))]
    for values in others:
        torch.save(values, state)
        refused(state)


@pytest.mark.parametrize("part", ["model", "average", "optimizers"])
def test_a_state_without_what_the_network_needs_is_damaged(run: Path, state: Path, part: str) -> None:
    values = State.load(state)
    tensors = getattr(values, part)
    if part == "optimizers":
        tensors[0]["param_groups"][0].pop("params")
    else:
        tensors.pop(next(iter(tensors)))
    values.save(state)
    with pytest.raises(VidtwinError, match="state is damaged"):
        train(micro_options(run, steps=2, eval_every=2, resume=True, force=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exp_avg", torch.zeros(1)),
        ("exp_avg_sq", None),
        ("step", torch.tensor(-1.0)),
        ("step", torch.tensor(float("nan"))),
        ("step", torch.ones(2)),
        ("more", torch.zeros(1)),
    ],
)
def test_what_an_optimiser_does_not_keep_is_damage(run: Path, state: Path, name: str, value: Any) -> None:
    values = State.load(state)
    values.optimizers[0]["state"][0][name] = value
    values.save(state)
    with pytest.raises(VidtwinError, match="state is damaged"):
        train(micro_options(run, steps=3, eval_every=2, resume=True, force=True))


def test_a_state_cannot_change_how_an_optimiser_works(run: Path, state: Path) -> None:
    values = State.load(state)
    values.optimizers[0]["param_groups"][0] |= {"betas": "no numbers", "eps": None, "foreach": 5, "scale": []}
    kept = values.optimizers[0]["state"][0]
    kept["exp_avg"] = torch.zeros(1).expand_as(kept["exp_avg"])  # all elements in one place
    values.save(state)
    result = train(micro_options(run, steps=3, eval_every=2, resume=True, force=True))
    assert result is not None
    assert result.steps == 3


@pytest.mark.parametrize("pickled", [b"K\x05Q.", b"]r\x01", b"ctorch\nQInt8Storage\n)R.", b"ctorch\nFloatStorage\n)R."])
def test_what_torch_asserts_and_warns_of_is_damage(state: Path, pickled: bytes) -> None:
    with zipfile.ZipFile(state, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + pickled)
        archive.writestr("archive/version", b"3\n")
    refused(state)


def test_the_command_says_so_in_one_line(run: Path, state: Path) -> None:
    state.write_bytes(state.read_bytes()[:-100])
    options = micro_options(run)
    arguments = ["train", options.data, "-o", options.output, "--config", options.config, "--resume", "--steps", "2"]
    ended = CliRunner().invoke(cli, [str(argument) for argument in (*arguments, "--device", "cpu", "--force")])
    assert ended.exit_code == 1
    assert isinstance(ended.exception, VidtwinError)
    assert ended.exception.message == f"{state}: the state is damaged"

"""What lets an accelerator run ahead of the host, tried on a CPU."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from micro import micro_config, micro_model
from training_runs import listening, micro_options, moving_picture

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.network.device import Device
from vidtwin_codec.training import crops, loop, train
from vidtwin_codec.training.clips import ClipSampler
from vidtwin_codec.training.compiling import compile_blocks
from vidtwin_codec.training.footage import Footage
from vidtwin_codec.training.report import read_log
from vidtwin_codec.training.running import Means
from vidtwin_codec.training.saving import Saver, all_finite, copied
from vidtwin_codec.training.world import World

CPU = torch.device("cpu")


def test_one_gather_cuts_what_the_files_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "_STAGING_PIXELS", 1000)  # several pieces a file
    footage = []
    for number, (frames, height, width) in enumerate([(12, 36, 40), (9, 33, 50), (17, 64, 32)]):
        path = tmp_path / f"{number}.npy"
        np.save(path, moving_picture(frames, height, width, seed=number))
        footage.append(Footage(path.name, path, frames, height, width, frames))
    mapped, held = (ClipSampler(footage, micro_config(), max_stride=2, device=device) for device in (None, CPU))
    batches = [itertools.islice(sampler.batches(0, range(2, 8), CPU), 6) for sampler in (mapped, held)]
    sources = set()
    for step, (one, other) in enumerate(zip(*batches, strict=True)):
        assert torch.equal(one.clips, other.clips)
        sources |= {mapped.draw(step, number)[:4] for number in range(2, 8)}
    assert {source for source, *_ in sources} == {0, 1, 2}
    assert {reverse for *_, reverse in sources} == {False, True}


def test_noise_follows_from_the_step_and_spreads(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", moving_picture())
    footage = [Footage("a", tmp_path / "a.npy", 12, 36, 40, 12)]
    sampler = ClipSampler(footage, micro_config(), spread=1.5, seed=1)
    noise, scale = sampler.draw_noise(3, 400, CPU)
    assert float(noise.std()) == pytest.approx(1, abs=0.02)
    assert 2**-1.5 <= float(scale.min()) < 0.4
    assert 2.5 < float(scale.max()) <= 2**1.5
    assert torch.equal(noise, sampler.draw_noise(3, 400, CPU)[0])
    assert not torch.equal(noise, sampler.draw_noise(4, 400, CPU)[0])


def test_a_line_of_the_log_stands_for_its_steps() -> None:
    means = Means(2, CPU)
    for value in (1.0, 3.0):
        means.add([torch.tensor(value), torch.tensor(2 * value)])
    later = means.take(2)
    means.add([torch.tensor(100.0)] * 2)  # before the line is read
    assert later.values() == [2.0, 4.0]
    assert means.take(1).values() == [100.0, 100.0]


def test_lines_are_read_one_late_and_none_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 2)
    written: list[tuple[int, int]] = []
    add = loop.Log.add

    def noted(self: loop.Log, record: dict[str, Any]) -> None:
        written.append((record["step"], trainers[0].step))
        add(self, record)

    trainers: list[loop.Trainer] = []
    run = loop.Trainer.run
    monkeypatch.setattr(loop.Trainer, "run", lambda self: (trainers.append(self), run(self))[1])
    monkeypatch.setattr(loop.Log, "add", noted)
    options = micro_options(tmp_path, steps=7, eval_every=1000, held_out=0)
    train(options)
    assert written == [(2, 4), (4, 6), (6, 7), (7, 7)]
    assert [record["step"] for record in read_log(options.folder / "log.jsonl")] == [2, 4, 6, 7]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_one_bad_number_is_found(bad: float) -> None:
    tensors = [torch.ones(5), torch.full((3, 3), -2.0)]
    assert all_finite(tensors)
    tensors[1][2, 1] = bad
    assert not all_finite(tensors)


def test_what_is_saved_is_the_moment_it_was_asked_for_and_errors_come_back() -> None:
    tensor = torch.zeros(3)
    kept = copied({"a": [tensor, {"b": tensor}], "n": 1})
    tensor.add_(1)
    assert float(kept["a"][1]["b"].sum()) == 0
    saver, written = Saver(), []
    saver.put(lambda: written.append(1))
    saver.wait()
    assert written == [1]

    def fail() -> None:
        raise VidtwinError("disk full")

    saver.put(fail)
    with pytest.raises(VidtwinError, match="disk full"):
        saver.put(lambda: written.append(2))
    saver.wait()
    assert written == [1]


def test_without_a_compiler_steps_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: torch.nn.Module, *arguments: Any, **choices: Any) -> None:
        def call(*inputs: Any) -> None:
            raise RuntimeError("Cannot find a working triton installation\nmore")

        self._compiled_call_impl = call  # type: ignore[assignment]

    monkeypatch.setattr(torch.nn.Module, "compile", broken)
    said: list[str] = []
    result = train(micro_options(tmp_path, steps=2, compile=True), reporter=listening(said))
    assert result is not None
    assert sum("working triton" in line and "more" not in line for line in said) == 1


def test_compiled_blocks_are_the_same_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[torch.nn.Module] = []
    original = torch.nn.Module.compile

    def eagerly(self: torch.nn.Module) -> None:
        compiled.append(self)
        original(self, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", eagerly)
    model = micro_model().requires_grad_(True).train()
    clip = torch.rand(2, 3, 4, 32, 32) * 2 - 1
    before = model.decode(model.encode(clip))
    said: list[str] = []
    assert compile_blocks(model, Device(CPU, torch.float32), 2, listening(said)), said
    assert len(compiled) == 2
    assert torch.allclose(model.decode(model.encode(clip)), before, atol=1e-5)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_processes_ask_each_other_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Two(World):
        def agree(self, progress: float, stop: bool, device: torch.device) -> tuple[float, bool]:
            asked.append(trainer.step)
            return progress, stop

    trainer = loop.Trainer.__new__(loop.Trainer)
    options = micro_options(tmp_path, steps=35)
    trainer.setting = loop.Setting(options, Device(CPU, torch.float32), Two(size=2), None, None, "", print)  # type: ignore[arg-type]
    trainer._agreed = None
    for trainer.step in range(5, 36):
        progress, stop = trainer._go_on(False)
        assert (progress, stop) == (trainer.step / 35, False)  # by steps, every process knows it
    assert asked == [5, 10, 20, 30]

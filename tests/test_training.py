"""Whole runs of micro networks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeVideo
from micro import micro_model
from safetensors.torch import load_file
from training_runs import array_folder, listening, micro_options, moving_picture

from vidtwin_codec.calibration import steps as calibration
from vidtwin_codec.cli.main import cli
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import load_checkpoint, save_checkpoint
from vidtwin_codec.training import loop, remembered, train
from vidtwin_codec.training.report import read_log
from vidtwin_codec.training.run import InterruptedRunError
from vidtwin_codec.weights import read_metadata, resolve

REPOSITORY = Path(__file__).parent.parent


def test_the_loss_falls_when_overfitting_one_clip(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "one.npy", moving_picture(frames=4, height=32, width=32))
    options = micro_options(tmp_path, steps=120, lr=1e-2, batch=4, kl_weight=1e-3, ema=0.9, loss="psnr")
    result = train(options)
    assert result is not None
    records = [record for record in read_log(options.folder / "log.jsonl") if "loss" in record]
    assert records[-1]["train_psnr"] > records[0]["train_psnr"] + 6
    assert result.psnr is None
    assert any("nothing was held out" in note for note in result.notes)


def test_a_run_leaves_usable_weights_and_a_report(tmp_path: Path) -> None:
    options = micro_options(tmp_path, steps=25, final_loss="psnr", loss="charbonnier")
    said: list[str] = []
    result = train(options, reporter=listening(said), command="vidtwin train …")
    assert result is not None
    metadata = read_metadata(options.output)
    assert metadata.steps is not None
    assert (metadata.name, metadata.compute_dtype) == ("w", result.compute_dtype)
    assert metadata.config == load_checkpoint(options.output).config.to_dict()
    assert f"{result.sha256}  w.safetensors" in (tmp_path / "w.safetensors.sha256").read_text()
    card = result.card.read_text()
    assert f"{result.psnr:.2f} dB" in card
    assert result.sha256 in card
    assert "    vidtwin train …" in card
    assert (result.folder / "plot.png").read_bytes()[:4] == b"\x89PNG"
    assert (result.folder / "footage.tsv").read_text().count("\n") == 2
    records = read_log(result.folder / "log.jsonl")
    assert [record["step"] for record in records if "psnr" in record] == [0, 4, 8, 12, 16, 20, 24, 25]
    assert [record["step"] for record in records if "loss" in record] == [4, 8, 12, 16, 20, 24, 25]
    assert any("held-out PSNR" in line for line in said)
    with pytest.raises(VidtwinError, match="already exists"):
        train(options)


def interrupt_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    advance = loop.Trainer._advance

    def advance_and_stop(self: loop.Trainer, *arguments: Any) -> None:
        advance(self, *arguments)
        if self.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop.Trainer, "_advance", advance_and_stop)


@pytest.mark.parametrize("kind", ["adamw", "muon", "postfilter"])
def test_interrupted_and_resumed_is_the_same_as_never_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window_weights: Path, kind: str
) -> None:
    if kind == "muon" and not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    choices: dict[str, Any] = {"steps": 7, "final_loss": "l1", "cooldown": 0.5}
    if kind == "postfilter":
        choices |= {"init": str(window_weights), "train": kind, "objective": "rate", "noise": "coded"}
        # two steps are kept, and the fourth is the first that brings nothing new: a resumed run makes the clips of
        # the second and third again
        monkeypatch.setattr(remembered, "KEPT", 2)
        monkeypatch.setattr(remembered, "_EVERY", 2)
    else:
        choices["optimizer"] = kind
    for name in ("straight", "stopped"):
        shutil.copytree(array_folder(tmp_path / "all" / name), tmp_path / name / "data")
    straight = micro_options(tmp_path / "straight", **choices)
    train(straight)
    stopped = micro_options(tmp_path / "stopped", **choices)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(InterruptedRunError, match="after step 3") as interrupted:
            train(stopped)
    assert "--resume" in str(interrupted.value.hint)
    assert not stopped.output.exists()
    with pytest.raises(VidtwinError, match="earlier run"):
        train(stopped)
    with pytest.raises(VidtwinError, match="--lr"):
        train(micro_options(tmp_path / "stopped", **choices, lr=1.0, resume=True))
    train(micro_options(tmp_path / "stopped", **choices, resume=True))
    assert stopped.output.read_bytes() == straight.output.read_bytes()
    states = [torch.load(one.folder / "state.pt", weights_only=True) for one in (straight, stopped)]
    for part in ("model", "average"):
        assert all(torch.equal(states[0][part][name], states[1][part][name]) for name in states[0][part])


def test_new_weights_replace_finished_ones_when_forced(tmp_path: Path) -> None:
    """The digest beside the old weights is not taken for that of the new ones."""
    first = train(micro_options(tmp_path, steps=1))
    second = train(micro_options(tmp_path, steps=2, force=True))
    assert first is not None
    assert second is not None
    assert second.sha256 != first.sha256
    assert second.sha256 in (tmp_path / "w.safetensors.sha256").read_text()
    assert resolve(second.output).sha256 == second.sha256


def test_a_signal_during_the_calibration_is_obeyed_and_the_run_can_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    with monkeypatch.context() as patch:
        patch.setattr(calibration, "calibrate", interrupted)
        with pytest.raises(InterruptedRunError, match="state is kept in") as caught:
            train(micro_options(tmp_path, steps=2))
    assert "--resume" in (caught.value.hint or "")
    assert not (tmp_path / "w.safetensors").exists()
    result = train(micro_options(tmp_path, steps=2, resume=True))
    assert result is not None
    assert (result.steps, result.output.exists()) == (2, True)


def test_minutes_end_a_run(tmp_path: Path) -> None:
    result = train(micro_options(tmp_path, minutes=0.02, eval_every=1000))
    assert result is not None
    assert result.steps > 1
    assert 0.02 <= result.minutes < 0.5


def test_fine_tuning_starts_from_the_given_weights(tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    save_checkpoint(start, micro_model(), name="start", origin="random", storage="float32")
    options = micro_options(tmp_path, init=str(start), steps=1, lr=1e-12, storage="float32", recompute=True, ema=0)
    train(options)
    before, after = load_file(start), load_file(options.output)
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_recomputing_gives_the_same_gradients(tmp_path: Path) -> None:
    outputs = []
    for name, recompute in (("plain", False), ("recomputed", True)):
        options = micro_options(tmp_path / name, data=array_folder(tmp_path / name / "data"), recompute=recompute)
        train(options)
        outputs.append(load_file(options.output))
    assert all(torch.equal(outputs[0][name], outputs[1][name]) for name in outputs[0])


def test_divergence_is_an_error_and_keeps_the_last_state(tmp_path: Path) -> None:
    options = micro_options(tmp_path, steps=60, lr=1e30, clip_norm=1e30, warmup=0)
    with pytest.raises(VidtwinError, match="diverged"):
        train(options)
    assert not options.output.exists()
    assert not (options.folder / "state.pt").exists()


def test_a_damaged_state_is_said(tmp_path: Path) -> None:
    options = micro_options(tmp_path, resume=True)
    with pytest.raises(VidtwinError, match="no state to resume"):
        train(options)
    (options.folder / "state.pt").write_bytes(b"damaged")
    with pytest.raises(VidtwinError, match="damaged"):
        train(options)


def test_the_command_trains_on_videos(
    make_video: MakeVideo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = micro_options(tmp_path)
    for path in options.data.iterdir():
        path.unlink()
    for number in range(2):
        shutil.move(make_video("made.mp4", size="64x48", frames=14), options.data / f"{number}.mp4")
    arguments = ["train", str(options.data), "-o", str(options.output), "--config", str(options.config)]
    arguments += ["--cache", str(options.cache), "--steps", "3", "--batch", "2", "--precision", "float32", "--json"]
    cli.main(arguments, standalone_mode=False)
    out, err = capsys.readouterr()
    values = json.loads(out)
    assert (values["steps"], values["sources"], values["output"]) == (3, 1, str(options.output))
    assert values["psnr"] > 5
    assert "held-out PSNR" in err


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.partition(".")[0])
sys.meta_path.insert(0, Blocked())
"""


@pytest.mark.parametrize("as_command", [False, True])
def test_arrays_train_with_torch_numpy_and_safetensors_alone(tmp_path: Path, as_command: bool) -> None:
    options = micro_options(tmp_path, steps=2)
    absent = {"zstandard", "imageio_ffmpeg", "matplotlib", "huggingface_hub", "rich"} | (
        set() if as_command else {"click"}
    )
    script = BLOCKED.format(names=absent)
    if as_command:
        script += "import runpy; runpy.run_module('vidtwin_codec.training', run_name='__main__', alter_sys=True)"
    else:
        script += "import json\nfrom pathlib import Path\nfrom vidtwin_codec.training import TrainOptions, train\n"
        script += "data, output, _, _, config, *_ = sys.argv[1:]\n"
        script += "options = TrainOptions(Path(data), Path(output), steps=2, config=Path(config))\n"
        script += "print(json.dumps(train(options).to_json()))"
    arguments = [options.data, "-o", options.output, "--config", options.config, "--steps", "2", "--json", "-q"]
    if not as_command:
        arguments = [options.data, options.output, "-", "-", options.config]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    notes = " ".join(json.loads(done.stdout)["notes"])
    assert "vidtwin weights import" in notes
    assert "matplotlib is not installed" in notes
    assert read_metadata(options.output).steps is None


@pytest.mark.parametrize(
    ("absent", "said"), [("zstandard", "network.py times the network without"), ("imageio_ffmpeg", "ffmpeg")]
)
def test_the_benchmark_of_the_pipeline_says_what_a_bare_machine_lacks(tmp_path: Path, absent: str, said: str) -> None:
    (tmp_path / "in.mp4").write_bytes(b"never read")
    script = BLOCKED.format(names={absent})
    script += "import runpy; sys.path.insert(0, 'benchmarks')\n"
    script += "runpy.run_path('benchmarks/throughput.py', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "in.mp4")],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, "PATH": ""},
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


SHARED = """
import json, sys
from pathlib import Path
import torch
from vidtwin_codec.training import TrainOptions, loop, train
torch.set_num_threads(1)
gradients = loop.Trainer.gradients
def noted(self, *arguments):
    result = gradients(self, *arguments)
    if self.step == 0 and self.setting.world.first:
        torch.save({name: one.grad for name, one in self.model.named_parameters()}, sys.argv[2])
    return result
loop.Trainer.gradients = noted
values = json.loads(sys.argv[1])
values |= {name: Path(values[name]) for name in ("data", "output", "config", "cache")}
train(TrainOptions(**values))
"""


def test_two_processes_give_the_gradient_of_one(tmp_path: Path) -> None:
    options = micro_options(tmp_path, batch=4, steps=2, clip_norm=1e9)
    (tmp_path / "shared.py").write_text(SHARED)
    found = []
    for count in (1, 2):
        values = {**options.to_json(), "output": str(tmp_path / f"w{count}.safetensors")}
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if count == 2 else []
        command = [
            sys.executable,
            *launcher,
            str(tmp_path / "shared.py"),
            json.dumps(values),
            str(tmp_path / str(count)),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / f"w{count}.safetensors").exists()
        found.append(torch.load(tmp_path / str(count), weights_only=True))
    one, two = found
    assert one.keys() == two.keys()
    for name in one:
        assert torch.allclose(one[name], two[name], rtol=1e-4, atol=1e-6), name
    assert any(float(gradient.abs().max()) > 1e-3 for gradient in one.values())

"""The steps of a run: batch, losses, gradients, rates; and at intervals measuring, logging and saving."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwin, save_checkpoint
from vidtwin_codec.pipeline.device import Device
from vidtwin_codec.training.clips import Batch, ClipSampler
from vidtwin_codec.training.evaluation import measure
from vidtwin_codec.training.footage import Say
from vidtwin_codec.training.interruption import Interruption
from vidtwin_codec.training.objective import Losses, Objective
from vidtwin_codec.training.optimization import Average, Optimizers, rate_factor
from vidtwin_codec.training.options import TrainOptions
from vidtwin_codec.training.report import Log
from vidtwin_codec.training.state import State
from vidtwin_codec.training.world import World

LOG_EVERY = 20
"""Steps a line of the log stands for."""
STATE, LATEST = "state.pt", "latest.safetensors"


@dataclass(frozen=True)
class Setting:
    """What a run stands on, settled before its first step.

    Attributes:
        options: as asked for.
        place: device and precision really used.
        world: this process among all.
        sampler: clips to train on.
        held_out: clips to measure on, uint8 ``[n, T, H, W, 3]``; only in the first process.
        footage: fingerprint of what is trained on.
        say: is told what happens.
    """

    options: TrainOptions
    place: Device
    world: World
    sampler: ClipSampler
    held_out: Tensor
    footage: str
    say: Say


class Trainer:
    """A network on its way: :meth:`run` takes it to the end of its budget, or to an interruption."""

    def __init__(self, setting: Setting, model: VidTwin, state: State | None = None) -> None:
        """Begin with ``model``, or go on with ``state`` and ``model``'s architecture."""
        options, place = setting.options, setting.place
        self.setting, self.model = setting, model.to(place.device)
        if state is not None:
            model.load_state_dict(state.model)
        self.average = Average(model, options.ema)
        self.optimizers = Optimizers(model, options)
        self.step, self._seconds_before = 0, 0.0
        if state is not None:
            self.average.model.load_state_dict(state.average)
            self.optimizers.load(state.optimizers)
            self.step, self._seconds_before = state.step, state.seconds
        self._began = time.monotonic()
        self.bits = math.nan
        self.log = Log(options.folder / "log.jsonl", self.step) if setting.world.first else None
        self._objective = self._wrapped(Objective(model, options.kl_weight, options.noise_scale))
        self._since: Tensor = torch.zeros(4, device=place.device)
        self._logged = (self.step, self.seconds)

    def _wrapped(self, objective: Objective) -> torch.nn.Module:
        options, place, world = self.setting.options, self.setting.place, self.setting.world
        module: torch.nn.Module = objective
        if world.size > 1:
            module = DistributedDataParallel(
                module, device_ids=[place.device] if place.device.index is not None else None
            )
        wanted = place.device.type == "cuda" if options.compile is None else options.compile
        return torch.compile(module) if wanted else module  # type: ignore[return-value]

    @property
    def seconds(self) -> float:
        """Time the run has taken so far, in all its parts."""
        return self._seconds_before + time.monotonic() - self._began

    @property
    def progress(self) -> float:
        """Share of the budget that is used up."""
        options = self.setting.options
        if options.steps is not None:
            return self.step / options.steps
        assert options.minutes is not None
        return self.seconds / (60 * options.minutes)

    def run(self) -> bool:
        """Train. False when interrupted; the state to resume from is saved either way.

        Raises:
            VidtwinError: the loss is no longer finite, or the state cannot be written.
        """
        options, place, world = self.setting.options, self.setting.place, self.setting.world
        self._began = time.monotonic()
        numbers = world.clips(options.batch)
        if self.step == 0:
            self._evaluate()
        batches = self.setting.sampler.batches(self.step, numbers, place.device)
        try:
            with Interruption() as interruption:
                while True:
                    progress, stop = world.agree(self.progress, interruption.requested, place.device)
                    if stop or progress >= 1:
                        break
                    self._advance(next(batches), progress)
        finally:
            batches.close()
        self._write_log()
        self.save()
        return progress >= 1

    def _advance(self, batch: Batch, progress: float) -> None:
        options = self.setting.options
        final = options.final_loss is not None and progress >= 1 - options.cooldown
        losses, norm = self.gradients(batch, options.final_loss if final and options.final_loss else options.loss)
        factor = rate_factor(self.step, progress, warmup=options.warmup, cooldown=options.cooldown)
        self.optimizers.step(factor)
        self.average.update(self.model, self.step)
        self.step += 1
        self._since += torch.stack([*(part.detach() for part in losses), norm])
        measured = self.step % options.eval_every == 0
        if measured or self.step % LOG_EVERY == 0:
            self._write_log(factor)
        if measured:
            self._evaluate()
            self.save()

    def gradients(self, batch: Batch, loss: str) -> tuple[Losses, Tensor]:
        """Losses of a batch; leaves the clipped gradients in the network and tells their norm before clipping."""
        with self.setting.place.autocast():
            losses: Losses = self._objective(batch.clips, batch.noise, loss)
        losses.total.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.setting.options.clip_norm)
        return losses, norm

    def _write_log(self, factor: float | None = None) -> None:
        """Means since the last line; the first process's own clips stand for all."""
        count = self.step - self._logged[0]
        if not count:
            return
        loss, squared, rate, norm = (self._since / count).tolist()
        self._since.zero_()
        if not math.isfinite(loss + norm):
            raise self._diverged()
        now = self.seconds
        speed = count * self.setting.options.batch / max(now - self._logged[1], 1e-9)
        self._logged = (self.step, now)
        self.bits = rate / math.log(2)
        if self.log is None:
            return
        record: dict[str, Any] = {
            "step": self.step,
            "seconds": round(now, 1),
            "loss": round(loss, 5),
            "train_psnr": round(-10 * math.log10(squared / 4 + 1e-8), 3),
            "bits": round(self.bits, 4),
            "gradient": round(norm, 4),
            "clips_per_second": round(speed, 2),
        }
        if factor is not None:
            record["rate"] = round(factor, 5)
        self.log.add(record)

    def _diverged(self) -> VidtwinError:
        return VidtwinError(
            f"training diverged before step {self.step}: the loss is no longer a number",
            f"start anew (--force) with less than --lr {self.setting.options.lr:g}",
        )

    def _evaluate(self) -> None:
        if self.log is None:
            return
        quality = measure(self.average.model, self.setting.held_out, self.setting.place)
        if quality is not None:
            self.log.add({"step": self.step, "seconds": round(self.seconds, 1), "psnr": round(quality.mean, 4)})
        shown = f", held-out PSNR {quality.mean:.2f} dB" if quality else ""
        loss = next((record["loss"] for record in reversed(self.log.records) if "loss" in record), None)
        shown += f", loss {loss:.3f}, {self.bits:.2f} bits an element" if loss is not None else ""
        self.setting.say(f"step {self.step}, {self.seconds / 60:.1f} minutes{shown}")

    def save(self) -> None:
        """Put the state, and the averaged weights as they are now, into the run's folder.

        Raises:
            VidtwinError: the weights are no longer finite, or the folder cannot be written.
        """
        if not self.setting.world.first:
            return
        options = self.setting.options
        # the last good state must not be replaced by one from which nothing can go on
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.model.parameters()):
            raise self._diverged()
        State(
            step=self.step,
            seconds=self.seconds,
            options=options.to_json(),
            config=self.model.config.to_dict(),
            footage=self.setting.footage,
            model=self.model.state_dict(),
            average=self.average.model.state_dict(),
            optimizers=self.optimizers.state(),
        ).save(options.folder / STATE)
        save_latest(self.average.model, options.folder / LATEST, options, self.step)


def save_latest(model: VidTwin, path: Path, options: TrainOptions, step: int) -> None:
    """The averaged weights without quantisation steps: to look at, or to ``vidtwin weights import``."""
    origin = f"vidtwin train, unfinished, step {step}"
    save_checkpoint(path, model, name=options.weights_name, origin=origin, storage=options.storage)

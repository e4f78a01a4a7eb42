"""The training loop: batches, losses, gradients and learning rates, with measuring, logging and saving at intervals."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.metrics import psnr_of_error
from vidtwin_codec.model import VidTwin, VidTwinConfig, save_checkpoint
from vidtwin_codec.network.device import Device
from vidtwin_codec.reporter import Reporter
from vidtwin_codec.training.clips import ClipSampler, TrainingBatch
from vidtwin_codec.training.compiling import compile_blocks
from vidtwin_codec.training.evaluation import Quantising, measure
from vidtwin_codec.training.interruption import Interruption
from vidtwin_codec.training.objective import Losses, Objective, Quantised
from vidtwin_codec.training.opening import spare_work
from vidtwin_codec.training.optimization import Average, Optimizers, rate_factor
from vidtwin_codec.training.options import TrainOptions
from vidtwin_codec.training.rate import RateModel
from vidtwin_codec.training.remembered import brings_crops, first_kept
from vidtwin_codec.training.report import Log
from vidtwin_codec.training.running import Later, Means
from vidtwin_codec.training.saving import Saver, all_finite, copied
from vidtwin_codec.training.state import State, undamaged
from vidtwin_codec.training.world import World

LOG_EVERY = 20
"""Number of steps that a line of the log stands for."""
AGREE_EVERY = 10
"""Number of steps after which several processes agree on whether to stop; in between none waits for another."""
STATE, LATEST = "state.pt", "latest.safetensors"


@dataclass(frozen=True)
class Setting:
    """The setting of a run, which does not change after its first step.

    Attributes:
        options: the options.
        place: device and precision in use.
        world: this process among all.
        sampler: sampler of training clips.
        held_out: clips to measure on, uint8 ``[n, T, H, W, 3]``, only in the first process.
        footage: fingerprint of the training footage.
        reporter: receives progress.
    """

    options: TrainOptions
    place: Device
    world: World
    sampler: ClipSampler
    held_out: Tensor
    footage: str
    reporter: Reporter


class Trainer:
    """A trainer takes a network to the end of its budget, or to an interruption.

    Attributes:
        setting: the setting of the run.
        model: the network.
        rate: the rate model, if there is one.
        optimizers: the optimisers.
        average: moving average of the weights.
        step: number of steps done.
        bits: rate of the last log line, in bits an element.
        log: the log, in the first process.
    """

    def __init__(
        self, setting: Setting, model: VidTwin, rate: RateModel | None = None, state: State | None = None
    ) -> None:
        """Begin with a network and its rate model, or continue from ``state`` with their architectures."""
        options, place = setting.options, setting.place
        self.setting, self.model = setting, model.to(place.device)
        self.rate = rate.to(place.device) if rate is not None else None
        self._quantised = _quantised(model.config, self.rate, options.noise)
        self._objective = Objective(
            self.model,
            options.kl_weight,
            options.noise_scale,
            rate=self.rate,
            quantised=self._quantised if options.noise in ("rounding", "coded") else None,
            ssim_weight=options.ssim_weight,
            seed=options.seed,
        )
        self.optimizers = Optimizers(model, options, self.rate)
        self.average = Average(model, options.ema)
        self.step, self._seconds_before = 0, 0.0
        if state is not None:
            with undamaged(options.folder / STATE):
                model.load_state_dict(state.model)
                self.average.model.load_state_dict(state.average)
                self.optimizers.load(state.optimizers)
                if self.rate is not None:
                    self.rate.load_state_dict(state.rate)
            self.step, self._seconds_before = state.step, state.seconds
        spare_work(model)
        self._began = time.monotonic()
        self.bits = math.nan
        self.log = Log(options.folder / "log.jsonl", self.step) if setting.world.first else None
        self._learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._module = self._wrapped()
        self._held_out = setting.held_out.to(place.device) if setting.world.first else setting.held_out
        self._means = Means(4, place.device)
        self._pending: tuple[dict[str, Any], Later] | None = None
        self._logged = (self.step, self.seconds)
        self._agreed: tuple[float, bool] | None = None
        self._saver = Saver()
        self._told = 0

    def _wrapped(self) -> torch.nn.Module:
        options, place, world = self.setting.options, self.setting.place, self.setting.world
        if place.device.type == "cuda" if options.compile is None else options.compile:
            compile_blocks(self.model, place, options.batch // world.size, self.setting.reporter)
        if world.size == 1:
            return self._objective
        return DistributedDataParallel(
            self._objective, device_ids=[place.device] if place.device.index is not None else None
        )

    @property
    def quantising(self) -> Quantising | None:
        """How latents are quantised where the network is measured; None if the run has no steps."""
        return None if self._quantised is None else Quantising(self._quantised, self.setting.options.noise_scale)

    @property
    def seconds(self) -> float:
        """Time that the run has taken so far, before and after resuming."""
        return self._seconds_before + time.monotonic() - self._began

    @property
    def progress(self) -> float:
        """Share of the budget that is used up, 0 to 1."""
        options = self.setting.options
        if options.steps is not None:
            return self.step / options.steps
        assert options.minutes is not None
        return self.seconds / (60 * options.minutes)

    def run(self) -> bool:
        """Train, and save the state at the end.

        Returns:
            Whether the run was completed, not interrupted.

        Raises:
            VidtwinError: the loss is no longer finite, or the state cannot be written.
        """
        self._began = time.monotonic()
        if self.step == 0:
            self._evaluate()
        self._tell_start()
        try:
            with Interruption() as interruption, closing(self._batches(self.step)) as batches:
                self._recall(interruption)
                while True:
                    progress, stop = self._go_on(interruption.requested)
                    if stop or progress >= 1:
                        break
                    self._advance(next(batches), progress)
            self._write_log()
            self._finish_log()
            self.save()
        finally:
            self._saver.wait()
        return progress >= 1

    def _batches(self, first: int) -> Generator[TrainingBatch, None, None]:
        """Yield this process's share of the batches from step ``first`` on."""
        setting, count = self.setting, self.setting.options.batch
        return setting.sampler.batches(first, setting.world.clips(count), setting.place.device, count)

    def _recall(self, interruption: Interruption) -> None:
        """Make again what a post-filter was learning from when the state was saved."""
        remembered = self._objective.remembered
        if remembered is None:
            return
        first = first_kept(self.step)
        with closing(self._batches(first)) as batches:
            for step in range(first, self.step):
                if interruption.requested:
                    break  # nothing will be learned from it
                batch = next(batches)
                if brings_crops(step):
                    remembered.step = step
                    with self.setting.place.autocast():
                        self._objective.remember(batch.clips, self.setting.options.noise_scale * batch.scale)
        remembered.step = self.step

    def _tell_start(self) -> None:
        """Report how many steps, or seconds, are ahead."""
        options = self.setting.options
        stage = f"training from step {self.step}" if self.step else "training"
        if options.steps is not None:
            ahead, unit = options.steps - self.step, "step"
        else:
            assert options.minutes is not None
            ahead, unit = round(60 * options.minutes - self.seconds), "second"
        # the first measurement has taken some of them
        self._told = int(self.seconds - self._seconds_before)
        self.setting.reporter.stage(stage, unit).started(max(0, ahead), str(self.setting.place))

    def _tell(self) -> None:
        """Report a step, or the seconds that have passed."""
        if self.setting.options.steps is not None:
            self.setting.reporter.advanced(1)
            return
        passed = int(self.seconds - self._seconds_before)
        if passed > self._told:
            self.setting.reporter.advanced(passed - self._told)
            self._told = passed

    def _go_on(self, requested: bool) -> tuple[float, bool]:
        """Return the progress and whether to stop, on which all processes agree."""
        options, world = self.setting.options, self.setting.world
        if self._agreed is None or world.size == 1 or self.step % AGREE_EVERY == 0:
            self._agreed = world.agree(self.progress, requested, self.setting.place.device)
        agreed, stop = self._agreed
        return (agreed if options.steps is None else self.progress), stop

    def _advance(self, batch: TrainingBatch, progress: float) -> None:
        options = self.setting.options
        final = options.final_loss is not None and progress >= 1 - options.cooldown
        losses, norm = self.gradients(batch, options.final_loss if final and options.final_loss else options.loss)
        factor = rate_factor(self.step, progress, warmup=options.warmup, cooldown=options.cooldown)
        self.optimizers.step(factor)
        self.average.update(self.step)
        self.step += 1
        self._tell()
        self._means.add([*(part.detach() for part in losses), norm])
        measured = self.step % options.eval_every == 0
        if measured or self.step % LOG_EVERY == 0:
            self._write_log(factor)
        if measured:
            self._finish_log()
            self._evaluate()
            self.save()

    def gradients(self, batch: TrainingBatch, loss: str) -> tuple[Losses, Tensor]:
        """Compute the losses and the clipped gradients of a batch.

        Returns:
            The losses, and the norm of the gradients before clipping.
        """
        with self.setting.place.autocast():
            losses: Losses = self._module(batch.clips, batch.noise, loss, batch.scale)
        losses.total.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self._learning, self.setting.options.clip_norm)
        return losses, norm

    def _write_log(self, factor: float | None = None) -> None:
        """Write the pending log line, whose numbers have come from the device by now, and begin the next one."""
        count = self.step - self._logged[0]
        if not count:
            return
        self._finish_log()
        now = self.seconds
        speed = count * self.setting.options.batch / max(now - self._logged[1], 1e-9)
        self._logged = (self.step, now)
        record: dict[str, Any] = {"step": self.step, "seconds": round(now, 1), "clips_per_second": round(speed, 2)}
        if factor is not None:
            record["rate"] = round(factor, 5)
        self._pending = record, self._means.take(count)

    def _finish_log(self) -> None:
        """Write the pending line of the log, from the clips of the first process alone."""
        if self._pending is None:
            return
        (begun, later), self._pending = self._pending, None
        loss, squared, rate, norm = later.values()
        if not math.isfinite(loss + norm):
            raise self._diverged()
        self.bits = rate / math.log(2)
        if self.log is None:
            return
        record: dict[str, Any] = {
            "step": begun.pop("step"),
            "seconds": begun.pop("seconds"),
            "loss": round(loss, 5),
            "train_psnr": round(float(psnr_of_error(squared / 4)), 3),
            "gradient": round(norm, 4),
            **begun,
        }
        if math.isfinite(self.bits):
            record["bits"] = round(self.bits, 4)
        self.log.add(record)

    def _diverged(self) -> VidtwinError:
        return VidtwinError(
            f"training diverged before step {self.step}: the loss is no longer a number",
            f"start anew (--force) with less than --lr {self.setting.options.lr:g}",
        )

    def _evaluate(self) -> None:
        if self.log is None:
            return
        quality = measure(self.average.model, self._held_out, self.setting.place, self.quantising)
        if quality is not None:
            self.log.add({"step": self.step, "seconds": round(self.seconds, 1), "psnr": round(quality.mean, 4)})
        shown = f", held-out PSNR {quality.mean:.2f} dB" if quality else ""
        loss = next((record["loss"] for record in reversed(self.log.records) if "loss" in record), None)
        shown += f", loss {loss:.3f}" if loss is not None else ""
        shown += f", {self.bits:.2f} bits an element" if math.isfinite(self.bits) else ""
        self.setting.reporter.said(f"step {self.step}, {self.seconds / 60:.1f} minutes{shown}")

    def save(self) -> None:
        """Save the state and the averaged weights to the run's folder, on a thread of its own.

        Raises:
            VidtwinError: the weights are no longer finite, or what was saved before could not be written.
        """
        if not self.setting.world.first:
            return
        options, step = self.setting.options, self.step
        # the last good state must not be replaced by one that cannot be resumed
        if not all_finite(self._learning):
            raise self._diverged()
        state = State(
            step=step,
            seconds=self.seconds,
            options=options.to_json(),
            config=self.model.config.to_dict(),
            footage=self.setting.footage,
            model=copied(self.model.state_dict()),
            average=copied(self.average.model.state_dict()),
            optimizers=copied(self.optimizers.state()),
            rate=copied(self.rate.state_dict()) if self.rate is not None else {},
        )
        average = copy.deepcopy(self.average.model)

        def write() -> None:
            state.save(options.folder / STATE)
            save_latest(average, options.folder / LATEST, options, step)

        self._saver.put(write)


def save_latest(model: VidTwin, path: Path, options: TrainOptions, step: int) -> None:
    """Save the averaged weights without quantisation steps, for a look, or for ``vidtwin weights import``."""
    origin = f"vidtwin train, unfinished, step {step}"
    save_checkpoint(path, model, name=options.weights_name, origin=origin, storage=options.storage)


def _quantised(config: VidTwinConfig, rate: RateModel | None, noise: str | None) -> Quantised | None:
    """Return what quantises latents in a run; None if it has no steps.

    Raises:
        VidtwinError: they are to be coded, and what the coder needs is not installed.
    """
    if rate is None:
        return None
    if noise != "coded":
        return rate.rounded
    try:  # not above: all other runs need torch, numpy and safetensors alone
        from vidtwin_codec.training.coded import Coded
    except ModuleNotFoundError as error:
        raise VidtwinError(
            f"--noise coded runs the coder, which needs {error.name}", f"pip install {error.name}"
        ) from error
    return Coded(config, rate.channel_steps(1.0))

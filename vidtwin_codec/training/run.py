"""A whole training run, from footage to weights."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import check_output, explain_os_error
from vidtwin_codec.model import VidTwinConfig
from vidtwin_codec.network.device import Device, select_device
from vidtwin_codec.reporter import Reporter
from vidtwin_codec.training.clips import ClipSampler
from vidtwin_codec.training.finish import Finished, card_path, finish
from vidtwin_codec.training.footage import Footage, describe, fingerprint, split
from vidtwin_codec.training.loop import STATE, Setting, Trainer
from vidtwin_codec.training.network import begin, build, build_rate, network_config
from vidtwin_codec.training.options import TrainOptions, differences
from vidtwin_codec.training.preparation import held_out_clips, load_footage
from vidtwin_codec.training.state import State
from vidtwin_codec.training.world import World, joined


@dataclass(frozen=True)
class TrainResult:
    """The result of a finished run.

    Attributes:
        output: the weights file.
        card: the model card.
        folder: folder of state, log and plot.
        sha256: digest of the weights file.
        steps: number of steps.
        minutes: training time in minutes.
        psnr: PSNR on held-out clips in dB; None if nothing was held out.
        bits: rate in bits an element, by the Kullback-Leibler divergence or estimated; None if the encoder did not
            learn.
        sources: number of files that were trained on.
        frames: number of their frames.
        parameters: number of parameters of the network.
        compute_dtype: precision that the weights are marked for.
        device: device and precision of the training.
        notes: notes for the user.
    """

    output: Path
    card: Path
    folder: Path
    sha256: str
    steps: int
    minutes: float
    psnr: float | None
    bits: float | None
    sources: int
    frames: int
    parameters: int
    compute_dtype: str
    device: str
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Convert every field to what JSON can hold."""
        values = {key: getattr(self, key) for key in self.__dataclass_fields__}
        return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


class InterruptedRunError(VidtwinError):
    """The run was stopped by a signal, and its state is saved."""


def train(options: TrainOptions, *, reporter: Reporter | None = None, command: str | None = None) -> TrainResult | None:
    """Train weights as ``options`` say.

    Under ``torchrun`` every process calls this; only the first one writes files and gets a result.

    Args:
        options: see :class:`TrainOptions`.
        reporter: receives progress.
        command: command that repeats the run, for the model card; None makes one from the options.

    Raises:
        VidtwinError: the data, the weights or the options cannot be used, training diverged, a file cannot be
            written, or the run was interrupted (:class:`InterruptedRunError`) and can be resumed.
    """
    _check_files(options)
    kind = select_device(options.device, options.precision, "bfloat16").device.type
    with joined(kind) as world:
        # with several processes one device each
        name = f"cuda:{world.local_rank}" if kind == "cuda" and world.size > 1 else options.device
        place = select_device(name, options.precision, "bfloat16")
        reporter = reporter if reporter is not None and world.first else Reporter()
        config = network_config(options)
        world.clips(options.batch)
        state = _resumed(options, config) if options.resume else None
        setting = _setting(options, config, place, world, reporter)
        if state is not None and state.footage != setting.footage:
            reporter.warned("the footage is not that of the interrupted run, which goes on with what is there now")
        new = world.first and state is None
        model = build(options, config, setting.sampler if new else None, place.device)
        rate = build_rate(options, config)
        if state is None:
            opened = begin(model, rate, setting.sampler, options)
            if opened:
                reporter.said(f"{opened} blocks of the decoder that did nothing can learn now")
        trainer = Trainer(setting, model, rate, state)
        parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
        reporter.said(f"{parameters / 1e6:.1f} million parameters on {place}, {describe(setting.sampler.footage)}")
        complete = trainer.run()
        if not world.first:
            return None
        if not complete:
            raise InterruptedRunError(
                f"interrupted after step {trainer.step}; the state is saved in {options.folder}",
                "run the same command with --resume to continue",
            )
        made = _finished(trainer, command or f"vidtwin train  # {json.dumps(options.to_json())}")
        return TrainResult(
            output=options.output,
            card=card_path(options.output),
            folder=options.folder,
            sha256=made.sha256,
            steps=trainer.step,
            minutes=round(trainer.seconds / 60, 2),
            psnr=made.quality.mean if made.quality else None,
            bits=trainer.bits if math.isfinite(trainer.bits) else None,
            sources=len(setting.sampler.footage),
            frames=sum(one.frames for one in setting.sampler.footage),
            parameters=parameters,
            compute_dtype=made.compute_dtype,
            device=str(place),
            notes=made.notes,
        )


def _finished(trainer: Trainer, command: str) -> Finished:
    options = trainer.setting.options
    try:
        return finish(trainer, command)
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"interrupted after the last step, before all was written; the trained state is kept in {options.folder}",
            "run the same command with --resume to finish"
            + (" (and --force, for the weights are there already)" if options.output.exists() else ""),
        ) from None


def _check_files(options: TrainOptions) -> None:
    """Make sure before anything else that outputs can be written, and no saved state is in the way."""
    if options.output.suffix != ".safetensors":
        raise VidtwinError(f"{options.output}: weights are .safetensors files", f"name it {options.output}.safetensors")
    check_output(options.output, force=options.force)
    state = options.folder / STATE
    if state.exists() and not (options.resume or options.force):
        raise VidtwinError(
            f"{options.folder}: holds the state of an earlier run",
            "pass --resume to continue it, or --force to start anew",
        )
    if not options.resume:
        check_output(card_path(options.output), force=options.force)
    try:
        options.folder.mkdir(exist_ok=True)
    except OSError as error:
        raise explain_os_error(error, options.folder) from error


def _resumed(options: TrainOptions, config: VidTwinConfig) -> State:
    state = State.load(options.folder / STATE)
    changed = differences(options, state.options)
    if not changed and state.config != config.to_dict():
        changed = ["another network"]
    if changed:
        raise VidtwinError(
            f"{options.folder}: is the state of another run ({'; '.join(changed)})",
            "resume with the same choices, or pass --force without --resume to start anew",
        )
    return state


def _setting(options: TrainOptions, config: VidTwinConfig, place: Device, world: World, reporter: Reporter) -> Setting:
    footage: list[Footage] | None = None
    held_out = torch.empty(0)
    if world.first:
        training, measured = split(options)
        footage = load_footage(training, config, options, reporter)
        held_out = held_out_clips(measured, config, reporter)
        if not len(held_out):
            reporter.warned("nothing is held out, so nothing is measured (--eval-data names footage to measure on)")
    footage = world.share(footage)
    sampler = ClipSampler(
        footage,
        config,
        max_stride=options.max_stride,
        noise=options.noise_drawn,
        spread=options.noise_spread,
        seed=options.seed,
        device=place.device if options.data_on_device and place.device.type != "cpu" else None,
    )
    return Setting(options, place, world, sampler, held_out, fingerprint(footage), reporter)

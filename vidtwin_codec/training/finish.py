"""The end of a run, which writes the weights with their quantisation steps, the plot and the model card."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import vidtwin_codec
from vidtwin_codec.calibration.importing import PRECISION_LOSS
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwin, open_checkpoint, save_checkpoint
from vidtwin_codec.network.device import Device
from vidtwin_codec.text import valid
from vidtwin_codec.training.evaluation import ClipPsnr, measure
from vidtwin_codec.training.footage import describe
from vidtwin_codec.training.loop import Setting, Trainer
from vidtwin_codec.training.network import init_path, starting_steps
from vidtwin_codec.training.options import TrainOptions
from vidtwin_codec.training.rate import RateModel
from vidtwin_codec.training.report import plot, write_card
from vidtwin_codec.weights import read_metadata, store
from vidtwin_codec.weights.metadata import DECODES

if TYPE_CHECKING:
    from vidtwin_codec.coding import Steps

CALIBRATION_CLIPS = 64
CALIBRATION_SECONDS = 45.0
"""Time of the calibration, which leaves out what it cannot do by then. The measurements for the model card come on
top."""


class Finished:
    """The result of :func:`finish`.

    Attributes:
        quality: PSNR of the stored weights; None if nothing was held out.
        compute_dtype: precision that the weights are marked for.
        sha256: digest of the weights file.
        notes: notes for the user.
    """

    def __init__(self) -> None:
        self.quality: ClipPsnr | None = None
        self.compute_dtype = "float32"
        self.sha256 = ""
        self.notes: list[str] = []


def card_path(output: Path) -> Path:
    """Path of the model card of a weights file."""
    return output.with_suffix(".md")


def finish(trainer: Trainer, command: str) -> Finished:
    """Write the final weights, the plot and the model card.

    Args:
        trainer: the finished training.
        command: command that repeats the run, for the model card.

    Raises:
        VidtwinError: a file cannot be written.
    """
    setting, made = trainer.setting, Finished()
    options, exact = setting.options, Device(setting.place.device, torch.float32)
    model = trainer.average.model
    _round(model, options.storage)
    steps = _steps(trainer, model, made.notes)
    setting.reporter.stage("measuring the weights", "measurement").started(2, "")
    made.quality = measure(model, setting.held_out, exact, trainer.quantising)
    setting.reporter.advanced(1)
    coarse = measure(model, setting.held_out, Device(exact.device, torch.bfloat16), trainer.quantising)
    setting.reporter.advanced(1)
    if made.quality is None or coarse is None:
        made.notes.append("nothing was held out: no PSNR, and marked for computing in float32")
    else:
        loss = made.quality.mean - coarse.mean
        made.compute_dtype = "bfloat16" if loss <= PRECISION_LOSS else "float32"
        made.notes.append(f"computing in bfloat16 costs {loss:.3f} dB: marked {made.compute_dtype}")
    store.record_path(options.output).unlink(missing_ok=True)  # the digest of the weights that are replaced
    save_checkpoint(
        options.output,
        model,
        name=options.weights_name,
        origin=f"vidtwin train, {trainer.step} steps of {options.batch} clips",
        steps=steps,
        compute_dtype=made.compute_dtype,
        storage=options.storage,
        extra=_relation(options),
    )
    made.sha256 = store.file_digest(options.output)
    store.write_record(options.output, made.sha256)
    _report(trainer, made, command)
    return made


def _relation(options: TrainOptions) -> dict[str, str]:
    """Name the weights that the run began with, and those they name, if the encoder is still theirs."""
    if options.init is None or options.train == "all":
        return {}
    start = open_checkpoint(init_path(options.init))
    if not start.ours:
        return {}
    return {DECODES: " ".join((store.file_digest(start.path), *read_metadata(start.path).decodes))}


def _report(trainer: Trainer, made: Finished, command: str) -> None:
    folder, log = trainer.setting.options.folder, trainer.log
    assert log is not None
    if made.quality is not None:
        log.add({"step": trainer.step, "seconds": round(trainer.seconds, 1), "psnr": round(made.quality.mean, 4)})
    if not plot(log.records, folder / "plot.png"):
        made.notes.append("no plot: matplotlib is not installed (pip install 'vidtwin-codec[train]')")
    names = "".join(f"{one.frames}\t{one.width}x{one.height}\t{one.name}\n" for one in trainer.setting.sampler.footage)
    (folder / "footage.tsv").write_text(valid(names), encoding="utf-8")
    write_card(
        card_path(trainer.setting.options.output), trainer.setting.options.weights_name, _rows(trainer, made), command
    )


def _steps(trainer: Trainer, model: VidTwin, notes: list[str]) -> Steps | None:
    """Take the steps of the weights that the run began with if channels are patterns, else calibrate steps."""
    setting = trainer.setting
    kept = starting_steps(setting.options) if model.config.patterns is not None else None
    if kept is not None:
        notes.append(f"quantisation steps as those of {setting.options.init}")
        return kept
    return _calibrated(model, trainer.rate, setting, notes)


def _calibrated(model: VidTwin, rate: RateModel | None, setting: Setting, notes: list[str]) -> Steps | None:
    try:
        from vidtwin_codec.calibration.steps import calibrate
    except ModuleNotFoundError as error:
        if error.name != "zstandard":
            raise
        notes.append(
            f"without quantisation steps, since zstandard is not installed here; "
            f"elsewhere: vidtwin weights import {setting.options.output.name} --clips VIDEO"
        )
        return None
    try:
        calibration = calibrate(
            model,
            setting.sampler.calibration_clips(CALIBRATION_CLIPS),
            trained=rate.channel_steps(setting.options.noise_scale) if rate is not None else None,
            seconds=CALIBRATION_SECONDS,
            reporter=setting.reporter,
        )
    except ValueError as error:
        raise VidtwinError(f"the trained weights cannot be calibrated: {error}") from error
    notes += calibration.notes
    return calibration.steps


@torch.no_grad()
def _round(model: VidTwin, storage: str) -> None:
    """Round parameters to the precision they are stored in, so that the stored weights are measured."""
    dtype: torch.dtype = getattr(torch, storage)
    for parameter in model.parameters():
        if parameter.abs().max() <= torch.finfo(dtype).max:
            parameter.copy_(parameter.to(dtype))


def _rows(trainer: Trainer, made: Finished) -> list[tuple[str, str]]:
    setting = trainer.setting
    options, config = setting.options, trainer.model.config
    quality = made.quality
    shapes = (config.structure_shape, config.dynamics_x_shape, config.dynamics_y_shape)
    text: Callable[[tuple[int, ...]], str] = lambda shape: " x ".join(map(str, shape))  # noqa: E731
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    psnr = f"{quality.mean:.2f} dB ({quality.worst:.1f} to {quality.best:.1f})" if quality else "not measured"
    of = "posterior means" if trainer.rate is None else f"means quantised with {options.noise_scale:g} of the steps"
    estimate = "Kullback-Leibler" if trainer.rate is None else "estimated, at those steps"
    bits = f"{trainer.bits:.2f} bits an element ({estimate})" if math.isfinite(trainer.bits) else "as at the start"
    return [
        ("clip", f"{config.frames} frames of {config.width} x {config.height}"),
        ("patch, width", f"{config.patch_size}, {config.encoder.hidden_size}"),
        ("depth", f"{config.encoder.depth} blocks in the encoder, {config.decoder.depth} in the decoder"),
        ("latents of a clip", f"structure {text(shapes[0])}, dynamics {text(shapes[1])} and {text(shapes[2])}"),
        ("parameters", f"{parameters / 1e6:.1f} million, stored as {options.storage}"),
        ("precision", made.compute_dtype),
        ("SHA-256", made.sha256),
        ("data", f"{describe(setting.sampler.footage)} (footage.tsv names the files)"),
        ("start", options.init or "new network"),
        ("steps", f"{trainer.step} of {options.batch} clips, {trainer.seconds / 60:.1f} minutes"),
        ("machine", f"{_machine(setting.place.device)}, {setting.place}, {setting.world.size} process(es)"),
        ("held-out PSNR", f"{psnr}, {len(setting.held_out)} clips, {of}, paper protocol"),
        ("rate", bits),
        ("seed", str(options.seed)),
        (
            "software",
            f"vidtwin {vidtwin_codec.__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        ),
    ]


def _machine(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()

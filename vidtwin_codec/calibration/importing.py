"""Importing checkpoints: conversion to weights in this project's format."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import atomic_path, check_output, explain_os_error, temporary_folder
from vidtwin_codec.reporter import Reporter
from vidtwin_codec.safetensors_file import check_file, is_torch_file, read_header
from vidtwin_codec.weights import store
from vidtwin_codec.weights.metadata import WeightsMetadata, read_metadata

if TYPE_CHECKING:
    from torch import Tensor

    from vidtwin_codec.calibration.precision import Losses
    from vidtwin_codec.coding import Steps
    from vidtwin_codec.model import VidTwin, VidTwinConfig
    from vidtwin_codec.options import Reporter

PRECISION_LOSS = 0.05
"""Loss in dB by computing in bfloat16 above which weights are marked for float32."""
PLAUSIBLE_PSNR = 12.0
"""PSNR in dB below which a network reconstructs nothing, probably because its configuration is wrong."""


@dataclass(frozen=True)
class ImportOptions:
    """Options of an import.

    Attributes:
        name: name of the weights; None for the file's own name.
        clips: videos to calibrate on; empty for synthetic clips.
        config: JSON file with the network's configuration, for checkpoints that do not state it.
        output: file to write; None keeps the weights in the cache.
        storage: type of the numbers, ``"float16"`` (which None means), ``"bfloat16"`` or ``"float32"``.
        description: description of the weights in a few words.
        origin: origin of the weights; None states the digest of the checkpoint.
        force: whether to replace ``output`` if it exists.
        device: where to calibrate, as :func:`~vidtwin_codec.network.device.select_device` takes it.
    """

    name: str | None = None
    clips: tuple[Path, ...] = ()
    config: Path | None = None
    output: Path | None = None
    storage: str | None = None
    description: str = ""
    origin: str | None = None
    force: bool = False
    device: str = "auto"


@dataclass(frozen=True)
class ImportResult:
    """The result of an import.

    Attributes:
        entry: the weights, ready to use.
        notes: notes for the user, about assumptions, fallbacks and the calibration.
    """

    entry: store.Entry
    notes: list[str] = field(default_factory=list)


def import_checkpoint(
    path: str | Path, options: ImportOptions | None = None, *, reporter: Reporter | None = None
) -> ImportResult:
    """Import a checkpoint: convert it, calibrate quantisation steps if it has none, and store the result.

    A file that is in this project's format, has steps and is not to be calibrated again is stored byte for byte, so its
    digest, by which a ``.vtw`` names its weights, stays the same.

    Args:
        path: an upstream ``.ckpt`` or ``.safetensors`` file, or one in this project's format.
        options: see :class:`ImportOptions`.
        reporter: receives progress.

    Raises:
        VidtwinError: the file is not a usable checkpoint, this machine does not have the device or the memory, or the
            result cannot be written.
    """
    from vidtwin_codec.options import Reporter  # training takes from here, where the packages of options may be missing

    options, reporter, path = options or ImportOptions(), reporter or Reporter(), Path(path)
    check_file(path)
    name = _checked_name(options)
    name = name if name is not None else name_from(path.stem)
    if options.output is not None:
        check_output(options.output, path, force=options.force)
    ready = _ready(path)
    if ready is not None and ready.steps_json is not None and not _changes(options):
        return ImportResult(_keep(path, name, options), [])
    folder = store.cache_folder() if options.output is None else options.output.parent
    _make_folder(folder)
    with temporary_folder(folder) as work:
        made = work / "weights.safetensors"
        notes = _convert(path, made, name, options, reporter)
        return ImportResult(_keep(made, name, options), notes)


def _convert(path: Path, made: Path, name: str, options: ImportOptions, reporter: Reporter) -> list[str]:
    from vidtwin_codec.calibration.bounds import most_checks
    from vidtwin_codec.calibration.scope import scope_for, spread
    from vidtwin_codec.model import open_checkpoint, save_checkpoint
    from vidtwin_codec.network.device import select_device

    device = select_device(options.device, "float32", "float32")
    reporter.stage("reading the checkpoint").started(None, "")
    checkpoint = open_checkpoint(path, config=read_config(options.config))
    notes = [f"assumed, since the file does not say: {what}" for what in checkpoint.assumed]
    with _explained(path):
        model = checkpoint.load(device=device.device)
        checks = None
        if not options.clips:  # whoever names videos wants the work
            try:
                checks = most_checks(model, model.config, path.stat().st_size)
            except VidtwinError as error:
                raise VidtwinError(f"{path}: {error.message}", error.hint) from error
        clips = spread(list(_clips(options, model.config)), scope_for(model.config).clips)
        steps, losses = _measured(model, clips, checks, str(device), notes, reporter)
    kind = "given" if options.clips else "made-up"
    notes.append(f"steps calibrated on {len(clips)} {kind} clips")
    if losses.exact < PLAUSIBLE_PSNR:
        notes.append(f"these weights reconstruct the clips at only {losses.exact:.1f} dB: is the configuration right?")
    compute_dtype = "bfloat16" if losses.bfloat16 <= PRECISION_LOSS else "float32"
    notes.append(f"computing in bfloat16 costs {losses.bfloat16:.2f} dB: marked {compute_dtype}")
    bears_tf32 = losses.tf32 <= PRECISION_LOSS
    notes.append(f"TF32 costs {losses.tf32:.2f} dB: {'allowed' if bears_tf32 else 'not allowed'}")
    described = {"description": options.description} if options.description else {}
    origin = options.origin
    if origin is None:
        # the digest, not the name: the same checkpoint gives the same bytes whatever it is called
        origin = f"imported from a checkpoint with SHA-256 {store.file_digest(path)}"
    reporter.stage("writing the weights").started(None, "")
    save_checkpoint(
        made,
        model,
        name=name if options.output is not None else _canonical_name(model.config),
        steps=steps,
        compute_dtype=compute_dtype,
        storage=options.storage or "float16",
        origin=origin,
        extra=described | ({"tf32": "1"} if bears_tf32 else {}),
    )
    return notes


def _measured(
    model: VidTwin, clips: list[Tensor], checks: int | None, device: str, notes: list[str], reporter: Reporter
) -> tuple[Steps, Losses]:
    """Calibrate the steps and compare the precisions, and report each run through a half of the network as a step."""
    from vidtwin_codec.calibration.precision import RUNS, compare_precisions
    from vidtwin_codec.calibration.scope import counted, scope_for
    from vidtwin_codec.calibration.steps import calibrate

    scope = scope_for(model.config)
    compared = clips[: scope.precision_clips]
    left = scope.runs(len(clips))
    reporter.stage("calibrating", "step").started(left + RUNS * len(compared), device)

    def ran() -> None:
        nonlocal left
        if left > 0:
            left -= 1
            reporter.advanced(1)

    with counted(model, ran):
        calibration = calibrate(model, clips, checks=checks)
        reporter.advanced(left)  # trials that were not needed
        left = RUNS * len(compared)
        losses = compare_precisions(model, compared)
    notes += calibration.notes
    return calibration.steps, losses


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    from vidtwin_codec.network.memory import is_out_of_memory

    try:
        yield
    except ValueError as error:
        raise VidtwinError(f"{path}: cannot be calibrated: {error}") from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise VidtwinError(
            f"{path}: not enough memory to calibrate these weights", "close other programs, or pass --device cpu"
        ) from error


def _canonical_name(config: VidTwinConfig) -> str:
    rows, columns = config.structure_grid
    return (
        f"vidtwin_structure_{rows}_{columns}_{config.structure_channels}"
        f"_dynamics_{config.dynamics_grid[1]}_{config.dynamics_channels}"
    )


def _clips(options: ImportOptions, config: VidTwinConfig) -> Any:
    from vidtwin_codec.calibration.clips import synthetic_clips, video_clips

    return video_clips(options.clips, config) if options.clips else synthetic_clips(config)


def _keep(made: Path, name: str, options: ImportOptions) -> store.Entry:
    """Copy a finished file to its place, and write its digest beside it."""
    digest = store.file_digest(made)
    if options.output is None:
        _make_folder(store.cache_folder())
        target = store.cache_folder() / f"{name}-{digest[:12]}.safetensors"
    else:
        target = options.output
    replace = options.output is None or options.force
    with atomic_path(target, force=None if options.output is None else replace) as temporary:
        if replace or not target.exists():
            store.record_path(target).unlink(missing_ok=True)
        try:
            shutil.copyfile(made, temporary)
        except OSError as error:
            raise explain_os_error(error, target) from error
    store.write_record(target, digest)
    return store.resolve(target)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os_error(error, folder) from error


def _ready(path: Path) -> WeightsMetadata | None:
    """Read the metadata of a file that is in this project's format already; None if it is not."""
    if is_torch_file(path) or read_header(path).metadata.get("format") != "vidtwin":
        return None
    return read_metadata(path)


def _changes(options: ImportOptions) -> bool:
    return bool(options.clips or options.config or options.storage or options.description or options.origin)


def _checked_name(options: ImportOptions) -> str | None:
    name = options.name
    if name is None:
        return None
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        raise VidtwinError(f"{name!r} cannot name weights", "use lower-case letters, digits, dots, dashes, underscores")
    if name == store.DEFAULT_NAME and options.output is None:
        raise VidtwinError(f"{name!r} is the name of the embedded weights", "choose another with --name")
    return name


def name_from(text: str) -> str:
    """Make a valid name for weights from the name of a file or a repository."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:64]
    name = re.sub(r"-[0-9a-f]{12}$", "", name)  # the file comes from a cache
    return name if name and name != store.DEFAULT_NAME else "imported"


def read_config(path: Path | None) -> VidTwinConfig | None:
    """Read a configuration from JSON: our own, the released ``model.params``, or a released YAML file as JSON."""
    if path is None:
        return None
    from vidtwin_codec.model import VidTwinConfig

    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise explain_os_error(error, path) from error
    except (ValueError, RecursionError) as error:
        raise VidtwinError(f"{path}: not a JSON file") from error
    try:
        for key in ("model", "params"):
            values = values[key] if isinstance(values, dict) and key in values else values
        if not isinstance(values, dict):
            raise VidtwinError("expected a JSON object")
        if "encoder_config" in values:
            return VidTwinConfig.from_upstream(values)
        return VidTwinConfig.from_dict(values)
    except VidtwinError as error:
        raise VidtwinError(f"{os.fspath(path)}: {error.message}", error.hint) from error

"""Latents as floats back to .vtw files: exported ones exactly, changed or generated ones quantised anew."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from vidtwin_codec import weights
from vidtwin_codec.coding import DEFAULT_LEVEL, LatentArrays, Steps, coder_of, quality_scale, requantize
from vidtwin_codec.container import Header, VtwReader
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import atomic_path, check_output, explain_os_error
from vidtwin_codec.latents.bounds import check_work
from vidtwin_codec.latents.clips import cropped
from vidtwin_codec.latents.description import Description, load
from vidtwin_codec.latents.exporting import describe, tensor_name
from vidtwin_codec.latents.file import VtwFile
from vidtwin_codec.latents.tensor_files import TensorReader, open_tensors
from vidtwin_codec.latents.writing import even_groups, write_symbols
from vidtwin_codec.options import Reporter

PathLike = str | os.PathLike[str]
_NO_METADATA_HINT = "pass --like FILE.vtw, a file of the same weights, size and rate"


@dataclass(frozen=True)
class ImportLatentsOptions:
    """Choices of :func:`import_latents`."""

    like: PathLike | None = None
    """A .vtw whose header and sound to take; needed for tensors that `export_latents` did not write."""
    quality: float | None = None
    """Quantise with the steps of this quality, 0 to 100, instead of those the latents come with."""
    level: int = DEFAULT_LEVEL
    """zstd level, 1 to 22."""
    force: bool = False
    """Replace existing outputs."""


@dataclass(frozen=True)
class Imported:
    """Counts of one imported file."""

    output: str
    frames: int
    clips: int
    vtw_bytes: int
    audio_bytes: int = 0


def import_latents(
    source: PathLike,
    output: PathLike,
    options: ImportLatentsOptions | None = None,
    *,
    reporter: Reporter | None = None,
) -> list[Imported]:
    """Make .vtw files of a file of latents.

    What `export_latents` wrote comes back symbol for symbol, in the same groups. Latents that were changed go to the
    nearest symbol; a changed number of clips makes a video of as many full clips.

    Args:
        source: .safetensors or .npz with the tensors of `export_latents`; the axis of tiles may be left out for one.
        output: the .vtw to write; a folder where the source holds several videos.
        options: defaults for everything left out.
        reporter: receives the number of frames written.

    Raises:
        VidtwinError: the source cannot be read or does not have the shapes of its header, holds numbers that are not
            finite, or the output cannot be written.
    """
    options, reporter = options or ImportLatentsOptions(), reporter or Reporter()
    with ExitStack() as stack:
        tensors = open_tensors(Path(source))
        like = stack.enter_context(VtwFile(options.like)) if options.like is not None else None
        try:
            jobs = _plan(tensors, like, options)
            described = [job.described for job in jobs.values()]
            check_work(described, Path(source).stat().st_size, tensors.array_bytes)
        except VidtwinError as error:
            raise VidtwinError(f"{os.fspath(source)}: {error.message}", error.hint) from error
        targets = _targets(source, output, list(jobs), options)
        reporter.started(sum(job.described.frames for job in jobs.values()), "")
        return [
            _write(target, job, tensors, options, reporter) for target, job in zip(targets, jobs.values(), strict=True)
        ]


@dataclass(frozen=True)
class _Job:
    """One video to be made: its description, and the names of its three tensors."""

    described: Description
    tensors: tuple[str, ...]


def _plan(tensors: TensorReader, like: VtwFile | None, options: ImportLatentsOptions) -> dict[str, _Job]:
    if tensors.metadata is not None:
        described: dict[str, Description | None] = dict(load(tensors.metadata))
    elif like is None:
        raise VidtwinError("does not say how the video is shaped and quantised", _NO_METADATA_HINT)
    else:
        described = {"": None}
    jobs = {}
    for name, description in described.items():
        names = tuple(tensor_name(name, field, len(described)) for field in LatentArrays._fields)
        try:
            jobs[name] = _job(tensors, names, description, like, options)
        except VidtwinError as error:
            raise VidtwinError(f"{name}: {error.message}" if name else error.message, error.hint) from error
    return jobs


def _job(
    tensors: TensorReader,
    names: tuple[str, ...],
    described: Description | None,
    like: VtwFile | None,
    options: ImportLatentsOptions,
) -> _Job:
    if like is not None:
        given = describe(like)
        if described is None:
            described = given
        elif not weights.share_latents(described.header.weights_sha256, given.header.weights_sha256):
            raise VidtwinError(
                f"its latents were made with weights {described.header.weights_name!r} "
                f"(SHA-256 {described.header.weights_sha256[:12]}…), not {given.header.weights_name!r} "
                f"(SHA-256 {given.header.weights_sha256[:12]}…) as the file to be like"
            )
        else:
            # the latents keep the steps they were quantised with
            described = replace(described, header=replace(given.header, steps=described.header.steps))
    assert described is not None  # without a description there is a file to be like
    # whatever coder wrote the original, the best of today's writes this one
    camera = described.header.camera or any(described.placements)
    coder = coder_of(described.header.layout, camera=camera)
    header = replace(described.header, camera=camera, coder=coder)
    if options.quality is not None:
        header = replace(header, steps=_steps(header, options.quality))
        header = replace(header, options={**header.options, "quality": options.quality})
    clips = _clips(tensors, names, replace(described, header=header))
    if clips == described.clips and described.header.clip_frames == header.clip_frames:
        return _Job(replace(described, header=header), names)
    if any(described.placements):
        raise VidtwinError(
            f"holds {clips} clips, but is said to follow the camera through {described.clips}",
            "encode with --no-camera what is to be cut or joined",
        )
    groups = tuple(even_groups(clips, header.clips_per_group))
    return _Job(Description(header, clips * header.clip_frames, groups), names)


def _clips(tensors: TensorReader, names: tuple[str, ...], described: Description) -> int:
    """Number of clips, after checking that the tensors have the shapes they should have."""
    found: set[int] = set()
    for name, shape in zip(names, described.shapes, strict=True):
        if name not in tensors.shapes:
            raise VidtwinError(f"has no tensor {name!r}")
        actual = tensors.shapes[name]
        tiles = described.tiles
        if actual[1:] != (tiles, *shape) and (tiles > 1 or actual[1:] != shape):
            raise VidtwinError(
                f"{name} has shape {list(actual)}, expected [clips, {', '.join(map(str, (tiles, *shape)))}]"
            )
        found.add(actual[0])
    if len(found) != 1 or 0 in found:
        raise VidtwinError("its tensors must have the same number of clips, one or more")
    return found.pop()


def _steps(header: Header, quality: float) -> Steps:
    """Steps of a quality, from those that the weights come with."""
    scale = quality_scale(quality)
    entry = weights.find_decoder(header.weights_sha256)
    if entry is None or entry.metadata.steps is None:
        raise VidtwinError(
            f"the weights {header.weights_name!r} (SHA-256 {header.weights_sha256[:12]}…), whose steps a quality "
            "scales, are not on this machine",
            "import them, or leave --quality out to keep the steps that the latents come with",
        )
    return entry.metadata.steps.scaled(scale)


def _targets(source: PathLike, output: PathLike, names: list[str], options: ImportLatentsOptions) -> list[Path]:
    """Choose where each video goes, and refuse what cannot be written before any work is done."""
    if len(names) == 1:
        targets = [Path(output)]
    else:
        folder = Path(output)
        if folder.exists() and not folder.is_dir():
            raise VidtwinError(
                f"{os.fspath(source)} holds {len(names)} videos, and {folder} is not a folder", "name a folder"
            )
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise explain_os_error(error, folder) from error
        # names come from the file: they must not lead out of the folder
        targets = [folder / f"{Path(name).name}.vtw" for name in names]
        if len(set(targets)) < len(targets):
            raise VidtwinError(f"{os.fspath(source)} holds several videos of the same name", "export them one by one")
    for target in targets:
        check_output(target, source, force=options.force)
        check_output(target, options.like, force=options.force)
    return targets


def _write(
    target: Path, job: _Job, tensors: TensorReader, options: ImportLatentsOptions, reporter: Reporter
) -> Imported:
    described, header = job.described, job.described.header

    def read(first: int, end: int) -> LatentArrays:
        flat = LatentArrays(*(tensors.read(name, first, end) for name in job.tensors))
        latents = flat.map(lambda part, shape: part.reshape(end - first, described.tiles, *shape), described.shapes)
        if described.placements:  # a clip at a time, or clips of as many tiles
            placement = described.placement(first)
            tiles = header.tiles_on(placement)
            latents = latents.map(lambda part: part[:, :tiles])
            latents = cropped(latents, header.layout, placement)
        return requantize(latents, header.steps)

    with ExitStack() as stack:
        audio: Iterable[bytes] = ()
        if header.audio is not None and options.like is not None:
            audio = stack.enter_context(VtwReader(options.like)).audio_chunks()
        temporary = stack.enter_context(atomic_path(target, force=options.force))
        with temporary.open("wb") as stream:
            counts = write_symbols(
                stream,
                header,
                described.group_clips,
                described.frames,
                read,
                audio=audio,
                level=options.level,
                reporter=reporter,
                placements=described.placement,
            )
    return Imported(os.fspath(target), counts.frames, described.clips, counts.vtw_bytes, counts.audio_bytes)

"""Cross-reenactment: the structure of one file with the dynamics of another.

Symbols are taken over as they are, with the steps they were quantised with, so that mixing loses nothing and needs no
network: what comes out is a .vtw like any other, and decoding it is decoding the mixture.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec import __version__
from vidtwin_codec.coding import DEFAULT_LEVEL, PLAIN, LatentArrays, Steps, coder_of
from vidtwin_codec.coding.placement import Placement
from vidtwin_codec.container import Counts, Header, VtwReader
from vidtwin_codec.container.tiling import tile_offsets
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import atomic_path, check_output, renamed, temporary_folder
from vidtwin_codec.latents.file import VtwFile, check_same_latents
from vidtwin_codec.latents.writing import even_groups, write_symbols
from vidtwin_codec.options import DecodeOptions, DecodeResult, Reporter

PathLike = str | os.PathLike[str]
LENGTHS = ("shortest", "structure", "dynamics")
SOUNDS = ("none", "structure", "dynamics")


@dataclass(frozen=True)
class MixOptions:
    """Choices of :func:`mix` and :func:`mix_latents`."""

    length: Literal["shortest", "structure", "dynamics"] = "shortest"
    """Which file says how many frames come out; the other starts again when it ends."""
    sound: Literal["none", "structure", "dynamics"] = "none"
    """Whose sound to take over."""

    def __post_init__(self) -> None:
        if self.length not in LENGTHS:
            raise VidtwinError(f"length {self.length!r} is none of {', '.join(LENGTHS)}")
        if self.sound not in SOUNDS:
            raise VidtwinError(f"sound {self.sound!r} is none of {', '.join(SOUNDS)}")


def mix(
    structure: PathLike,
    dynamics: PathLike,
    output: PathLike,
    options: MixOptions | None = None,
    decoding: DecodeOptions | None = None,
    *,
    reporter: Reporter | None = None,
) -> DecodeResult:
    """Decode the structure of one .vtw with the dynamics of another.

    Size and sample aspect are those of ``structure``, the frame rate, which sets the speed of motion, that of
    ``dynamics``.

    Args:
        structure: .vtw file that gives content and slow motion.
        dynamics: .vtw file that gives fast local motion; made with the same weights.
        output: the video to write, or ``-`` for standard output (as MP4). It appears when it is complete.
        options: length and sound.
        decoding: as for :func:`vidtwin_codec.decode`; its stretch is one of the mixture.
        reporter: receives progress and warnings.

    Raises:
        VidtwinError: the files were made with different weights, one is damaged, the weights are not here, or the
            output cannot be written.
    """
    from vidtwin_codec.decoding.decode import decode

    decoding, reporter = decoding or DecodeOptions(), reporter or Reporter()
    warnings: list[str] = []

    def warned(text: str) -> None:
        warnings.append(text)
        reporter.warned(text)

    check_inputs(structure, dynamics, output, force=decoding.force)
    with temporary_folder() as folder:
        mixture = Path(folder, "mixture.vtw")
        with mixture.open("wb") as stream:
            # read once and thrown away: of dense latents the plain coder at the fastest level takes no time
            mix_latents(structure, dynamics, stream, options, level=1, coder=PLAIN, warned=warned)
        # the user never sees the mixture's name
        shown = f"the mixture of {os.fspath(structure)} and {os.fspath(dynamics)}"
        told = replace(reporter, warned=lambda text: reporter.warned(text.replace(os.fspath(mixture), shown)))
        try:
            result = decode(mixture, output, decoding, reporter=told)
        except VidtwinError as error:
            raise renamed(error, mixture, shown) from error
    warnings += [text.replace(os.fspath(mixture), shown) for text in result.warnings]
    return replace(result, source=os.fspath(structure), warnings=warnings)


def mix_to_vtw(
    structure: PathLike,
    dynamics: PathLike,
    output: PathLike,
    options: MixOptions | None = None,
    *,
    force: bool = False,
    warned: Callable[[str], None] = lambda _: None,
) -> Counts:
    """Mix as `mix` does, but keep the mixture as a .vtw; needs no network. ``warned`` is told what is left out.

    Raises:
        VidtwinError: as `mix`.
    """
    check_inputs(structure, dynamics, output, force=force)
    with atomic_path(output, force=force) as temporary, temporary.open("wb") as stream:
        return mix_latents(structure, dynamics, stream, options, warned=warned)


def mix_latents(
    structure: PathLike,
    dynamics: PathLike,
    stream: BinaryIO,
    options: MixOptions | None = None,
    *,
    level: int = DEFAULT_LEVEL,
    coder: int | None = None,
    warned: Callable[[str], None] = lambda _: None,
) -> Counts:
    """Write the mixture of two .vtw files as a third. Sound that cannot be read is left out.

    Args:
        structure: .vtw file that gives content and slow motion.
        dynamics: .vtw file that gives fast local motion; made with the same weights.
        stream: binary stream, open for writing; stays open.
        options: length and sound.
        level: level of zstd, 1 to 22.
        coder: a key of `CODERS`; None keeps the smallest of all for each group.
        warned: receives what is left out.

    Raises:
        VidtwinError: the files were made with different weights, or one is empty or damaged.
    """
    options = options or MixOptions()
    with ExitStack() as stack:
        still, moving = (stack.enter_context(VtwFile(path)) for path in (structure, dynamics))
        check_same_latents(still, moving)
        for file in (still, moving):
            if not len(file):
                raise VidtwinError(f"{file.name}: holds no frames")
        counts = {"structure": still.frame_count, "dynamics": moving.frame_count}
        frames = min(counts.values()) if options.length == "shortest" else counts[options.length]
        clips = -(-frames // still.header.clip_frames)
        tiles = nearest_tiles(still.header, moving.header)
        followed = still.header.camera or moving.header.camera

        def read(first: int, end: int) -> LatentArrays:
            for clip in range(first, end) if followed else ():
                _check_placements(still, moving, *(_home(file, clip, clips) for file in (still, moving)))
            content, motion = _looped(still, first, end, clips), _looped(moving, first, end, clips)
            # tiles of canvases are each other's, if there are any: those of two files then lie alike
            if content.structure.shape[1] == len(tiles):
                motion = motion.map(lambda part: part[:, tiles])
            return LatentArrays(content.structure, motion.dynamics_x, motion.dynamics_y)

        audio: Iterable[bytes] = ()
        header = _header(still, moving, options)
        if header.audio is not None:
            source = stack.enter_context(VtwReader(structure if options.sound == "structure" else dynamics))
            problem = _audio_problem(source)
            if problem:
                warned(f"the sound is left out: {problem}")
                header = replace(header, audio=None)
            else:
                audio = source.audio_chunks()
        groups = even_groups(clips, header.clips_per_group)

        def placement(clip: int) -> Placement | None:
            return still.placement(_home(still, clip, clips))

        return write_symbols(
            *(stream, header, groups, frames, read), audio=audio, level=level, coder=coder, placements=placement
        )


def nearest_tiles(structure: Header, dynamics: Header) -> NDArray[np.int64]:
    """For each tile of one file the tile of the other whose centre is nearest, both frames laid over each other.

    Tiles are used whole: within a tile the network knows of no frame around it. Frames of the same size give each tile
    its own. So do windows that abut, which must lie in the same number of rows and columns.

    Raises:
        VidtwinError: there are not as many windows in one file as in the other.
    """
    if structure.abutting or dynamics.abutting:
        if (structure.abutting, structure.tile_grid) != (dynamics.abutting, dynamics.tile_grid):
            raise VidtwinError(
                f"one video was coded in {structure.tiles} windows, the other in {dynamics.tiles}",
                "encode both videos at the same size",
            )
        return np.arange(structure.tiles)
    rows = _nearest(
        _centres(structure.coded_height, structure.tile_height, structure.overlap),
        _centres(dynamics.coded_height, dynamics.tile_height, dynamics.overlap),
    )
    across = _centres(dynamics.coded_width, dynamics.tile_width, dynamics.overlap)
    columns = _nearest(_centres(structure.coded_width, structure.tile_width, structure.overlap), across)
    return (rows[:, None] * len(across) + columns).reshape(-1)


def _audio_problem(reader: VtwReader) -> str | None:
    """Why the sound of a file cannot be taken over; None if it can."""
    try:
        return None if sum(map(len, reader.audio_chunks())) else f"{reader.name}: none of it is there"
    except VidtwinError as error:
        return error.message


def check_inputs(structure: PathLike, dynamics: PathLike, output: PathLike, *, force: bool) -> None:
    """Refuse an output that is one of the inputs, or that exists."""
    for source in (structure, dynamics):
        check_output(output, source, force=force)


def _centres(size: int, tile: int, overlap: int) -> NDArray[np.float64]:
    """Centres of the tiles of a side of ``size`` pixels, as parts of the side."""
    return (np.array(tile_offsets(size, tile, overlap)) + min(tile, size) / 2) / size


def _nearest(wanted: NDArray[np.float64], given: NDArray[np.float64]) -> NDArray[np.int64]:
    nearest: NDArray[np.int64] = np.abs(wanted[:, None] - given).argmin(axis=1)
    return nearest


def _looped(file: VtwFile, first: int, end: int, clips: int) -> LatentArrays:
    """Symbols of clips ``first`` … ``end`` - 1 of ``clips`` clips, for which the file is repeated if it has fewer."""
    if clips <= len(file):
        return file[first:end].symbols
    parts = [file[_home(file, clip, clips)].symbols for clip in range(first, end)]
    return LatentArrays.concatenate(parts)


def _home(file: VtwFile, clip: int, clips: int) -> int:
    """The clip of the file that is number ``clip`` of ``clips``."""
    if clips <= len(file):
        return clip
    # what is filled up at the end of the last clip would stand still: repeat full clips where there are any
    return clip % max(1, file.frame_count // file.header.clip_frames)


def _check_placements(still: VtwFile, moving: VtwFile, one: int, other: int) -> None:
    """Refuse clips that the camera is followed through in different ways: their patches show different places."""
    place, same_tiles = still.placement(one), _tiling(still.header) == _tiling(moving.header)
    if place != moving.placement(other) or (place is not None and not same_tiles):
        raise VidtwinError(
            f"clip {one} of {still.name} and clip {other} of {moving.name} do not follow the "
            "camera along the same path",
            "encode both videos with --no-camera",
        )


def _tiling(header: Header) -> tuple[object, ...]:
    """Return the values that a canvas' tiles depend on besides its size."""
    return header.frame, header.overlap, header.tile_height, header.tile_width


def _header(still: VtwFile, moving: VtwFile, options: MixOptions) -> Header:
    content, motion = still.header, moving.header
    sound = {"none": None, "structure": content.audio, "dynamics": motion.audio}[options.sound]
    if sound is None and options.sound != "none":
        raise VidtwinError(f"{(still if options.sound == 'structure' else moving).name}: has no sound")
    return replace(
        content,
        steps=Steps(content.steps.structure, motion.steps.dynamics_x, motion.steps.dynamics_y),
        fps=motion.fps,
        coder=coder_of(content.layout, camera=content.camera),
        audio=sound,
        options={"mixed": {"structure": content.options, "dynamics": motion.options}},
        source={},
        created_by=f"vidtwin {__version__}",
    )

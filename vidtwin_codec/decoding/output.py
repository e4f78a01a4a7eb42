"""Outputs of decoding: a file that appears when it is complete, a stream, or numbered images."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import (
    atomic_path,
    check_output,
    explain_os_error,
    is_pipe,
    is_written_to,
    open_stream,
    renamed,
    temporary_folder,
)
from vidtwin_codec.media.formats import Container, OutputOptions, check_choices, container_for
from vidtwin_codec.media.numbered import Numbered
from vidtwin_codec.options import DecodeOptions

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class OpenOutput:
    """An output that is open.

    Attributes:
        path: what ffmpeg writes, or a name for messages where it is a stream.
        container: what is written.
        stream: takes it as it comes; None for files.
    """

    path: Path
    container: Container
    stream: IO[bytes] | None = None

    @property
    def file_bytes(self) -> int:
        """Bytes of the file or of all images together, once they are complete; 0 of a stream."""
        if self.stream is not None:
            return 0
        images = Numbered.of(self.path) if self.container.numbered else None
        return self.path.stat().st_size if images is None else sum(images.found().values())


def writing_options(options: DecodeOptions) -> OutputOptions:
    """How the decoded frames are encoded."""
    return OutputOptions(options.codec, options.crf, options.preset, options.lossless, options.pix_fmt)


def check_target(output: PathLike, source: PathLike, options: DecodeOptions) -> Container:
    """Refuse an output that cannot or should not be written, before any work is done.

    Args:
        output: what the user named; ``-`` for standard output.
        source: what is decoded.
        options: of these ``format``, ``force`` and how frames are encoded.

    Returns:
        What will be written.

    Raises:
        VidtwinError: its extension is none that can be written, or it is not there to be written.
    """
    container = container_for(Path(output), options.format)
    check_choices(writing_options(options), container)
    images = Numbered.of(Path(output)) if container.numbered else None
    if images is None:
        check_output(output, source, force=options.force)
        return container
    check_output(images.path.with_name(images.name(1)), source, force=options.force)
    there = images.found()
    if there and not options.force:
        raise VidtwinError(
            f"{images.path.with_name(images.name(min(there)))}: already exists", "pass --force to replace the images"
        )
    return container


@contextlib.contextmanager
def open_target(output: PathLike, container: Container, options: DecodeOptions) -> Iterator[OpenOutput]:
    """Open what :func:`check_target` has looked at. Files appear when the block is left without an error.

    Raises:
        VidtwinError: it cannot be written.
    """
    path = Path(output)
    if container.numbered:
        with _images(path) as target:
            yield OpenOutput(target, container)
    elif is_written_to(output):
        with open_stream(output) as stream:
            yield OpenOutput(Path("standard output") if is_pipe(output) else path, container, stream)
    else:
        with atomic_path(output, force=options.force) as temporary:
            yield OpenOutput(temporary, container)


@contextlib.contextmanager
def _images(path: Path) -> Iterator[Path]:
    """Give a name for images in a folder of their own; they get their places when all of them are made."""
    with temporary_folder(path.parent) as folder:
        made = folder / path.name
        try:
            yield made
            images = Numbered.of(made)
            assert images is not None
            for number in images.found():
                os.replace(folder / images.name(number), path.with_name(images.name(number)))
        except OSError as error:
            raise explain_os_error(error, path) from error
        except VidtwinError as error:
            raise renamed(error, folder, os.fspath(path.parent)) from error

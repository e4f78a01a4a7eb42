"""From what the user typed to ffmpeg input arguments: a name is always a file name, never an option or a protocol."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error
from vidtwin_codec.media.numbered import Numbered
from vidtwin_codec.media.signature import recognise
from vidtwin_codec.media.whitelist import HEAD_BYTES, opening_arguments, refuse_playlist

if TYPE_CHECKING:
    from vidtwin_codec.media.live import Feed

DEFAULT_IMAGE_FPS = Fraction(25)

# Extensions that ffmpeg hands to its image sequence reader, which takes % and * in a name for a pattern.
_IMAGES = frozenset(
    {"bmp", "dpx", "exr", "hdr", "j2k", "jp2", "jpeg", "jpg", "jxl", "pam", "pbm", "pcx", "pfm", "pgm", "pgmyuv"}
    | {"png", "pnm", "ppm", "qoi", "sgi", "tga", "tif", "tiff", "xbm", "xwd"}
)


@dataclass(frozen=True)
class Source:
    """An input that exists: ``arguments`` select it for ffmpeg (the last one is the name after ``-i``).

    ``still`` says that it is one image or a numbered sequence of them, whose rate is chosen and not read;
    ``gap`` names the first number missing inside a sequence, if any; ``playlists`` that other files may be opened, too;
    ``feed`` what is to be put into ffmpeg's standard input, for an input that comes down a pipe and can be read once.
    """

    path: Path
    arguments: tuple[str, ...]
    bytes: int
    still: bool = False
    gap: int | None = None
    playlists: bool = False
    feed: Feed | None = None


def locate(path: str | os.PathLike[str], fps: Fraction | None = None, *, playlists: bool = False) -> Source:
    """Find an input and how ffmpeg is to open it.

    ``path`` is a file; or, where no file has that very name, a numbered sequence such as ``frames_%04d.png``.
    ``fps`` is the rate of images (default 25) and is ignored for anything that has a rate of its own. ``playlists``
    lets a playlist open the local files that it names.

    Raises:
        VidtwinError: the input is missing, unreadable, empty, not a regular file, or a playlist that is not allowed.
    """
    target = Path(path)
    if "\0" in str(target):
        raise VidtwinError("a file name cannot hold a null character")
    try:
        exists = os.path.lexists(target)
        if not exists and (images := Numbered.of(target)) is not None:
            return _sequence(images, fps or DEFAULT_IMAGE_FPS, opening_arguments(playlists))
        if target.is_dir():
            raise VidtwinError(f"{target}: is a directory, not a video", "name a video file inside it")
        if not target.exists():
            raise VidtwinError(f"{target}: no such file", "the link points nowhere" if exists else "check the name")
        if not target.is_file():
            raise VidtwinError(f"{target}: is not a regular file", "pipe it in and use - as the name")
        with target.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
            if not head:
                raise VidtwinError(f"{target}: the file is empty")
            stream.seek(0)
            known = recognise(stream)
        size = target.stat().st_size
    except OSError as error:
        raise explain_os_error(error, target) from error
    name = target
    if os.path.abspath(target).startswith(("/dev/", "/proc/")):
        # ffmpeg has other open files than this process: it needs the name behind /dev/stdin and its like
        name = Path(os.path.realpath(target))
        if not name.is_file():
            raise VidtwinError(f"{target}: has no name by which it could be read", "use - for standard input")
    if not playlists:
        refuse_playlist(target, head)
    found = _file(target, name, size, known, fps or DEFAULT_IMAGE_FPS)
    arguments = (*opening_arguments(playlists), *found.arguments)
    return replace(found, arguments=arguments, playlists=playlists)


def file_url(path: str | os.PathLike[str]) -> str:
    """Return the name by which ffmpeg opens exactly this file, whatever characters it holds."""
    return "file:" + os.path.abspath(path)


def _file(path: Path, real: Path, size: int, known: tuple[str, bool] | None, fps: Fraction) -> Source:
    """Return how ffmpeg opens ``real``, which the user calls ``path``.

    ``known`` is the result of :func:`recognise`: the name counts only where the contents do not tell.
    """
    name = file_url(real)
    demuxer, moves = known or ("", False)
    called_image = real.suffix.lower().removeprefix(".") in _IMAGES
    still = called_image and not moves
    chosen: tuple[str, ...] = ()
    if called_image and set(name) & set("%*?[]{}"):
        chosen = ("-f", demuxer) if demuxer else ("-f", "image2", "-pattern_type", "none")
    elif demuxer == "gif":
        chosen = ("-f", "gif")
    if still:
        chosen = (*chosen, "-framerate", str(fps))
    return Source(path, (*chosen, "-i", name), size, still)


def _sequence(images: Numbered, fps: Fraction, opening: tuple[str, ...]) -> Source:
    path, numbers = images.path, images.found()
    if not numbers:
        raise VidtwinError(f"{path}: no such file, and no numbered images match it", "check the name")
    first = last = min(numbers)
    while last + 1 in numbers:
        last += 1
    for number in range(first, last + 1):
        if not numbers[number]:
            # ffmpeg would take it for the end
            image = path.with_name(images.name(number))
            raise VidtwinError(f"{image}: the file is empty", "make the image again, or remove it and number the rest")
    arguments = ("-f", "image2", "-pattern_type", "sequence", "-start_number", str(first), "-framerate", str(fps))
    return Source(
        path,
        (*opening, *arguments, "-i", images.pattern()),
        sum(numbers[number] for number in range(first, last + 1)),
        still=True,
        gap=last + 1 if last != max(numbers) else None,
    )

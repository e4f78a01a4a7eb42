"""The audio of a video that is encoded: extracted to a file before the pictures are read, or alongside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vidtwin_codec.container import AudioInfo
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import MediaInfo, extract_audio, opus_limit
from vidtwin_codec.options import EncodeOptions

_CHUNK = 1 << 20


@dataclass(frozen=True)
class AudioFile:
    """An extracted sound track and where it lies."""

    path: Path
    info: AudioInfo

    def chunks(self) -> Iterator[bytes]:
        """Its bytes."""
        with self.path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk


def extract_audio_file(info: MediaInfo, folder: Path, options: EncodeOptions) -> AudioFile | None:
    """The sound that ``options`` ask for, in a file in ``folder``; None if there is none.

    Raises:
        VidtwinError: the sound cannot be read or written.
    """
    if options.audio == "none":
        return None
    target = folder / "audio.mka"
    found = extract_audio(info, target, mode=options.audio, bitrate_kbps=options.audio_kbps)
    return None if found is None else AudioFile(target, AudioInfo(found.codec, found.bytes, found.container))


@contextmanager
def audio_alongside(info: MediaInfo, folder: Path, options: EncodeOptions) -> Iterator[Callable[[], AudioFile | None]]:
    """Extract the sound of a video that comes down a pipe on a thread of its own, while its pictures are read.

    Args:
        info: the video, whose feed waits for the pictures' reader.
        folder: see :func:`extract_audio_file`.
        options: see :func:`extract_audio_file`.

    Yields:
        A function that waits for the sound, and raises what is wrong with it.
    """
    feed = info.source.feed
    assert feed is not None  # a file can be read twice

    first: list[VidtwinError] = []

    def extract() -> AudioFile | None:
        try:
            return extract_audio_file(info, folder, options)
        except VidtwinError as error:
            if feed.stop():  # rather now than after hours of pictures
                first.append(error)
            raise

    with ThreadPoolExecutor(1, "vidtwin-audio") as pool:
        sound = pool.submit(extract)
        try:
            with feed.stopping():
                yield sound.result
        except VidtwinError:
            if first:
                raise first[0] from None  # it has ended the pictures, too
            raise


def too_many_kbps(info: MediaInfo, options: EncodeOptions) -> str | None:
    """A warning where ``options`` ask for more bits than Opus takes for the channels that there are."""
    if options.audio != "opus" or not info.audio_streams:
        return None
    most = opus_limit(info.audio_streams[0])
    if (options.audio_kbps or 0) <= most:
        return None
    return f"{options.audio_kbps} kbit/s of Opus are more than mono can have: the sound has {most}"

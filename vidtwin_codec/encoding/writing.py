"""Sound and latents into one .vtw, as often as need be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vidtwin_codec.container import AudioInfo, Counts
from vidtwin_codec.encoding.encoder import Encoder, Piece
from vidtwin_codec.encoding.grouping import Watch
from vidtwin_codec.encoding.packer import Packer
from vidtwin_codec.media import MediaInfo, extract_audio
from vidtwin_codec.options import EncodeOptions
from vidtwin_codec.options.target import Achieved
from vidtwin_codec.stages import Sink, depth_for

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


@dataclass(frozen=True)
class Written:
    """A finished .vtw: its counts, the encoder with the short side used, the quality, and how near a target it came."""

    counts: Counts
    encoder: Encoder
    quality: float
    achieved: Achieved | None = None


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


def write_vtw(
    stream: BinaryIO,
    encoder: Encoder,
    pieces: Iterable[Piece],
    *,
    quality: float,
    audio: AudioFile | None = None,
    watch: Watch | None = None,
) -> Counts:
    """Write a whole .vtw; packing runs on a thread of its own while ``pieces`` are made."""
    info = None if audio is None else audio.info
    packer = Packer(stream, encoder, quality=quality, level=encoder.options.level, audio=info, watch=watch)
    if audio is not None:
        packer.add_audio(audio.chunks())
    with Sink(packer.add, waiting_depth(encoder)) as sink:
        for piece in pieces:
            sink.put(piece)
    return packer.finish()


def waiting_depth(encoder: Encoder) -> int:
    """Choose how many pieces of latents may wait to be packed."""
    return depth_for(4 * encoder.layout.elements * len(encoder.geometry.tiles) * encoder.clips_at_once)

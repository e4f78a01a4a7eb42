"""Segments of a video: each is encoded by itself on any machine, and all are joined without the network.

No group crosses a multiple of ``most_clips_per_group``, and groups do not depend on each other. So segments that begin
at such multiples, one after the other, are byte for byte what encoding the whole video gives.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from vidtwin_codec import weights
from vidtwin_codec.container import Counts, GroupEntry
from vidtwin_codec.encoding.audio import AudioFile
from vidtwin_codec.encoding.encode import WriteVideo
from vidtwin_codec.encoding.encoder import EncodeJob, Encoder
from vidtwin_codec.encoding.groups import PackedGroup
from vidtwin_codec.encoding.writing import pack_groups, write_packed
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error
from vidtwin_codec.media import MediaInfo
from vidtwin_codec.network.runner import LoadNetwork
from vidtwin_codec.options import EncodeOptions, Reporter


@dataclass(frozen=True)
class Segment:
    """Consecutive groups of a video in a file of their own, as consecutive Zstandard frames.

    Attributes:
        path: the file.
        groups: where each group lies in it.
        warnings: warnings while reading the video, besides those about the whole of it.
        seconds: time that encoding it took.
    """

    path: Path
    groups: tuple[GroupEntry, ...]
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def frames(self) -> tuple[int, int]:
        """Index of the first frame, and one past the last."""
        return self.groups[0].first_frame, self.groups[-1].span.end_frame

    def packed(self) -> Iterator[PackedGroup]:
        """Read the groups.

        Raises:
            VidtwinError: the file cannot be read, or has changed since it was written.
        """
        try:
            with self.path.open("rb") as stream:
                for entry in self.groups:
                    data = stream.read(entry.size)
                    if zlib.crc32(data) != entry.crc:
                        raise VidtwinError(f"{self.path}: the segment is damaged", "run the command again")
                    yield PackedGroup(data, entry.span)
        except OSError as error:
            raise explain_os_error(error, self.path) from error


def can_be_split(info: MediaInfo, options: EncodeOptions) -> bool:
    """Whether segments of a video are the same as if the whole of it were encoded.

    They are not where a target needs the whole video, where its length is not known, and where frames depend on those
    before them: deinterlacing does that, and tone mapping keeps the brightness it met first.
    """
    return options.target is None and info.frames is not None and not (info.interlaced or info.hdr)


def encode_segment(
    info: MediaInfo,
    target: Path,
    options: EncodeOptions,
    *,
    first: int,
    count: int | None,
    load: LoadNetwork,
    reporter: Reporter | None = None,
) -> Segment:
    """Encode consecutive clips of a video to a file of their own.

    The frames before them are decoded and dropped, because seeking does not find the same frame in every container.

    Args:
        info: a video that :func:`can_be_split`.
        target: the file to write; replaced if it exists.
        options: options of the whole video.
        first: index of the first clip, a multiple of ``Encoder.most_clips_per_group``.
        count: number of clips, such a multiple, too; None for all to the end.
        load: reads the network.
        reporter: receives progress.

    Raises:
        VidtwinError: the video cannot be read, the file cannot be written, or there are no such clips.
    """
    began = time.monotonic()
    entry = weights.resolve(options.weights)
    said: list[str] = []
    encoder = Encoder(EncodeJob(info, load(entry, options, "encoder"), entry, options, said.append))
    groups: list[GroupEntry] = []
    try:
        with target.open("wb") as stream:

            def store(group: PackedGroup) -> None:
                groups.append(GroupEntry(stream.tell(), len(group.data), zlib.crc32(group.data), *group.span))
                stream.write(group.data)

            with closing(encoder.pieces(reporter, first=first, count=count)) as pieces:
                pack_groups(encoder, pieces, store)
    except OSError as error:
        raise explain_os_error(error, target) from error
    return Segment(target, tuple(groups), tuple(said[len(info.warnings) :]), time.monotonic() - began)


def joining(segments: Sequence[Segment]) -> WriteVideo:
    """Make a function for :func:`encode` that writes a .vtw from segments, without the network.

    Args:
        segments: all of the video in order, encoded with the options that the .vtw is written with.
    """

    def write(stream: BinaryIO, encoder: Encoder, audio: AudioFile | None) -> Counts:
        return write_packed(stream, encoder, chain.from_iterable(segment.packed() for segment in segments), audio)

    return write

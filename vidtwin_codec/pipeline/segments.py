"""A video in segments: each packed by itself, anywhere, and all joined without the network.

What encoding does from one group to the next is little: groups are joined while the scene stands still, and what
``--effort`` measures is measured on the first clips. Both can be made up for, so the joined file is, byte for byte,
what encoding the whole video gives.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vidtwin_codec import weights
from vidtwin_codec.coding import Group, LatentArrays, pack_group
from vidtwin_codec.container import Counts, GroupEntry, Header
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error
from vidtwin_codec.media import MediaInfo
from vidtwin_codec.pipeline.codec import LoadCodec
from vidtwin_codec.pipeline.encoder import Encoder, LatentGroup
from vidtwin_codec.pipeline.options import EncodeOptions, Reporter
from vidtwin_codec.pipeline.packer import GroupPacker, Packed, Packer
from vidtwin_codec.pipeline.stages import Sink
from vidtwin_codec.pipeline.stillness import Joiner
from vidtwin_codec.pipeline.writing import Sound
from vidtwin_codec.refinement.refiner import load_refiner


@dataclass(frozen=True)
class Segment:
    """Consecutive groups of a video in a file of their own, one Zstandard frame after the other.

    Attributes:
        path: of that file. groups: where each group lies in it.
        warnings: what was remarkable about reading it, besides what is known of the whole video.
        seconds: that making it took.
    """

    path: Path
    groups: tuple[GroupEntry, ...]
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def frames(self) -> tuple[int, int]:
        """First frame, and one past the last."""
        return self.groups[0].first_frame, self.groups[-1].span.end_frame

    def packed(self) -> Iterator[Packed]:
        """Its groups.

        Raises:
            VidtwinError: the file cannot be read, or is not what was written.
        """
        try:
            with self.path.open("rb") as stream:
                for entry in self.groups:
                    data = stream.read(entry.size)
                    if zlib.crc32(data) != entry.crc:
                        raise VidtwinError(f"{self.path}: the segment is damaged", "run the command again")
                    yield Packed(data, entry.span)
        except OSError as error:
            raise explain_os_error(error, self.path) from error


def can_be_split(info: MediaInfo, options: EncodeOptions) -> bool:
    """Whether a segment can be encoded as it would be within the whole video.

    Not so where a target needs the whole video, where its length is not known, and where pictures are made from those
    before them: deinterlacing does that, and tone mapping keeps the brightness it first met.
    """
    return options.target is None and info.frames is not None and not (info.interlaced or info.hdr)


def encode_segment(
    info: MediaInfo,
    target: Path,
    options: EncodeOptions,
    *,
    first: int,
    count: int | None,
    load: LoadCodec,
    reporter: Reporter | None = None,
) -> Segment:
    """Encode groups ``first`` … ``first + count`` of a video (None: to its end).

    The frames before it are decoded and dropped: seeking does not find the same frame in every container.

    Args:
        info: of a video that :func:`can_be_split`.
        target: the file to write; replaced if it exists.

    Raises:
        VidtwinError: the video cannot be read, the file not be written, or there are no such groups.
    """
    began = time.monotonic()
    entry = weights.resolve(options.weights)
    said: list[str] = []
    encoder = Encoder(
        *(info, load(entry, options, "encoder"), entry, options, said.append),
        refiner=load_refiner(entry, options, load),
    )
    groups: list[GroupEntry] = []
    try:
        with target.open("wb") as stream:

            def store(packed: Packed | None) -> None:
                if packed is not None:
                    groups.append(GroupEntry(stream.tell(), len(packed.data), zlib.crc32(packed.data), *packed.span))
                    stream.write(packed.data)

            with closing(encoder.groups(reporter, first=first, count=count)) as latents:
                _pack(latents, GroupPacker(encoder, options.quality, options.level), store)
    except OSError as error:
        raise explain_os_error(error, target) from error
    return Segment(target, tuple(groups), tuple(said[len(info.warnings) :]), time.monotonic() - began)


def write_joined(
    stream: BinaryIO, encoder: Encoder, segments: Sequence[Segment], *, quality: float, sound: Sound | None = None
) -> Counts:
    """Write a whole .vtw of segments that follow each other; :func:`write_vtw` without the network.

    Raises:
        VidtwinError: a segment cannot be read, or is not what was written.
    """
    audio = None if sound is None else sound.info
    packer = Packer(stream, encoder, quality=quality, level=encoder.options.level, audio=audio)
    if sound is not None:
        packer.add_audio(sound.chunks())
    joined = join_groups(
        (segment.packed() for segment in segments), packer.header, encoder.clips_per_group, encoder.options.level
    )
    for packed in joined:
        packer.store(packed)
    return packer.finish()


def join_groups(
    segments: Iterable[Iterable[Packed]], header: Header, clips_per_group: int, level: int
) -> Iterator[Packed]:
    """The groups that packing everything at once would have given.

    A scene may stand still from one segment into the next. There, groups are unpacked to symbols and joined as in one
    run, until one begins where a group of the segment does: from there on both runs go the same way, and the bytes are
    taken as they are.

    Args:
        clips_per_group: of every group before joining, but the last. level: zstd's.
    """
    held: Packed | None = None  # the group that what follows may go on with, as bytes while they are known
    joiner: Joiner | None = None  # while both runs may differ

    def pack(group: Group) -> Packed:
        return Packed(pack_group(group, header.layout, level), group.span)

    for segment in segments:
        for number, packed in enumerate(segment):
            if joiner is None and held is not None and number == 0:
                joiner = Joiner(header.clips_per_group)
                joiner.add(header.unpack_group(held.data))
            if joiner is None:
                if held is not None:
                    yield held
                held = packed
                continue
            begun, *more = _apart(header.unpack_group(packed.data), clips_per_group, header.clip_frames)
            done = joiner.add(begun)
            if done is not None:
                yield held or pack(done)
                held, joiner = packed, None
                continue
            held = None
            for group in more:
                done = joiner.add(group)
                if done is not None:
                    yield pack(done)
    if joiner is not None and held is None:
        rest = joiner.rest()
        assert rest is not None
        held = pack(rest)
    if held is not None:
        yield held


def _apart(group: Group, clips: int, clip_frames: int) -> list[Group]:
    """The groups that were joined to one."""
    parts = []
    for start in range(0, group.clips, clips):
        count = min(clips, group.clips - start)
        rows = slice(start * group.tiles, (start + count) * group.tiles)
        symbols = LatentArrays(*(part[rows] for part in group.symbols))
        frames = min(count * clip_frames, group.frames - start * clip_frames)
        first_frame = group.first_frame + start * clip_frames
        parts.append(Group(first_frame, frames, group.first_clip + start, count, group.tiles, symbols))
    return parts


def _pack(groups: Iterable[LatentGroup], packer: GroupPacker, store: Callable[[Packed | None], None]) -> None:
    """Packing overlaps with whatever makes the groups."""
    with Sink[LatentGroup](lambda group: store(packer.add(group))) as sink:
        for group in groups:
            sink.put(group)
    store(packer.rest())

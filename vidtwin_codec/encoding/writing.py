"""Writing of audio and latents to one .vtw; the same latents can be packed as often as need be, at any quality."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from vidtwin_codec import __version__
from vidtwin_codec.closing import Closing
from vidtwin_codec.coding import DEFAULT_LEVEL, GroupSpan, coder_of
from vidtwin_codec.coding.effort import quality_steps
from vidtwin_codec.container import AudioInfo, Counts, Header, VtwWriter
from vidtwin_codec.encoding.audio import AudioFile
from vidtwin_codec.encoding.dense_groups import DensePacker
from vidtwin_codec.encoding.encoder import Encoder, Piece
from vidtwin_codec.encoding.groups import GroupPacker, PackedGroup, Watch
from vidtwin_codec.encoding.groups_ahead import AheadPacker, Spare, most_ahead, spare_cores
from vidtwin_codec.encoding.wide_groups import Grouping, WidePacker
from vidtwin_codec.files import explain_os_error
from vidtwin_codec.options import EncodeOptions
from vidtwin_codec.options.target import Achieved
from vidtwin_codec.stages import Sink, depth_for


def group_packer(
    encoder: Encoder, quality: float, level: int, watch: Watch | None = None, spare: Spare | None = None
) -> GroupPacker:
    """Make the packer for the clips of a video.

    Args:
        encoder: where the clips come from.
        quality: 0 to 100.
        level: compression level of Zstandard, 1 to 22.
        watch: receives wide latents and their symbols, on the thread that packs them.
        spare: cores to code groups ahead, without ``watch``; None for those of this process. The bytes are the same.
    """
    steps = quality_steps(encoder.job.base_steps, quality, encoder.options.effort)
    if encoder.layout.patterns is None:
        return DensePacker(encoder, steps, level)
    grouping, spare = Grouping.of(encoder, steps), spare or spare_cores()
    most = 0 if watch else most_ahead(grouping, spare)
    return AheadPacker(encoder, grouping, spare, most) if most else WidePacker(encoder, grouping, watch)


class Packer(Closing):
    """A packer writes one .vtw from front to back: the header at once, then sound, groups as they close, and the index.

    Args:
        stream: a binary stream open for writing, which stays open; its errors pass through.
        encoder: where the clips come from; the header describes its video.
        quality: 0 to 100.
        level: compression level of Zstandard, 1 to 22.
        audio: describes the sound that :meth:`add_audio` will get.
        watch: see :func:`group_packer`.

    Attributes:
        header: the header, which is already written.
    """

    def __init__(
        self,
        stream: BinaryIO,
        encoder: Encoder,
        *,
        quality: float,
        level: int = DEFAULT_LEVEL,
        audio: AudioInfo | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._groups = group_packer(encoder, quality, level, watch)
        info, geometry = encoder.info, encoder.geometry
        self.header = Header(
            weights_name=encoder.job.entry.name,
            weights_sha256=encoder.job.entry.sha256,
            layout=encoder.layout,
            steps=self._groups.steps,
            coder=coder_of(encoder.layout, camera=encoder.follows),
            width=info.width,
            height=info.height,
            coded_width=geometry.width,
            coded_height=geometry.height,
            fps=encoder.fps,
            sample_aspect=info.sample_aspect,
            clip_frames=geometry.clip_frames,
            tile_height=geometry.tile_height,
            tile_width=geometry.tile_width,
            overlap=geometry.overlap,
            abutting=geometry.abutting,
            camera=encoder.follows,
            clips_per_group=encoder.most_clips_per_group,
            audio=audio,
            options={
                "quality": quality,
                "short_side": encoder.options.short_side,
                **_provenance(encoder.options),
                "network": encoder.network.device.to_json(),
            },
            source={"bytes": info.file_bytes} if info.file_bytes else {},
            created_by=f"vidtwin {__version__}",
        )
        self._writer = VtwWriter(stream, self.header)

    def add_audio(self, chunks: Iterable[bytes]) -> None:
        """Store an audio file, given in chunks, before the first group, so that a file that is cut short has it."""
        self._writer.write_audio(chunks)

    def add(self, piece: Piece) -> None:
        """Take the next clips, and store the groups that they close."""
        for packed in self._groups.add(piece):
            self.store(packed)

    def store(self, packed: PackedGroup) -> None:
        """Store a group that is packed already."""
        self._writer.write_group(packed.data, packed.span)

    def finish(self) -> Counts:
        """Store the groups that are not closed yet, write the index and flush."""
        for packed in self._groups.flush():
            self.store(packed)
        return self._writer.finish()

    def close(self) -> None:
        """Stop packing; harmless after :meth:`finish`."""
        self._groups.close()


def _provenance(options: EncodeOptions) -> dict[str, Any]:
    """Collect further options for the header; those that older versions did not have appear only if they are set."""
    target = {} if options.target is None else {"target": options.target.json}
    effort = {"effort": options.effort} if options.effort else {}
    # which part of the source these frames are: measuring compares with the same
    part = {name: value for name in ("start", "duration") if (value := getattr(options, name))}
    return target | effort | part


@dataclass(frozen=True)
class Written:
    """A finished .vtw: its counts, the encoder with the short side used, the quality, and how near a target it came."""

    counts: Counts
    encoder: Encoder
    quality: float
    achieved: Achieved | None = None


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
    level = encoder.options.level
    with Packer(stream, encoder, quality=quality, level=level, audio=info, watch=watch) as packer:
        if audio is not None:
            packer.add_audio(audio.chunks())
        with Sink(packer.add, waiting_depth(encoder)) as sink:
            for piece in pieces:
                sink.put(piece)
        return packer.finish()


def count_bytes(encoder: Encoder, pieces: Iterable[Piece], *, quality: float, audio: AudioFile | None = None) -> Counts:
    """Write a whole .vtw of which nothing but the sizes is kept."""
    with open(os.devnull, "wb") as nowhere:
        return write_vtw(nowhere, encoder, pieces, quality=quality, audio=audio)


def write_before_audio(
    stream: BinaryIO,
    encoder: Encoder,
    pieces: Iterable[Piece],
    folder: Path,
    audio: Callable[[], AudioFile | None],
) -> Counts:
    """Write a whole .vtw whose sound is known only when the pictures have come to their end.

    In the file the sound stands before the groups, so these wait in ``folder``.

    Args:
        stream: a binary stream open for writing.
        encoder: where the clips come from.
        pieces: the clips.
        folder: folder for temporary files.
        audio: waits for the sound.
    """
    waiting, spans = folder / "groups", list[tuple[int, GroupSpan]]()
    try:
        with waiting.open("wb") as spool:

            def keep(group: PackedGroup) -> None:
                spool.write(group.data)
                spans.append((len(group.data), group.span))

            pack_groups(encoder, pieces, keep)
    except OSError as error:
        raise explain_os_error(error, folder) from error
    sound = audio()
    with waiting.open("rb") as kept:
        return write_packed(stream, encoder, (PackedGroup(kept.read(size), span) for size, span in spans), sound)


def pack_groups(encoder: Encoder, pieces: Iterable[Piece], store: Callable[[PackedGroup], None]) -> None:
    """Pack a video, and hand each group to ``store``; packing runs on a thread of its own while ``pieces`` are made."""
    with closing(group_packer(encoder, encoder.options.quality, encoder.options.level)) as packer:

        def pack(piece: Piece) -> None:
            for group in packer.add(piece):
                store(group)

        with Sink(pack, waiting_depth(encoder)) as sink:
            for piece in pieces:
                sink.put(piece)
        for group in packer.flush():
            store(group)


def write_packed(stream: BinaryIO, encoder: Encoder, groups: Iterable[PackedGroup], audio: AudioFile | None) -> Counts:
    """Write a whole .vtw of groups that :func:`pack_groups` has packed."""
    options, info = encoder.options, None if audio is None else audio.info
    with Packer(stream, encoder, quality=options.quality, level=options.level, audio=info) as packer:
        if audio is not None:
            packer.add_audio(audio.chunks())
        for group in groups:
            packer.store(group)
        return packer.finish()


def waiting_depth(encoder: Encoder) -> int:
    """Choose how many pieces of latents may wait to be packed."""
    return depth_for(4 * encoder.layout.elements * len(encoder.geometry.tiles) * encoder.clips_at_once)

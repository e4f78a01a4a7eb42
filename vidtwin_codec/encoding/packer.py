"""The packer writes latents to a .vtw; the same latents can be packed at any number of qualities."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, BinaryIO

from vidtwin_codec import __version__
from vidtwin_codec.coding import DEFAULT_LEVEL, coder_of
from vidtwin_codec.container import AudioInfo, Counts, Header, VtwWriter
from vidtwin_codec.encoding.encoder import Encoder, Piece
from vidtwin_codec.encoding.grouping import PackedGroup, Watch, group_packer
from vidtwin_codec.options import EncodeOptions


class Packer:
    """A packer writes one .vtw from front to back: the header at once, then sound, groups as they close, and the index.

    Args:
        stream: a binary stream open for writing, which stays open; its errors pass through.
        encoder: where the clips come from; the header describes its video.
        quality: 0 to 100.
        level: compression level of Zstandard, 1 to 22.
        audio: describes the sound that :meth:`add_audio` will get.
        watch: see :func:`~vidtwin_codec.encoding.grouping.group_packer`.

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
            options={"quality": quality, "short_side": encoder.options.short_side, **_provenance(encoder.options)},
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


def _provenance(options: EncodeOptions) -> dict[str, Any]:
    """Collect further options for the header; those that older versions did not have appear only if they are set."""
    target = {} if options.target is None else {"target": options.target.json}
    effort = {"effort": options.effort} if options.effort else {}
    # which part of the source these frames are: measuring compares with the same
    part = {name: value for name in ("start", "duration") if (value := getattr(options, name))}
    return target | effort | part

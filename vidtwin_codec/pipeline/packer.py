"""Latents to a .vtw: quantised, packed and indexed. The same latents can be packed at any number of qualities."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple

from vidtwin_codec import __version__
from vidtwin_codec.coding import DEFAULT_LEVEL, Group, GroupSpan, pack_group
from vidtwin_codec.container import AudioInfo, Counts, Header, VtwWriter
from vidtwin_codec.pipeline.encoder import Encoder, LatentGroup
from vidtwin_codec.pipeline.options import EncodeOptions
from vidtwin_codec.pipeline.stillness import Joiner
from vidtwin_codec.refinement import LEVELS
from vidtwin_codec.refinement.symbols import choose_symbols, quality_steps


class Packed(NamedTuple):
    """A group as it is stored: one Zstandard frame, and which part of the video it holds."""

    data: bytes
    span: GroupSpan


class GroupPacker:
    """Latents to packed groups: symbols chosen, groups joined where the scene stands still, and coded.

    Args:
        encoder: where the groups come from.
        quality: 0 to 100. level: zstd's, 1 to 22.

    Attributes:
        steps: of quantisation.
    """

    def __init__(self, encoder: Encoder, quality: float, level: int) -> None:
        base = encoder.entry.metadata.steps
        assert base is not None  # weights without steps are not resolved
        self._passes = LEVELS[encoder.options.effort].passes
        self.steps = quality_steps(base, quality, self._passes)
        self._layout, self._level = encoder.codec.layout, level
        self._joiner = Joiner(encoder.most_clips_per_group)

    def add(self, group: LatentGroup) -> Packed | None:
        """Quantise the next group; the one before it, packed, unless the scene stands still across both."""
        symbols = choose_symbols(
            group.latents,
            self.steps,
            self._layout,
            clips=group.span.clips,
            tiles=group.tiles,
            passes=self._passes,
            sensitivity=group.sensitivity,
            alternative=group.alternative,
        )
        return self._pack(self._joiner.add(Group(*group.span, group.tiles, symbols)))

    def rest(self) -> Packed | None:
        """The last group, if there was any."""
        return self._pack(self._joiner.rest())

    def _pack(self, group: Group | None) -> Packed | None:
        return None if group is None else Packed(pack_group(group, self._layout, self._level), group.span)


class Packer:
    """Writes one .vtw front to back: the header at once, then sound, then groups as they come.

    Args:
        stream: binary, open for writing; stays open. Its OSErrors pass through.
        encoder: where the groups come from; the header describes its video.
        quality: 0 to 100. level: zstd's, 1 to 22.
        audio: announces the sound that :meth:`add_audio` will be given.

    Attributes:
        header: already written.
    """

    def __init__(
        self,
        stream: BinaryIO,
        encoder: Encoder,
        *,
        quality: float,
        level: int = DEFAULT_LEVEL,
        audio: AudioInfo | None = None,
    ) -> None:
        self._groups = GroupPacker(encoder, quality, level)
        info, geometry = encoder.info, encoder.geometry
        self.header = Header(
            weights_name=encoder.entry.name,
            weights_sha256=encoder.entry.sha256,
            layout=encoder.codec.layout,
            steps=self._groups.steps,
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
            clips_per_group=encoder.most_clips_per_group,
            audio=audio,
            options={"quality": quality, "short_side": encoder.options.short_side, **_told(encoder.options)},
            source={"bytes": info.file_bytes},
            created_by=f"vidtwin {__version__}",
        )
        self._writer = VtwWriter(stream, self.header)

    def add_audio(self, chunks: Iterable[bytes]) -> None:
        """Store the audio file that ``chunks`` make up; before the first group, so that a file cut short has it."""
        self._writer.write_audio(chunks)

    def add(self, group: LatentGroup) -> None:
        """Quantise the next group; pack and store the one before it, unless the scene stands still across both."""
        self.store(self._groups.add(group))

    def store(self, packed: Packed | None) -> None:
        """Store what is packed already, if it is anything."""
        if packed is not None:
            self._writer.write_group(packed.data, packed.span)

    def finish(self) -> Counts:
        """Pack and store the last group, write the index and flush."""
        self.store(self._groups.rest())
        return self._writer.finish()


def _told(options: EncodeOptions) -> dict[str, Any]:
    """What else the header says of the choices; nothing of those that files from before did not know."""
    target = {} if options.target is None else {"target": options.target.json}
    effort = {"effort": options.effort} if options.effort else {}
    return target | effort

"""A .vtw file as a stream of frames: groups read and unpacked ahead, the network behind them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count, groupby, islice
from math import floor
from typing import IO

import numpy as np
import torch

from vidtwin_codec import weights
from vidtwin_codec.closing import Closing
from vidtwin_codec.coding import LatentArrays, dequantize
from vidtwin_codec.coding.placement import Placement
from vidtwin_codec.container import Header, VtwReader, VtwStream
from vidtwin_codec.container.source import ByteSource
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.network.geometry import Frames, Geometry, resize_frames
from vidtwin_codec.network.memory import check_frames
from vidtwin_codec.network.runner import LoadNetwork, NetworkRunner, Showing
from vidtwin_codec.options import DecodeOptions
from vidtwin_codec.stages import Prefetch, depth_for

_SCALED_BYTES = 1 << 28
"""Frames of no more than these bytes, but at least one, are scaled at once."""
_SCALED_COPIES = 4
_ENDLESS = 1 << 62
"""More frames than there can be."""


class Decoder(Closing):
    """An open .vtw file, its weights loaded, ready to give frames. A source that is open already stays so.

    Attributes:
        header: the file's header.
        first: index of the first frame that will be decoded.
        last: one past the index of the last; of a stream beyond all bounds until its end is known.
        width: width of the frames in pixels, as displayed unless the options have ``coded_size``.
        height: height of the frames in pixels, in the same way.
        showing: what of the latents is shown, and how coarse they are.

    Raises:
        VidtwinError: the file is damaged (and ``recover`` is not set), the wanted stretch lies beyond its end, or its
            weights are not on this machine.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | ByteSource,
        options: DecodeOptions,
        warned: Callable[[str], None] = lambda _: None,
        load: LoadNetwork = NetworkRunner.load,
        stream: IO[bytes] | None = None,
    ) -> None:
        """Read the header and load the weights.

        Args:
            source: the file, or the name of the stream.
            options: options of decoding.
            warned: receives warnings.
            load: reads the network.
            stream: a stream to read from front to back in place of a file, without ``options.recover``; it stays open.
        """
        self.options = options
        self._load = load
        self.warnings: list[str] = []
        self._warned = warned
        self.reader: VtwReader | VtwStream
        if stream is None:
            self.reader = VtwReader(source, recover=options.recover)
        else:
            self.reader = VtwStream(stream, source.name if isinstance(source, ByteSource) else os.fspath(source))
        try:
            self._open()
        except BaseException:
            self.reader.close()
            raise

    def _open(self) -> None:
        source = self.reader.name
        for text in self.reader.damage:
            self.warn(text)
        header = self.header
        self._name = source
        self.first, self.last = self._frame_range()
        entry = matching_weights(header, self.options.weights)
        self.network = self._load(entry, self.options, "decoder")
        self.showing = Showing.of(header.steps, entry, self.options.only)
        self.geometry = Geometry.of(header)
        self.network.check_geometry(self.geometry, source)
        if self.network.layout_of(self.geometry) != header.layout:
            raise VidtwinError(f"{source}: its latents do not have the shapes these weights make")
        coded = self.options.coded_size
        self.width = header.coded_width if coded else header.width
        self.height = header.coded_height if coded else header.height
        # scaling holds a frame as numbers of four bytes
        check_frames(
            self.width, self.height, _SCALED_COPIES, hint="pass --coded-size to leave frames as the network saw them"
        )
        self._at_once = max(1, _SCALED_BYTES // (self.width * self.height * 3))

    def close(self) -> None:
        """Close the file, unless it came open."""
        self.reader.close()

    @property
    def length(self) -> int | None:
        """Number of frames that will be decoded; None where only the end of a stream tells."""
        return None if self.last >= _ENDLESS else self.last - self.first

    @property
    def header(self) -> Header:
        """The file's header."""
        return self.reader.header

    def warn(self, text: str) -> None:
        """Keep a warning for the result, and pass it on."""
        self.warnings.append(text)
        self._warned(text)

    def frames(self) -> Iterator[Frames]:
        """Yield frames ``first`` … ``last``, uint8 ``[n, height, width, 3]`` RGB: a clip or a few at a time."""
        at = self.first
        still: Frames | None = None
        with Prefetch(self._pieces(), self._depth()) as pieces:
            for piece_start, piece_end, latents, placements in pieces:
                if piece_start > at:
                    yield from self._hold(still, piece_start - at)
                    at = piece_start
                starts = count(piece_start, self.geometry.clip_frames)
                clips = self.network.decode_placed(latents, self.geometry, placements, self.showing)
                for start, clip in zip(starts, clips, strict=False):
                    # the last clip is filled up, the first and last wanted ones may be wanted in part
                    wanted = clip[max(0, self.first - start) : min(piece_end, self.last) - start]
                    for some in torch.split(torch.from_numpy(wanted), self._at_once) if len(wanted) else ():
                        sized = resize_frames(some, self.width, self.height).numpy()
                        yield sized
                        still = sized[-1]
                        at += len(sized)
        if self.reader.frames is not None:
            self.last = min(self.last, self.reader.frames)
            self._check_start(self.reader.frames, self.first)
        yield from self._hold(still, self.last - at)

    def _pieces(self) -> Iterator[tuple[int, int, LatentArrays, tuple[Placement | None, ...]]]:
        """Yield first frame, one past the last, latents and placements of a few clips of one grid at a time."""
        clip_frames = self.geometry.clip_frames
        at_once = self.network.clips_at_once(self.geometry)
        for number, entry in enumerate(self.reader.groups):
            if entry.first_frame + entry.frames <= self.first:
                continue
            skipped = max(0, self.first - entry.first_frame) // clip_frames
            needed = min(entry.clips, -(-(self.last - entry.first_frame) // clip_frames))
            # a group that is wanted to its end is checked to its end
            clips = self._clips(number, skipped, needed if needed < entry.clips else None)
            while waiting := list(islice(clips, at_once)):
                for _, run in groupby(waiting, lambda clip: clip[1] and (clip[1].rows, clip[1].columns)):
                    parts, placements = zip(*run, strict=True)
                    start = entry.first_frame + skipped * clip_frames
                    skipped += len(parts)
                    piece_end = entry.first_frame + min(entry.frames, skipped * clip_frames)
                    yield start, piece_end, LatentArrays.concatenate(parts), placements
            if entry.first_frame + entry.frames >= self.last:
                return  # without a look at what follows, which may be long in coming

    def _clips(self, number: int, first: int, end: int | None) -> Iterator[tuple[LatentArrays, Placement | None]]:
        """Yield latents of clips ``first`` … ``end`` - 1 of a group; fewer with ``recover`` if it is damaged."""
        try:
            for clip in islice(self.reader.placed(number), first, end):
                yield dequantize(clip.symbols, self.header.steps), clip.placement
        except VidtwinError as error:
            if not self.options.recover:
                raise
            self.warn(error.message)

    def _depth(self) -> int:
        clip_bytes = 4 * self.header.layout.elements * len(self.geometry.tiles)
        return depth_for(clip_bytes * self.network.clips_at_once(self.geometry))

    def _hold(self, still: Frames | None, missing: int) -> Iterator[Frames]:
        """Yield the last good frame (black before the first) in place of lost ones, so that audio stays in step."""
        if still is None:
            still = np.zeros((self.height, self.width, 3), np.uint8)
        at_once = min(self.geometry.clip_frames, self._at_once)
        for done in range(0, missing, at_once):
            some = min(missing - done, at_once)
            yield np.broadcast_to(still, (some, *still.shape)).copy()

    def _frame_range(self) -> tuple[int, int]:
        fps, total = self.header.fps, self.reader.frames
        first = floor(self.options.start * fps + 0.5)
        last = _ENDLESS if total is None else total
        if self.options.duration is not None:
            last = min(last, first + max(1, floor(self.options.duration * fps + 0.5)))
        if total is not None:
            self._check_start(total, first)
        return first, last

    def _check_start(self, total: int, first: int) -> None:
        if not total:
            raise VidtwinError(f"{self._name}: holds no whole group of frames")
        if first >= total:
            seconds = float(total / self.header.fps)
            raise VidtwinError(f"{self._name}: is only {seconds:.2f} seconds long", "choose an earlier --start")


def matching_weights(header: Header, wanted: str | None) -> weights.Entry:
    """Find the weights that a file was made with, or others with the same encoder.

    Args:
        header: header of the file, which names them by their digest.
        wanted: weights to take; None looks for them.

    Raises:
        VidtwinError: they are not on this machine, or others were asked for.
    """
    name, digest = header.weights_name, header.weights_sha256
    if wanted is None:
        found = weights.find_decoder(digest)
        if found is None:
            raise VidtwinError(
                f"this file was made with weights {name!r} (SHA-256 {digest[:12]}…), which are not on this machine",
                f"get them: 'vidtwin weights fetch {name}', 'vidtwin weights import FILE', or pass --weights FILE",
            )
        return found
    entry = weights.resolve(wanted)
    if not entry.can_decode(digest):
        raise VidtwinError(
            f"this file was made with weights {name!r} (SHA-256 {digest[:12]}…), "
            f"not {entry.name!r} (SHA-256 {entry.sha256[:12]}…)",
            "leave --weights out to use the ones the file names",
        )
    return entry

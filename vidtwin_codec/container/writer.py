"""Writes a .vtw from front to back without seeking, so that the output may be a pipe."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import BinaryIO

from vidtwin_codec.coding import GroupSpan, zstd_frame
from vidtwin_codec.container.format import (
    AUDIO_OVERHEAD,
    FIRST_VERSION,
    MAX_AUDIO_CHUNK,
    Counts,
    build_audio,
    closing_crc,
)
from vidtwin_codec.container.header import Header
from vidtwin_codec.container.index import GroupEntry, Index


class VtwWriter:
    """Writes the header, then audio, then groups in order, then the index.

    Args:
        stream: a binary stream, which stays open. Its OSErrors (a full disk, a closed pipe) pass through.
        header: the header, which is written at once.
    """

    def __init__(self, stream: BinaryIO, header: Header) -> None:
        self._stream = stream
        self._header = header
        self._position = 0
        self._groups: list[GroupEntry] = []
        self._audio_frames = 0
        self._audio_bytes = 0
        self._finished = False
        data = header.to_bytes()
        self._header_crc = closing_crc(data)
        self._write(data)

    def write_audio(self, chunks: Iterable[bytes]) -> None:
        """Write the audio file whose bytes ``chunks`` give, recut to chunks of 1 MiB.

        Raises:
            ValueError: a group was written before, or the header announces no audio.
        """
        if self._groups or self._finished:
            raise ValueError("audio must be written before the first group")
        if self._header.audio is None:
            raise ValueError("the header announces no audio")
        buffer = bytearray()
        for chunk in chunks:
            buffer += chunk
            while len(buffer) >= MAX_AUDIO_CHUNK:
                self._write_audio_frame(bytes(buffer[:MAX_AUDIO_CHUNK]))
                del buffer[:MAX_AUDIO_CHUNK]
        if buffer:
            self._write_audio_frame(bytes(buffer))

    def write_group(self, packed: bytes, span: GroupSpan) -> None:
        """Write a group that `pack_group` packed.

        Args:
            packed: one Zstandard frame.
            span: the part of the video that the group holds.

        Raises:
            ValueError: the group does not follow the one before it, does not fill its clips (the video's last one
                excepted), or ``packed`` is not one Zstandard frame.
        """
        if self._finished:
            raise ValueError("the index has been written already")
        previous = self._groups[-1].span if self._groups else GroupSpan(0, 0, 0, 0)
        if (span.first_frame, span.first_clip) != (previous.end_frame, previous.end_clip):
            raise ValueError(f"{span} does not follow {previous}")
        self._header.check_span(span)
        length = zstd_frame.measure(lambda at, size: packed[at : at + size], 0, max_content=0xFFFFFFFF)
        if length != len(packed):
            raise ValueError("a group must be exactly one Zstandard frame")
        self._groups.append(GroupEntry(self._position, len(packed), zlib.crc32(packed), *span))
        self._write(packed)

    def finish(self) -> Counts:
        """Write the index and flush. The stream stays open.

        Raises:
            ValueError: the index was written before.
        """
        if self._finished:
            raise ValueError("the index has been written already")
        self._finished = True
        index = Index(tuple(self._groups), self._position, self._audio_frames, self._audio_bytes, self._header_crc)
        self._write(index.to_bytes(packed=self._header.version != FIRST_VERSION))
        self._stream.flush()
        audio = self._audio_bytes + self._audio_frames * AUDIO_OVERHEAD
        return Counts(self._position, self._position - audio, audio, index.frames, len(index.groups))

    def _write_audio_frame(self, chunk: bytes) -> None:
        self._write(build_audio(self._audio_frames, chunk))
        self._audio_frames += 1
        self._audio_bytes += len(chunk)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = self._stream.write(view)  # an unbuffered pipe may take a part only
            if written is None:
                raise BlockingIOError("the stream is non-blocking; a .vtw needs one that waits")
            view = view[written:]
        self._position += len(data)

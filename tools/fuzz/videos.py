"""Hostile .vtw files: a sound one is taken apart, changed somewhere, and put together with its checksums made right."""

from __future__ import annotations

import io
import json
import struct
import zlib
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.latent_samples import sample_header
from tests.sparse_latents import LAYOUT as WIDE
from tests.sparse_latents import rounded, some_latents, steps
from tools.fuzz.changes import INTEGERS, change_bytes, change_json, to_text
from vidtwin_codec.cli.info import describe
from vidtwin_codec.coding import (
    MAX_SYMBOL,
    PLACED,
    SPARSE,
    GroupSpan,
    LatentLayout,
    OpenGroup,
    PlacedClip,
    SparseGroupEncoder,
    pack_body,
    zstd_frame,
)
from vidtwin_codec.coding.group import PREFIX
from vidtwin_codec.container import Header, VtwReader, VtwStream, VtwWriter, fields, verify
from vidtwin_codec.container.format import AUDIO_TAG, HEADER_TAG, INDEX_TAG, build_frame
from vidtwin_codec.container.inspection import UNFINISHED
from vidtwin_codec.container.packed_json import (
    DEFLATE,
    DEFLATE_DIGEST,
    DICTIONARY,
    DIGEST,
    RAW,
    WIDE_DICTIONARY,
    deflate,
)
from vidtwin_codec.errors import VidtwinError

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"
_START = struct.Struct("<BBBBI")
_COUNTS = struct.Struct("<IQIQI")
_RECORD = struct.Struct("<Q6I")
_MOST_SYMBOLS = 1 << 22  # that are decoded without an allowance, as `decode` does
_MOST_CHANNELS = 1 << 16
_DIGEST_BYTES = bytes(range(32))


@dataclass
class Video:
    """A .vtw in parts.

    Attributes:
        values: JSON of the header.
        steps: bytes of the steps, as they are.
        audio: numbers and bytes of its pieces.
        groups: contents of the groups, before zstd.
        version: of the format.
        loose: how often `build` changes parts when they are bytes: header, steps, frame, group, index, deflated.
    """

    values: dict[str, Any]
    steps: bytes
    audio: list[tuple[int, bytes]]
    groups: list[bytes]
    version: tuple[int, int] = (1, 1)
    loose: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, data: bytes) -> Video:
        """Take a file apart."""
        with VtwReader(io.BytesIO(data)) as reader:
            header = reader.header
            groups = [
                zstd_frame.decompress(data[entry.offset : entry.offset + entry.size], max_content=1 << 24)
                for entry in reader.groups
            ]
            audio = list(enumerate(reader.audio_chunks()))
        return cls(fields.to_json(header), header.steps.to_bytes(), audio, groups, header.version)

    def build(self, random: Random) -> bytes:
        """Put it together, with checksums that hold and an index that fits."""
        encoding, text = self._text(random)
        steps, short = self.steps, self.version != (1, 0) and random.random() < 0.3
        if short:
            steps = self._changed(random, "steps", zstd_frame.compress(steps, 3, checksum=False))
        body = _START.pack(*self.version, encoding, short, len(text)) + text + steps
        header = build_frame(HEADER_TAG, self._changed(random, "header", body))
        out = bytearray(header)
        for number, chunk in self.audio:
            out += build_frame(AUDIO_TAG, self._changed(random, "frame", struct.pack("<I", number) + chunk))
        records = b""
        for content in self.groups:
            packed = self._changed(random, "group", zstd_frame.compress(content, 1))
            _, *span, _ = PREFIX.unpack_from(content.ljust(PREFIX.size, b"\0"))
            records += _RECORD.pack(len(out), len(packed), zlib.crc32(packed), *span)
            out += packed
        sizes = len(self.audio), sum(len(chunk) for _, chunk in self.audio)
        counts = _COUNTS.pack(len(self.groups), len(out), *sizes, int.from_bytes(header[-4:], "little"))
        contents, tag = self._changed(random, "index", counts + records), b"VTWE"
        if random.random() < 0.3:
            contents, tag = self._changed(random, "deflated", deflate(contents)), b"VTWP"
        tail = struct.pack("<I4s", 12 + len(contents) + 12, tag)
        return bytes(out + build_frame(INDEX_TAG, contents + tail))

    def _text(self, random: Random) -> tuple[int, bytes]:
        """The JSON of the header in one of its encodings."""
        kind, values = random.choice((RAW, RAW, DEFLATE, DEFLATE_DIGEST)), self.values
        if kind == DEFLATE:
            return kind, deflate(to_text(random, values), DICTIONARY)
        if kind == DEFLATE_DIGEST and isinstance(values, dict):
            rest = {name: value for name, value in values.items() if name != DIGEST}
            return kind, _DIGEST_BYTES + deflate(to_text(random, rest), WIDE_DICTIONARY)
        return RAW, to_text(random, values)

    def _changed(self, random: Random, part: str, data: bytes) -> bytes:
        share = self.loose.get(part, 0)
        return change_bytes(random, data) if random.random() < share else data


@cache
def samples() -> tuple[tuple[bytes, Video], ...]:
    """Sound files of every coder."""
    files = [path.read_bytes() for path in sorted(GOLDEN.glob("*.vtw"))]
    return tuple((data, Video.of(data)) for data in (*files, _wide()))


def _wide() -> bytes:
    """Two groups of wide latents, of more symbols than the golden files have."""
    frame = {"coded_height": 16, "coded_width": 24, "tile_height": 16, "tile_width": 24, "overlap": 0}
    header = sample_header(layout=WIDE, steps=steps(WIDE), coder=SPARSE, abutting=True, **frame)
    stream = io.BytesIO()
    writer = VtwWriter(stream, header)
    for group in range(2):
        encoder = SparseGroupEncoder(WIDE, 1, header.steps)
        for clip in range(2):
            encoder.add_symbols(rounded(some_latents(WIDE, 1, 2 * group + clip, 2.0)))
        span = GroupSpan(8 * group, 8, 2 * group, 2)
        writer.write_group(pack_body(SPARSE, span, 1, encoder.finish()), span)
    writer.finish()
    return stream.getvalue()


def make_container(random: Random) -> bytes:
    """A file whose frames, header, sound or index were changed."""
    data, video = _sample(random)
    kind = random.randrange(12)
    if kind == 0:  # as damage makes them, without checksums made right
        return change_bytes(random, data, [other for other, _ in samples()])
    if kind == 1:
        return _frames_moved(random, data)
    if kind <= 5:
        video.values = change_json(random, video.values)
    elif kind == 6:
        video.steps = change_bytes(random, video.steps)
        video.version = random.choice(((1, 0), (1, 1), (1, 2), (1, 255), (0, 1), (2, 0)))
    elif kind == 7:
        _change_groups(random, video)
    elif kind == 8:
        video.audio = [(random.choice(INTEGERS) % (1 << 32), bytes(random.choice((0, 1, 300)))) for _ in range(3)]
    else:
        video.loose = {random.choice(("header", "steps", "frame", "group", "index", "deflated")): 0.7}
    if random.random() < 0.1:
        _change_groups(random, video)
    return video.build(random)


def make_group(random: Random, coders: tuple[int, ...]) -> bytes:
    """A file of one of the coders, with groups that were changed behind sound checksums."""
    while True:
        _, video = _sample(random)
        if video.groups and video.groups[0][0] in coders:
            break
    if random.random() < 0.25:
        _change_layout(random, video)
    video.groups = video.groups[: random.randint(1, 3)]
    for number, content in enumerate(video.groups):
        if random.random() < 0.8:
            video.groups[number] = _change_group(random, content, coders)
    return video.build(random)


def _sample(random: Random) -> tuple[bytes, Video]:
    data, video = random.choice(samples())
    return data, deepcopy(video)


def _change_group(random: Random, content: bytes, coders: tuple[int, ...]) -> bytes:
    start, body = bytearray(content[: PREFIX.size]), content[PREFIX.size :]
    kind = random.randrange(8)
    if kind == 0:
        values = list(PREFIX.unpack(start))
        values[random.randrange(6)] = random.choice(INTEGERS)
        return PREFIX.pack(values[0] % 256, *(value % (1 << 32) for value in values[1:])) + body
    if kind == 1:
        start[0] = random.choice((*coders, 1, 2, 3, 4, 5))
    if kind == 2:  # the beginning decides how the rest is read
        size = random.choice((1, 2, 8, 40))
        body = change_bytes(random, body[:size]) + body[size:]
    elif kind == 3:
        body = body[: random.randint(0, 12)] + random.randbytes(random.choice((0, 30, 2000)))
    elif kind == 4:
        body = body[: random.randint(0, 12)] + random.choice((b"\0", b"\xff", b"\x80")) * random.choice((30, 5000))
    else:
        body = change_bytes(random, body, [group for _, video in samples() for group in video.groups])
    return bytes(start) + body


def _change_groups(random: Random, video: Video) -> None:
    """Groups of other files, in another order, or again and again."""
    pool = [group for _, other in samples() for group in other.groups] if random.random() < 0.5 else video.groups
    video.groups = [random.choice(pool or [b""]) for _ in range(random.choice((0, 1, 2, 30)))]


def _change_layout(random: Random, video: Video) -> None:
    """Arrays of other sizes, with as many steps as they need, and the number of tiles that follows."""
    layout = video.values["layout"]
    sizes = (1, 1, 2, 2, 3, 4, 5, 8, 16, 40, 127, 512)
    for name, axes in (("structure", range(4)), ("dynamics_x", (0, 1, 2)), ("dynamics_y", (2,))):
        for axis in axes:
            if random.random() < 0.3:
                layout[name][axis] = random.choice(sizes)
    layout["dynamics_y"][:2] = layout["dynamics_x"][:2]
    if "patterns" in layout and random.random() < 0.7:
        channels, size = layout["structure"][3], random.choice((2, 8, 64))
        first = min(channels, size * size)
        layout["patterns"] = [size, first, min(channels - first, size * size), 0]
    if video.values.get("camera") and "patterns" not in layout:
        video.values["clip_frames"] = layout["dynamics_x"][1]
    try:
        parsed = LatentLayout.from_json(layout)
    except VidtwinError:
        return
    if parsed.channels <= _MOST_CHANNELS:
        video.steps = np.full(parsed.channels, 1, "<f2").tobytes()


def _frames_moved(random: Random, data: bytes) -> bytes:
    """Strangers' frames, or bytes of no frame, somewhere; or two files in one."""
    junk = random.choice((b"g", struct.pack("<II", 0x184D2A50 + random.randrange(16), random.choice((0, 5, 1 << 31)))))
    at = random.randrange(len(data) + 1)
    other = random.choice(samples())[0]
    return random.choice((data[:at] + junk * random.choice((1, 200)) + data[at:], data + other, data[:at] + other))


def read_video(path: Path) -> bool:
    """Do what `verify` and `info` do; and, one time in four, `decode`, `decode --recover` and decoding from a pipe."""
    problems = verify(path)
    if any("\n" in line for line in problems):
        raise AssertionError(f"a problem of several lines: {problems!a}")
    with suppress(VidtwinError), VtwReader(path, recover=True, fallback=True) as reader:
        json.dumps(describe("a.vtw", reader), allow_nan=False, ensure_ascii=False).encode()
    if zlib.crc32(path.read_bytes()) % 4 == 0 and not any(UNFINISHED in line for line in problems):
        try:
            with VtwReader(path) as reader:
                _decode(reader, not problems)
            _read_stream(path)
        except VidtwinError as error:
            if not problems and not _strange(path):
                raise AssertionError(f"is called sound, but cannot be read: {error.message}") from None
        if problems:
            with suppress(VidtwinError), VtwReader(path, recover=True) as reader:
                _decode(reader, False)
    return not problems


def _decode(reader: VtwReader, sound: bool) -> None:
    left = _MOST_SYMBOLS
    for number in range(len(reader.groups)):
        try:
            group = reader.open_group(number)
            left -= _symbols(reader.header, group)
            if left < 0:
                break
            for clip in reader.placed(number):
                _check(reader.header, group, clip)
        except VidtwinError:
            if sound:
                raise
    b"".join(reader.audio_chunks())


def _read_stream(path: Path) -> None:
    left = _MOST_SYMBOLS
    with path.open("rb") as file, VtwStream(file, "pipe") as stream:
        b"".join(stream.audio_chunks())
        for number, entry in enumerate(stream.groups):
            left -= entry.clips * stream.header.most_tiles * stream.header.layout.elements
            if left >= 0:
                for _ in stream.placed(number):
                    pass


def _strange(path: Path) -> bool:
    """Whether sound stands behind a group, which a pipe cannot give in time."""
    data = path.read_bytes()
    return data.rfind(AUDIO_TAG) > data.find(zstd_frame.MAGIC)


def _symbols(header: Header, group: OpenGroup) -> int:
    return group.span.clips * group.tiles * header.layout.elements


def _check(header: Header, group: OpenGroup, clip: PlacedClip) -> None:
    """What comes out has the shapes and the range that the format promises."""
    layout = header.layout if clip.placement is None else clip.placement.grid(header.layout)
    layout.check(clip.symbols, group.tiles)
    if any(part.dtype != np.int32 or np.abs(part).max(initial=0) > MAX_SYMBOL for part in clip.symbols):
        raise AssertionError("symbols of another type or range")


CODERS = {"plain": (1, 2), "context": (3,), "sparse": (SPARSE,), "placed": (PLACED,)}

"""The header: what it keeps, what it refuses."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zlib
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from containers import some_groups, some_header, write
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidtwin_codec.coding import LatentLayout, Steps, zstd_frame
from vidtwin_codec.coding.patterns import Patterns
from vidtwin_codec.container import VERSION, AudioInfo, Header, VtwReader, fields, verify
from vidtwin_codec.container.format import HEADER_TAG, build_frame
from vidtwin_codec.container.packed_json import DICTIONARY
from vidtwin_codec.errors import VidtwinError


def frame_with(
    text: bytes,
    *,
    version: tuple[int, int] = VERSION,
    encoding: int = 0,
    steps: bytes | None = None,
    steps_encoding: int = 0,
) -> bytes:
    stored = some_header().steps.to_bytes() if steps is None else steps
    return build_frame(HEADER_TAG, struct.pack("<BBBBI", *version, encoding, steps_encoding, len(text)) + text + stored)


def json_with(**changes: Any) -> bytes:
    return json.dumps(fields.to_json(some_header(audio=AudioInfo("opus", 5))) | changes).encode()


def test_a_header_comes_back() -> None:
    header = some_header(audio=AudioInfo("aac", None), sample_aspect=Fraction(64, 45), extra={"new": [1, {"é": None}]})
    assert Header.from_bytes(header.to_bytes()) == header
    assert Header.from_bytes(frame_with(json_with())) == some_header(audio=AudioInfo("opus", 5))


def test_long_options_are_compressed() -> None:
    large = some_header(options={"list": ["the same again"] * 1000})
    assert len(large.to_bytes()) < 1000
    assert Header.from_bytes(large.to_bytes()) == large


def test_keys_of_newer_minor_versions_are_kept() -> None:
    audio = {"codec": "opus", "container": "matroska", "bytes": 5, "channels": 6}
    header = Header.from_bytes(frame_with(json_with(audio=audio, centroids=[1, 2]), version=(1, 7)))
    assert header.version == (1, 7)
    assert header.extra == {"centroids": [1, 2]}
    assert header.audio is not None
    assert header.audio.extra == {"channels": 6}
    assert Header.from_bytes(header.to_bytes()) == header


def test_newer_major_versions_are_refused_by_number() -> None:
    data = frame_with(b"whatever it means then", version=(3, 1))
    with pytest.raises(VidtwinError, match=r"3\.1.*reads version 1") as error:
        VtwReader(io.BytesIO(data))
    assert "newer vidtwin" in str(error.value.hint)
    assert "3.1" in verify(io.BytesIO(data))[0]


def test_unknown_coders_are_refused_by_number() -> None:
    data, _ = write(some_header(coder=200), some_groups())
    with pytest.raises(VidtwinError, match="coder 200"):
        VtwReader(io.BytesIO(data), recover=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 0},
        {"width": 70000},
        {"height": "24"},
        {"coded_width": 1.5},
        {"coded_height": True},
        {"clip_frames": None},
        {"clips_per_group": 10**30},
        {"overlap": -1},
        {"overlap": 24},
        {"coder": 0},
        {"fps": [30, 0]},
        {"fps": [30]},
        {"fps": 30},
        {"fps": [1 << 31, 1]},
        {"sample_aspect": [-1, 1]},
        {"weights_sha256": "AB" * 32},
        {"weights_sha256": 5},
        {"weights_name": "\x1b[2Jgone"},
        {"weights_name": "n" * 2000},
        {"weights_name": "\ud800"},
        {"created_by": ["x"]},
        {"options": []},
        {"source": None},
        {"abutting": 1},
        {"abutting": True, "overlap": 1},
        {"audio": "opus"},
        {"audio": {"codec": "opus"}},
        {"audio": {"codec": "opus", "container": "matroska", "bytes": -1}},
        {"layout": None},
        {"layout": {"structure": [1, 1, 1, 1], "dynamics_x": [1, 1, 1], "dynamics_y": [1, 1, 1]}},
        {"layout": {"structure": [65535, 1, 1, 65535], "dynamics_x": [1, 1, 1], "dynamics_y": [1, 1, 1]}},
    ],
)
def test_impossible_fields_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(VidtwinError):
        Header.from_bytes(frame_with(json_with(**changes)))


@pytest.mark.parametrize("name", sorted({*fields.to_json(some_header())}))
def test_missing_fields_are_refused(name: str) -> None:
    values = fields.to_json(some_header())
    del values[name]
    with pytest.raises(VidtwinError, match=name if name != "layout" else "layout"):
        Header.from_bytes(frame_with(json.dumps(values).encode()))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"fps":NaN}',
        b'{"options":{"quality":1e999}}',
        b'{"options":{"quality":-1e999}}',
        b"[" * 100_000,
        b'{"width":' + b"9" * 10_000 + b"}",
    ],
)
def test_text_that_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(VidtwinError, match="JSON"):
        Header.from_bytes(frame_with(text))


def deflated(text: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=DICTIONARY)
    return compressor.compress(text) + compressor.flush()


def test_a_json_bomb_is_refused() -> None:
    bomb = deflated(b" " * 50_000_000)
    tracemalloc.start()
    with pytest.raises(VidtwinError, match="allowed"):
        Header.from_bytes(frame_with(bomb, encoding=1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_damaged_packing_is_refused() -> None:
    sound = deflated(json_with())
    assert Header.from_bytes(frame_with(sound, encoding=1)).audio == AudioInfo("opus", 5)
    for text in (sound[:-1], sound + b"x", b"\xff" + sound, b""):
        with pytest.raises(VidtwinError, match="JSON cannot be read"):
            Header.from_bytes(frame_with(text, encoding=1))
    with pytest.raises(VidtwinError, match="encoding 3"):
        Header.from_bytes(frame_with(json_with(), encoding=3))
    with pytest.raises(VidtwinError, match="does not end"):
        Header.from_bytes(frame_with(b"short", encoding=2))


@pytest.mark.parametrize("steps", [b"", b"\0" * 16, b"\xff\x7f" * 8, b"\0\x3c" * 9])
def test_impossible_steps_are_refused(steps: bytes) -> None:
    with pytest.raises(VidtwinError, match="quantisation steps"):
        Header.from_bytes(frame_with(json_with(), steps=steps))


def wide_header(steps: NDArray[Any], **changes: Any) -> Header:
    layout = LatentLayout((16, 12, 20, 512), (3, 16, 20), (3, 16, 12), Patterns(32, (300, 106, 106)))
    wide = Steps(steps, np.full(3, 0.125), np.full(3, 0.125))
    return some_header(layout=layout, steps=wide, **changes)


def test_a_wide_header_is_short() -> None:
    one, flat = some_header(), wide_header(np.full((16, 512), 0.25), overlap=0, abutting=True)
    assert len(flat.to_bytes()) < len(one.to_bytes()) + 100
    assert len(flat.to_bytes()) < 200
    noise = np.random.default_rng(0).uniform(0.1, 10, (16, 512))
    for header in (flat, wide_header(noise), replace(flat, version=(1, 0))):
        assert Header.from_bytes(header.to_bytes()) == header
    assert replace(flat, version=(1, 0)).to_bytes()[14:16] == bytes([1, 0])


def test_packed_steps_that_lie_are_refused_before_they_take_memory() -> None:
    flat = wide_header(np.full((16, 512), 0.25))
    text, sound = json.dumps(fields.to_json(flat)).encode(), flat.steps.to_bytes()
    packed = zstd_frame.compress(sound, 1)
    assert Header.from_bytes(frame_with(text, steps=packed, steps_encoding=1)) == flat
    bomb = zstd_frame.compress(bytes(50_000_000), 19)
    # the size of the steps announced, ten thousand blocks of 128 KiB within
    blocks = b"".join(((128 << 10) << 3 | 2 | (last << 0)).to_bytes(3, "little") + b"\0" for last in [0] * 9999 + [1])
    liar = zstd_frame.MAGIC + b"\x60" + (len(sound) - 256).to_bytes(2, "little") + blocks
    tracemalloc.start()
    for steps in (bomb, liar, packed[:-1], packed + b"x", b"", zstd_frame.compress(sound[:-2], 1)):
        with pytest.raises(VidtwinError, match="quantisation steps"):
            Header.from_bytes(frame_with(text, steps=steps, steps_encoding=1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
    with pytest.raises(VidtwinError, match="unknown encoding 2"):
        Header.from_bytes(frame_with(text, steps=sound, steps_encoding=2))


def test_headers_that_no_reader_would_take_are_not_made() -> None:
    with pytest.raises(VidtwinError, match="sha256"):
        some_header(weights_sha256="short")
    with pytest.raises(VidtwinError, match="plain JSON"):
        some_header(options={"quality": float("nan")}).to_bytes()
    with pytest.raises(VidtwinError, match="at most"):
        replace(some_header(), source={"noise": list(range(400_000))}).to_bytes()


@given(data=st.binary(max_size=100), start=st.sampled_from([b"", b"V*M\x18", b"V*M\x18\x50\0\0\0VTWH"]))
def test_other_files_are_refused(data: bytes, start: bytes) -> None:
    for recover in (False, True):
        with pytest.raises(VidtwinError):
            VtwReader(io.BytesIO(start + data), recover=recover)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\0\0\0\x18ftypmp42 and so on", r"is not a \.vtw"),
        (b"V*M\x18\x04\0\0\0ABCD", r"is not a \.vtw"),
        (b"V*", "truncated"),
        (b"V*M\x18\xff\0\0\0VTWH", "truncated"),
        (b"V*M\x18\xff\xff\xff\xffVTWH", "header is damaged"),
        (b"V*M\x18\x04\0\0\0VTWH", "header is damaged"),
    ],
)
def test_unreadable_starts_say_what_they_are(data: bytes, message: str) -> None:
    with pytest.raises(VidtwinError, match=message):
        VtwReader(io.BytesIO(data))

"""Names and words from files, made harmless for terminals, JSON and tables."""

from __future__ import annotations

import csv
import io
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidtwin_codec.batch.rows import failed_row
from vidtwin_codec.batch.run import as_csv
from vidtwin_codec.cli.common import Screen
from vidtwin_codec.text import csv_cell, printable, to_json, valid

ANYTHING = st.text(st.characters(exclude_categories=())) | st.binary().map(os.fsdecode)
NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANYTHING,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANYTHING, inner, max_size=3),
    max_leaves=8,
)


def test_what_is_not_utf8_is_shown_as_hexadecimal() -> None:
    name = os.fsdecode(b"a\xe9\x1b[31m\n\xc2\x9b\xe2\x80\xaeb")
    assert printable(name) == r"a\xe9\x1b[31m\n\x9b\u202eb"
    assert valid(os.fsdecode(b"a\xe9.mp4")) == r"a\xe9.mp4"
    assert printable("Größe 東京　🎬 :warning: [red]") == "Größe 東京　🎬 :warning: [red]"


@given(ANYTHING)
def test_printable_is_one_harmless_line_of_utf8(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert len(shown.splitlines()) <= 1
    assert not any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in shown)


@given(NESTED)
def test_json_is_always_valid(value: object) -> None:
    text = to_json(value)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    json.loads(text.encode(), parse_constant=refuse)
    assert printable(text) == text


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_json_has_null_for_what_is_not_finite(number: float) -> None:
    assert to_json({"psnr": number, "list": (1.5, number)}) == '{"psnr": null, "list": [1.5, null]}'


@pytest.mark.parametrize("name", ["=1+1.mp4", "+a.mp4", "-a.mp4", "@a.mp4", " =a.mp4", "\t=a.mp4"])
def test_cells_are_no_formulas(name: str) -> None:
    table = list(csv.reader(io.StringIO(as_csv([failed_row(name, None, f"{name}: bad")]))))
    for cell in (table[1][0], table[1][-1]):
        assert cell.startswith("'")
    assert (csv_cell(-1.5), csv_cell(None)) == (-1.5, None)


def test_a_screen_obeys_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().print("[red]:warning:\x1b]0;title\x07.vtw")
    assert capsys.readouterr().out == "[red]:warning:\\x1b]0;title\\x07.vtw\n"

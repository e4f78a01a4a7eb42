"""What a prompt and a notebook show of results, files and datasets."""

from __future__ import annotations

from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import pytest
from comparisons import comparison
from conftest import MakeVideo
from latent_samples import sample_header, write_sample

from vidtwin_codec import DecodeResult, EncodeOptions, EncodeResult, VtwDataset, VtwFile, encode
from vidtwin_codec.latents import notebook


class Shown(HTMLParser):
    """Sources of images, and all text."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.images: list[str] = []
        self.text = ""
        self.tags: set[str] = set()
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"] or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(thing: object) -> Shown:
    return Shown(thing._repr_html_())  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> EncodeResult:
    return EncodeResult(
        source="<in>.mp4", output="out.vtw", width=64, height=32, frames=25, fps=Fraction(25), vtw_bytes=700,
        video_bytes=640, audio_bytes=60, source_bytes=None, quality=60.0, short_side=None, weights="micro",
        device="cpu", seconds=1.5, warnings=["odd"],
    )  # fmt: skip


def test_results_are_one_line(encoded: EncodeResult) -> None:
    assert repr(encoded) == (
        "<EncodeResult <in>.mp4 → out.vtw: 64 × 32, 25 frames at 25 fps (1 s), 700 bytes, 0.1 bits per pixel, "
        "quality 60, weights 'micro', 1 warning>"
    )
    decoded = DecodeResult("a.vtw", "a.mp4", 64, 32, 1, Fraction(30000, 1001), 700, 9000, "micro", "cpu", 1.0)
    assert repr(decoded) == (
        "<DecodeResult a.vtw → a.mp4: 64 × 32, 1 frame at 29.97 fps (0.03337 s), 9000 bytes, weights 'micro'>"
    )
    assert repr(comparison()) == "<Comparison of 2 clips with x264, x265; 0 failed>"


def test_results_in_a_notebook_cannot_become_markup(encoded: EncodeResult) -> None:
    found = shown(encoded)
    assert "in" not in found.tags
    assert "<in>.mp4" in found.text
    assert "compression_ratio" in found.text
    assert "source_bytes" not in found.text, "what is not known is left out"


def test_files_say_what_they_hold(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.vtw", (3, 1, 2), missing_frames=1)
    with VtwFile(tmp_path / "a.vtw") as file:
        size = (tmp_path / "a.vtw").stat().st_size
        said = f"32 × 32, 23 frames at 25 fps (0.92 s), 6 clips in 3 groups, {size} bytes, weights 'sample'"
        assert repr(file) == f"<VtwFile {tmp_path / 'a.vtw'}: {said}>"
        assert repr(file[1:3]) == (
            "<ClipLatents of clips range(1, 3), frames range(4, 12): structure [2, 1, 3, 2, 2, 2], dynamics_x "
            "[2, 1, 3, 4, 4], dynamics_y [2, 1, 3, 4, 4], int8>"
        )
    assert repr(file).endswith(", closed>")
    assert file.closed
    dataset = VtwDataset(tmp_path, clips=2)
    assert repr(dataset) == "<VtwDataset of 2 samples (2 clips of one tile) from 1 file>"


def test_without_weights_numbers_are_shown_and_the_reason(tmp_path: Path) -> None:
    write_sample(tmp_path / "<a>.vtw", (3, 1))
    with VtwFile(tmp_path / "<a>.vtw") as file:
        found = shown(file)
    assert found.images == []
    assert "not on this machine" in found.text
    assert "<a>.vtw" in found.text
    found = shown(VtwDataset(tmp_path))
    assert found.images == []
    assert "not on this machine" in found.text


@pytest.fixture
def here(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> Path:
    """A file whose weights are found."""
    output = tmp_path / "a.vtw"
    encode(make_video("in.mp4", frames=22), output, EncodeOptions(weights=str(micro_weights), device="cpu"))
    return output


def test_frames_are_shown_where_weights_are(here: Path, micro_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vidtwin_codec.weights import resolve

    monkeypatch.setattr("vidtwin_codec.weights.find_decoder", lambda digest: resolve(str(micro_weights)))
    with VtwFile(here) as file:
        found = shown(file)
        assert len(found.images) == 4
        assert len(set(found.images)) == 4
        assert all(image.startswith("data:image/") for image in found.images)
        monkeypatch.setattr(notebook, "_PIXELS", 1000)
        assert shown(file).images == []
        assert "takes long" in shown(file).text
    assert "is closed" in shown(file).text
    monkeypatch.undo()
    monkeypatch.setattr("vidtwin_codec.weights.find_decoder", lambda digest: resolve(str(micro_weights)))
    assert len(shown(VtwDataset(here)).images) == 1


def test_many_groups_are_shown_from_their_beginnings(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.vtw", (3, 1, 2, 2, 1), header=sample_header())
    with VtwFile(tmp_path / "a.vtw") as file:
        assert notebook._places(file) == [0, 12, 16, 24]

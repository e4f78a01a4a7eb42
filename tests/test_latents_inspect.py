"""vidtwin inspect: its numbers, its pictures, and the page in a browser."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from browser import open_browser, require_browser
from latent_samples import sample_header, write_sample
from media_samples import ffmpeg
from selenium.webdriver.common.by import By

from vidtwin_codec import EncodeOptions, VidtwinError, VtwFile, encode
from vidtwin_codec.evaluation.report.information import measure_information
from vidtwin_codec.evaluation.report.latents import dynamics_maps, inspect_page, structure_maps
from vidtwin_codec.options import NetworkOptions

WHITE, ORANGE, BLUE = [252, 252, 250], [194, 65, 12], [15, 55, 96]


def entropy(symbols: np.ndarray) -> float:
    """Bits of all symbols by their frequencies."""
    _, times = np.unique(symbols, return_counts=True)
    return float(-(times * np.log2(times / times.sum())).sum())


def test_bits_add_up_to_the_entropy_of_each_channel(tmp_path: Path) -> None:
    header = sample_header(coded_width=40, width=40)
    symbols = write_sample(tmp_path / "a.vtw", (2, 3), header=header, largest=3)
    with VtwFile(tmp_path / "a.vtw") as file:
        found = measure_information(file)
    assert found.structure.shape == (5, 3, 2)
    for slot in range(3):
        for channel in range(2):
            expected = entropy(symbols.structure[:, :, slot, :, :, channel])
            assert found.structure[:, slot, channel].sum() == pytest.approx(expected)
    for field in ("dynamics_x", "dynamics_y"):
        bits, array = getattr(found, field), getattr(symbols, field)
        assert bits.shape == (5, 3)
        assert bits.sum(axis=0) == pytest.approx([entropy(array[:, :, channel]) for channel in range(3)])


def test_a_channel_that_never_changes_costs_nothing(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.vtw", (2,), largest=0)
    with VtwFile(tmp_path / "a.vtw") as file:
        assert not measure_information(file).structure.any()


def test_structure_maps_put_tiles_in_their_places() -> None:
    header = sample_header(coded_width=50, coded_height=80)
    grid = header.tile_grid
    assert grid == (3, 2)
    structure = np.zeros((6, 3, 2, 2, 2))
    structure[3, 1, 0, 1, 1] = 0.5  # tile row 1, tile column 1; slot 1, channel 1; its row 0, column 1
    structure[0, 1, 1, 0, 1] = -0.25
    picture = structure_maps(structure, grid)
    # a map is 6 x 4 and a line of gap
    assert picture.shape == (3 * 7, 2 * 5, 3)
    assert picture[7 + 2, 5 + 3].tolist() == ORANGE
    half = picture[7 + 1, 5].astype(int)
    assert np.abs(half - (np.array(WHITE) + BLUE) / 2).max() <= 1
    assert (picture[:6, :4] == WHITE).all()


def test_dynamics_maps_run_over_time() -> None:
    dynamics = np.zeros((2, 6, 3, 4, 5))
    dynamics[1, [1, 3, 5], 2, 3, 4] = 1.0  # clip 1, the right-hand tiles, channel 2, frame 3, position 4
    along_x = dynamics_maps(dynamics, (3, 2), 1)
    assert along_x.shape == (3 * (2 * 5 + 1), 8, 3)
    assert along_x[2 * 11 + 9, 7].tolist() == ORANGE
    along_y = dynamics_maps(dynamics, (3, 2), 0)
    assert along_y.shape == (3 * (3 * 5 + 1), 8, 3)
    assert [along_y[2 * 16 + row, 7].tolist() == ORANGE for row in range(15)] == [False] * 4 + [True] + (
        [False] * 4 + [True]
    ) * 2


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, micro_weights: Path) -> Path:
    folder = tmp_path_factory.mktemp("inspect")
    source = "testsrc2=size=40x36:rate=25,format=yuv420p"
    ffmpeg("-f", "lavfi", "-i", source, "-frames:v", "10", f"file:{folder / 'a.mp4'}")
    encode(folder / "a.mp4", folder / "<a>.vtw", EncodeOptions(weights=str(micro_weights), device="cpu"))
    network = NetworkOptions(weights=str(micro_weights), device="cpu")
    text = inspect_page(folder / "<a>.vtw", 3, network, source=folder / "a.mp4")
    (folder / "page.html").write_text(text, encoding="utf-8")
    return folder / "page.html"


def test_the_page_is_complete_without_a_network(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "&lt;a&gt;.vtw" in text
    assert "<a>" not in text
    assert not re.findall(r"(?:src|href)=\"(?!data:)", text)
    assert text.count("<img") == 3 * 4 + 3
    assert "Frame 1," in text
    assert "Frame 8," in text


@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser(page: Path, tmp_path: Path, width: int) -> None:
    require_browser()
    with open_browser(tmp_path, width=width) as session:
        session.get(page.as_uri())
        sizes = [image.get_property("naturalWidth") for image in session.find_elements(By.TAG_NAME, "img")]
        assert len(sizes) == 15
        assert all(size for size in sizes)
        assert session.execute_script("return document.documentElement.scrollWidth") <= width
        # frames of every part can be seen without scrolling sideways, not too small
        frames = session.find_elements(By.CSS_SELECTOR, ".parts img")
        assert len(frames) == 12
        assert all(each.rect["x"] >= 0 and each.rect["x"] + each.rect["width"] <= width for each in frames)
        assert min(each.rect["width"] for each in frames) >= 150
        assert len(session.find_elements(By.CSS_SELECTOR, ".plot rect")) > 20
        assert session.get_log("browser") == []


def test_another_video_than_the_source_is_refused(page: Path, micro_weights: Path, tmp_path: Path) -> None:
    for size, frames, said in (("48x36", 10, "48 x 36, those of"), ("40x36", 5, "has no frame 8")):
        ffmpeg("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25", "-frames:v", str(frames), f"file:{tmp_path}/b.mp4")
        network = NetworkOptions(weights=str(micro_weights), device="cpu")
        with pytest.raises(VidtwinError, match=said) as caught:
            inspect_page(page.parent / "<a>.vtw", 3, network, source=tmp_path / "b.mp4")
        assert "encoded from" in str(caught.value.hint)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.vtw", ())
    with pytest.raises(VidtwinError, match="holds no frames"):
        inspect_page(tmp_path / "a.vtw")

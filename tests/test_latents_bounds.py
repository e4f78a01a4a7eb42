"""Small files of latents that would take minutes or gigabytes to import are refused before anything is written."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_container import some_header

from vidtwin_codec.coding import LatentLayout, Steps
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.latents.bounds import check_work
from vidtwin_codec.latents.description import Description, dump
from vidtwin_codec.latents.importing import import_latents
from vidtwin_codec.latents.tensor_files import SMALL_METADATA, open_tensors

TINY = LatentLayout((1, 1, 1, 1), (1, 4, 1), (1, 4, 1))
LARGE = LatentLayout((1, 64, 64, 64), (1, 4, 1), (1, 4, 1))


def described(layout: LatentLayout, groups: list[int]) -> Description:
    slots, channels, lines = layout.structure[0], layout.structure[3], layout.dynamics_x[0]
    steps = Steps(np.ones((slots, channels), np.float32), *np.ones((2, lines), np.float32))
    header = some_header(
        layout=layout, steps=steps, clips_per_group=0xFFFF, clip_frames=4, width=32, height=32, coded_width=32,
        coded_height=32, tile_width=32, tile_height=32, overlap=0, audio=None,
    )  # fmt: skip
    return Description(header, 4 * sum(groups), tuple(groups))


def archive(path: Path, video: Description) -> Path:
    """A compressed archive of zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stream:
        text = io.BytesIO()
        np.save(text, np.array(dump({"a": video})))
        stream.writestr("metadata.npy", text.getvalue())
        for name, shape in zip(("structure", "dynamics_x", "dynamics_y"), video.shapes, strict=True):
            member = io.BytesIO()
            np.save(member, np.zeros((video.clips, 1, *shape), np.int8))
            stream.writestr(f"{name}.npy", member.getvalue())
    return path


@pytest.mark.parametrize(
    ("layout", "groups"),
    [(LARGE, [240]), (LARGE, [20] * 12), (TINY, [0xFFFF] * 20), (TINY, [1] * 20_000)],
    ids=["large group", "many symbols", "many clips", "many groups"],
)
def test_what_zeros_pack_to_nothing_is_counted(tmp_path: Path, layout: LatentLayout, groups: list[int]) -> None:
    path = archive(tmp_path / "a.npz", described(layout, groups))
    assert path.stat().st_size < 200_000
    with pytest.raises(VidtwinError, match=r"a\.npz: importing it takes more (work|memory)"):
        import_latents(path, tmp_path / "a.vtw")
    assert not (tmp_path / "a.vtw").exists()


def test_an_ordinary_archive_is_imported(tmp_path: Path) -> None:
    (made,) = import_latents(archive(tmp_path / "a.npz", described(LARGE, [4, 2])), tmp_path / "a.vtw")
    assert (made.clips, made.frames) == (6, 24)


def test_larger_files_may_hold_more() -> None:
    hour = described(replace(LARGE, structure=(16, 7, 7, 8)), [94] * 60)
    numbers = hour.clips * hour.header.layout.elements
    check_work([hour], 4 * numbers, 0)
    with pytest.raises(VidtwinError, match="more work") as caught:
        check_work([hour], 1000, 0)
    assert "uncompressed" in (caught.value.hint or "")


def test_a_text_longer_than_its_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stream:
        text = io.BytesIO()
        np.save(text, np.array(json.dumps(["a" * (SMALL_METADATA // 4)])))
        stream.writestr("metadata.npy", text.getvalue())
    with pytest.raises(VidtwinError, match="too long for a file of its size"):
        open_tensors(path)

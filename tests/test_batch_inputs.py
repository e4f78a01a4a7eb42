"""Which files a batch takes, what their outputs are called, and how they are shared out."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidtwin_codec.batch.names import name_outputs
from vidtwin_codec.batch.shards import Shard, shard_members
from vidtwin_codec.batch.sources import Input, Listing, find_inputs
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import VIDEO_SUFFIXES


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def places(listing: Listing) -> list[str]:
    return [one.relative.as_posix() for one in listing.inputs]


def find(*sources: str | Path, **choices: object) -> Listing:
    return find_inputs([str(one) for one in sources], VIDEO_SUFFIXES, **choices)  # type: ignore[arg-type]


def test_a_folder_gives_its_videos_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    make(tmp_path, "b.mp4", "a/c.MKV", "a/deep/d.mov", "a/notes.txt", "x.jpg", "y.jpg", ".e.mp4", ".git/f.mp4")
    found = find(tmp_path)
    assert places(found) == ["b.mp4", "a/c.MKV", "a/deep/d.mov"]
    assert not found.problems
    said = "; ".join(found.notes)
    assert "no videos by their extension: 3 (.jpg 2, .txt 1)" in said
    assert "hidden: 2" in said
    assert sorted(places(find(tmp_path, hidden=True))) == [".e.mp4", ".git/f.mp4", "a/c.MKV", "a/deep/d.mov", "b.mp4"]


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    source = make(tmp_path / "source", "z/a.mp4")
    outside = make(tmp_path / "outside", "b.mp4", "sub/c.mp4")
    (source / "a-link").symlink_to(source / "z")
    (source / "z" / "loop").symlink_to(source)
    (source / "far").symlink_to(outside)
    (source / "file.mp4").symlink_to(outside / "b.mp4")
    (source / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    (source / "self.mp4").symlink_to(source / "self.mp4")
    for found in (find(source), find(f"{source}/**/*.mp4")):
        # the real folder before the link to it, whatever their names
        assert sorted(places(found)) == ["far/b.mp4", "far/sub/c.mp4", "file.mp4", "z/a.mp4"]
        assert {Path(name).name: reason for name, reason in found.problems.items()} == {
            "gone.mp4": "the link points nowhere",
            "self.mp4": "the link points nowhere",
        }
        assert "links to folders that are searched anyway: 2" in "; ".join(found.notes)


def test_patterns_keep_the_tree_below_what_is_fixed(tmp_path: Path) -> None:
    make(tmp_path, "v/a/1.mp4", "v/a/1.txt", "v/b/2.mov", "v/b/deep/3.mp4", "v/4.mp4")
    assert places(find(f"{tmp_path}/v/*/*.mp4")) == ["a/1.mp4"]
    assert sorted(places(find(f"{tmp_path}/v/**/*.mp4"))) == ["4.mp4", "a/1.mp4", "b/deep/3.mp4"]
    assert sorted(places(find(f"{tmp_path}/v/**"))) == ["4.mp4", "a/1.mp4", "b/2.mov", "b/deep/3.mp4"]
    assert places(find(f"{tmp_path}/v/[b]")) == ["b/2.mov", "b/deep/3.mp4"]
    assert places(find(f"{tmp_path}/v/a/?.mp4")) == ["1.mp4"]
    assert list(find(f"{tmp_path}/v/*.avi").problems.values()) == ["the pattern matches nothing to work on"]


def test_a_name_with_brackets_is_a_name(tmp_path: Path) -> None:
    make(tmp_path, "clip[1].mp4", "clip1.mp4")
    assert places(find(tmp_path / "clip[1].mp4")) == ["clip[1].mp4"]


def test_files_that_are_named_are_taken_once_and_missing_ones_are_problems(tmp_path: Path) -> None:
    make(tmp_path, "a/1.mp4", "odd.name")
    found = find(tmp_path / "odd.name", tmp_path / "a" / "1.mp4", tmp_path, tmp_path / "no.mp4")
    assert places(found) == ["odd.name", "1.mp4"]
    assert found.problems == {str(tmp_path / "no.mp4"): "no such file"}
    assert "named more than once, taken once: 1" in "; ".join(found.notes)
    assert places(find(tmp_path / "a" / "1.mp4", root=tmp_path)) == ["a/1.mp4"]


def test_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a/1.mp4", "a/2.bin", "b.mp4")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list").write_text(f"# comment\na/1.mp4\n\n{tmp_path}/b.mp4\n./a/2.bin\nnone.mp4\na\n")
    found = find(lists=["list"])
    whole = (tmp_path / "b.mp4").relative_to("/").as_posix()
    assert places(found) == ["a/1.mp4", whole, "a/2.bin"]
    assert found.problems == {"none.mp4": "no such file", "a": "is a folder; a list names files"}
    assert places(find(lists=["list"], root=tmp_path)) == ["a/1.mp4", "b.mp4", "a/2.bin"]
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(VidtwinError, match="names no files"):
        find(lists=["empty"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "closed/b.mp4")
    (tmp_path / "closed").chmod(0)
    try:
        found = find(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert places(found) == ["a.mp4"]
    assert list(found.problems) == [str(tmp_path / "closed")]


def test_the_destination_is_not_searched(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "out/b.mp4")
    found = find(tmp_path, without=tmp_path / "out")
    assert places(found) == ["a.mp4"]
    assert any("destination" in note for note in found.notes)


def named(*relative: str) -> tuple[dict[str, str], list[str]]:
    inputs = [Input(Path("/in") / str(number) / name, PurePath(name)) for number, name in enumerate(relative)]
    names, problems, _ = name_outputs(inputs, ".vtw")
    return {str(one.path): str(name) for one, name in names.items()}, [str(one.path) for one in problems]


def test_names_that_differ_only_in_their_extension_keep_it() -> None:
    names, problems = named("a.mp4", "a.mov", "b.c.mp4", "d", "x/a.mp4")
    assert list(names.values()) == ["a.mp4.vtw", "a.mov.vtw", "b.c.vtw", "d.vtw", "x/a.vtw"]
    assert not problems
    names, problems = named("a.mp4", "a.mp4", "b.mp4")
    assert (list(names.values()), problems) == (["b.vtw"], ["/in/0/a.mp4", "/in/1/a.mp4"])


@given(
    st.lists(
        st.builds(
            lambda *parts: "".join(parts),
            *[st.sampled_from(["a", "b", "a.mp4", "x/a"])],
            st.sampled_from(["", ".mp4", ".mov", ".mp4.avi"]),
        ),
        max_size=12,
    )
)
def test_no_two_inputs_have_one_output(relative: list[str]) -> None:
    names, problems = named(*relative)
    assert len(set(names.values())) == len(names)
    assert len(names) + len(problems) == len(relative)
    # only what has the very same place cannot be told apart
    places = [relative[int(Path(path).parts[2])] for path in problems]
    assert all(relative.count(place) > 1 for place in places)


def test_shards_are_written_as_a_fraction() -> None:
    assert Shard.parse("3/8") == Shard(3, 8)
    for text in ("0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/2/3"):
        with pytest.raises(ValueError, match="shard"):
            Shard.parse(text)


@given(st.lists(st.floats(0, 1e4), max_size=60), st.integers(1, 9))
def test_shards_part_the_files_and_balance_their_durations(seconds: list[float], count: int) -> None:
    shards = [shard_members(seconds, Shard(number, count)) for number in range(1, count + 1)]
    assert sorted(index for shard in shards for index in shard) == list(range(len(seconds)))
    loads = [sum(seconds[index] for index in shard) for shard in shards]
    # the last file of the fullest shard went to what was then the emptiest
    assert max(loads) <= sum(seconds) / count + max(seconds, default=0) + 1e-6

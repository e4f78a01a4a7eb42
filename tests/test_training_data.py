"""Footage: what is used, what is skipped, what is cached, what is drawn."""

from __future__ import annotations

import itertools
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeVideo
from micro import micro_config
from training_runs import array_folder, listening, micro_options, moving_picture

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import FrameReader, probe
from vidtwin_codec.training.cache import RUN, Facts, FrameCache
from vidtwin_codec.training.clips import ClipSampler
from vidtwin_codec.training.footage import Footage, FoundFile, find_files, split, training_size
from vidtwin_codec.training.preparation import held_out_clips, load_footage

CONFIG = micro_config()


@pytest.fixture
def said() -> list[str]:
    return []


def test_videos_in_any_nesting_are_decoded_once(make_video: MakeVideo, tmp_path: Path, said: list[str]) -> None:
    data = tmp_path / "data"
    (data / "a" / "b").mkdir(parents=True)
    for name in ("one.mp4", "a/two.mkv", "a/b/Three.MP4"):
        shutil.move(make_video("made.mkv", size="80x60", frames=9), data / name)
    (data / "notes.txt").write_text("not a video")
    options = micro_options(tmp_path, data=data)
    footage = load_footage(find_files(data), CONFIG, options, listening(said))
    assert [one.name for one in footage] == ["a/b/Three.MP4", "a/two.mkv", "one.mp4"]
    assert {(one.frames, one.height, one.width) for one in footage} == {(9, 37, 49)}
    with FrameReader(probe(data / "one.mp4"), width=49, height=37) as reader:
        assert np.array_equal(footage[2].open(), reader.read(9))
    assert any(line.startswith("decoding into") and line.endswith(": 3") for line in said)

    said.clear()
    again = load_footage(find_files(data), CONFIG, options, listening(said))
    assert again == footage
    assert not any("decoding" in line for line in said)


def test_what_cannot_be_used_is_said_and_skipped(make_video: MakeVideo, tmp_path: Path, said: list[str]) -> None:
    data = array_folder(tmp_path / "data", 1)
    np.save(data / "floats.npy", np.zeros((8, 40, 40, 3)))
    np.save(data / "small.npy", moving_picture(height=20))
    np.save(data / "short.npy", moving_picture(frames=3))
    (data / "broken.npy").write_bytes(b"nothing")
    (data / "broken.mp4").write_bytes(b"nothing at all")
    make_video("good.mp4", size="64x48", frames=20)
    whole = (tmp_path / "good.mp4").read_bytes()
    (data / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    shutil.move(make_video("brief.mp4", frames=3), data / "brief.mp4")
    footage = load_footage(find_files(data), CONFIG, micro_options(tmp_path, data=data), listening(said))
    assert [one.name for one in footage] == ["0.npy"]
    for name in ("floats.npy", "small.npy", "short.npy", "broken.npy", "broken.mp4", "cut.mp4", "brief.mp4"):
        assert sum(name in line for line in said) == 1, name
    assert any("brief.mp4: skipped, 3 frames are fewer than the 4" in line for line in said)


def test_nothing_usable_is_an_error(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(VidtwinError, match="no videos"):
        find_files(tmp_path / "data")
    with pytest.raises(VidtwinError, match="no such"):
        find_files(tmp_path / "nowhere")
    (tmp_path / "data" / "bad.mp4").write_bytes(b"bad")
    with pytest.raises(VidtwinError, match="nothing to train on"):
        load_footage(find_files(tmp_path / "data"), CONFIG, micro_options(tmp_path), listening(said))


def test_the_cache_stays_below_its_limit(make_video: MakeVideo, tmp_path: Path, said: list[str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number in range(2):
        shutil.move(make_video("made.mp4", size="40x36", frames=4 * RUN + 10), data / f"{number}.mp4")
    frame = 40 * 36 * 3
    limit = (4 * RUN + 10) * frame
    options = micro_options(tmp_path, data=data, cache_gb=limit / 1e9)
    stranger = tmp_path / "cache" / "of-an-earlier-run.npy"
    stranger.parent.mkdir()
    stranger.write_bytes(bytes(20 * frame))
    footage = load_footage(find_files(data), CONFIG, options, listening(said))
    assert [(one.frames, one.run) for one in footage] == [(2 * RUN, RUN)] * 2
    assert sum(path.stat().st_size for path in stranger.parent.glob("*.npy")) <= limit
    assert not stranger.exists()
    assert any("--cache-gb" in line for line in said)
    with FrameReader(probe(data / "0.mp4"), width=footage[0].width, height=footage[0].height) as reader:
        whole = reader.read(4 * RUN)
    # evenly spread: the first and the third of four runs
    assert np.array_equal(footage[0].open(), np.concatenate([whole[:RUN], whole[2 * RUN : 3 * RUN]]))


def test_two_runs_at_once_share_a_cache(make_video: MakeVideo, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number in range(3):
        shutil.move(make_video("made.mp4", size="48x36", frames=40), data / f"{number}.mp4")
    options = micro_options(tmp_path, data=data, cache_gb=3.5 * 40 * 48 * 36 * 3 / 1e9)
    (tmp_path / "cache").mkdir()
    for number in range(20):  # both runs find these in the way
        (tmp_path / "cache" / f"earlier-{number}.npy").write_bytes(bytes(20 * 48 * 36 * 3))
    said: list[list[str]] = [[], []]

    def load(lines: list[str]) -> list[Footage]:
        return load_footage(find_files(data), CONFIG, options, listening(lines))

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(load, said)
    assert one == other
    assert len(one) == 3
    decoding = [line for line in said[0] + said[1] if line.startswith("decoding")]
    assert len(decoding) == 1
    assert decoding[0].endswith(": 3")


def test_too_many_videos_for_the_cache(tmp_path: Path, said: list[str]) -> None:
    files = [FoundFile(f"{number}.mp4", tmp_path / f"{number}.mp4") for number in range(4)]
    for file in files:
        file.path.write_bytes(b"")
    cache = FrameCache(tmp_path / "cache", 2.5 * RUN * 300, listening(said))
    plans = cache.plan([(file, Facts(1000 if file != files[0] else None, 10, 10)) for file in files])
    assert [plan.limit for plan in plans] == [RUN, RUN]
    assert "2 of 4 videos" in said[0]


def test_held_out_files_do_not_depend_on_the_others(tmp_path: Path) -> None:
    data = array_folder(tmp_path / "data", 10)
    options = micro_options(tmp_path, held_out=0.2)
    training, held = split(options)
    assert (len(training), len(held)) == (8, 2)
    (data / training[0].name).unlink()
    assert split(options)[1] == held
    assert split(micro_options(tmp_path, held_out=0))[1] == []
    elsewhere = array_folder(tmp_path / "eval", 2)
    training, held = split(micro_options(tmp_path, eval_data=elsewhere))
    assert (len(training), [file.path.parent for file in held]) == (9, [elsewhere] * 2)


def test_held_out_clips_follow_the_protocol(make_video: MakeVideo, tmp_path: Path, said: list[str]) -> None:
    np.save(tmp_path / "a.npy", moving_picture(frames=16, height=32, width=50))
    make_video("b.mp4", size="80x64", frames=3)
    (tmp_path / "c.mp4").write_bytes(b"bad")
    files = [FoundFile(name, tmp_path / name) for name in ("a.npy", "b.mp4", "c.mp4")]
    clips = held_out_clips(files, CONFIG, listening(said))
    assert clips.shape == (3, 4, 32, 32, 3)
    picture = torch.from_numpy(moving_picture(frames=16, height=32, width=50))
    assert torch.equal(clips[0], picture[:4, :, 9:41])
    assert torch.equal(clips[1], picture[8:12, :, 9:41])
    assert torch.equal(clips[2, 2], clips[2, 3])  # filled up with the last frame
    assert sum("c.mp4" in line for line in said) == 1


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [((640, 360), None, (66, 37)), ((640, 360), 64, (114, 64)), ((34, 60), None, (34, 60)), ((16, 40), None, (32, 80))],
)
def test_decoded_size(size: tuple[int, int], short_side: int | None, expected: tuple[int, int]) -> None:
    assert training_size(*size, CONFIG, short_side) == expected


def test_draws_stay_inside_a_run_and_repeat(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None], (40, 34, 36, 3)))
    footage = [Footage("a", tmp_path / "a.npy", 40, 34, 36, run=10)]
    sampler = ClipSampler(footage, CONFIG, max_stride=4, seed=3)
    seen = set()
    for number in range(200):
        draw = sampler.draw(5, number)
        times = sampler.cut(draw)[:, 0, 0, 0].tolist()
        assert len({time // 10 for time in times}) == 1
        steps = {abs(b - a) for a, b in itertools.pairwise(times)}
        assert steps == {draw.stride}
        seen.add((draw.stride, draw.reverse, draw.mirror))
        assert ClipSampler(footage, CONFIG, max_stride=4, seed=3).draw(5, number) == draw
    assert len(seen) == 3 * 2 * 2  # a stride of 4 never fits ten frames
    assert sampler.draw(6, 0) != sampler.draw(5, 0)


def test_batches_are_the_same_however_they_are_shared(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", moving_picture())
    sampler = ClipSampler([Footage("a", tmp_path / "a.npy", 12, 36, 40, 12)], CONFIG, noise="uniform")
    cpu = torch.device("cpu")
    whole = list(itertools.islice(sampler.batches(0, range(4), cpu), 3))
    later = next(sampler.batches(2, range(4), cpu))
    half = next(sampler.batches(2, range(2, 4), cpu))
    assert torch.equal(whole[2].clips, later.clips)
    assert torch.equal(later.clips[2:], half.clips)
    assert torch.equal(later.noise[2:], half.noise)
    assert later.clips.shape == (4, 4, 32, 32, 3)
    assert float(later.noise.abs().max()) <= 3**0.5
    assert float(later.noise.std()) == pytest.approx(1, abs=0.1)

"""The camera's motion: paths that are known, canvases that give their frames back, worlds that go on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidtwin_codec.motion import Camera, Canvas, Path, displacement, estimate_path, worth

Frames = NDArray[np.uint8]


def scene(height: int, width: int, seed: int = 0) -> Frames:
    """A picture with structure at every scale, as pictures of the world have."""
    rng = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(height), np.fft.rfftfreq(width)
    spectrum = np.fft.rfft2(rng.normal(size=(height, width, 3)), axes=(0, 1))
    spectrum /= (np.hypot(rows[:, None], columns) + 0.02)[..., None]
    total = np.fft.irfft2(spectrum, s=(height, width), axes=(0, 1))
    return np.clip(128 + 45 * total / total.std(), 0, 255).astype(np.uint8)


def pan(shifts: NDArray[np.int64], height: int = 120, width: int = 200, seed: int = 0) -> Frames:
    """Frames cut out of a still scene so that what they show moves by ``shifts`` ``[T, 2]``."""
    margin = 130
    world = scene(height + 2 * margin, width + 2 * margin, seed)
    return np.stack([world[margin - y :, margin - x :][:height, :width] for y, x in shifts])


def line(dy: float, dx: float, count: int = 16) -> NDArray[np.int64]:
    return np.rint(np.outer(np.arange(count) - count // 2, (dy, dx))).astype(np.int64)


class TestPath:
    @pytest.mark.parametrize(
        "speed", [(0, 3), (0, -1), (2, 0), (-1.5, 2.5), (3, -4), (0.3, 0.4), (0, 0.2), (-4, -0.5), (0, 6.2)]
    )
    def test_known_pans_are_found_to_the_pixel(self, speed: tuple[float, float]) -> None:
        shifts = line(*speed)
        assert np.array_equal(estimate_path(pan(shifts)).shifts, shifts)

    @pytest.mark.parametrize("size", [(360, 640), (137, 251), (64, 48), (33, 300)])
    def test_any_size_will_do(self, size: tuple[int, int]) -> None:
        shifts = line(-0.5, 0.9)
        assert np.array_equal(estimate_path(pan(shifts, *size)).shifts, shifts)

    def test_noise_does_not_shake_it(self) -> None:
        shifts = line(1, -2.5)
        noise = np.random.default_rng(1).normal(size=(16, 120, 200, 3)) * 8
        frames = np.clip(pan(shifts) + noise, 0, 255).astype(np.uint8)
        assert np.array_equal(estimate_path(frames).shifts, shifts)

    def test_something_in_front_may_move_otherwise(self) -> None:
        shifts = line(0, 2)
        frames = pan(shifts)
        figure = scene(60, 60, 5)
        for t in range(16):
            frames[t, 30:90, 150 - 8 * t : 210 - 8 * t] = figure[:, : max(0, 50 + 8 * t)]
        assert np.array_equal(estimate_path(frames).shifts, shifts)

    def test_a_hand_that_shakes_is_followed(self) -> None:
        shifts = np.random.default_rng(3).integers(-5, 6, (16, 2))
        shifts[8] = 0
        assert np.array_equal(estimate_path(pan(shifts)).shifts, shifts)

    def test_a_moving_thing_before_a_still_background_is_no_pan(self) -> None:
        frames = pan(line(0, 0))
        for t in range(16):
            frames[t, 30:90, 10 + 8 * t : 70 + 8 * t] = scene(60, 60, 5)
        assert not estimate_path(frames).moves

    def test_a_still_picture_with_noise_stands_still(self) -> None:
        noise = np.random.default_rng(1).normal(size=(16, 120, 200, 3)) * 10
        assert not estimate_path(np.clip(pan(line(0, 0)) + noise, 0, 255).astype(np.uint8)).moves

    def test_a_cut_stands_still(self) -> None:
        for at in (1, 4, 8, 9, 15):
            frames = pan(line(0, 3))
            frames[at:] = pan(line(0, 3), seed=9)[at:]
            assert not estimate_path(frames).moves, at

    def test_a_flash_is_bridged(self) -> None:
        shifts = line(0, 3)
        frames = pan(shifts)
        frames[5] = 255
        assert np.array_equal(estimate_path(frames).shifts, shifts)

    @pytest.mark.parametrize("level", [0, 16, 255])
    def test_flat_frames_stand_still(self, level: int) -> None:
        assert not estimate_path(np.full((16, 64, 96, 3), level, np.uint8)).moves

    def test_mere_noise_stands_still(self) -> None:
        assert not estimate_path(np.random.default_rng(0).integers(0, 256, (16, 96, 96, 3), np.uint8)).moves

    @given(st.integers(1, 5), st.integers(1, 40), st.integers(1, 40), st.integers(0, 9))
    def test_tiny_clips_have_a_path_too(self, count: int, height: int, width: int, seed: int) -> None:
        frames = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)
        path = estimate_path(frames)
        assert path.shifts.shape == (count, 2)
        assert path.shifts.dtype == np.int16
        assert not path.shifts[count // 2].any()

    def test_other_arrays_are_refused(self) -> None:
        with pytest.raises(ValueError, match="uint8 frames"):
            estimate_path(np.zeros((16, 32, 32), np.uint8))
        with pytest.raises(ValueError, match="one size"):
            displacement(np.zeros((32, 32, 3), np.uint8), np.zeros((32, 33, 3), np.uint8))

    def test_displacement_of_two_frames(self) -> None:
        one, other = pan(np.array([(0, 0), (-4, 11)]))
        assert displacement(one, other) == (-4, 11)
        assert displacement(one, one) == (0, 0)
        assert displacement(one, scene(120, 200, 8)) is None


@st.composite
def placed(draw: st.DrawFn) -> tuple[Canvas, Frames]:
    """A canvas along any path that has one, and frames of noise for it."""
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    count, patch = draw(st.integers(1, 6)), draw(st.sampled_from([4, 8, 32]))
    far = st.tuples(st.integers(-12, 12), st.integers(-12, 12))
    shifts = np.array(draw(st.lists(far, min_size=count, max_size=count)), np.int16)
    shifts -= shifts[count // 2]
    position = draw(st.none() | st.tuples(st.integers(-300, 300), st.integers(-300, 300)))
    canvas = Canvas.along(Path(shifts), (height, width), patch, position)
    if canvas is None:
        canvas = Canvas.still((height, width), patch, count)
    frames = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (count, height, width, 3), np.uint8)
    return canvas, frames


def slowly(canvas: Canvas, frames: Frames) -> Frames:
    """What `Canvas.place` means, pixel by pixel."""
    count, (height, width) = len(frames), canvas.size
    out = np.zeros((count, *canvas.shape, 3), np.uint8)
    for y, x in np.ndindex(canvas.shape):
        shown = [t for t, (v, u) in enumerate(canvas.corners) if v <= y < v + height and u <= x < u + width]
        for t in range(count):
            before, after = [k for k in shown if k <= t], [k for k in shown if k > t]
            if shown:
                from_frame = before[-1] if before else after[0]
                v, u = canvas.corners[from_frame]
                out[t, y, x] = frames[from_frame, y - v, x - u]
    return out


def covered(canvas: Canvas) -> NDArray[np.bool_]:
    """Pixels that any frame shows."""
    mask = np.zeros(canvas.shape, bool)
    for y, x in canvas.corners:
        mask[y : y + canvas.size[0], x : x + canvas.size[1]] = True
    return mask


class TestCanvas:
    @given(placed())
    def test_frames_come_back_exactly(self, case: tuple[Canvas, Frames]) -> None:
        canvas, frames = case
        assert np.array_equal(canvas.cut(canvas.place(frames)), frames)

    @given(placed())
    def test_it_is_whole_patches_and_bounded(self, case: tuple[Canvas, Frames]) -> None:
        canvas, _ = case
        (height, width), patch = canvas.size, canvas.patch
        assert canvas.origin[0] % patch == canvas.origin[1] % patch == 0
        assert canvas.rows * canvas.columns <= 1.5 * -(-height // patch) * -(-width // patch)
        corners = np.array(canvas.corners)
        assert corners.min() >= 0
        assert corners.min(0).max() < patch  # no row or column of patches is empty
        spare = np.array(canvas.shape) - corners.max(0) - canvas.size
        assert spare.min() >= 0
        assert spare.max() < patch

    def test_what_a_frame_does_not_show_is_held(self) -> None:
        rng = np.random.default_rng(2)
        for _ in range(5):
            shifts = rng.integers(-2, 3, (6, 2)).astype(np.int16)
            shifts -= shifts[3]
            canvas = Canvas.along(Path(shifts), (36, 29), 8, (3, -5))
            assert canvas is not None
            frames = rng.integers(0, 256, (6, 36, 29, 3), np.uint8)
            mask = covered(canvas)
            assert np.array_equal(canvas.place(frames)[:, mask], slowly(canvas, frames)[:, mask])

    def test_a_still_world_is_constant_over_time(self) -> None:
        shifts = line(0.5, 2)
        canvas = Canvas.along(Path(shifts.astype(np.int16)), (120, 200), 32, (15, 17))
        assert canvas is not None
        picture = canvas.place(pan(shifts))
        mask = covered(canvas)
        assert (picture[:, mask] == picture[:1, mask]).all()

    def test_what_no_frame_shows_repeats_the_edge(self) -> None:
        frames = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3), np.uint8)
        out = Canvas.still((5, 6), 8, 2).place(frames)
        assert np.array_equal(out, np.pad(frames, ((0, 0), (0, 3), (0, 2), (0, 0)), mode="edge"))

    def test_too_large_or_too_far_is_none(self) -> None:
        far = Path(np.array([(0, 0), (0, 0), (0, 150)], np.int16))
        assert Canvas.along(far, (64, 100), 32) is None
        still = Path(np.zeros((3, 2), np.int16))
        assert Canvas.along(still, (64, 96), 32, (0, 32700)) is None
        assert Canvas.along(still, (64, 96), 32, (-32800, 0)) is None
        assert Canvas.along(still, (64, 96), 32, (-32, 64)) is not None

    def test_a_new_world_wastes_nothing(self) -> None:
        canvas = Canvas.along(Path(line(0, 2).astype(np.int16)), (64, 64), 32)
        assert canvas is not None
        assert canvas.origin == (0, 0)
        assert canvas.shape == (64, 96)
        assert min(x for _, x in canvas.corners) == 0

    def test_other_sizes_are_refused(self) -> None:
        canvas = Canvas.still((5, 6), 8, 2)
        with pytest.raises(ValueError, match="expected frames"):
            canvas.place(np.zeros((2, 6, 5, 3), np.uint8))
        with pytest.raises(ValueError, match="expected canvases"):
            canvas.cut(np.zeros((2, 5, 6, 3), np.uint8))


class TestCamera:
    def test_the_world_goes_on_from_clip_to_clip(self) -> None:
        shifts = np.outer(np.arange(48) - 24, (0.5, -2)).astype(np.int64)
        frames = pan(shifts)
        camera = Camera(32)
        canvases = [camera.follow(frames[k : k + 16]) for k in (0, 16, 32)]
        positions = np.concatenate([canvas.positions for canvas in canvases])
        assert np.array_equal(positions - positions[0], shifts[0] - shifts)
        # both canvases show the same where they meet: tubes of the clip before foretell those of this one
        whole = np.zeros((2, 512, 512, 3), np.uint8)
        shown = np.zeros((2, 512, 512), bool)
        for n, (canvas, start, t) in enumerate(((canvases[0], 0, -1), (canvases[1], 16, 0))):
            assert canvas.origin[0] % 32 == canvas.origin[1] % 32 == 0
            assert canvas.origin[1] > canvases[0].origin[1] or n == 0
            y, x = (128 + at for at in canvas.origin)
            height, width = canvas.shape
            whole[n, y : y + height, x : x + width] = canvas.place(frames[start : start + 16])[t]
            shown[n, y : y + height, x : x + width] = covered(canvas)
        both = shown.all(0)
        assert both.sum() > 120 * 150
        assert np.array_equal(whole[0, both], whole[1, both])

    def test_a_cut_between_clips_begins_a_new_world(self) -> None:
        camera = Camera(32)
        camera.follow(pan(line(0, 3)))
        frames = pan(line(0, 3), seed=4)
        assert np.array_equal(camera.follow(frames).positions, Camera(32).follow(frames).positions)

    def test_what_stands_still_is_the_padded_frame(self) -> None:
        frames = pan(line(0, 0), 100, 90)
        camera = Camera(32)
        for _ in range(2):
            canvas = camera.follow(frames)
            assert not canvas.positions.any()
            assert canvas.shape == (128, 96)

    def test_a_wobble_between_still_clips_moves_no_world(self) -> None:
        camera = Camera(32)
        for x in (0, 1, -1):
            assert not camera.follow(pan(line(0, 0) + np.array((0, x)))).positions.any()

    def test_too_far_begins_a_new_world(self) -> None:
        camera = Camera(32)
        frames = pan(line(0, 2))
        camera.follow(frames)
        camera._position = (0, 32700)
        assert np.array_equal(camera.follow(frames).positions, Camera(32).follow(frames).positions)

    def test_clips_may_be_short_and_frames_may_change_size(self) -> None:
        camera = Camera(32)
        for count, height, width in ((16, 96, 96), (3, 96, 96), (1, 96, 96), (4, 40, 70)):
            frames = pan(line(0, 1, count), height, width)
            canvas = camera.follow(frames)
            assert np.array_equal(canvas.cut(canvas.place(frames)), frames)


def test_a_pan_is_worth_it_and_a_wrong_one_is_not() -> None:
    shifts = line(0.5, 2)
    right, wrong = (Canvas.along(Path(s.astype(np.int16)), (120, 200), 32) for s in (shifts, shifts[::-1]))
    assert right is not None
    assert wrong is not None
    assert worth(pan(shifts), right)
    assert not worth(pan(shifts), wrong)
    assert not worth(pan(line(0, 0)), right)

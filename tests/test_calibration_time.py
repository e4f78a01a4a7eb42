"""Calibration within a time, and from steps that a network was trained for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from micro import noise_clip, pipeline_model

from vidtwin_codec.calibration import clock
from vidtwin_codec.calibration.steps import calibrate
from vidtwin_codec.reporter import Reporter


def clips(count: int = 6) -> list[torch.Tensor]:
    config = pipeline_model().config
    return [noise_clip(config, seed=seed) for seed in range(count)]


def test_a_short_time_leaves_clips_out_and_says_so() -> None:
    hurried = calibrate(pipeline_model(), clips(12), seconds=1e-9)
    assert any("calibrated on 8 clips, 4 of them coded" in note for note in hurried.notes)
    assert np.isfinite(hurried.steps.structure).all()


def test_time_enough_gives_what_no_limit_gives() -> None:
    one, other = calibrate(pipeline_model(), clips()), calibrate(pipeline_model(), clips(), seconds=3600.0)
    assert one.notes == other.notes
    assert np.array_equal(one.steps.structure, other.steps.structure)


def test_how_far_it_is_is_told() -> None:
    stages: dict[str, list[int]] = {}

    def started(total: int | None, doing: str) -> None:
        assert total
        stages.pop(doing, None)
        stages[doing] = [total, 0]

    def advanced(count: int) -> None:
        stages[list(stages)[-1]][1] += count

    calibrate(pipeline_model(), clips(), reporter=Reporter(started, advanced))
    assert stages["encoding clips"] == stages["differentiating the decoder"] == [6, 6]
    done, total = stages["trying steps"]
    assert done == total >= 6


def test_a_clock_ends_by_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(clock.time, "monotonic", lambda: float(next(ticks)))
    short = clock.Clock(20.0)
    assert 2 <= len(list(short.within(range(100), 0.5, "counting"))) <= 10
    assert short.late
    assert len(list(short.within(range(100), 0.1, "counting"))) == 1  # never none


def test_trained_steps_take_the_place_of_sigmas() -> None:
    model = pipeline_model()
    config = model.config
    slots, dynamics = (config.qformer.num_queries, config.structure_channels), config.dynamics_channels
    trained = (np.full(slots, 0.5), np.full(dynamics, 0.5), np.full(dynamics, 0.5))
    found = calibrate(model, clips(), trained=trained)
    assert any("training" in note for note in found.notes)
    assert not any("sigma" in note for note in found.notes)

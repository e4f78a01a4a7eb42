"""The network agrees with the released one."""

from __future__ import annotations

import csv
import json
import math

import pytest
import torch
from micro import FIXTURES, MICRO, OUTPUTS, Fixture, run

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwin, VidTwinConfig
from vidtwin_codec.model.upstream import UNUSED, upstream_names


@pytest.mark.parametrize("name", MICRO)
def test_all_six_outputs_agree_with_the_released_code(name: str) -> None:
    fixture = Fixture(name)
    found = run(fixture.model(), fixture.input)
    for output in OUTPUTS:
        reference = fixture.outputs[output]
        assert found[output].shape == reference.shape
        assert (found[output] - reference).abs().max() <= 1e-4 * reference.abs().max(), output


@pytest.mark.parametrize("name", MICRO)
def test_bfloat16_stays_near(name: str) -> None:
    fixture = Fixture(name)
    found = run(fixture.model().to(torch.bfloat16), fixture.input)
    for output in OUTPUTS:
        reference = fixture.outputs[output]
        assert found[output].dtype == torch.float32
        error = (found[output] - reference).square().mean().sqrt() / reference.std()
        assert error < 0.1, output


def base() -> tuple[VidTwinConfig, dict[str, tuple[int, ...]]]:
    config = VidTwinConfig.from_upstream(json.loads((FIXTURES / "vidtwin_base_config.json").read_text()))
    with (FIXTURES / "vidtwin_base_state_dict.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    return config, {row["key"]: tuple(int(size) for size in row["shape"].split("x")) for row in rows}


def test_base_maps_onto_the_released_names_one_to_one() -> None:
    config, shapes = base()
    assert config == VidTwinConfig()
    with torch.device("meta"):
        model = VidTwin(config)
    ours = model.state_dict()
    names = upstream_names(config)
    positions = {f"{side}.pos_embed{kind}" for side in ("encoder", "decoder") for kind in ("", "_temporal")}
    unused = {key for key in shapes if UNUSED.match(key)}
    assert len(shapes) == 587
    assert set(names) | positions | unused == set(shapes)
    assert not set(names) & (positions | unused)
    assert sorted(names.values()) == sorted(ours)
    for theirs, name in names.items():
        assert math.prod(shapes[theirs]) == ours[name].numel(), theirs
    # and the strict loader takes them as they are
    model.load_upstream_state_dict({key: torch.empty(shape, device="meta") for key, shape in shapes.items()})


def test_missing_unexpected_and_misshapen_tensors_are_named() -> None:
    fixture = Fixture("micro_two_blocks")
    model = VidTwin(fixture.config)
    without = {key: tensor for key, tensor in fixture.weights.items() if key != "conv_in.bias"}
    with pytest.raises(VidtwinError, match=r"lack tensor encoder\.structure\.input\.bias"):
        model.load_upstream_state_dict(without)
    with pytest.raises(VidtwinError, match="unexpected tensor surplus"):
        model.load_upstream_state_dict({**fixture.weights, "surplus": torch.zeros(1)})
    with pytest.raises(VidtwinError, match=r"shape \[3\]"):
        model.load_upstream_state_dict({**fixture.weights, "conv_in.bias": torch.zeros(3)})
    with pytest.raises(VidtwinError, match="positions"):
        model.load_upstream_state_dict({**fixture.weights, "encoder.pos_embed": torch.zeros(1, 36, 16)})


def test_losses_are_ignored() -> None:
    fixture = Fixture("micro_two_blocks")
    VidTwin(fixture.config).load_upstream_state_dict({**fixture.weights, "loss.logvar": torch.zeros(())})

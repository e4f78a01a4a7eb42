"""examples/generate: the loss falls, and a sample decodes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeVideo
from latent_samples import LAYOUT, sample_header, write_sample

from vidtwin_codec import DecodeOptions, EncodeOptions, VtwDataset, VtwFile, encode
from vidtwin_codec.media import probe
from vidtwin_codec.model import Latents

sys.path.append(str(Path(__file__).parent.parent / "examples" / "generate"))
from model import FlowTransformer
from sample import find_nearest, generate
from train import Options, flow_loss, set_statistics, train


@pytest.fixture
def folder(tmp_path: Path, make_video: MakeVideo, micro_weights: Path) -> Path:
    found = tmp_path / "set"
    found.mkdir()
    options = EncodeOptions(weights=str(micro_weights), device="cpu", quality=100)
    encode(make_video("a.mp4", size="32x32", frames=12), found / "a.vtw", options)
    return found


def test_training_lowers_the_loss_and_a_sample_decodes(folder: Path, micro_weights: Path, tmp_path: Path) -> None:
    model, losses = train(folder, Options(steps=60, width=32, depth=2, clips=2, minutes=5))
    assert len(losses) == 60
    # an untrained model says 0, whose error is the variance of the data
    assert np.mean(losses[:5]) == pytest.approx(1, rel=0.2)
    assert np.mean(losses[-10:]) < 0.85 * np.mean(losses[:5])
    with VtwFile(folder / "a.vtw") as file:
        digest = file.header.weights_sha256
    model.save(tmp_path / "flow.safetensors", {"weights_sha256": digest})
    decoding = DecodeOptions(weights=str(micro_weights), device="cpu")
    likenesses = generate(
        tmp_path / "flow.safetensors",
        folder / "a.vtw",
        tmp_path / "b.mp4",
        count=2,
        steps=4,
        decoding=decoding,
        compared=folder,
    )
    assert [(file, 0 <= clip < 3) for _, file, clip in likenesses] == [("a.vtw", True)] * 4
    made = probe(tmp_path / "b.mp4")
    assert (made.frames, made.width, made.height) == (2 * 2 * 4, 32, 32)


def test_statistics_make_latents_normal(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.vtw", (4,), header=sample_header(3))
    dataset = VtwDataset(tmp_path, random=False)
    model = FlowTransformer(LAYOUT, 1, 32, 1)
    set_statistics(model, dataset)
    samples = [dataset[number] for number in range(len(dataset))]
    latents = Latents(*(torch.stack([sample[name] for sample in samples]) for name in Latents._fields))
    normal = model.normalized(latents)
    for part in normal:
        axes = (0, 1, 3, 4)
        assert part.mean(axes).abs().max() < 1e-4
        assert torch.allclose(part.square().mean(axes), torch.ones(()), atol=1e-3)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(model.restored(normal), latents, strict=True))


def test_tokens_and_back_and_saving(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FlowTransformer(LAYOUT, 2, 32, 1)
    latents = Latents(*(torch.randn(3, 2, *shape) for shape in LAYOUT.shapes()))
    split = model._split(latents)
    assert [part.shape[2] for part in split] == list(model.counts)
    assert all(torch.equal(a, b) for a, b in zip(model._join(list(split)), latents, strict=True))
    for head in model.heads:
        torch.nn.init.normal_(head.weight)
    model.save(tmp_path / "a.safetensors", {"weights_sha256": "ab"})
    again, about = FlowTransformer.load(tmp_path / "a.safetensors")
    assert about["weights_sha256"] == "ab"
    time = torch.rand(3)
    assert all(torch.equal(a, b) for a, b in zip(model(latents, time), again(latents, time), strict=True))


def test_sampling_arrives_where_the_model_points() -> None:
    model = FlowTransformer(LAYOUT, 1, 32, 1)
    target = Latents(*(torch.full((1, 1, *shape), 0.7) for shape in LAYOUT.shapes()))
    seen = []

    def straight(latents: Latents, time: torch.Tensor) -> Latents:
        seen.append(float(((latents.structure - 0.7) / (1 - time[0])).std()))
        return Latents(*(goal.expand_as(part) for part, goal in zip(latents, target, strict=True)))

    model.forward = straight  # type: ignore[method-assign]
    found = model.sample(2, steps=7)
    assert all(torch.allclose(part, torch.full_like(part, 0.7), atol=1e-4) for part in found)
    # on a straight line from the noise, at the pace of the times it tells
    assert seen == pytest.approx([seen[0]] * 7, rel=1e-3)


def test_the_nearest_clip_is_found(folder: Path, micro_weights: Path) -> None:
    decoding = DecodeOptions(weights=str(micro_weights), device="cpu")
    found = list(find_nearest(folder / "a.vtw", folder, decoding))
    assert [(file, clip) for _, file, clip in found] == [("a.vtw", 0), ("a.vtw", 1), ("a.vtw", 2)]
    assert all(psnr > 50 for psnr, _, _ in found)


def test_the_loss_of_a_model_that_knows_is_nothing() -> None:
    model = FlowTransformer(LAYOUT, 1, 32, 1)
    data = Latents(*(torch.randn(3, 1, *shape) for shape in LAYOUT.shapes()))
    assert flow_loss(model, data).item() == pytest.approx(1, abs=0.3)  # it begins with zeros
    model.forward = lambda latents, time: data  # type: ignore[method-assign]
    assert flow_loss(model, data).item() == 0

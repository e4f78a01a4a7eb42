"""The post-filter of decoded frames: what it computes, what it leaves alone, and how it is trained and shared."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from micro import noise_clip, window_config, window_model, write_weights
from torch import Tensor, nn
from torch.nn import functional
from training_runs import array_folder, micro_options

from vidtwin_codec import DecodeOptions, EncodeOptions, VidtwinError, VtwDataset, VtwFile, decode_frames, encode
from vidtwin_codec.cli.main import cli
from vidtwin_codec.coding import Steps
from vidtwin_codec.coding.effort import DEFAULT_EFFORT, step_factor
from vidtwin_codec.container import VtwReader
from vidtwin_codec.evaluation.measure.paper import Network
from vidtwin_codec.media import FrameReader, probe
from vidtwin_codec.model import Latents, PostFilterConfig, VidTwin, VidTwinConfig, open_checkpoint
from vidtwin_codec.model.idle import settle
from vidtwin_codec.model.postfilter import PostFilter, rectify
from vidtwin_codec.network.runner import Showing
from vidtwin_codec.options import NetworkOptions
from vidtwin_codec.training import train
from vidtwin_codec.training.coded import Coded
from vidtwin_codec.training.report import read_log
from vidtwin_codec.weights import find_decoder, read_metadata, resolve
from vidtwin_codec.weights.store import file_digest

CONFIG = PostFilterConfig(square=2, channels=6, depth=3)


def filtering_model(**changes: Any) -> VidTwin:
    """A network of whole frames with a filter of random numbers."""
    model = window_model(postfilter=dataclasses.replace(CONFIG, **changes), lapping=2)
    assert model.decoder is not None
    assert model.decoder.postfilter is not None
    for parameter in model.decoder.postfilter.parameters():
        parameter.copy_(torch.randn(parameter.shape) * 0.2)
    return model


def without(model: VidTwin) -> VidTwin:
    """The same network without its filter."""
    plain = VidTwin(dataclasses.replace(model.config, postfilter=None)).eval().requires_grad_(False)
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if "postfilter" not in name})
    return plain


def some_latents(model: VidTwin, count: int = 1) -> Latents:
    return model.encode(noise_clip(model.config, count))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_negative_becomes_zero(dtype: torch.dtype) -> None:
    ends = [0.0, -0.0, 1e-40, -1e-40, float("inf"), -float("inf")]
    values = torch.cat([torch.randn(1000), torch.tensor(ends)]).to(dtype)
    expected = functional.relu(values)
    assert torch.equal(rectify(values.clone()), expected)
    learned = values.clone().requires_grad_()
    rectify(learned * 1).sum().backward()
    assert learned.grad is not None
    assert torch.equal(learned.grad, (values > 0).to(dtype))


def test_a_new_filter_adds_nothing_and_costs_nothing() -> None:
    model = window_model(postfilter=CONFIG)
    latents = some_latents(model)
    assert torch.equal(model.decode(latents, coarseness=1.0), without(model).decode(latents))
    settle(model)
    assert model.decoder is not None
    assert model.decoder.postfilter is not None
    assert model.decoder.postfilter.idle
    settle(trained := filtering_model())
    assert trained.decoder is not None
    assert trained.decoder.postfilter is not None
    assert not trained.decoder.postfilter.idle


def test_the_filter_is_plain_convolutions_of_unshuffled_pixels() -> None:
    torch.manual_seed(3)
    layers = PostFilter(CONFIG)
    for parameter in layers.parameters():
        nn.init.normal_(parameter, std=0.2)
    frames = torch.rand(2, 3, 8, 12, 3) * 2 - 1

    def plainly(frame: Tensor) -> Tensor:
        """torch's own order of a square's pixels has the colours first."""
        order = torch.arange(12).view(2, 2, 3).permute(2, 0, 1).flatten()  # ours, by torch's
        images = functional.pixel_unshuffle(frame.permute(2, 0, 1)[None], 2)[:, order.argsort()]
        for number, layer in enumerate(layers.layers):
            assert isinstance(layer, nn.Conv2d)
            images = functional.conv2d(images if not number else images.relu(), layer.weight, layer.bias, padding=1)
        return frame + functional.pixel_shuffle(images[:, order], 2)[0].permute(1, 2, 0)

    found = layers(frames.clone())
    assert found.shape == frames.shape
    for one, other in zip(frames.flatten(0, 1), found.flatten(0, 1), strict=True):
        assert torch.allclose(plainly(one), other, atol=1e-5)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_frames_are_filtered_one_by_one_with_the_same_bits(precision: torch.dtype) -> None:
    model = filtering_model()
    settle(model)
    latents = some_latents(model, 4)

    def levels_by(count: int) -> Tensor:
        pieces = zip(*(torch.split(part, count) for part in latents), strict=True)
        return torch.cat([model.decode_levels(Latents(*piece), coarseness=1.0) for piece in pieces])

    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        levels = [levels_by(count) for count in (1, 2, 4)]
        clip = model.decode(latents, coarseness=1.0)
        assert model.decoder is not None
        whole, part = (model.decoder.unfiltered(latents, every=step) for step in (1, 3))
    assert torch.equal(levels[0], levels[1])
    assert torch.equal(levels[0], levels[2])
    shown = clip.permute(0, 2, 3, 4, 1).add(1).mul(127.5).round().clamp(0, 255)
    assert (shown - levels[0]).abs().max() <= 1
    assert torch.equal(part, whole[:, ::3])
    assert not torch.equal(clip, without(model).decode(latents))


def test_branches_alone_and_other_choices_go_without() -> None:
    model = filtering_model()
    plain, latents = without(model), some_latents(model)
    for only in ("structure", "dynamics"):
        assert torch.equal(model.decode(latents, only=only, coarseness=1.0), plain.decode(latents, only=only))
        shown = model.decode_levels(latents, only=only, coarseness=1.0)
        assert torch.equal(shown, plain.decode_levels(latents, only=only))
    assert torch.equal(model.decode(latents), plain.decode(latents))  # nothing was quantised
    model.leave_out_postfilter()
    assert torch.equal(model.decode(latents, coarseness=1.0), plain.decode(latents))
    assert torch.equal(model.decode_levels(latents, coarseness=1.0), plain.decode_levels(latents))


def test_the_configuration_is_kept_and_checked() -> None:
    config = window_config(postfilter=CONFIG)
    assert VidTwinConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert "postfilter" not in window_config().to_dict()
    for wrong in (
        *({"square": 3}, {"square": 0}, {"depth": 1}, {"depth": 300}, {"channels": 0}, {"channels": 5000}),
        *({"channels": 2.5}, {"sides": 2}, {"finest": -0.1}, {"finest": 2}, {"finest": "all"}, {"finest": True}),
        *({"by_steps": 1}, {"by_steps": "yes"}),
    ):
        values = {**config.to_dict(), "postfilter": {**dataclasses.asdict(CONFIG), **wrong}}
        with pytest.raises(VidtwinError, match="weights configuration"):
            VidTwinConfig.from_dict(values)
    for kind in (None, 3, [2, 16, 4]):
        with pytest.raises(VidtwinError, match="weights configuration"):
            VidTwinConfig.from_dict({**config.to_dict(), "postfilter": kind})


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "filtering.safetensors", filtering_model(), 0.4)


def shown(path: Path, **choices: Any) -> np.ndarray:
    return np.concatenate(list(decode_frames(path, DecodeOptions(device="cpu", precision="float32", **choices))))


def test_decoding_filters_unless_told_otherwise(weights: Path, make_video: Any, tmp_path: Path) -> None:
    packed = tmp_path / "a.vtw"
    encode(make_video("a.mp4"), packed, EncodeOptions(weights=str(weights), device="cpu"))
    filtered, plain = (shown(packed, weights=str(weights), postfilter=on) for on in (True, False))
    assert filtered.shape == plain.shape
    assert not np.array_equal(filtered, plain)
    arguments = ["decode", "--weights", str(weights), "--device", "cpu", "--format", "rgb", str(packed)]
    found = []
    for number, choice in enumerate(([], ["--no-postfilter"])):
        result = CliRunner().invoke(cli, [*arguments, *choice, str(tmp_path / f"{number}.rgb")])
        assert result.exit_code == 0, result.output
        found.append((tmp_path / f"{number}.rgb").read_bytes())
    assert found == [filtered.tobytes(), plain.tobytes()]


def test_the_codec_says_how_coarse_latents_are(weights: Path, make_video: Any, tmp_path: Path) -> None:
    entry = resolve(weights)
    base = entry.metadata.steps
    assert base is not None
    assert [Showing.of(base.scaled(share), entry).coarseness for share in (0.25, 1, 8)] == [0.25, 1, 8]
    assert Showing.of(None, entry).coarseness == 0
    others = Steps(np.full((3, 7), 9.0), np.ones(1), np.ones(1))  # of a file that only pretends to be of these weights
    assert Showing.of(others, entry).coarseness > 1
    video = make_video("a.mp4")
    for quality, same in ((90, True), (70, False)):  # on either side of CONFIG.finest
        encode(
            video, tmp_path / "a.vtw", EncodeOptions(weights=str(weights), device="cpu", quality=quality, force=True)
        )
        filtered, plain = (shown(tmp_path / "a.vtw", weights=str(weights), postfilter=on) for on in (True, False))
        assert np.array_equal(filtered, plain) == same
    network, without_filter = (
        Network(NetworkOptions(weights=str(weights), device="cpu", postfilter=on)) for on in (True, False)
    )
    arrays = network.encode(
        np.concatenate(list(decode_frames(tmp_path / "a.vtw", DecodeOptions(weights=str(weights)))))[None, :4, :32, :32]
    )
    plain = without_filter.decode(arrays, base)
    assert np.array_equal(network.decode(arrays), plain)
    assert not np.array_equal(network.decode(arrays, base), plain)
    assert np.array_equal(network.decode(arrays, base.scaled(0.1)), plain)


def test_a_filter_that_goes_by_steps_tells_them_apart() -> None:
    model = filtering_model(by_steps=True, finest=0.05)
    assert model.decoder is not None
    settle(model)
    latents = some_latents(model, 4)
    coarse = (0.0625, 1.0, 3.0, 16.0)
    each = [model.decode(latents.map(lambda part, n=n: part[n : n + 1]), coarseness=c) for n, c in enumerate(coarse)]
    assert torch.allclose(torch.cat(each), model.decode(latents, coarseness=torch.tensor(coarse)), atol=1e-5)
    one = latents.map(lambda part: part[:1])
    shown = [model.decode(one, coarseness=c) for c in (*coarse, 100.0)]
    assert not any(torch.equal(a, b) for a, b in pairwise(shown[:4]))
    assert torch.equal(shown[3], shown[4])  # beyond its scale
    assert torch.equal(model.decode(one, coarseness=0.04), without(model).decode(one))
    levels = model.decode_levels(one, coarseness=3.0).permute(0, 4, 1, 2, 3)
    assert (shown[2].add(1).mul(127.5).round().clamp(0, 255) - levels).abs().max() <= 1
    for parameter in model.decoder.postfilter.layers[-1].parameters():  # type: ignore[union-attr]
        parameter.zero_()
    settle(model)
    assert not model.decoder.postfilter.idle  # type: ignore[union-attr]


def test_training_sees_what_the_codec_leaves(window_weights: Path, make_video: Any, tmp_path: Path) -> None:
    model = open_checkpoint(window_weights).load()
    config, steps = model.config, read_metadata(window_weights).steps
    assert steps is not None
    video = make_video("a.mp4", size=f"{config.width}x{config.height}", frames=config.frames)
    with FrameReader(probe(video)) as reader:
        means = model.encode_levels(torch.from_numpy(reader.read(config.frames))[None])
    coded = Coded(config, (steps.structure, steps.dynamics_x, steps.dynamics_y))
    two = coded(Latents.concatenate([means, means]), torch.tensor([step_factor(q, DEFAULT_EFFORT) for q in (40, 70)]))
    for number, quality in enumerate((40, 70)):
        options = EncodeOptions(weights=str(window_weights), device="cpu", quality=quality, camera=False, force=True)
        encode(video, tmp_path / "a.vtw", options)
        with VtwFile(tmp_path / "a.vtw") as file:
            stored = file[:].numpy()
        for ours, theirs in zip(two, stored, strict=True):
            assert np.array_equal(ours[number].numpy(), theirs[0, 0])
    with pytest.raises(VidtwinError, match="needs quantisation steps"):
        micro_options(tmp_path, noise="coded")
    with pytest.raises(VidtwinError, match="stands behind latents"):
        micro_options(tmp_path, noise="coded", objective="rate")


@pytest.mark.parametrize(("noise", "precision"), [("rounding", "float32"), ("coded", "bfloat16")])
def test_a_filter_is_trained_for_weights_and_serves_their_files(
    tmp_path: Path, make_video: Any, monkeypatch: pytest.MonkeyPatch, noise: str, precision: str
) -> None:
    start = write_weights(tmp_path / "start.safetensors", window_model(linear=True), 0.4)
    array_folder(tmp_path / "data", 4)
    options = micro_options(
        tmp_path, init=str(start), train="postfilter", steps=60, lr=1e-2, eval_every=30, held_out=0.25,
        objective="rate", noise=noise, precision=precision, storage="float32", loss="psnr", ema=0.9,
    )  # fmt: skip
    train(options)
    measured = [record["psnr"] for record in read_log(options.folder / "log.jsonl") if "psnr" in record]
    assert measured[-1] > measured[0] + 0.5
    before, after = (open_checkpoint(path).load().state_dict() for path in (start, options.output))
    assert {name for name in after if name not in before} == {name for name in after if "postfilter" in name}
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert read_metadata(options.output).decodes == (file_digest(start),)

    packed = tmp_path / "a.vtw"
    encode(make_video("a.mp4"), packed, EncodeOptions(weights=str(start), device="cpu"))
    plain = shown(packed, weights=str(start))
    better = shown(packed, weights=str(options.output))
    assert not np.array_equal(plain, better)
    assert np.array_equal(plain, shown(packed, weights=str(options.output), postfilter=False))
    # from the user's weights, without the ones that the file names
    monkeypatch.setenv("VIDTWIN_CACHE", str(tmp_path / "home"))
    with VtwReader(packed) as reader:
        digest = reader.header.weights_sha256
    assert find_decoder(digest) is None
    encode(tmp_path / "a.mp4", tmp_path / "b.vtw", EncodeOptions(weights=str(options.output), device="cpu"))
    with pytest.raises(VidtwinError, match="was made with weights"):
        VtwDataset([packed, tmp_path / "b.vtw"])
    kept = tmp_path / "home" / "weights" / f"w-{file_digest(options.output)[:12]}.safetensors"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(options.output.read_bytes())
    assert np.array_equal(shown(packed), better)
    # and their latents go together with those of the weights that were bettered
    assert len(VtwDataset([packed, tmp_path / "b.vtw"])) == 4

    again = micro_options(tmp_path, init=str(options.output), train="decoder", steps=1, force=True, held_out=0)
    train(dataclasses.replace(again, output=tmp_path / "more.safetensors"))
    assert read_metadata(tmp_path / "more.safetensors").decodes == (file_digest(options.output), file_digest(start))


def test_a_filter_needs_weights_to_filter_for(tmp_path: Path) -> None:
    with pytest.raises(VidtwinError, match="betters the pictures"):
        micro_options(tmp_path, train="postfilter")
    path = write_weights(tmp_path / "a.safetensors", window_model(), 0.4)
    path.write_bytes(path.read_bytes().replace(b'"origin":"random numbers"', b'"decodes":"random number"'))
    with pytest.raises(VidtwinError, match="decodes in its metadata"):
        read_metadata(path)

"""What the network makes of a clip does not depend on which clips go through it with it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from micro import micro_config, noise_clip, window_config
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vidtwin_codec.model import (
    Latents,
    QFormerConfig,
    TransformerConfig,
    VidTwin,
    VidTwinConfig,
    layers,
    load_checkpoint,
)
from vidtwin_codec.model.layers import Linear, attend
from vidtwin_codec.training.network import PRESET_CONFIGS
from vidtwin_codec.weights import resolve

SMALL = PRESET_CONFIGS["small"]
SHALLOW = {
    "small": dataclasses.replace(SMALL, decoder=dataclasses.replace(SMALL.decoder, depth=2)),
    "released, narrow": VidTwinConfig(
        height=112,
        width=112,
        encoder=TransformerConfig(128, 1, 2),
        decoder=TransformerConfig(128, 1, 2),
        qformer=QFormerConfig(16, 64, 2, 96, 4),
        structure_width=32,
    ),
}


def network(config: VidTwinConfig) -> VidTwin:
    torch.manual_seed(0)
    return VidTwin(config).eval().requires_grad_(False)


def piecewise(model: VidTwin, frames: Tensor, size: int, *, levels: bool) -> list[Tensor]:
    """Latents and pixels of ``frames``, ``size`` clips a call."""
    encode, decode = (model.encode_levels, model.decode_levels) if levels else (model.encode, model.decode)
    latents = [encode(piece) for piece in frames.split(size)]
    pixels = [decode(piece) for piece in latents]
    return [torch.cat(column) for column in (*zip(*latents, strict=True), pixels)]


@torch.inference_mode()
def assert_batches_agree(model: VidTwin, frames: Tensor, *, bfloat16: bool, levels: bool) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        whole = piecewise(model, frames, len(frames), levels=levels)
        for size in (1, 2):
            found = piecewise(model, frames, size, levels=levels)
            assert [torch.equal(a, b) for a, b in zip(whole, found, strict=True)] == [True] * 4


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("name", SHALLOW)
def test_batches_of_one_two_and_four_give_the_same_bits(name: str, bfloat16: bool) -> None:
    model = network(SHALLOW[name])
    assert_batches_agree(model, noise_clip(model.config, 4), bfloat16=bfloat16, levels=False)


def test_so_do_batches_of_the_embedded_network() -> None:
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 256, (4, 16, 96, 160, 3), generator=generator, dtype=torch.uint8)
    assert_batches_agree(load_checkpoint(resolve(None).path), levels, bfloat16=False, levels=True)


def test_a_linear_map_of_transposed_rows_is_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Tensor] = []
    real = functional.linear

    def noted(x: Tensor, *rest: Tensor) -> Tensor:
        given.append(x)
        return real(x, *rest)

    monkeypatch.setattr(functional, "linear", noted)
    layer = Linear(6, 5)
    x = torch.randn(3, 4, 6)
    turned = layer(x.transpose(0, 1))
    assert [(part.ndim, part.is_contiguous()) for part in given] == [(2, True)]
    assert torch.equal(turned, layer(x).transpose(0, 1))


def test_the_queries_of_a_qformer_are_projected_once() -> None:
    model = network(micro_config())
    assert model.encoder is not None
    assert model.encoder.structure.qformer is not None
    rows: list[int] = []
    layer = model.encoder.structure.qformer.layers[0].cross_attention
    layer.query.register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    model.encode(noise_clip(model.config, 2))
    assert rows == [1]


@pytest.mark.parametrize("causal", [False, True])
def test_more_sequences_than_a_grid_is_long_are_parted(causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [torch.randn(7, 2, 5, 4) for _ in range(3)]
    whole = attend(*parts, causal=causal)
    sizes: list[int] = []
    real = functional.scaled_dot_product_attention

    def noted(query: Tensor, *rest: Tensor, is_causal: bool) -> Tensor:
        sizes.append(len(query))
        return real(query, *rest, is_causal=is_causal)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", noted)
    monkeypatch.setattr(layers, "MOST_SEQUENCES", 3)
    assert torch.equal(attend(*parts, causal=causal), whole)
    assert sizes == [3, 3, 1]


def test_permuted_views_are_made_contiguous_where_kernels_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    real = functional.scaled_dot_product_attention

    def noted(*parts: Tensor, is_causal: bool) -> Tensor:
        seen.append(all(part.is_contiguous() for part in parts))
        return real(*parts, is_causal=is_causal)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", noted)
    parts = Latents(*(torch.randn(2, 5, 3, 4).transpose(1, 2) for _ in range(3)))
    plain = attend(*parts)
    assert {"mps"} == layers.CONTIGUOUS_ON
    monkeypatch.setattr(layers, "CONTIGUOUS_ON", {"cpu"})
    assert torch.equal(attend(*parts), plain)
    assert seen == [False, True]


@pytest.mark.parametrize("config", [*SHALLOW.values(), window_config(lapping=2), window_config(linear=True)])
@torch.inference_mode()
def test_weights_held_in_bfloat16_give_the_same_bits(config: VidTwinConfig) -> None:
    model = network(config)
    before = sum(parameter.nbytes for parameter in model.parameters())
    frames = torch.randint(0, 256, (1, config.frames, config.height, config.width, 3), dtype=torch.uint8)
    found = []
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            found.append(
                piecewise(model, frames, 1, levels=True) + piecewise(model, noise_clip(config), 1, levels=False)
            )
        model.hold_in_bfloat16()
    assert [torch.equal(a, b) for a, b in zip(*found, strict=True)] == [True] * 8
    after = sum(parameter.nbytes for parameter in model.parameters())
    assert (after == before) if config.linear else (after < 0.9 * before)


class NoFloat64(TorchDispatchMode):
    """Refuses results that some devices cannot hold."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        assert all(not isinstance(part, Tensor) or part.dtype != torch.float64 for part in tree_leaves(out)), func
        return out


@pytest.mark.parametrize("config", [micro_config(), window_config(lapping=2)], ids=["tiles", "windows"])
@torch.inference_mode()
def test_the_network_keeps_to_its_device_and_to_what_devices_have(config: VidTwinConfig) -> None:
    for device in ("cpu", "meta"):  # what lies elsewhere cannot be mixed with the latter
        model = network(config).to(device)
        frames = torch.zeros(2, config.frames, config.height, config.width, 3, dtype=torch.uint8, device=device)
        clip = noise_clip(config, 2).to(device)
        with NoFloat64():
            pixels = model.decode(model.encode(clip), only="structure")
            levels = model.decode_levels(model.encode_levels(frames))
        assert (pixels.device.type, levels.device.type) == (device, device)
        assert (pixels.shape, levels.shape) == (clip.shape, frames.shape)
    with pytest.raises(AssertionError), NoFloat64():
        torch.zeros(1).double()

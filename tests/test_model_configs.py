"""Any legal configuration works, and causality and halves are what the configuration says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from micro import assert_same, latents_close, micro_config, micro_model, noise_clip, released_params, released_state

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import QFormerConfig, TransformerConfig, VidTwin, VidTwinConfig


def side(**changes: Any) -> TransformerConfig:
    return TransformerConfig(**{"hidden_size": 16, "depth": 1, "num_heads": 2, **changes})


LEGAL: dict[str, dict[str, Any]] = {
    "defaults": {},
    "patch 16": {"patch_size": 16},
    "patch 4": {"patch_size": 4},
    "depths differ": {"encoder": side(depth=2), "decoder": side(depth=3, num_heads=4)},
    "no structure blocks": {"structure_blocks": 0},
    "two structure blocks": {"structure_blocks": 2},
    "no dynamics downsampling": {"dynamics_blocks": 0},
    "two dynamics blocks": {"dynamics_blocks": 2},
    "neither": {"structure_blocks": 0, "dynamics_blocks": 0, "encoder": side(causal=False)},
    "one frame": {"frames": 1},
    "nine frames": {"frames": 9},
    "odd grid": {"height": 40, "width": 40},
    "odd grid, two blocks": {"height": 56, "width": 56, "structure_blocks": 2, "dynamics_blocks": 2},
    "not square": {"height": 24, "width": 56, "dynamics_blocks": 0},
    "one patch": {"height": 8, "width": 8},
    "one query layer": {"qformer": QFormerConfig(5, 8, 1, 16, 4)},
    "d_S 4, d_D 1": {"structure_channels": 4, "dynamics_channels": 1},
}


@pytest.mark.parametrize("changes", LEGAL.values(), ids=LEGAL.keys())
def test_legal_configurations_encode_and_decode(changes: dict[str, Any]) -> None:
    model = micro_model(**changes)
    config = model.config
    with torch.inference_mode():
        latents = model.encode(noise_clip(config, batch=2))
        assert tuple(latents.structure.shape) == (2, *config.structure_shape)
        assert tuple(latents.dynamics_x.shape) == (2, *config.dynamics_x_shape)
        assert tuple(latents.dynamics_y.shape) == (2, *config.dynamics_y_shape)
        clip = model.decode(latents)
    assert tuple(clip.shape) == (2, 3, config.frames, config.height, config.width)
    assert torch.isfinite(clip).all()
    assert VidTwinConfig.from_dict(config.to_dict()) == config
    assert VidTwinConfig.from_upstream(released_params(config)) == config
    again = VidTwin(config)
    again.load_upstream_state_dict(released_state(model))
    assert_same(model, again)


@pytest.mark.parametrize(
    "changes",
    [
        {"patch_size": 7},
        {"encoder": side(num_heads=3)},
        {"encoder": side(hidden_size=18, num_heads=1)},
        {"frames": 0},
        {"structure_channels": 0},
        {"height": 24, "width": 56},
        {"frames": "16"},
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(VidtwinError, match="weights configuration"):
        micro_config(**changes)


@pytest.mark.parametrize("causal", [True, False])
def test_encoder_is_causal_exactly_when_configured(causal: bool) -> None:
    model = micro_model(encoder=side(causal=causal, depth=2))
    assert model.encoder is not None
    clip = noise_clip(model.config)
    changed = clip.clone()
    changed[:, :, 2:] = -changed[:, :, 2:]
    maps = []
    with torch.inference_mode():
        hook = model.encoder.transformer.register_forward_hook(lambda module, args, output: maps.append(output))
        model.encode(clip)
        model.encode(changed)
        hook.remove()
    before, after = ((maps[0] - maps[1])[:, frames].abs().max() for frames in (slice(0, 2), slice(2, 4)))
    assert after > 1e-3
    assert before == 0 if causal else before > 1e-6


@pytest.mark.parametrize("causal", [True, False])
def test_decoder_is_causal_exactly_when_configured(causal: bool) -> None:
    model = micro_model(decoder=side(causal=causal, depth=2), dynamics_blocks=0)
    with torch.inference_mode():
        latents = model.encode(noise_clip(model.config))
        changed = latents._replace(dynamics_x=latents.dynamics_x.clone())
        changed.dynamics_x[:, :, 2:] += 3
        change = (model.decode(latents) - model.decode(changed)).abs().amax(dim=(0, 1, 3, 4))
    assert change[2:].max() > 1e-4
    assert change[:2].max() == 0 if causal else change[:2].max() > 1e-7


def test_a_batch_gives_what_its_clips_give_one_by_one() -> None:
    model = micro_model()
    clips = noise_clip(model.config, batch=3)
    with torch.inference_mode():
        together = model.encode(clips)
        decoded = model.decode(together)
        for number in range(3):
            alone = model.encode(clips[number : number + 1])
            assert latents_close(alone, type(alone)(*(part[number : number + 1] for part in together)))
            assert torch.allclose(model.decode(alone), decoded[number : number + 1], atol=1e-5)


def test_halves_work_alone() -> None:
    model = micro_model()
    encoder = VidTwin(model.config, parts=("encoder",)).eval().requires_grad_(False)
    decoder = VidTwin(model.config, parts=("decoder",)).eval().requires_grad_(False)
    encoder.load_tensors(model.state_dict())
    decoder.load_upstream_state_dict(released_state(model))
    clip = noise_clip(model.config)
    with torch.inference_mode():
        latents = encoder.encode(clip)
        assert torch.equal(decoder.decode(latents), model.decode(model.encode(clip)))
    with pytest.raises(ValueError, match="without its decoder"):
        encoder.decode(latents)
    with pytest.raises(ValueError, match="without its encoder"):
        decoder.encode(clip)


def test_a_clip_of_another_size_is_refused() -> None:
    model = micro_model()
    with pytest.raises(ValueError, match="these weights take clips"):
        model.encode(torch.zeros(1, 3, 4, 32, 40))


def test_log_variance_is_clamped() -> None:
    model = micro_model()
    assert model.encoder is not None
    model.encoder.structure.head.bias[2:] = 1e4
    with torch.inference_mode():
        assert model.posterior(noise_clip(model.config)).log_variance.structure.max() == 20

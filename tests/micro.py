"""Micro-sized networks and their checkpoints, shared by the tests of the model and of the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from vidtwin_codec.coding import Steps
from vidtwin_codec.model import Latents, QFormerConfig, TransformerConfig, VidTwin, VidTwinConfig
from vidtwin_codec.model.checkpoint import save_checkpoint
from vidtwin_codec.model.transformer import sine_cosine, spatial_positions
from vidtwin_codec.model.upstream import upstream_names

# networks this small only lose by threads, and lose most on a busy machine, where threads wait for each other
torch.set_num_threads(1)

FIXTURES = Path(__file__).parent / "fixtures"
MICRO = ("micro_one_block", "micro_two_blocks")
OUTPUTS = ("structure", "dynamics_x", "dynamics_y", "reconstruction", "structure_only", "dynamics_only")


class Fixture:
    """A parity fixture: released names, an input, and what the released code made of it."""

    def __init__(self, name: str) -> None:
        with safe_open(FIXTURES / f"{name}.safetensors", framework="pt") as file:
            self.params: dict[str, Any] = json.loads(file.metadata()["config"])
            self.weights = {key[8:]: file.get_tensor(key) for key in file.keys() if key.startswith("weights/")}  # noqa: SIM118
            self.input: Tensor = file.get_tensor("input")
            self.outputs = {key: file.get_tensor(f"output/{key}") for key in OUTPUTS}
        self.config = VidTwinConfig.from_upstream(self.params)

    def model(self) -> VidTwin:
        model = VidTwin(self.config).eval()
        model.load_upstream_state_dict(self.weights)
        return model


@torch.inference_mode()
def run(model: VidTwin, clip: Tensor) -> dict[str, Tensor]:
    """All six outputs."""
    latents = model.encode(clip)
    return {
        **latents._asdict(),
        "reconstruction": model.decode(latents),
        "structure_only": model.decode(latents, only="structure"),
        "dynamics_only": model.decode(latents, only="dynamics"),
    }


def micro_config(**changes: Any) -> VidTwinConfig:
    """The smallest network worth having; ``changes`` replace fields."""
    side = TransformerConfig(hidden_size=16, depth=1, num_heads=2)
    values: dict[str, Any] = {
        "frames": 4,
        "height": 32,
        "width": 32,
        "patch_size": 8,
        "encoder": side,
        "decoder": side,
        "qformer": QFormerConfig(num_queries=3, hidden_size=8, num_layers=2, intermediate_size=12, num_heads=2),
        "structure_channels": 2,
        "dynamics_channels": 3,
        "structure_width": 4,
    }
    return VidTwinConfig(**{**values, **changes})


def micro_model(seed: int = 0, **changes: Any) -> VidTwin:
    """A network of random weights, the same every time."""
    torch.manual_seed(seed)
    return VidTwin(micro_config(**changes)).eval().requires_grad_(False)


def noise_clip(config: VidTwinConfig, batch: int = 1, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, config.frames, config.height, config.width, generator=generator) * 2 - 1


def released_state(model: VidTwin) -> dict[str, Tensor]:
    """The network's tensors under the released names and shapes, as an upstream checkpoint holds them."""
    config, ours = model.config, model.state_dict()
    state = {theirs: ours[name].clone() for theirs, name in upstream_names(config).items()}
    patch = config.patch_size
    embedding = state["encoder.x_embedder.proj.weight"]
    state["encoder.x_embedder.proj.weight"] = (
        embedding.view(-1, patch, patch, 3).permute(0, 3, 1, 2)[:, :, None].contiguous()
    )
    state["cont_emb.2.weight"] = state["cont_emb.2.weight"][..., None]
    for side, part in (("encoder", config.encoder), ("decoder", config.decoder)):
        state[f"{side}.pos_embed"] = spatial_positions(part.hidden_size, *config.grid)[None]
        state[f"{side}.pos_embed_temporal"] = sine_cosine(part.hidden_size, config.frames)[None]
    # what the released code builds without using it
    state["encoder.final_layer.linear.weight"] = torch.zeros(3, config.encoder.hidden_size)
    state["decoder.x_embedder.proj.bias"] = torch.zeros(config.decoder.hidden_size)
    state["loss.discriminator.weight"] = torch.zeros(5)
    return state


def released_params(config: VidTwinConfig) -> dict[str, Any]:
    """``model.params`` of the released YAML for ``config``."""

    def side(part: TransformerConfig) -> dict[str, Any]:
        return {
            "params": {
                "input_size": [config.frames, config.height, config.width],
                "patch_size": [1, config.patch_size, config.patch_size],
                "hidden_size": part.hidden_size,
                "depth": part.depth,
                "num_heads": part.num_heads,
                "temporal_casual": part.causal,
            }
        }

    qformer = {
        "num_query_tokens": config.qformer.num_queries,
        "query_hidden_size": config.qformer.hidden_size,
        "encoder_hidden_size": config.encoder.hidden_size,
        "num_hidden_layers": config.qformer.num_layers,
        "intermediate_size": config.qformer.intermediate_size,
        "num_attention_heads": config.qformer.num_heads,
    }
    return {
        "expect_ch": config.structure_channels,
        "d_dim": config.dynamics_channels,
        "cont_num_blocks": config.structure_blocks,
        "downsample_motion": config.dynamics_blocks > 0,
        "motion_num_blocks": max(1, config.dynamics_blocks),
        "init_ch": config.structure_width,
        "encoder_config": side(config.encoder),
        "decoder_config": side(config.decoder),
        "temporal_qformer_config": {"params": qformer},
    }


def assert_same(one: VidTwin, other: VidTwin) -> None:
    """The two networks hold exactly the same tensors."""
    left, right = one.state_dict(), other.state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def latents_close(one: Latents, other: Latents, tolerance: float = 1e-5) -> bool:
    return all(torch.allclose(a, b, atol=tolerance) for a, b in zip(one, other, strict=True))


def pipeline_model(seed: int = 0) -> VidTwin:
    """A micro network without downsampling or causality, for tests that need a codec and not a particular network."""
    side = TransformerConfig(hidden_size=16, depth=1, num_heads=2, causal=False)
    return micro_model(seed, encoder=side, decoder=side, structure_blocks=0, dynamics_blocks=0)


def window_config(**changes: Any) -> VidTwinConfig:
    """A micro network that takes any grid of patches of 8 pixels, with patterns; slots are temporal frequencies."""
    side = TransformerConfig(hidden_size=16, depth=1, num_heads=2, causal=False)
    qformer = QFormerConfig(num_queries=4, hidden_size=8, num_layers=1, intermediate_size=12, num_heads=2)
    values: dict[str, Any] = {
        **{"encoder": side, "decoder": side, "structure_blocks": 0, "dynamics_blocks": 0, "qformer": qformer},
        **{"structure_channels": 10, "dynamics_channels": 2, "any_grid": True, "patterns": (6, 2, 2)},
    }
    return micro_config(**{**values, **changes})


def window_model(seed: int = 0, **changes: Any) -> VidTwin:
    """A network of :func:`window_config` with random weights, the same every time."""
    torch.manual_seed(seed)
    return VidTwin(window_config(**changes)).eval().requires_grad_(False)


def write_weights(path: Path, model: VidTwin, step: float) -> Path:
    """A weights file of a network, with the same quantisation step everywhere."""
    config = model.config
    slots = (config.qformer.num_queries, config.structure_channels)
    steps = Steps(np.full(slots, step), *[np.full(config.dynamics_channels, step)] * 2)
    save_checkpoint(
        *(path, model),
        **{"name": path.stem, "steps": steps, "compute_dtype": "float32", "storage": "float32"},
        origin="random numbers",
    )
    return path


def write_checkpoint(path: Path) -> Path:
    """A released-style ``.ckpt`` of the micro network."""
    model = micro_model()
    content = {"state_dict": released_state(model), "hyper_parameters": released_params(model.config)}
    torch.save(content, path)
    return path

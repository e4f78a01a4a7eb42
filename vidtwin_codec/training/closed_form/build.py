"""The whole construction, in order."""

from __future__ import annotations

import torch
from torch import nn

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import Latents, VidTwin, VidTwinConfig
from vidtwin_codec.model.transformer import Block
from vidtwin_codec.training.closed_form.allocation import KINDS, allocate
from vidtwin_codec.training.closed_form.channels import decoder_channels, encoder_channels
from vidtwin_codec.training.closed_form.components import Clips, measure, patch_components
from vidtwin_codec.training.closed_form.decoder import write_decoder
from vidtwin_codec.training.closed_form.encoder import write_encoder
from vidtwin_codec.training.closed_form.latents import write_dynamics_decoder, write_structure_decoder
from vidtwin_codec.training.closed_form.readout import write_readout
from vidtwin_codec.training.closed_form.structure import write_dynamics_encoder, write_structure_encoder
from vidtwin_codec.training.closed_form.wiring import BLOCKS, silence

FIT_TOKENS = 256 * 16 * 49
"""Tokens that plan, scales and offsets are measured on: 256 clips of 16 x 7 x 7. With 48, how much rare violent motion
is among them is left to chance, which cost 0.3 dB."""

__all__ = ["Clips", "transform_start"]


@torch.no_grad()
def transform_start(clips: Clips, config: VidTwinConfig, *, seed: int = 0, kinds: int = KINDS) -> VidTwin:
    """A VidTwin that is a switching transform codec for the kind of footage that ``clips`` shows.

    Args:
        clips: begins a pass over the footage, batches ``[B, 3, T, H, W]`` in [-1, 1]; three passes are made, one of
            them only as far as :data:`FIT_TOKENS`.
        config: of the network; see Raises.
        seed: of the weights that the construction leaves free.
        kinds: of places that the latents tell apart; with one, all places carry the same.

    Returns:
        The network in evaluation mode, on the CPU, float32.

    Raises:
        VidtwinError: there is no footage, clips are of another size, or the network cannot be written so: it has
            downsampling or causal attention, another number of slots than frames, fewer than four blocks on a side
            or layers too narrow for its latents.
    """
    check_config(config)
    model = random_start(config, seed)
    encoder, decoder = model.encoder, model.decoder
    assert encoder is not None
    assert decoder is not None

    latents = config.qformer.num_queries * (config.structure_channels + config.dynamics_channels)
    components = patch_components(clips, config, min(latents, 3 * config.patch_size**2))
    footage = measure(clips, config, components, FIT_TOKENS)
    allocation = allocate(footage, components, config, kinds)
    plan = allocation.plan

    rooms = encoder_channels(config, plan.still, plan.moving, len(plan.flags))
    tokens = write_encoder(encoder, allocation, rooms, components, footage.whitened)
    write_structure_encoder(encoder, rooms, tokens)
    write_dynamics_encoder(encoder.dynamics, rooms, tokens, config.grid)
    grid_tokens = tokens.view(*tokens.shape[:2], *config.grid, -1)
    structure, _ = encoder.structure(grid_tokens).chunk(2, dim=-1)
    dynamics_x, dynamics_y = (part.chunk(2, dim=1)[0] for part in encoder.dynamics(grid_tokens))
    clip_latents = Latents(structure, dynamics_x, dynamics_y)

    out = decoder_channels(config, plan.still, plan.moving, len(plan.flags))
    write_structure_decoder(decoder.structure, out)
    write_dynamics_decoder(decoder.dynamics, out)
    write_decoder(decoder, allocation, out, footage, clip_latents)
    write_readout(model, clips, components)
    return model


def check_config(config: VidTwinConfig) -> None:
    """Raise VidtwinError where no footage could help; widths are checked as they are used up."""
    problem = None
    if config.structure_blocks or config.dynamics_blocks:
        problem = "latents as fine as the patches (no downsampling)"
    elif config.encoder.causal or config.decoder.causal:
        problem = "temporal attention that sees all frames (not causal)"
    elif config.qformer.num_queries != config.frames:
        problem = f"as many query slots as frames, not {config.qformer.num_queries} for {config.frames}"
    elif config.frames < 2:
        problem = "clips of at least two frames"
    elif min(config.encoder.depth, config.decoder.depth) < BLOCKS:
        problem = f"at least {BLOCKS} blocks in encoder and decoder"
    if problem:
        raise VidtwinError(f"closed-form weights need {problem}")


def random_start(config: VidTwinConfig, seed: int) -> VidTwin:
    """A network with random free weights, blocks that pass their input on, and zero biases."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VidTwin(config)
        for layer in model.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
    for layer in model.modules():
        if isinstance(layer, Block):
            silence(layer)
    return model.requires_grad_(False).eval()

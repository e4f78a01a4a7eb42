"""Compiling transformer blocks with ``torch.compile``, where that works."""

from __future__ import annotations

import warnings

import torch

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwin
from vidtwin_codec.model.transformer import Block, Transformer
from vidtwin_codec.network.device import Device
from vidtwin_codec.reporter import Reporter


def compile_blocks(model: VidTwin, place: Device, clips: int, reporter: Reporter) -> bool:
    """Compile the network's blocks with one graph for all that are alike, or report that it does not work.

    Compiling the whole objective would take a minute or more, and again whenever the loss changes. Blocks take nearly
    all of the time, and one graph serves for all of them.

    Args:
        model: the network on its device, in training mode.
        place: device and precision.
        clips: clips of a step in this process, with which blocks are tried.
        reporter: is warned of the reason if compiling does not work.

    Returns:
        Whether blocks are compiled.
    """
    sides = [side for side in (model.encoder, model.decoder) if side is not None]
    blocks = [block for side in sides for block in side.transformer.blocks if _works(block)]
    if not blocks:
        return False
    try:
        for side in sides:
            _try(side.transformer, model.config.tokens, clips, place)
    except VidtwinError:
        raise
    except Exception as error:  # Triton, a C compiler, a driver: torch raises what each of them does
        if isinstance(error, torch.OutOfMemoryError):
            raise
        for block in blocks:
            block._compiled_call_impl = None
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        reporter.warned(f"torch.compile does not work here, so steps are slower ({reason})")
        return False
    finally:
        model.zero_grad(set_to_none=True)
    return True


def _works(block: object) -> bool:
    return (
        isinstance(block, Block)
        and (block.attends or block.mixes)
        and any(parameter.requires_grad for parameter in block.parameters())
    )


def _try(transformer: Transformer, tokens: int, clips: int, place: Device) -> None:
    """Compile the blocks, and run them once forward and backward."""
    for block in transformer.blocks:
        if _works(block):
            block.compile()
    frames, width = transformer.temporal_positions.shape[1:]
    like = torch.zeros(clips, frames, tokens, width, device=place.device, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler warns of things that are not used here
        with place.autocast():
            out = transformer(like.view(like.shape))  # not a leaf, as in a step, which would otherwise compile again
        out.float().sum().backward()

"""The work and memory that calibrating a network takes, estimated before it is begun.

A file of a few kilobytes may hold the configuration of any network, and tensors of zeros that pack to nothing. So
what a checkpoint without steps asks for is bounded in proportion to its size, as a .vtw is (``coding/allowance.py``).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from vidtwin_codec.coding.allowance import SMALL_FILE
from vidtwin_codec.coding.layout import LatentLayout
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model.config import VidTwinConfig

SMALL_FILE_WORK = 1e11
"""Multiplications that calibrating from a small file may take: five seconds of one core."""
WORK_PER_BYTE = 1e6  # beyond SMALL_FILE; the released network in float16 takes a sixth of it
SMALL_FILE_MEMORY = 400 << 20
MEMORY_PER_BYTE = 64
PASSES = 110
"""Passes through half of the network for the four made-up clips; one backward counts as two."""
CHECK_PASSES = 3  # for each channel that is tried alone
_PER_LAYER = 1e7  # what a call of a layer takes, whatever its size, in multiplications
_PER_LATENT = 4000  # to code it in ten trials, divided by the passes
_PER_PIXEL = 300
_PER_CHANNEL_OF_TOKEN = 300  # norms, gates and activations of a block
_BYTES_PER_CHANNEL_OF_TOKEN = 160  # that a block keeps for the gradient
_BYTES_PER_PIXEL = 150
_HINT = "calibrate on videos of your own, which sets no limit: --clips VIDEO"


class Bill(NamedTuple):
    """What a calibration takes: multiplications of one pass through the network, and bytes of memory."""

    work: float
    memory: float


def bill(config: VidTwinConfig, parameters: int) -> Bill:
    """Estimate what calibrating a network takes.

    Args:
        config: its configuration.
        parameters: its number of parameters.
    """
    tokens = config.tokens * max(config.frames, config.qformer.num_queries)
    blocks = [(part.depth, part.hidden_size) for part in (config.encoder, config.decoder)]
    blocks.append((config.qformer.num_layers, config.qformer.hidden_size + config.qformer.intermediate_size))
    around = config.tokens + max(config.frames, config.qformer.num_queries)  # that a token attends to
    layout = LatentLayout(config.structure_shape, config.dynamics_x_shape, config.dynamics_y_shape)
    pixels = config.frames * config.height * config.width
    work: float = tokens * (parameters + sum(n * width * (2 * around + _PER_CHANNEL_OF_TOKEN) for n, width in blocks))
    work += _PER_PIXEL * pixels + _PER_LATENT * layout.elements + _PER_LAYER * sum(n for n, _ in blocks)
    memory: float = _BYTES_PER_PIXEL * pixels + 4 * parameters
    memory += _BYTES_PER_CHANNEL_OF_TOKEN * tokens * sum(n * width for n, width in blocks)
    return Bill(work, memory)


def most_checks(model: nn.Module, config: VidTwinConfig, file_bytes: int) -> int:
    """Return how many channels may be tried alone in the calibration of a network from a file.

    Args:
        model: the network.
        config: its configuration.
        file_bytes: size of the file that it came from.

    Raises:
        VidtwinError: calibrating takes more work or memory than a file of this size is allowed.
    """
    found = bill(config, sum(parameter.numel() for parameter in model.parameters()))
    more = max(0, file_bytes - SMALL_FILE)
    work, memory = SMALL_FILE_WORK + WORK_PER_BYTE * more, SMALL_FILE_MEMORY + MEMORY_PER_BYTE * more
    for kind, takes, allowed in (("work", PASSES * found.work, work), ("memory", found.memory, memory)):
        if takes > allowed:
            raise VidtwinError(
                f"calibrating this network takes {takes / allowed:.1f} times the {kind} that a file of "
                f"{file_bytes} bytes is allowed",
                _HINT,
            )
    return int((work - PASSES * found.work) / (CHECK_PASSES * found.work))

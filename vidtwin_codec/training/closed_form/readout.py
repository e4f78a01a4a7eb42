"""The decoder's last linear: ridge regression of real patches on what the decoder makes of them.

All that the layers before do not quite undo, linearly, this does. The decoder holds only so many principal components;
the regression stays within them, as beyond them it would only learn the noise of its sample.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidtwin_codec.model import VidTwin
from vidtwin_codec.model.transformer import patchify
from vidtwin_codec.training.closed_form.components import Clips, PatchComponents, batches

_RIDGE = 1e-5
"""Beside features of about unit variance: only keeps directions that footage never shows from growing."""


def write_readout(model: VidTwin, clips: Clips, components: PatchComponents) -> None:
    """Fit ``model.decoder.head.linear`` to one pass over ``clips``."""
    config = model.config
    assert model.decoder is not None
    linear = model.decoder.head.linear
    size, outputs = linear.in_features + 1, len(components.vectors)
    moment = torch.zeros(size, size, dtype=torch.float64)
    response, rows = torch.zeros(size, outputs, dtype=torch.float64), 0
    captured: list[Tensor] = []

    def capture(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        captured.append(inputs[0])

    handle = linear.register_forward_pre_hook(capture)
    try:
        for batch in batches(clips, config):
            model.decode(model.encode(batch))
            features = captured.pop().flatten(0, 2)
            # latents come as plus and minus themselves on an offset: in single precision what nearly cancels is noise,
            # and weights that use it are too large for float16
            features = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
            moment += features.T @ features
            response += features.T @ components.whiten(patchify(batch, config.patch_size)).flatten(0, 2).double()
            rows += len(features)
    finally:
        handle.remove()
    moment += _RIDGE * rows * torch.eye(size, dtype=torch.float64)
    solution = torch.linalg.solve(moment, response)
    back = (components.vectors * components.deviations[:, None]).T
    linear.weight.copy_(back @ solution[:-1].T.float())
    linear.bias.copy_(components.mean + back @ solution[-1].float())

"""The VidTwin network: video as Structure (content, slow motion) and Dynamics (fast local motion) latents.

Source: arXiv 2412.17726v2 (CVPR 2025), and the released model it describes.

    clip [B,3,T,H,W] ── patches ── transformer ──┬── Q-Former ── convs ──── structure  [B, n_q, h_S, w_S, d_S]
                                                 └── row / column means ─── dynamics x [B, d_D, T, w_D]
                                                                            dynamics y [B, d_D, T, h_D]

    latents ── branch decoders, summed ── transformer ── linear ── clip
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model.branches import DynamicsDecoder, DynamicsEncoder, StructureDecoder, StructureEncoder
from vidtwin_codec.model.config import VidTwinConfig, check_clip
from vidtwin_codec.model.lapping import Lapping
from vidtwin_codec.model.layers import Linear
from vidtwin_codec.model.levels import decode_levels, encode_levels
from vidtwin_codec.model.postfilter import PostFilter
from vidtwin_codec.model.transformer import OutputHead, PatchEmbedding, Transformer, in_full
from vidtwin_codec.model.upstream import from_upstream_names

LOG_VARIANCE_RANGE = (-30.0, 20.0)
Branch = Literal["structure", "dynamics"]


class Latents(NamedTuple):
    """The latents of a clip; in a posterior, means or log-variances in the same shapes."""

    structure: Tensor
    """``[B, n_q, h_S, w_S, d_S]``; the second axis is the query slot, not time."""
    dynamics_x: Tensor
    """``[B, d_D, T, w_D]``: one number per frame and column."""
    dynamics_y: Tensor
    """``[B, d_D, T, h_D]``: one number per frame and row."""

    def map(self, function: Callable[..., Tensor], *others: Iterable[Any]) -> Latents:
        """Call ``function`` for each tensor, together with its counterpart in each of ``others``."""
        return Latents(*(function(*parts) for parts in zip(self, *others, strict=True)))

    def numpy(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return the tensors, which are on the CPU, as arrays that share their memory."""
        return self.structure.numpy(), self.dynamics_x.numpy(), self.dynamics_y.numpy()

    @staticmethod
    def concatenate(parts: Sequence[Latents]) -> Latents:
        """Join along the batch; a single part is returned as it is."""
        return parts[0] if len(parts) == 1 else Latents(*map(torch.cat, zip(*parts, strict=True)))

    @staticmethod
    def from_numpy(arrays: Iterable[NDArray[Any]]) -> Latents:
        """Return tensors on the CPU, which share the arrays' memory where that is in order."""
        return Latents(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


class Posterior(NamedTuple):
    """A diagonal Gaussian over the latents."""

    mean: Latents
    log_variance: Latents


class VidTwinEncoder(nn.Module):
    """Maps clips ``[B, 3, T, H, W]`` in [-1, 1] to a :class:`Posterior`."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        self.config = config
        self.lapping = Lapping(config.patch_size, config.lapping)
        self.patch_embedding = PatchEmbedding(config.patch_size, config.encoder.hidden_size)
        self.transformer = Transformer(config.encoder, config.frames, None if config.any_grid else config.grid)
        self.structure = StructureEncoder(config)
        self.dynamics = DynamicsEncoder(config)

    def forward(self, clip: Tensor) -> Posterior:
        config = self.config
        check_clip(config, clip.shape)
        frames = clip.to(self.patch_embedding.weight.dtype).permute(0, 2, 3, 4, 1)
        if config.lapping:
            frames = self.lapping.before(frames.clone(memory_format=torch.contiguous_format))
        return self.posterior(self.patch_embedding(frames), self.grid(clip))

    def grid(self, clip: Tensor) -> tuple[int, int]:
        """Return the rows and columns of patches of ``[B, 3, T, H, W]``."""
        return clip.shape[-2] // self.config.patch_size, clip.shape[-1] // self.config.patch_size

    def posterior(self, tokens: Tensor, grid: tuple[int, int]) -> Posterior:
        """Return the posterior of embedded patches ``[B, T, S, D]`` on a grid of rows and columns."""
        structure, *lines = self._branches(tokens, grid, means=False)
        mean, log_variance = (
            Latents(*parts) for parts in zip(structure.chunk(2, -1), *(line.chunk(2, 1) for line in lines), strict=True)
        )
        return Posterior(mean, log_variance.map(lambda part: part.clamp(*LOG_VARIANCE_RANGE)))

    def means(self, tokens: Tensor, grid: tuple[int, int]) -> Latents:
        """Return the means of :meth:`posterior` alone."""
        structure, *lines = self._branches(tokens, grid, means=True)
        return Latents(structure, *(line.chunk(2, 1)[0] for line in lines))

    def _branches(self, tokens: Tensor, grid: tuple[int, int], *, means: bool) -> tuple[Tensor, Tensor, Tensor]:
        tokens = self.transformer(tokens)
        maps = tokens.view(*tokens.shape[:2], *grid, tokens.shape[-1])
        with _linear_in_full(self.config, maps):
            maps = maps.float() if self.config.linear else maps
            dynamics_x, dynamics_y, left = self.dynamics(maps)
            structure = self.structure(left, means=means)
        return structure.float(), dynamics_x.float(), dynamics_y.float()


class VidTwinDecoder(nn.Module):
    """Maps :class:`Latents` to clips ``[B, 3, T, H, W]``, nominally in [-1, 1] (not clamped)."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        self.config = config
        self.structure = StructureDecoder(config)
        self.dynamics = DynamicsDecoder(config)
        self.transformer = Transformer(config.decoder, config.frames, None if config.any_grid else config.grid)
        self.head = OutputHead(config.decoder.hidden_size, config.patch_size, norm=not config.linear)
        self.lapping = Lapping(config.patch_size, config.lapping)
        self.postfilter = None if config.postfilter is None else PostFilter(config.postfilter)

    def forward(self, latents: Latents, *, only: Branch | None = None, coarseness: float | Tensor = 0.0) -> Tensor:
        frames = self.unfiltered(latents, only=only)
        return self.filtered(frames, only=only, coarseness=coarseness).permute(0, 4, 1, 2, 3)

    def unfiltered(self, latents: Latents, *, only: Branch | None = None, every: int = 1) -> Tensor:
        """Decode latents to frames that the post-filter has not seen, and may overwrite.

        Args:
            latents: the latents.
            only: the only branch to decode.
            every: step from one frame that is wanted to the next; the first is.

        Returns:
            ``[B, T / every, H, W, 3]``, rounded up.
        """
        frames = self.head(self.tokens(latents, only=only)[:, ::every], self.grid(latents))
        return self.lapping.after(frames)

    def filtered(self, frames: Tensor, *, only: Branch | None = None, coarseness: float | Tensor = 0.0) -> Tensor:
        """Filter frames ``[..., H, W, 3]``, which are overwritten, if the weights do and both branches are shown."""
        return frames if self.postfilter is None or only is not None else self.postfilter(frames, coarseness)

    def grid(self, latents: Latents) -> tuple[int, int]:
        """Return the rows and columns of patches of these latents."""
        if self.config.any_grid:
            return latents.structure.shape[2], latents.structure.shape[3]
        return self.config.grid

    def tokens(self, latents: Latents, *, only: Branch | None = None) -> Tensor:
        """Return the tokens ``[B, T, S, D]`` that the last layer turns into patches."""
        config = self.config
        dtype = self.head.linear.weight.dtype
        shape = (config.frames, *self.grid(latents), config.decoder.hidden_size)
        with _linear_in_full(config, latents.structure):
            tokens = torch.zeros((), dtype=dtype, device=latents.structure.device)
            if only != "dynamics":
                tokens = self.structure(latents.structure.to(dtype))
            if only != "structure":
                columns, rows = self.dynamics(latents.dynamics_x.to(dtype), latents.dynamics_y.to(dtype))
                tokens = tokens + columns + rows
        tokens = tokens.expand(latents.structure.shape[0], *shape)
        out: Tensor = self.transformer(tokens.flatten(2, 3))
        return out


def _linear_in_full(config: VidTwinConfig, like: Tensor) -> AbstractContextManager[object]:
    """Linear branches cost little, and sums over time would show bfloat16's rounding: they stay in float32."""
    return in_full(like) if config.linear else nullcontext()


class VidTwin(nn.Module):
    """A VidTwin's encoder and decoder, either of which may be left out (decoding needs no encoder in memory).

    Args:
        config: every size of the network.
        parts: the halves to build.
    """

    def __init__(self, config: VidTwinConfig, *, parts: tuple[str, ...] = ("encoder", "decoder")) -> None:
        super().__init__()
        self.config = config
        self.encoder = VidTwinEncoder(config) if "encoder" in parts else None
        self.decoder = VidTwinDecoder(config) if "decoder" in parts else None

    def leave_out_postfilter(self) -> None:
        """Decode from now on without the post-filter."""
        if self.decoder is not None:
            self.decoder.postfilter = None

    def hold_in_bfloat16(self) -> None:
        """Keep in bfloat16 what mixed precision would cast to it in every call: the same bits, in half the memory.

        First and last layer, and the branches of linear networks, compute partly in float32, and stay.
        """
        if self.config.linear:
            return
        heads = [module.linear for module in self.modules() if isinstance(module, OutputHead)]
        for module in self.modules():
            if type(module) is Linear and module not in heads:
                module.to(torch.bfloat16)

    def posterior(self, clip: Tensor) -> Posterior:
        """Encode clips ``[B, 3, T, H, W]`` in [-1, 1] to means and log-variances, float32.

        Raises:
            ValueError: these weights do not take clips of this size, or no encoder was built.
        """
        if self.encoder is None:
            raise ValueError("this VidTwin was built without its encoder")
        posterior: Posterior = self.encoder(clip)
        return posterior

    def encode(self, clip: Tensor) -> Latents:
        """Encode clips to posterior means, which a codec stores; shapes and errors are those of :meth:`posterior`."""
        return self.posterior(clip).mean

    def encode_levels(self, frames: Tensor) -> Latents:
        """Encode uint8 frames ``[B, T, H, W, 3]`` to posterior means; see ``model/levels.py``.

        Raises:
            ValueError: these weights do not take clips of this size, or no encoder was built.
        """
        if self.encoder is None:
            raise ValueError("this VidTwin was built without its encoder")
        return encode_levels(self.encoder, frames)

    def decode_levels(self, latents: Latents, *, only: Branch | None = None, coarseness: float = 0.0) -> Tensor:
        """Decode latents to uint8 frames ``[B, T, H, W, 3]``; see ``model/levels.py``.

        Raises:
            ValueError: no decoder was built.
        """
        if self.decoder is None:
            raise ValueError("this VidTwin was built without its decoder")
        return decode_levels(self.decoder, latents, only=only, coarseness=coarseness)

    def decode(self, latents: Latents, *, only: Branch | None = None, coarseness: float | Tensor = 0.0) -> Tensor:
        """Decode latents to clips ``[B, 3, T, H, W]`` float32, nominally in [-1, 1].

        Args:
            latents: latents, as :meth:`encode` returns them.
            only: the only branch to decode; the other one's term is left out after its own layers, as upstream does.
                The post-filter is left out, too.
            coarseness: quantisation steps of the latents over the weights' own (`Steps.coarseness`), 0 for none; a
                tensor holds those of each clip, ``[B]``.

        Raises:
            ValueError: no decoder was built.
        """
        if self.decoder is None:
            raise ValueError("this VidTwin was built without its decoder")
        clip: Tensor = self.decoder(latents, only=only, coarseness=coarseness)
        return clip

    def load_upstream_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Load tensors under the released key names, strictly.

        The training losses (``loss.*``) and the layers that the released code builds but never runs are
        ignored. With half of the model left out, the other half's tensors are ignored too.

        Raises:
            VidtwinError: a name is missing or unexpected, or a shape differs.
        """
        self.load_tensors(from_upstream_names(tensors, self.config))

    def check_names(self, names: Iterable[str]) -> set[str]:
        """Make sure that these are our names of all tensors there must be; return those that are wanted.

        Args:
            names: those of a half that was left out are ignored.

        Raises:
            VidtwinError: a name is missing or unexpected.
        """
        absent = tuple(f"{half}." for half in ("encoder", "decoder") if getattr(self, half) is None)
        ours = {name for name in names if not absent or not name.startswith(absent)}
        expected = self.state_dict().keys()
        missing, unexpected = sorted(expected - ours), sorted(ours - expected)
        for kind, wrong in (("lack", missing), ("have the unexpected", unexpected)):
            if wrong:
                more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
                raise VidtwinError(f"these weights {kind} tensor {wrong[0]}{more}: another architecture?")
        return ours

    def check_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Make sure that these are all tensors there must be, in their shapes; return those that are wanted.

        Args:
            tensors: tensors under our own names; they may be on the meta device.

        Raises:
            VidtwinError: a name is missing or unexpected, or a shape differs.
        """
        wanted = self.check_names(tensors)
        ours = {name: tensor for name, tensor in tensors.items() if name in wanted}
        expected = self.state_dict()
        for name, tensor in ours.items():
            if tensor.shape != expected[name].shape:
                raise VidtwinError(
                    f"tensor {name} has shape {list(tensor.shape)}, "
                    f"but the configuration asks for {list(expected[name].shape)}"
                )
        return ours

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Load tensors under our own names, strictly; those of a half that was left out are ignored.

        Raises:
            VidtwinError: a name is missing or unexpected, or a shape differs.
        """
        ours = self.check_tensors(tensors)
        # a model on the meta device takes the tensors as they are; one with memory copies them
        self.load_state_dict(ours, assign=any(parameter.is_meta for parameter in self.parameters()))

"""The network in pure torch.nn, and its checkpoints. See :mod:`vidtwin_codec.model.vidtwin`."""

from vidtwin_codec.model.checkpoint import load_checkpoint, open_checkpoint, save_checkpoint
from vidtwin_codec.model.config import PostFilterConfig, QFormerConfig, TransformerConfig, VidTwinConfig
from vidtwin_codec.model.vidtwin import Latents, Posterior, VidTwin, VidTwinDecoder, VidTwinEncoder

__all__ = [
    "Latents",
    "PostFilterConfig",
    "Posterior",
    "QFormerConfig",
    "TransformerConfig",
    "VidTwin",
    "VidTwinConfig",
    "VidTwinDecoder",
    "VidTwinEncoder",
    "load_checkpoint",
    "open_checkpoint",
    "save_checkpoint",
]

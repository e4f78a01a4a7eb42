"""All kinds of files, by name."""

from __future__ import annotations

from functools import partial

from tools.fuzz import latents, networks, videos
from tools.fuzz.workers import Target

_VIDEOS = {"plain": 5, "context": 3, "sparse": 8, "placed": 5}
TARGETS = {
    target.name: target
    for target in (
        Target("container", ".vtw", videos.make_container, videos.read_video, share=15),
        *(
            Target(name, ".vtw", partial(videos.make_group, coders=videos.CODERS[name]), videos.read_video, share)
            for name, share in _VIDEOS.items()
        ),
        Target("checkpoint", ".ckpt", networks.make_checkpoint, networks.read_weights, share=2),
        Target("weights", ".safetensors", networks.make_weights, networks.read_weights, share=3),
        Target("latents", ".safetensors", latents.make_latents, latents.read_latents, share=4),
        Target("npz", ".npz", latents.make_npz, latents.read_latents, share=4),
        Target("state", ".pt", networks.make_state, networks.read_state, share=1),
    )
}
"""Shares go by how much there is to find, and how little a case takes."""

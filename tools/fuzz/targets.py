"""All kinds of files, by name."""

from __future__ import annotations

from functools import partial

from tools.fuzz import tensors, videos
from tools.fuzz.workers import Target

TARGETS = {
    target.name: target
    for target in (
        Target("container", ".vtw", videos.make_container, videos.read_video, share=4),
        *(
            Target(name, ".vtw", partial(videos.make_group, coders=coders), videos.read_video, share=2)
            for name, coders in videos.CODERS.items()
        ),
        Target("checkpoint", ".ckpt", tensors.make_checkpoint, tensors.read_weights),
        Target("weights", ".safetensors", tensors.make_weights, tensors.read_weights, share=2),
        Target("latents", ".safetensors", tensors.make_latents, tensors.read_latents, share=2),
        Target("npz", ".npz", tensors.make_npz, tensors.read_latents, share=2),
        Target("state", ".pt", tensors.make_state, tensors.read_state),
    )
}

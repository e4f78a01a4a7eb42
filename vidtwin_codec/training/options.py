"""What a training run may be told; the same for Python and for the command line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidtwin_codec.errors import VidtwinError

LOSSES = ("mse", "psnr", "l1", "charbonnier")
NOISES = ("gaussian", "uniform", "rounding")
OBJECTIVES = ("kl", "rate")
TRAINED = ("all", "decoder", "blocks")
OPTIMIZERS = ("adamw", "muon")
PRESETS = ("compact", "small", "base")
STORAGES = ("float16", "bfloat16", "float32")
PRECISIONS = ("auto", "float32", "bfloat16")

_FREE_TO_CHANGE = frozenset(
    {"data", "output", "steps", "minutes", "resume", "force", "cooldown", "eval_every", "device", "compile"}
    | {"recompute", "cache", "cache_gb", "data_on_device", "eval_data", "held_out", "storage", "name"}
)
"""What a resumed run may do differently: how long, where, and what it reports; the rest would make it another run.

``data`` is free because folders move; the footage in it is compared by itself, as is what is held out of it.
"""


@dataclass(frozen=True)
class TrainOptions:
    """Choices of :func:`vidtwin_codec.training.train`."""

    data: Path
    """A folder of videos in any nesting, or of uint8 ``.npy`` files ``[frames, H, W, 3]``; or one such file."""
    output: Path
    """The ``.safetensors`` to write at the end. Beside it appear ``NAME.training/`` and the model card ``NAME.md``."""
    steps: int | None = None
    """Train for so many steps. Give this or ``minutes``."""
    minutes: float | None = None
    """Train for so long, evaluations included, decoding the videos and calibrating not."""
    resume: bool = False
    """Go on from the state that an earlier run with this output left."""
    force: bool = False
    """Replace an existing output, or start anew although a state to resume from exists."""

    init: str | None = None
    """Weights to start from: a name, a file or a digest. None: a new network."""
    preset: str = "compact"
    """Sizes of a new network."""
    config: Path | None = None
    """Sizes of a new network, as JSON, in place of a preset."""
    size: int | None = None
    """Change the preset: frame height and width in pixels."""
    patch: int | None = None
    """Change the preset: pixels of a patch."""
    width: int | None = None
    """Change the preset: channels of a token, a multiple of 64."""
    encoder_depth: int | None = None
    """Change the preset: blocks of the encoder. With ``init``: so many in all, those added doing nothing at first."""
    decoder_depth: int | None = None
    """The same of the decoder."""
    train: str = "all"
    """What may change: everything, the ``decoder``, or the decoder's transformer ``blocks`` alone. What the encoder
    says, and takes, then stays as it is."""

    eval_data: Path | None = None
    """Footage to measure on, as ``data``; in place of holding files out of the data."""
    held_out: float = 0.02
    """Share of the data's files to measure on and never train on; at least one file, if there are two."""
    short_side: int | None = None
    """Pixels of the shorter side that videos are decoded to; crops are cut from that. None: 8/7 of the network's."""
    max_stride: int = 2
    """Clips take every frame, every second frame … up to every so manieth."""
    cache: Path | None = None
    """Folder of decoded frames. None: in the user's cache folder."""
    cache_gb: float = 20.0
    """Gigabytes (10**9) that folder may take."""
    data_on_device: bool = False
    """Hold all footage in the accelerator's memory and cut crops there."""

    batch: int = 8
    """Clips a step, over all processes together."""
    loss: str = "mse"
    """Pixel loss: ``mse`` (times 100), ``psnr`` (decibels), ``l1`` (times 10), ``charbonnier`` (times 10)."""
    final_loss: str | None = None
    """Pixel loss from the start of the cooldown; None: the same."""
    objective: str = "kl"
    """What the rate is: ``kl``, the posterior's divergence from a unit Gaussian; ``rate``, bits estimated for means
    quantised to learned steps."""
    kl_weight: float = 0.03
    """Weight of the rate, nats an element: more of it, fewer bits. 0 leaves the posterior's variances as they are."""
    noise: str | None = None
    """What the decoder learns to bear: the posterior's ``gaussian`` samples, or ``uniform`` noise of the same variance,
    as a quantiser of the base steps adds; with the objective ``rate``, ``uniform`` noise of its steps, or ``rounding``
    to them. None: the first of these."""
    noise_scale: float = 1.0
    """What that noise, or those steps, are multiplied by: less for weights that are to be used at high quality."""
    noise_spread: float = 0.0
    """Octaves by which that factor is drawn up or down for each clip: weights for a range of qualities."""
    optimizer: str = "adamw"
    """``muon``: Muon for the blocks' matrices, AdamW for the rest."""
    lr: float = 5e-4
    """AdamW's rate."""
    muon_lr: float = 0.02
    """Muon's rate, before its factor for a matrix's shape."""
    weight_decay: float = 0.01
    """Of matrices; norms, biases and gates do not decay."""
    clip_norm: float = 5.0
    """Longest gradient, over all tensors together."""
    warmup: int = 100
    """Steps over which the rates rise."""
    cooldown: float = 0.3
    """Last share of the run, over which the rates fall to zero."""
    ema: float = 0.999
    """Decay a step of the average of weights that is measured and kept."""
    seed: int = 0

    device: str = "auto"
    precision: str = "auto"
    """``bfloat16``: autocast, weights and sums in float32. ``auto``: bfloat16 where it is fast."""
    compile: bool | None = None
    """``torch.compile``; None: on CUDA."""
    recompute: bool = False
    """Gradient checkpointing: much less memory, a third more time."""
    eval_every: int = 500
    """Steps between measuring on held-out footage; the state is saved as often."""
    storage: str = "float16"
    """How the output stores its numbers."""
    name: str | None = None
    """What the weights are called; None: the output's own name."""

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise VidtwinError("how long to train is not clear", "pass either --steps or --minutes")
        self._check_choices()
        positive = ("steps", "minutes", "max_stride", "cache_gb", "batch", "lr", "muon_lr", "clip_norm", "eval_every")
        sizes = ("size", "patch", "width", "encoder_depth", "decoder_depth", "short_side")
        for field in (*positive, *sizes):
            value = getattr(self, field)
            if value is not None and not 0 < value < float("inf"):
                raise VidtwinError(f"{_flag(field)} must be positive, not {value:g}")
        for field in ("kl_weight", "noise_scale", "noise_spread", "weight_decay", "warmup", "seed"):
            if not 0 <= getattr(self, field) < float("inf"):
                raise VidtwinError(f"{_flag(field)} cannot be {getattr(self, field):g}")
        for field, most in (("held_out", 0.9), ("cooldown", 1.0), ("ema", 0.999999)):
            if not 0 <= getattr(self, field) <= most:
                raise VidtwinError(f"{_flag(field)} must lie between 0 and {most:g}, not {getattr(self, field):g}")
        given = "init" if self.init is not None else "config" if self.config is not None else None
        fixed = sizes[:3] if given == "init" else sizes[:-1]  # blocks may be added to given weights
        changes = [field for field in fixed if getattr(self, field) is not None]
        if given and (changes or (given == "init" and self.config is not None)):
            other = changes[0] if changes else "config"
            raise VidtwinError(f"{_flag(given)} says what the network is; {_flag(other)} cannot change it")

        if self.objective == "rate" and self.noise == "gaussian":
            raise VidtwinError("--objective rate quantises; it has no --noise gaussian", "choose uniform or rounding")
        if self.objective == "kl" and self.noise == "rounding":
            raise VidtwinError("--noise rounding needs quantisation steps", "add --objective rate")

    def _check_choices(self) -> None:
        for field, choices in (
            ("loss", LOSSES),
            ("final_loss", (*LOSSES, None)),
            ("noise", (*NOISES, None)),
            ("objective", OBJECTIVES),
            ("train", TRAINED),
            ("optimizer", OPTIMIZERS),
            ("preset", PRESETS),
            ("storage", STORAGES),
            ("precision", PRECISIONS),
        ):
            if getattr(self, field) not in choices:
                known = ", ".join(choice for choice in choices if choice)
                raise VidtwinError(f"{_flag(field)} {getattr(self, field)!r} is none of {known}")

    @property
    def noise_drawn(self) -> str:
        """The distribution of the noise that a step is given: ``gaussian`` or ``uniform``."""
        return "uniform" if self.objective == "rate" or self.noise == "uniform" else "gaussian"

    @property
    def folder(self) -> Path:
        """Where the run keeps its state, log and plot."""
        return self.output.with_suffix(".training")

    @property
    def weights_name(self) -> str:
        """What the weights are called."""
        return self.name or self.output.stem

    def to_json(self) -> dict[str, Any]:
        """Every choice, JSON-able."""
        values = dataclasses.asdict(self)
        return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


def differences(options: TrainOptions, saved: dict[str, Any]) -> list[str]:
    """``--flag: before, now`` for each choice that a resumed run may not change, but does."""
    # what an earlier version did not know, it did as by default
    before = {field.name: saved.get(field.name, field.default) for field in dataclasses.fields(options)}
    return [
        f"{_flag(key)}: {before[key]}, now {value}"
        for key, value in options.to_json().items()
        if key not in _FREE_TO_CHANGE and before[key] != value
    ]


def _flag(field: str) -> str:
    return "--" + field.replace("_", "-")

"""Options of a training run, the same for Python and for the command line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidtwin_codec.errors import VidtwinError

LOSSES = ("mse", "psnr", "l1", "charbonnier")
NOISES = ("gaussian", "uniform", "rounding", "coded")
OBJECTIVES = ("kl", "rate")
TRAINED = ("all", "decoder", "blocks", "postfilter")
OPTIMIZERS = ("adamw", "muon")
PRESETS = ("compact", "small", "base")
STORAGES = ("float16", "bfloat16", "float32")
PRECISIONS = ("auto", "float32", "bfloat16")

_FREE_TO_CHANGE = frozenset(
    {"data", "output", "steps", "minutes", "resume", "force", "cooldown", "eval_every", "device", "compile"}
    | {"recompute", "cache", "cache_gb", "data_on_device", "eval_data", "held_out", "storage", "name"}
)
"""Options that a resumed run may change: how long and where it runs, and what it reports. Any other would make it
another run. ``data`` is among them because folders move; the footage itself is compared."""


@dataclass(frozen=True)
class TrainOptions:
    """Options of :func:`vidtwin_codec.training.train`."""

    data: Path
    """A folder of videos and uint8 ``.npy`` files ``[frames, H, W, 3]``, at any depth; or one such file."""
    output: Path
    """The ``.safetensors`` to write at the end; ``NAME.training/`` and the model card ``NAME.md`` lie beside it."""
    steps: int | None = None
    """Number of steps, 1 or more. Either this or ``minutes`` must be given."""
    minutes: float | None = None
    """Training time in minutes, more than 0: with evaluations, without decoding the videos and calibrating."""
    resume: bool = False
    """Whether to continue from the state that an earlier run with this output saved."""
    force: bool = False
    """Whether to replace an existing output, or start anew although there is a state to resume from."""

    init: str | None = None
    """Weights to start from: a name, a file or a digest. None starts with a new network."""
    preset: str = "compact"
    """Sizes of a new network, one of :data:`PRESETS`."""
    config: Path | None = None
    """JSON file with the sizes of a new network, in place of a preset."""
    size: int | None = None
    """Height and width of the network's frames in pixels; None keeps the preset's."""
    patch: int | None = None
    """Height and width of a patch in pixels; None keeps the preset's."""
    width: int | None = None
    """Channels of a token, a multiple of 64; None keeps the preset's."""
    encoder_depth: int | None = None
    """Transformer blocks of the encoder; None keeps the preset's. With ``init`` the total, where added blocks change
    nothing at first."""
    decoder_depth: int | None = None
    """Transformer blocks of the decoder; otherwise as ``encoder_depth``."""
    train: str = "all"
    """Which parameters learn: ``all``, the ``decoder``, or the decoder's transformer ``blocks``. With the last two,
    latents and their bits stay as they are."""

    eval_data: Path | None = None
    """Footage to measure on, in the form of ``data``; None holds files of the data out."""
    held_out: float = 0.02
    """Share of the data's files to measure on and never train on, 0 to 0.9; at least one file, if there are two."""
    short_side: int | None = None
    """Shorter side in pixels to decode videos to, from which crops are cut; None for 8/7 of the network's."""
    max_stride: int = 2
    """Largest step between the frames of a clip, 1 or more: each takes every n-th frame, n drawn from 1 to this."""
    cache: Path | None = None
    """Folder for decoded frames; None for one in the user's cache."""
    cache_gb: float = 20.0
    """Most gigabytes (10**9 bytes) that this folder may take."""
    data_on_device: bool = False
    """Whether to hold all footage in the accelerator's memory and cut crops there."""

    batch: int = 8
    """Clips of a step, over all processes together; 1 or more."""
    loss: str = "mse"
    """Pixel loss: ``mse`` (times 100), ``psnr`` (decibels), ``l1`` (times 10) or ``charbonnier`` (times 10)."""
    final_loss: str | None = None
    """Pixel loss from the start of the cooldown; None keeps ``loss``."""
    ssim_weight: float = 0.0
    """Weight of structural similarity in decibels beside the pixel loss. A little keeps detail that squared error alone
    smooths away; it suits ``psnr``, which is in decibels, too."""
    objective: str = "kl"
    """The rate term: ``kl``, the divergence of the posterior from a unit Gaussian, or ``rate``, an estimate of the bits
    of means quantised to learned steps."""
    kl_weight: float = 0.03
    """Weight of the rate, which is in nats an element; more gives fewer bits. At 0 the posterior's variances stay as
    they are."""
    noise: str | None = None
    """Noise on the latents that the decoder sees. With the objective ``kl``: ``gaussian``, samples of the posterior, or
    ``uniform`` of the same variance, as quantising with the base steps adds. With ``rate``: ``uniform`` as wide as its
    steps, ``rounding`` to them, or ``coded``, the latents that a codec with these steps leaves. None takes the first of
    each."""
    noise_scale: float = 1.0
    """Factor on that noise, or on those steps; less than 1 suits weights that are used at high quality."""
    noise_spread: float = 0.0
    """Range in octaves, 0 or more: each clip's factor is drawn between 2**-spread and 2**spread times
    ``noise_scale``, for weights that are used at a range of qualities."""
    optimizer: str = "adamw"
    """``adamw``, or ``muon``: Muon for the matrices of the blocks, and AdamW for the rest."""
    lr: float = 5e-4
    """Learning rate of AdamW."""
    muon_lr: float = 0.02
    """Learning rate of Muon, before its factor for the shape of a matrix."""
    weight_decay: float = 0.01
    """Weight decay of matrices; norms, biases and gates do not decay."""
    clip_norm: float = 5.0
    """Largest norm of the gradient over all tensors together; a longer one is scaled down."""
    warmup: int = 100
    """Steps over which the learning rates rise linearly at the start."""
    cooldown: float = 0.3
    """Share of the run, 0 to 1, at its end over which the learning rates fall linearly to zero."""
    ema: float = 0.999
    """Decay a step of the moving average of the weights, which is measured and stored; 0 to 0.999999."""
    seed: int = 0
    """Seed of everything random in the run."""

    device: str = "auto"
    """Torch device to run on."""
    precision: str = "auto"
    """``float32``; ``bfloat16``, which is autocast with weights and sums in float32; or ``auto``, bfloat16 where it is
    fast."""
    compile: bool | None = None
    """Whether to use ``torch.compile``; None does so on CUDA."""
    recompute: bool = False
    """Whether to use gradient checkpointing: much less memory, a third more time."""
    eval_every: int = 500
    """Steps between two measurements on held-out footage; the state is saved as often."""
    storage: str = "float16"
    """Type of the numbers in the output."""
    name: str | None = None
    """Name of the weights; None for the output's own."""

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise VidtwinError("the length of the training is not clear", "pass either --steps or --minutes")
        if self.train == "postfilter" and self.init is None:
            raise VidtwinError("--train postfilter betters the pictures of a network", "name its weights with --init")
        self._check_choices()
        positive = ("steps", "minutes", "max_stride", "cache_gb", "batch", "lr", "muon_lr", "clip_norm", "eval_every")
        sizes = ("size", "patch", "width", "encoder_depth", "decoder_depth", "short_side")
        for field in (*positive, *sizes):
            value = getattr(self, field)
            if value is not None and not 0 < value < float("inf"):
                raise VidtwinError(f"{_flag(field)} must be positive, not {value:g}")
        for field in ("ssim_weight", "kl_weight", "noise_scale", "noise_spread", "weight_decay", "warmup", "seed"):
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
        if self.objective == "kl" and self.noise in ("rounding", "coded"):
            raise VidtwinError(f"--noise {self.noise} needs quantisation steps", "add --objective rate")
        if self.noise == "coded" and self.train == "all":
            raise VidtwinError("--noise coded is for what stands behind latents", "add --train decoder, for instance")

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
        """Distribution of the noise that is drawn for a step: ``gaussian`` or ``uniform``."""
        return "uniform" if self.objective == "rate" or self.noise == "uniform" else "gaussian"

    @property
    def folder(self) -> Path:
        """Folder of the run's state, log and plot."""
        return self.output.with_suffix(".training")

    @property
    def weights_name(self) -> str:
        """Name of the weights."""
        return self.name or self.output.stem

    def to_json(self) -> dict[str, Any]:
        """Convert every option to what JSON can hold."""
        values = dataclasses.asdict(self)
        return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


def differences(options: TrainOptions, saved: dict[str, Any]) -> list[str]:
    """List, as ``--flag: before, now``, each option that a resumed run changes but may not."""
    # an option that an earlier version did not have had its default
    before = {field.name: saved.get(field.name, field.default) for field in dataclasses.fields(options)}
    return [
        f"{_flag(key)}: {before[key]}, now {value}"
        for key, value in options.to_json().items()
        if key not in _FREE_TO_CHANGE and before[key] != value
    ]


def _flag(field: str) -> str:
    return "--" + field.replace("_", "-")

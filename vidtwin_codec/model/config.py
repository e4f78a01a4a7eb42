"""The configuration of a VidTwin: every size of the network and its latents."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from vidtwin_codec.errors import VidtwinError

Shape = tuple[int, ...]
_OURS = ("linear", "any_grid", "lapping", "patterns", "postfilter")
# Far beyond what networks have; a few bytes of a file must not make us build layers for minutes.
_LIMITS = {
    "depth": 256,
    "num_layers": 256,
    "structure_blocks": 16,
    "dynamics_blocks": 16,
    "patch_size": 256,
    "lapping": 128,
    "frames": 1024,
    "channels": 1024,
    "square": 32,
}
MAX_TOKENS = 1 << 14
MAX_CLIP_PIXELS = 1 << 24


@dataclass(frozen=True)
class TransformerConfig:
    """One spatio-temporal transformer (the encoder's or the decoder's)."""

    hidden_size: int = 768
    depth: int = 16
    num_heads: int = 12
    causal: bool = True
    """Whether temporal attention sees only the current and earlier frames."""


@dataclass(frozen=True)
class QFormerConfig:
    """The Q-Former that reads each position's T frames into ``num_queries`` slots."""

    num_queries: int = 16
    hidden_size: int = 64
    num_layers: int = 6
    intermediate_size: int = 768
    num_heads: int = 8


@dataclass(frozen=True)
class PostFilterConfig:
    """The decoder's post-filter; see ``model/postfilter.py``."""

    square: int = 2
    """Side in pixels of the squares whose pixels are channels of one place."""
    channels: int = 16
    depth: int = 4
    """Number of convolutions, at least 2."""
    finest: float = 0.2
    """Coarseness of latents below which the filter is left out, because there is less to repair than it would spoil."""
    by_steps: bool = False
    """Whether it filters otherwise at another coarseness of the latents."""


@dataclass(frozen=True)
class VidTwinConfig:
    """A VidTwin; the defaults are the released ``structure_7_7_8_dynamics_7_8`` model.

    Raises:
        VidtwinError: on construction, when the sizes do not fit together.
    """

    frames: int = 16
    height: int = 224
    width: int = 224
    patch_size: int = 16
    encoder: TransformerConfig = TransformerConfig()
    decoder: TransformerConfig = TransformerConfig()
    qformer: QFormerConfig = QFormerConfig()
    structure_channels: int = 8
    dynamics_channels: int = 8
    structure_blocks: int = 1
    """Halvings of the structure's height and width (``cont_num_blocks``)."""
    dynamics_blocks: int = 1
    """Halvings of the dynamics' positions; 0 for none (``downsample_motion: false``)."""
    structure_width: int = 128
    """Channels of the structure branch's first convolution (``init_ch``)."""
    linear: bool = False
    """Whether everything outside the transformer blocks is linear: one map in place of a Q-Former turns frames into
    slots, there is no ReLU between maps and no norm before the last layer, and the structure is read from the tokens
    less the dynamics. The released network is not linear."""
    any_grid: bool = False
    """Whether the network takes any number of rows and columns of patches, without spatial positions. ``height`` and
    ``width`` are then those of a training clip. The released network does not."""
    lapping: int = 0
    """Pixels on each side of a patch's border that are filtered across it; see ``model/lapping.py``. The released
    network has none."""
    patterns: tuple[int, int, int] | None = None
    """Number of structure channels that are cosines of each of three colours, in the order of
    :class:`~vidtwin_codec.coding.patterns.Patterns`; slots are then temporal frequencies. The released network has
    none."""
    postfilter: PostFilterConfig | None = None
    """A filter of the decoded frames. The released network has none."""

    def __post_init__(self) -> None:
        for name, value in _sizes(self):
            least = 0 if name in {"structure_blocks", "dynamics_blocks", "lapping"} else 1
            if value < least or value > _LIMITS.get(name, 1 << 16):
                raise VidtwinError(f"weights configuration: {name} = {value} is out of range")
        self._check_patterns()
        self._check_filters()
        if self.height % self.patch_size or self.width % self.patch_size:
            raise VidtwinError(
                f"weights configuration: patch {self.patch_size} does not divide {self.height} x {self.width}"
            )
        for side, part in (("encoder", self.encoder), ("decoder", self.decoder), ("Q-Former", self.qformer)):
            if part.hidden_size % part.num_heads:
                raise VidtwinError(f"weights configuration: {part.num_heads} heads do not divide the {side}'s width")
        for transformer in (self.encoder, self.decoder):
            if transformer.hidden_size % 4:
                raise VidtwinError("weights configuration: hidden sizes must be multiples of 4 (sine-cosine positions)")
        if self.dynamics_blocks and self.grid[0] != self.grid[1]:
            raise VidtwinError("weights configuration: downsampled dynamics need a square grid of patches")
        if (self.any_grid or self.linear) and (self.structure_blocks or self.dynamics_blocks):
            raise VidtwinError("weights configuration: linear networks, and those of any grid, do not downsample")
        if not self.any_grid and self.tokens > MAX_TOKENS:
            raise VidtwinError(
                f"weights configuration: {self.tokens} patches a frame, at most {MAX_TOKENS} are allowed"
            )
        if self.frames * self.height * self.width > MAX_CLIP_PIXELS:
            raise VidtwinError(
                f"weights configuration: clips of {self.frames} x {self.height} x {self.width} pixels are too large"
            )

    def _check_patterns(self) -> None:
        if self.patterns is None:
            return
        if not isinstance(self.patterns, tuple) or [type(count) for count in self.patterns] != [int] * 3:
            raise VidtwinError("weights configuration: patterns must be three whole numbers")
        if min(self.patterns) < 0 or sum(self.patterns) != self.structure_channels:
            raise VidtwinError("weights configuration: there must be one pattern for each structure channel")

    def _check_filters(self) -> None:
        if self.lapping > self.patch_size // 2:
            raise VidtwinError(f"weights configuration: {self.lapping} pixels are more than half a patch")
        if self.postfilter is None:
            return
        if self.postfilter.depth < 2:
            raise VidtwinError("weights configuration: a post-filter has 2 convolutions at least")
        if self.patch_size % self.postfilter.square:
            raise VidtwinError(
                f"weights configuration: squares of {self.postfilter.square} pixels do not divide a patch"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Number of rows and columns of patch tokens in a frame."""
        return self.height // self.patch_size, self.width // self.patch_size

    @property
    def tokens(self) -> int:
        """Number of patch tokens in a frame."""
        return self.grid[0] * self.grid[1]

    @property
    def structure_grid(self) -> tuple[int, int]:
        """Number of rows and columns of the structure latent."""
        return halved(self.grid[0], self.structure_blocks), halved(self.grid[1], self.structure_blocks)

    @property
    def dynamics_grid(self) -> tuple[int, int]:
        """Number of positions of dynamics y (rows) and dynamics x (columns)."""
        return halved(self.grid[0], self.dynamics_blocks), halved(self.grid[1], self.dynamics_blocks)

    @property
    def structure_shape(self) -> tuple[int, int, int, int]:
        """Shape ``(n_q, h_S, w_S, d_S)`` of one clip's structure."""
        return (self.qformer.num_queries, *self.structure_grid, self.structure_channels)

    @property
    def dynamics_x_shape(self) -> tuple[int, int, int]:
        """Shape ``(d_D, T, w_D)`` of one clip's dynamics x."""
        return self.dynamics_channels, self.frames, self.dynamics_grid[1]

    @property
    def dynamics_y_shape(self) -> tuple[int, int, int]:
        """Shape ``(d_D, T, h_D)`` of one clip's dynamics y."""
        return self.dynamics_channels, self.frames, self.dynamics_grid[0]

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON that :meth:`from_dict` reads, without settings of the released network."""
        values = dataclasses.asdict(self)
        defaults = {name: VidTwinConfig.__dataclass_fields__[name].default for name in _OURS}
        return {name: value for name, value in values.items() if name not in _OURS or value != defaults[name]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> VidTwinConfig:
        """Read what :meth:`to_dict` wrote.

        Raises:
            VidtwinError: a field is missing, unknown or of the wrong type.
        """
        try:
            parts: dict[str, Any] = {
                "encoder": TransformerConfig(**values["encoder"]),
                "decoder": TransformerConfig(**values["decoder"]),
                "qformer": QFormerConfig(**values["qformer"]),
            }
            if isinstance(values.get("patterns"), list):
                parts["patterns"] = tuple(values["patterns"])
            if "postfilter" in values:
                parts["postfilter"] = PostFilterConfig(**values["postfilter"])
            return cls(**{**values, **parts})
        except (TypeError, KeyError, AttributeError) as error:
            raise VidtwinError(f"weights configuration is not readable: {error}") from error

    @classmethod
    def from_upstream(cls, params: dict[str, Any]) -> VidTwinConfig:
        """Read ``model.params`` of a released VidTwin YAML (names as upstream spells them).

        Raises:
            VidtwinError: a required entry is missing or asks for something VidTwin does not have.
        """
        try:
            encoder, decoder = params["encoder_config"]["params"], params["decoder_config"]["params"]
            qformer = params["temporal_qformer_config"]["params"]
            frames, height, width = encoder["input_size"]
            patch_frames, patch, patch_width = encoder["patch_size"]
            same = list(encoder["input_size"]) == list(decoder["input_size"]) and list(encoder["patch_size"]) == list(
                decoder["patch_size"]
            )
            if not same or patch_frames != 1 or patch != patch_width:
                raise VidtwinError(
                    "weights configuration: encoder and decoder must share one input size and square one-frame patches"
                )
            if encoder["hidden_size"] != qformer["encoder_hidden_size"]:
                raise VidtwinError("weights configuration: encoder_hidden_size is not the encoder's hidden_size")
            if encoder["hidden_size"] != decoder["hidden_size"]:
                raise VidtwinError("weights configuration: encoder and decoder must share one hidden_size")
            if _whole(encoder.get("in_channels", 3)) != 3:
                raise VidtwinError("weights configuration: only 3-channel (RGB) video is supported")
            return cls(
                frames=_whole(frames),
                height=_whole(height),
                width=_whole(width),
                patch_size=_whole(patch),
                encoder=_upstream_transformer(encoder),
                decoder=_upstream_transformer(decoder),
                qformer=QFormerConfig(
                    num_queries=_whole(qformer["num_query_tokens"]),
                    hidden_size=_whole(qformer["query_hidden_size"]),
                    num_layers=_whole(qformer.get("num_hidden_layers", 6)),
                    intermediate_size=_whole(qformer.get("intermediate_size", 768)),
                    num_heads=_whole(qformer.get("num_attention_heads", 8)),
                ),
                structure_channels=_whole(params["expect_ch"]),
                dynamics_channels=_whole(params["d_dim"]),
                structure_blocks=_whole(params["cont_num_blocks"]),
                dynamics_blocks=_whole(params["motion_num_blocks"]) if params["downsample_motion"] else 0,
                structure_width=_whole(params.get("init_ch", 128)),
            )
        except (TypeError, KeyError, ValueError, OverflowError, AttributeError) as error:
            raise VidtwinError(f"weights configuration: cannot read the upstream parameters ({error!r})") from error


def _whole(value: Any) -> int:
    """Return a whole number from the spellings of YAML and JSON."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError(f"{value!r} is not a whole number")
    return int(value)


def halved(size: int, times: int) -> int:
    """Return the size after ``times`` convolutions of kernel 3, stride 2, padding 1."""
    for _ in range(times):
        size = (size + 1) // 2
    return size


def _upstream_transformer(params: dict[str, Any]) -> TransformerConfig:
    return TransformerConfig(
        hidden_size=_whole(params["hidden_size"]),
        depth=_whole(params["depth"]),
        num_heads=_whole(params["num_heads"]),
        causal=bool(params.get("temporal_casual", True)),  # spelled so upstream
    )


def _sizes(config: VidTwinConfig) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    optional = () if config.postfilter is None else (config.postfilter,)
    for part in (config, config.encoder, config.decoder, config.qformer, *optional):
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if dataclasses.is_dataclass(value) or field.name in ("patterns", "postfilter"):
                continue
            if field.type == "float":
                if type(value) not in (int, float) or not 0 <= value <= 1:
                    raise VidtwinError(f"weights configuration: {field.name} = {value!r:.40} is not between 0 and 1")
                continue
            if field.type == "bool":
                if not isinstance(value, bool):
                    raise VidtwinError(f"weights configuration: {field.name} = {value!r:.40} is neither true nor false")
                continue
            if type(value) is not int:
                raise VidtwinError(f"weights configuration: {field.name} = {value!r:.40} is not a whole number")
            found.append((field.name, value))
    return found


def check_clip(config: VidTwinConfig, shape: Shape) -> None:
    """Make sure that the network takes clips ``[B, 3, T, H, W]`` of this shape.

    Raises:
        ValueError: the network does not take them.
    """
    sides = config.patch_size if config.any_grid else (config.height, config.width)
    fits = len(shape) == 5 and tuple(shape[1:3]) == (3, config.frames)
    if config.any_grid:
        fits = fits and not (shape[3] % config.patch_size or shape[4] % config.patch_size)
        expected = f"[B, 3, {config.frames}, H, W], sides being multiples of {sides}"
    else:
        fits = fits and tuple(shape[3:]) == sides
        expected = f"[B, {(3, config.frames, config.height, config.width)}]"
    if not fits:
        raise ValueError(f"these weights take clips of shape {expected}, not {list(shape)}")

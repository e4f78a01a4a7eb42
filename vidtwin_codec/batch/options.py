"""What a caller may choose about a whole batch, besides how each file is encoded or decoded."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidtwin_codec.batch.shards import Shard
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import VIDEO_SUFFIXES
from vidtwin_codec.options import DecodeOptions, EncodeOptions, NetworkOptions

# Where and how fast something is made; what is made is the same. Weights are told apart by their digest.
_NOT_IN_THE_OUTPUT = frozenset({"weights", "device", "batch", "force", "allow_playlists"})


@dataclass(frozen=True)
class BatchOptions:
    """Choices of ``vidtwin batch``."""

    work: EncodeOptions | DecodeOptions = field(default_factory=EncodeOptions)
    """How each file is encoded, or decoded. Its ``force`` replaces outputs that no batch has made."""
    extension: str = ".mp4"
    """Of decoded videos; says which container they get."""
    measure: bool = False
    """Add PSNR, by decoding every .vtw that has none yet."""
    digest: bool = False
    """Tell inputs apart by SHA-256 instead of by size and time of modification."""
    hidden: bool = False
    """Take hidden files and folders, too."""
    root: Path | None = None
    """Files below this folder keep their place below it."""
    shard: Shard | None = None
    jobs: int | None = None
    """Files in hand at once; None chooses."""
    merge: bool | None = None
    """Put clips of different files into one call of the network; None: on a GPU, where that is faster."""

    def __post_init__(self) -> None:
        if self.measure and self.decodes:
            raise VidtwinError("only encoding can be measured", "leave --measure out")
        if self.jobs is not None and self.jobs < 1:
            raise VidtwinError("at least one file must be in hand at once")
        if not self.extension.startswith("."):
            object.__setattr__(self, "extension", f".{self.extension}")

    @property
    def decodes(self) -> bool:
        """Whether .vtw files become videos, not the other way."""
        return isinstance(self.work, DecodeOptions)

    @property
    def input_suffixes(self) -> frozenset[str]:
        """Of the files of a folder that are taken."""
        return frozenset({".vtw"}) if self.decodes else VIDEO_SUFFIXES

    @property
    def output_suffix(self) -> str:
        """Of what is written."""
        return self.extension if self.decodes else ".vtw"


def fingerprint(options: NetworkOptions) -> dict[str, Any]:
    """Everything among ``options`` that can change an output, as JSON would give it back."""
    values = {name: value for name, value in dataclasses.asdict(options).items() if name not in _NOT_IN_THE_OUTPUT}
    plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return plain


def same_options(recorded: dict[str, Any], options: NetworkOptions) -> bool:
    """Whether a recorded fingerprint is of these options; one that an older version did not have had its default."""
    return recorded == {
        name: value
        for name, value in fingerprint(options).items()
        if name in recorded or value != fingerprint(type(options)())[name]
    }

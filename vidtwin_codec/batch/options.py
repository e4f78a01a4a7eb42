"""Options of a whole batch."""

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

# These options do not change the output, only where and how fast it is made; weights are compared by their digest.
_NOT_IN_THE_OUTPUT = frozenset({"weights", "device", "batch", "force", "allow_playlists", "hwaccel"})


@dataclass(frozen=True)
class BatchOptions:
    """Options of ``vidtwin batch``."""

    file_options: EncodeOptions | DecodeOptions = field(default_factory=EncodeOptions)
    """Options for encoding, or decoding, each file. Their ``force`` replaces outputs that no batch has made."""
    extension: str = ".mp4"
    """Extension of decoded videos, which says what container they get."""
    measure: bool = False
    """Whether to measure PSNR, by decoding every .vtw that has none yet."""
    digest: bool = False
    """Whether to compare inputs by SHA-256 instead of by size and time of modification."""
    hidden: bool = False
    """Whether to take hidden files and folders, too."""
    root: Path | None = None
    """Folder below which files keep their relative path."""
    shard: Shard | None = None
    """Part of the inputs to take; None takes all."""
    jobs: int | None = None
    """Number of files at once; None chooses."""
    merge: bool | None = None
    """Whether clips of different files go into one call of the network; None does so on a GPU, where it is faster."""

    def __post_init__(self) -> None:
        if self.measure and self.decodes:
            raise VidtwinError("only encoding can be measured", "leave --measure out")
        if self.jobs is not None and self.jobs < 1:
            raise VidtwinError("the number of files at once must be at least 1")
        if not self.extension.startswith("."):
            object.__setattr__(self, "extension", f".{self.extension}")

    @property
    def decodes(self) -> bool:
        """Whether .vtw files become videos, not the other way."""
        return isinstance(self.file_options, DecodeOptions)

    @property
    def input_suffixes(self) -> frozenset[str]:
        """Extensions of the files that are taken from a folder."""
        return frozenset({".vtw"}) if self.decodes else VIDEO_SUFFIXES

    @property
    def output_suffix(self) -> str:
        """Extension of the outputs."""
        return self.extension if self.decodes else ".vtw"


def fingerprint(options: NetworkOptions) -> dict[str, Any]:
    """Collect the options that can change an output, as JSON would give them back."""
    values = {name: value for name, value in dataclasses.asdict(options).items() if name not in _NOT_IN_THE_OUTPUT}
    plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return plain


def same_options(recorded: dict[str, Any], options: NetworkOptions) -> bool:
    """Whether a recorded fingerprint is that of ``options``; an option that it lacks had its default."""
    return recorded == {
        name: value
        for name, value in fingerprint(options).items()
        if name in recorded or value != fingerprint(type(options)())[name]
    }

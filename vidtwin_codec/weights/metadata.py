"""The metadata of this project's weights files, read without torch."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.safetensors_file import read_header

if TYPE_CHECKING:
    from vidtwin_codec.coding import Steps

VERSION = 1
DECODES = "decodes"
"""Key of the digests of other weights whose latents some weights decode, separated by spaces."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_IMPORT_HINT = "convert it with: vidtwin weights import FILE"


@dataclass(frozen=True)
class WeightsMetadata:
    """The metadata of a ``.safetensors`` file in this project's format.

    Attributes:
        name: name that its maker gave it.
        config: ``VidTwinConfig.to_dict()`` of the network.
        steps_json: base quantisation steps as stored; None if there are none.
        compute_dtype: lowest precision without visible loss, ``"float32"`` or ``"bfloat16"``.
        tf32: whether rounding the factors of products to TF32's 10 bits is known to lose nothing visible.
        origin: origin of the weights in words.
        description: description of the weights in a few words; may be empty.
        parameters: number of parameters, without the zeros of sparse tensors.
        storage: type of most of them, ``"float16"``, ``"bfloat16"`` or ``"float32"``.
        decodes: SHA-256 digests of other weights whose latents these decode, too, because their encoders are the same.
    """

    name: str
    config: dict[str, Any]
    steps_json: dict[str, Any] | None
    compute_dtype: str
    origin: str
    description: str
    parameters: int
    storage: str
    tf32: bool = False
    decodes: tuple[str, ...] = ()

    @property
    def steps(self) -> Steps | None:
        """Base quantisation steps, one for each channel; None if there are none."""
        if self.steps_json is None:
            return None
        from vidtwin_codec.coding import Steps

        return Steps.from_json(self.steps_json)


def read_metadata(path: str | Path) -> WeightsMetadata:
    """Read the metadata of a weights file, which takes no longer for large files.

    Raises:
        VidtwinError: the file is missing, truncated, not a safetensors file, not in this project's format, or in a
            newer version of it.
    """
    path = Path(path)
    header = read_header(path)
    metadata = header.metadata
    if metadata.get("format") != "vidtwin":
        raise VidtwinError(f"{path}: not in vidtwin's own format", _IMPORT_HINT)
    if metadata.get("version") != str(VERSION):
        raise VidtwinError(
            f"{path}: weights of format version {metadata.get('version')!r}; this vidtwin reads version {VERSION}",
            "install a newer vidtwin-codec",
        )
    compute_dtype = metadata.get("compute_dtype")
    if compute_dtype not in ("float32", "bfloat16"):
        raise VidtwinError(f"{path}: unknown compute_dtype {compute_dtype!r} in its metadata")
    counts: dict[str, int] = {}
    for tensor in header.tensors.values():
        if tensor.dtype != "I32":  # I32 tensors hold places of parameters, not parameters
            counts[tensor.dtype] = counts.get(tensor.dtype, 0) + math.prod(tensor.shape)
    most = max(counts, key=lambda dtype: counts[dtype], default="")
    config = _object(path, metadata, "config")
    if config is None:
        raise VidtwinError(f"{path}: its metadata holds no config")
    return WeightsMetadata(
        name=metadata.get("name") or path.stem,
        config=config,
        steps_json=_object(path, metadata, "steps"),
        compute_dtype=compute_dtype,
        origin=metadata.get("origin", ""),
        description=metadata.get("description", ""),
        parameters=sum(counts.values()),
        storage={"F16": "float16", "BF16": "bfloat16", "F32": "float32"}.get(most, most),
        tf32=metadata.get("tf32") == "1",
        decodes=_decodes(path, metadata),
    )


def _decodes(path: Path, metadata: dict[str, str]) -> tuple[str, ...]:
    digests = metadata.get(DECODES, "").split()
    if not all(map(_DIGEST.fullmatch, digests)):
        raise VidtwinError(f"{path}: {DECODES} in its metadata is not readable")
    return tuple(digests)


def _object(path: Path, metadata: dict[str, str], key: str) -> dict[str, Any] | None:
    if key not in metadata:
        return None
    try:
        value = json.loads(metadata[key])
    except (ValueError, RecursionError) as error:
        raise VidtwinError(f"{path}: {key} in its metadata is not readable") from error
    if not isinstance(value, dict):
        raise VidtwinError(f"{path}: {key} in its metadata is not readable")
    return value

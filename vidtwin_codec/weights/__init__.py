"""Weights: names to files to digests. Nothing here imports torch until it converts or calibrates."""

from vidtwin_codec.calibration.fetching import FETCHABLE, fetch
from vidtwin_codec.calibration.importing import ImportOptions, ImportResult, import_checkpoint
from vidtwin_codec.weights.metadata import WeightsMetadata, read_metadata
from vidtwin_codec.weights.store import (
    DEFAULT_NAME,
    Entry,
    Verdict,
    cache_folder,
    find_by_digest,
    list_entries,
    resolve,
    same_weights,
    verify,
    whole_name,
)

__all__ = [
    "DEFAULT_NAME",
    "FETCHABLE",
    "Entry",
    "ImportOptions",
    "ImportResult",
    "Verdict",
    "WeightsMetadata",
    "cache_folder",
    "fetch",
    "find_by_digest",
    "import_checkpoint",
    "list_entries",
    "read_metadata",
    "resolve",
    "same_weights",
    "verify",
    "whole_name",
]

"""Weights files: finding them by name, digest or path. Nothing here imports torch."""

from vidtwin_codec.weights.hub import FETCHABLE
from vidtwin_codec.weights.metadata import WeightsMetadata, read_metadata
from vidtwin_codec.weights.store import (
    DEFAULT_NAME,
    Entry,
    Verdict,
    cache_folder,
    find_by_digest,
    find_decoder,
    list_entries,
    resolve,
    same_weights,
    share_latents,
    verify,
    whole_name,
)

__all__ = [
    "DEFAULT_NAME",
    "FETCHABLE",
    "Entry",
    "Verdict",
    "WeightsMetadata",
    "cache_folder",
    "find_by_digest",
    "find_decoder",
    "list_entries",
    "read_metadata",
    "resolve",
    "same_weights",
    "share_latents",
    "verify",
    "whole_name",
]

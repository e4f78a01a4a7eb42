"""All numbers of a comparison, for ``--also-json``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from vidtwin_codec.evaluation.compare.bd import clip_delta, mean_delta
from vidtwin_codec.evaluation.compare.results import CURVES, Comparison


def all_numbers(comparison: Comparison) -> dict[str, Any]:
    """Collect the comparison's values, and as ``deltas`` the Bjøntegaard deltas by codec, variant and metric."""
    return {**comparison.to_json(), "deltas": _deltas(comparison)}


def _deltas(comparison: Comparison) -> list[dict[str, Any]]:
    found = []
    for codec in comparison.codecs:
        for variant in comparison.variants:
            for metric in CURVES:
                mean = mean_delta(comparison.clips, codec, variant, metric)
                each = {clip.name: clip_delta(clip, codec, variant, metric) for clip in comparison.clips}
                found.append(
                    {
                        "codec": codec,
                        "variant": asdict(variant),
                        "metric": metric,
                        "mean": asdict(mean) if mean else None,
                        "clips": {name: asdict(one) if one else None for name, one in each.items()},
                    }
                )
    return found

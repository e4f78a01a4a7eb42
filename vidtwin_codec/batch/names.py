"""Names of outputs: where each one goes, such that no two go to the same place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePath

from vidtwin_codec.batch.sources import Input

_SHOWN = 4


def name_outputs(inputs: Sequence[Input], suffix: str) -> tuple[dict[Input, PurePath], dict[Input, str], list[str]]:
    """Name the outputs: each input's relative path with another extension.

    Inputs that differ only in their extension keep it: ``a.mp4`` and ``a.mov`` become ``a.mp4.vtw`` and ``a.mov.vtw``.
    Names depend on all inputs, so they are chosen before inputs are shared out to shards.

    Args:
        inputs: all inputs.
        suffix: extension of the outputs, with its dot.

    Returns:
        Paths of outputs below the destination; reasons why some inputs can have none; notes for the user.
    """
    names = {one: one.relative.with_suffix(suffix) for one in inputs}
    whole: list[Input] = []
    while clashing := [one for group in _same(names) for one in group if names[one] != _whole_name(one, suffix)]:
        names |= {one: _whole_name(one, suffix) for one in clashing}
        whole += clashing
    problems = {}
    for group in _same(names):
        for one in group:
            other = next(path for path in (two.path for two in group) if path != one.path)
            problems[one] = f"would go to the same output as {other}; name a folder that holds both, or set --root"
            del names[one]
    notes = []
    if whole:
        some = sorted(str(one.relative) for one in whole)
        shown = ", ".join([*some[:_SHOWN], *(["…"] if len(some) > _SHOWN else [])])
        notes.append(f"alike but for their extension, which the output keeps: {len(whole)} ({shown})")
    return names, problems, notes


def _same(names: dict[Input, PurePath]) -> list[list[Input]]:
    groups: dict[PurePath, list[Input]] = defaultdict(list)
    for one, name in names.items():
        groups[name].append(one)
    return [group for group in groups.values() if len(group) > 1]


def _whole_name(one: Input, suffix: str) -> PurePath:
    return one.relative.with_name(one.relative.name + suffix)

"""A whole comparison: one source after the other goes through vidtwin and every conventional codec."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidtwin_codec import __version__, weights
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.compare import bd
from vidtwin_codec.evaluation.compare.codecs import CODECS, ConventionalCodec, Gop
from vidtwin_codec.evaluation.compare.conventional import sweep
from vidtwin_codec.evaluation.compare.job import ClipJob
from vidtwin_codec.evaluation.compare.ladder import climb, most_rungs
from vidtwin_codec.evaluation.compare.options import CompareOptions
from vidtwin_codec.evaluation.compare.reference import Reference, frame_indices, prepare
from vidtwin_codec.evaluation.compare.results import Clip, Comparison, Image, Series, Variant
from vidtwin_codec.evaluation.compare.sources import titles
from vidtwin_codec.evaluation.compare.work_folder import WorkFolder
from vidtwin_codec.files import temporary_folder
from vidtwin_codec.machine import cores
from vidtwin_codec.media.ffmpeg import executable
from vidtwin_codec.network.runner import LoadNetwork, NetworkCache
from vidtwin_codec.options import Reporter

VIEW_FRAMES = 3
"""Number of frames of each clip that are kept for viewing."""


def compare(
    sources: Sequence[str | os.PathLike[str]],
    options: CompareOptions | None = None,
    *,
    work: WorkFolder | None = None,
    reporter: Reporter | None = None,
) -> Comparison:
    """Compare vidtwin with conventional codecs on the same frames of every source.

    Args:
        sources: the videos.
        options: defaults for everything left out.
        work: keeps finished measurements, and has those of earlier runs; None keeps nothing.
        reporter: receives lines about progress, and warnings about what is left out.

    Returns:
        All numbers, and frames for viewing. A source that cannot be compared is named in ``failed``.

    Raises:
        VidtwinError: no source could be compared, no codec can be run, the weights cannot be read, or the package
            bjontegaard is missing.
    """
    options, reporter = options or CompareOptions(), reporter or Reporter()
    bd.check_installed()
    missing = {CODECS[name].label: reason for name in options.against if (reason := CODECS[name].missing())}
    for label, reason in missing.items():
        reporter.warned(f"{label} is left out: {reason}")
    codecs = [CODECS[name] for name in options.against if CODECS[name].label not in missing]
    if not codecs:
        raise VidtwinError("none of the codecs to compare with can be run", "use an ffmpeg that has them")
    entry = weights.resolve(options.weights)
    load = NetworkCache().load
    network = load(entry, options, "encoder")
    variants = [Variant(preset, gop.value) for preset in options.presets for gop in options.gops]
    comparison = Comparison(
        clips=[],
        codecs={codec.name: codec.label for codec in codecs},
        variants=variants,
        missing=missing,
        failed={},
        settings={codec.label: _settings(codec, variants, network.model.config.frames) for codec in codecs},
        clip_frames=network.model.config.frames,
        excerpt=_excerpt(options),
        used=_used(f"{entry.name}, SHA-256 {entry.sha256[:12]}…", str(network.device)),
    )
    names = titles([os.fspath(source) for source in sources])
    each = most_rungs(options) + len(codecs) * len(variants) * options.rates
    reporter.stage("measuring", "encoding").started(len(names) * each, str(network.device))
    for number, (source, name) in enumerate(names.items(), 1):
        reporter.said(f"{name} ({number} of {len(names)})")
        try:
            clip = _Run(comparison, codecs, options, load, work or WorkFolder(), reporter).clip(source, name)
        except VidtwinError as error:
            comparison.failed[name] = error.message
            reporter.warned(f"{name} is left out: {error.message}")
            continue
        for text in clip.warnings:
            reporter.warned(f"{clip.name}: {text}")
        comparison.clips.append(clip)
    if not comparison.clips:
        raise VidtwinError("none of the sources could be compared: " + "; ".join(comparison.failed.values()))
    return comparison


@dataclass(frozen=True)
class _Run:
    """Everything that the runs of all clips have in common."""

    comparison: Comparison
    codecs: Sequence[ConventionalCodec]
    options: CompareOptions
    load: LoadNetwork
    work: WorkFolder
    reporter: Reporter

    def clip(self, source: str, title: str) -> Clip:
        """Run every codec on one source."""
        options, used = self.options, self.comparison.used
        with temporary_folder() as folder:
            reference = prepare(source, folder, frames=options.frames, seconds=options.seconds, start=options.start)
            wanted = frame_indices(reference.frames, VIEW_FRAMES)
            job = ClipJob(reference, folder, wanted, self.work, self.reporter)
            ladder, reasons = climb(job, options, self.load, f"{used['device']}, {self._machine}")
            clip = Clip(
                name=title,
                width=reference.width,
                height=reference.height,
                frames=reference.frames,
                fps=str(reference.fps),
                vidtwin=ladder,
                reasons=reasons,
                warnings=list(reference.warnings),
                view_frames=wanted,
                views=_views(reference, wanted),
            )
            for codec in self.codecs:
                for variant in self.comparison.variants:
                    clip.others.append(self._series(codec, variant, job, ladder))
                    if not clip.others[-1].points:
                        failure = "; ".join(clip.others[-1].notes)
                        clip.warnings.append(f"{codec.label} {variant.preset}, {variant.gop}: {failure}")
        return clip

    def _series(self, codec: ConventionalCodec, variant: Variant, job: ClipJob, ladder: Series) -> Series:
        return sweep(
            *(codec, variant, job, ladder),
            clip_frames=self.comparison.clip_frames,
            rates=self.options.rates,
            machine=self._machine,
        )

    @property
    def _machine(self) -> str:
        used = self.comparison.used
        return f"ffmpeg {used['ffmpeg']}, {used['processor']}"


def _excerpt(options: CompareOptions) -> str:
    length = f"{options.frames} frames" if options.frames else f"{options.seconds:g} seconds"
    return f"{length} after the first {options.start:g} seconds" if options.start else length


def _views(reference: Reference, wanted: Sequence[int]) -> list[Image]:
    found: list[Image] = []
    at = 0
    for frames in reference.read():
        found += [np.array(frames[index - at]) for index in wanted if at <= index < at + len(frames)]
        at += len(frames)
    return found


def _settings(codec: ConventionalCodec, variants: Sequence[Variant], clip_frames: int) -> dict[str, str]:
    """Write the options of each variant, by its key, as one would type them."""
    found = {}
    for variant in variants:
        # the placeholder is a number that no other option contains, and is replaced by a word
        arguments = codec.arguments(variant.preset, Gop(variant.gop), clip_frames, _PLACEHOLDER)
        found[variant.key] = " ".join(arguments).replace(str(_PLACEHOLDER), codec.dial)
    return found


_PLACEHOLDER = 47


def _used(network: str, device: str) -> dict[str, str]:
    told = subprocess.run([executable(), "-version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"ffmpeg version (\S+)", told)
    usable = cores()
    return {
        "vidtwin": __version__,
        "weights": network,
        "device": device,
        "ffmpeg": version[1] if version else "unknown",
        "processor": f"{_processor()}, {usable} {'core' if usable == 1 else 'cores'} usable",
    }


def _processor() -> str:
    try:
        match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        match = None
    return match[1] if match else platform.processor() or platform.machine()

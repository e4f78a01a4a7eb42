"""Measuring one video or many: which .vtw belongs to which source, and the mean over all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.measure.options import BOUNDARIES, COUNTS, KEYS, RATES, Measurement, MeasureOptions, rates
from vidtwin_codec.files import VIDEO_SUFFIXES, check_output, files_in
from vidtwin_codec.metrics import METRICS
from vidtwin_codec.options import Reporter

PathLike = str | os.PathLike[str]


class MeasureJob(NamedTuple):
    """A video, and its .vtw if there is one."""

    source: str
    vtw: str | None


Measurer = Callable[[MeasureJob, Reporter], Measurement]


def measure(
    source: PathLike,
    vtw: PathLike | None = None,
    options: MeasureOptions | None = None,
    *,
    reporter: Reporter | None = None,
) -> Measurement:
    """Measure how close a video is to what its .vtw decodes to.

    Under the protocol ``codec`` the .vtw (a temporary one if none is given) is decoded in memory and compared with the
    source frame by frame, at the source's own size and rate. Under the protocol ``vidtwin`` there is no .vtw; the
    network alone is measured as the paper does it. Memory does not grow with duration, except by 8 bytes a frame and
    metric.

    Args:
        source: a video, an image sequence (``frames_%04d.png``) or ``-`` for standard input.
        vtw: what it was encoded to.
        options: defaults for everything left out.
        reporter: receives progress and warnings.

    Raises:
        VidtwinError: a file cannot be read, the two do not belong together, or the side-by-side video cannot be
            written.
    """
    options = options or MeasureOptions()
    job = MeasureJob(os.fspath(source), None if vtw is None else os.fspath(vtw))
    check(options, [job])
    return measurer(options)(job, reporter or Reporter())


def check(options: MeasureOptions, jobs: Sequence[MeasureJob]) -> None:
    """Refuse jobs that cannot be done, before anything is computed.

    Raises:
        VidtwinError: there is a .vtw under the vidtwin protocol, or a side-by-side video for several files, or it
            cannot be written.
    """
    if options.protocol == "vidtwin" and any(job.vtw for job in jobs):
        raise VidtwinError("the vidtwin protocol measures the network alone", "leave the .vtw files out")
    if options.side_by_side is None:
        return
    if len(jobs) > 1:
        raise VidtwinError("a side-by-side video shows one file", "name one video and at most one .vtw")
    for name in jobs[0]:
        check_output(options.side_by_side, name, force=options.force)


def measurer(options: MeasureOptions) -> Measurer:
    """Make a function that measures one file after the other, and reads its networks once.

    Raises:
        VidtwinError: the weights cannot be read, or there is no such device.
    """
    if options.protocol == "vidtwin":
        from vidtwin_codec.evaluation.measure.paper import Network, measure_paper

        network = Network(options)
        return lambda job, reporter: measure_paper(job.source, network, options, reporter)
    from vidtwin_codec.evaluation.measure.codec import measure_codec
    from vidtwin_codec.network.runner import NetworkCache

    load = NetworkCache().load
    return lambda job, reporter: measure_codec(job.source, job.vtw, options, reporter, load)


def pair(source: str, files: Sequence[str], say: Callable[[str], None] = lambda _: None) -> list[MeasureJob]:
    """Match .vtw files with their videos.

    Args:
        source: a video, or a folder of videos at any depth.
        files: .vtw files, or folders of them. With one video all of them are measured; with a folder, each belongs to
            the video of the same name but for the extension. Without any, every video is to be encoded.
        say: receives a message about videos without a .vtw.

    Raises:
        VidtwinError: there is nothing to measure, a second video, or a .vtw that belongs to no video or to several.
    """
    packed = [path for name in files for path in files_in(name, {".vtw"}, "no .vtw files in it")]
    for path in packed:
        if Path(path).suffix.lower() in VIDEO_SUFFIXES:
            raise VidtwinError(f"{path}: is no .vtw, and only the first name is a video", "name a folder of videos")
    if not Path(source).is_dir():
        return [MeasureJob(source, path) for path in packed] or [MeasureJob(source, None)]
    videos = files_in(source, VIDEO_SUFFIXES, "no videos in it, by their extensions")
    if not packed:
        return [MeasureJob(video, None) for video in videos]
    by_stem: dict[str, list[str]] = {}
    for video in videos:
        by_stem.setdefault(Path(video).stem, []).append(video)
    jobs = []
    for path in packed:
        stem = Path(path).stem
        found = by_stem.get(stem, [])
        if len(found) != 1:
            several = f"{len(found)} videos are" if found else "no video is"
            raise VidtwinError(f"{path}: {several} called {stem} in {source}", "name one video and its .vtw files")
        jobs.append(MeasureJob(found[0], path))
    left_out = len(videos) - len({job.source for job in jobs})
    if left_out:
        say(f"{left_out} of {len(videos)} videos have no .vtw and are left out")
    return sorted(jobs)


def summarize(source: str, measured: Sequence[Measurement]) -> dict[str, Any]:
    """Summarize all files under the same keys: sums of counts, rates of those sums, and means of metrics over files."""
    each = [one.to_json() for one in measured]
    values: dict[str, Any] = dict.fromkeys(KEYS)
    values |= {"source": source, "files": len(each), "reasons": {}, "warnings": []}
    for name in ("frames", "clips", "duration", "seconds", *COUNTS):
        numbers = [one[name] for one in each]
        values[name] = None if None in numbers else sum(numbers)
    for name in ("protocol", "width", "height", "fps", "quality", "short_side", "weights", "device", "luma_matrix"):
        known = {one[name] for one in each}
        values[name] = known.pop() if len(known) == 1 else None
    if values["video_bytes"] is None:
        values["reasons"] |= {
            name: each[0]["reasons"][name] for name in each[0]["reasons"] if name in (*COUNTS, *RATES)
        }
    else:
        values |= rates(values)
    for name in (*METRICS, *BOUNDARIES):
        numbers = [one[name] for one in each if one[name] is not None]
        values[name] = sum(numbers) / len(numbers) if numbers else None
        if len(numbers) < len(each):
            reason = next(one["reasons"][name] for one in each if one[name] is None)
            part = f"{len(each) - len(numbers)} of {len(each)} files are left out: " if numbers else ""
            values["reasons"][name] = part + reason
    return values

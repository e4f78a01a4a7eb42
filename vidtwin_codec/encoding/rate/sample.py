"""A sample of a video: a few evenly spread clips as a small video, on which settings are compared."""

from __future__ import annotations

from fractions import Fraction
from itertools import chain
from pathlib import Path

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import FrameReader, MediaInfo, probe
from vidtwin_codec.media.excerpt import pieces, write_lossless
from vidtwin_codec.media.reader import expected_frames

_MAX_RAW_BYTES = 1 << 30
"""Most bytes of a sample's raw frames, which lossless coding roughly halves: 10 clips of 1080p."""
_LEAST_CLIPS = 2


def sample_runs(frames: int, clip_frames: int, clips: int) -> list[tuple[int, int]]:
    """List, as ``(first frame, frames)``, whole clips in the middle of each of ``clips`` equal parts of a video."""
    whole = frames // clip_frames
    return [((2 * part + 1) * whole // (2 * clips) * clip_frames, clip_frames) for part in range(clips)]


def affordable_clips(info: MediaInfo, clip_frames: int, wanted: int) -> int:
    """Limit the number of clips where frames are large, so that the size of a sample is bounded."""
    return max(_LEAST_CLIPS, min(wanted, _MAX_RAW_BYTES // (info.width * info.height * 3 * clip_frames)))


def take_sample(
    info: MediaInfo, fps: Fraction, frames: int, clip_frames: int, clips: int, folder: Path
) -> MediaInfo | None:
    """Write the sample into ``folder``.

    Args:
        info: what probing the video found.
        fps: frame rate that is coded.
        frames: number of frames of the video at that rate.
        clip_frames: frames of a clip.
        clips: number of clips wanted.
        folder: where the sample is written.

    Returns:
        The sample, at ``fps``. None if the video has hardly more clips than wanted, or none of them can be decoded;
        then the video itself is to be used, and reading it will say what is wrong.

    Raises:
        VidtwinError: the disk is full.
    """
    if frames // clip_frames <= clips + clips // 2:
        return None
    target = folder / "sample.mkv"
    with FrameReader(info, fps=fps, runs=sample_runs(frames, clip_frames, clips)) as reader:
        found = pieces(reader)
        try:
            first = next(found)
        except VidtwinError:  # the start of the video may be undamaged all the same
            return None
        write_lossless(chain([first], found), target, width=info.width, height=info.height, fps=fps)
    return probe(target)


def count_frames(info: MediaInfo, fps: Fraction) -> int:
    """Count the frames that a reader gives at ``fps``, by decoding the video if nothing else tells."""
    frames = expected_frames(info, fps)
    if frames is not None:
        return frames
    total = 0
    with FrameReader(info, width=2, height=2, fps=fps) as reader:
        while count := len(reader.read(1024)):
            total += count
    return total

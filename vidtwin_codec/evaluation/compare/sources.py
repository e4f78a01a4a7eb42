"""The videos that are compared, and their names in the report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import VIDEO_SUFFIXES, files_in


def find_videos(sources: Sequence[str]) -> list[str]:
    """List files as they are named, and all videos in folders, at any depth, in the order of their names.

    Raises:
        VidtwinError: a folder has no videos or cannot be read, or a file is named twice.
    """
    found = [
        video for name in sources for video in files_in(name, VIDEO_SUFFIXES, "no videos in it, by their extensions")
    ]
    seen: set[str] = set()
    for name in found:
        if (real := os.path.realpath(name)) in seen:
            raise VidtwinError(f"{name}: named twice", "name every video once")
        seen.add(real)
    return found


def titles(videos: Sequence[str]) -> dict[str, str]:
    """Give each video a name in the report, with as few of its folders as tell it from the others."""
    found: dict[str, str] = {}
    left, parts = list(videos), 1
    while left:
        shown = {video: str(Path(*Path(video).parts[-parts:])) for video in left}
        times = Counter(shown.values())
        # a path without further folders is shown whole
        done = [video for video in left if times[shown[video]] == 1 or parts >= len(Path(video).parts)]
        found |= {video: shown[video] for video in done}
        left, parts = [video for video in left if video not in found], parts + 1
    return {video: found[video] for video in videos}

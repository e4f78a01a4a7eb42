"""Which videos are compared, and what the report calls them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error


def find_videos(sources: Sequence[str]) -> list[str]:
    """Files as they are named, and every video in folders (at any depth), by name.

    Raises:
        VidtwinError: a folder has no videos, or cannot be read; a file is named twice.
    """
    from vidtwin_codec.training.footage import VIDEO_SUFFIXES

    found: list[str] = []
    for name in sources:
        folder = Path(name)
        if not folder.is_dir():
            found.append(name)
            continue
        try:
            inside = sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
        except OSError as error:
            raise explain_os_error(error, folder) from error
        if not inside:
            raise VidtwinError(f"{name}: no videos in it, by their extensions")
        found += map(str, inside)
    twice = [name for name, times in Counter(found).items() if times > 1]
    if twice:
        raise VidtwinError(f"{twice[0]}: named twice", "name every video once")
    return found


def titles(videos: Sequence[str]) -> dict[str, str]:
    """Video → its name in the report: without folders where that is unambiguous."""
    times = Counter(Path(video).name for video in videos)
    return {video: Path(video).name if times[Path(video).name] == 1 else video for video in videos}

"""A notebook's view of a file or a dataset: its numbers, and a few frames where they take little time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vidtwin_codec.container import Header
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.images import data_uri
from vidtwin_codec.options.display import html_table

if TYPE_CHECKING:
    from vidtwin_codec.latents.dataset import VtwDataset
    from vidtwin_codec.latents.file import VtwFile

FRAMES = 4
SECONDS = 5.0
"""No frame is begun later than this."""
_PIXELS = 70_000_000
"""Most pixels of all clips that are decoded together: four of 1280 × 720, two of 1920 × 1080."""
_DENSE = 10  # times as much work for a pixel
_GROUP_BYTES = 1 << 20
_HEIGHT = 240

Strip = list[tuple[str, str]]


def file_html(file: VtwFile) -> str:
    """Numbers of a file and frames spread over it."""
    header = file.header
    images, note = _strip([file], _places(file))
    values = {
        "size": f"{header.width} × {header.height}",
        "coded size": f"{header.coded_width} × {header.coded_height}",
        "frames": file.frame_count,
        "frames a second": str(file.fps),
        "seconds": file.duration,
        "clips": len(file),
        "tiles of a clip": file.tiles,
        "groups": len(file.group_clips),
        "bytes of groups": sum(file.group_bytes),
        "quality": header.options.get("quality"),
        "weights": f"{header.weights_name} ({header.weights_sha256[:12]}…)",
        **{name: list(shape) for name, shape in header.layout.shapes()._asdict().items()},
    }
    return html_table(f"VtwFile {file.name}", values, images, note)


def dataset_html(dataset: VtwDataset, files: Sequence[VtwFile]) -> str:
    """Numbers of a dataset and the first frames of some of its files."""
    images, note = _strip(files, [0] * len(files))
    values = {
        "samples": len(dataset),
        "clips of a sample": dataset.clips,
        "tiles": dataset.tiles,
        "files": len(dataset.files),
        "files skipped": len(dataset.skipped),
    }
    return html_table("VtwDataset", values, images, note)


def _places(file: VtwFile) -> list[int]:
    """Numbers of frames to show: where groups begin if there are many, for what lies before is unpacked, too."""
    groups = len(file.group_clips)
    if groups >= FRAMES:
        starts = [sum(file.group_clips[:number]) for number in range(groups)]
        return [starts[groups * place // FRAMES] * file.header.clip_frames for place in range(FRAMES)]
    return sorted({file.frame_count * (2 * place + 1) // (2 * FRAMES) for place in range(FRAMES)})


def _strip(files: Sequence[VtwFile], places: Sequence[int]) -> tuple[Strip, str | None]:
    """Frames of one file, or the first of each of several, with the reason why there are none or fewer."""
    every = list(files) * len(places) if len(files) == 1 else files
    images: Strip = []
    began, left = time.monotonic(), float(_PIXELS)
    try:
        for file, place in zip(every, places, strict=True):
            if file.closed:
                return images, "The file is closed: no frames are shown."
            left -= _work(file.header)
            too_large = left < 0 or max(file.group_bytes, default=0) > _GROUP_BYTES
            if too_large or time.monotonic() - began > SECONDS:
                return images, "No more frames are shown: decoding them takes long. `frames` of a VtwFile gives them."
            for frame in file.frames(place, place + 1):
                name = f"frame {place}" if len(files) == 1 else file.name
                images.append((name, data_uri(frame, longest=_HEIGHT * 2)))
    except VidtwinError as error:
        return images, f"No frames are shown: {error.message}"
    return images, None


def _work(header: Header) -> int:
    """Pixels of a clip, more where a network is slow on each."""
    pixels = header.clip_frames * header.coded_width * header.coded_height
    return pixels if header.layout.patterns is not None else _DENSE * pixels

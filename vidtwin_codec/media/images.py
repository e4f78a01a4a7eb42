"""Encoding of frames as images that stand inside an HTML page."""

from __future__ import annotations

import base64
import subprocess
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.ffmpeg import executable, video_encoders

LONGEST_SIDE = 960
"""Pixels; larger frames are scaled down unless told otherwise."""
# Well above the loss of any codec at these rates, at a tenth of the size of PNG.
_WEBP = ("image/webp", ("-c:v", "libwebp", "-quality", "85", "-compression_level", "4", "-f", "webp"))
_PNG = ("image/png", ("-c:v", "png", "-pix_fmt", "rgb24", "-f", "image2pipe"))
_JPEG = ("image/jpeg", ("-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj444p", "-f", "mjpeg"))


def data_uri(frame: NDArray[np.uint8], *, exact: bool = False, longest: int = LONGEST_SIDE) -> str:
    """A frame as a ``data:`` URI: WebP, or JPEG where ffmpeg has no WebP.

    Args:
        frame: uint8 ``[height, width, 3]`` RGB.
        exact: keep every pixel, whatever the size, as PNG.
        longest: side in pixels to which a larger frame is scaled down.

    Raises:
        VidtwinError: ffmpeg cannot write it.
    """
    kind, arguments = _PNG if exact else _WEBP if "libwebp" in video_encoders() else _JPEG
    height, width = frame.shape[:2]
    scale = Fraction(1) if exact else min(Fraction(1), Fraction(longest, max(height, width)))
    size = f"{max(1, round(width * scale))}:{max(1, round(height * scale))}"
    command = [executable(), "-v", "error", "-f", "rawvideo", "-pixel_format", "rgb24", "-video_size"]
    command += [f"{width}x{height}", "-i", "pipe:0", "-vf", f"scale={size}:flags=lanczos", *arguments, "pipe:1"]
    done = subprocess.run(command, input=frame.tobytes(), capture_output=True, check=False)
    if done.returncode or not done.stdout:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise VidtwinError(f"a frame cannot be put into the page ({reason[-1] if reason else 'no reason given'})")
    return f"data:{kind};base64,{base64.b64encode(done.stdout).decode('ascii')}"

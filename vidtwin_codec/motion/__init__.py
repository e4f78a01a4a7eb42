"""The motion of a camera, found and taken out of clips in whole pixels."""

from vidtwin_codec.motion.camera import Camera, worth
from vidtwin_codec.motion.canvas import Canvas
from vidtwin_codec.motion.path import Path, displacement, estimate_path
from vidtwin_codec.motion.tiled import tiled_canvas

__all__ = ["Camera", "Canvas", "Path", "displacement", "estimate_path", "tiled_canvas", "worth"]

"""The .vtw file: header, audio, groups, index. It needs no torch and knows nothing of what the network computes."""

from vidtwin_codec.container.fields import MATROSKA, AudioInfo
from vidtwin_codec.container.format import VERSION, Counts
from vidtwin_codec.container.header import Header
from vidtwin_codec.container.index import GroupEntry
from vidtwin_codec.container.inspection import FrameRange
from vidtwin_codec.container.reader import VtwReader, verify
from vidtwin_codec.container.stream import VtwStream
from vidtwin_codec.container.writer import VtwWriter

__all__ = [
    "MATROSKA",
    "VERSION",
    "AudioInfo",
    "Counts",
    "FrameRange",
    "GroupEntry",
    "Header",
    "VtwReader",
    "VtwStream",
    "VtwWriter",
    "verify",
]

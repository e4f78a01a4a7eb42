"""ffmpeg at both ends: what an input is, its frames and sound in, frames and sound out."""

from vidtwin_codec.media.audio import AudioInfo, extract_audio, opus_limit
from vidtwin_codec.media.formats import OutputOptions, codec_names
from vidtwin_codec.media.info import AudioStream, ColorInfo, MediaInfo
from vidtwin_codec.media.probe import probe, stated_seconds
from vidtwin_codec.media.reader import FrameReader
from vidtwin_codec.media.sound import SoundTrack, open_sound
from vidtwin_codec.media.spool import piped_input, spool_stdin
from vidtwin_codec.media.writer import FrameWriter

__all__ = [
    "AudioInfo",
    "AudioStream",
    "ColorInfo",
    "FrameReader",
    "FrameWriter",
    "MediaInfo",
    "OutputOptions",
    "SoundTrack",
    "codec_names",
    "extract_audio",
    "open_sound",
    "opus_limit",
    "piped_input",
    "probe",
    "spool_stdin",
    "stated_seconds",
]

"""Reading and writing media through ffmpeg: facts about an input, its frames and audio, and both written again."""

from vidtwin_codec.media.audio import AudioTrack, ExtractedAudio, extract_audio, open_audio_track, opus_limit
from vidtwin_codec.media.formats import OutputOptions, codec_names
from vidtwin_codec.media.info import AudioStream, ColorInfo, MediaInfo
from vidtwin_codec.media.live import open_piped, piped_input, spool_stdin
from vidtwin_codec.media.probe import probe, stated_seconds
from vidtwin_codec.media.reader import FrameReader
from vidtwin_codec.media.writer import FrameWriter

__all__ = [
    "AudioStream",
    "AudioTrack",
    "ColorInfo",
    "ExtractedAudio",
    "FrameReader",
    "FrameWriter",
    "MediaInfo",
    "OutputOptions",
    "codec_names",
    "extract_audio",
    "open_audio_track",
    "open_piped",
    "opus_limit",
    "piped_input",
    "probe",
    "spool_stdin",
    "stated_seconds",
]

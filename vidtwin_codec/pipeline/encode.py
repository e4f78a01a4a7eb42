"""Encode: media → geometry → network → coding → container, each on its own thread where that helps."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO

from vidtwin_codec import weights
from vidtwin_codec.container import AudioInfo, Counts
from vidtwin_codec.files import atomic_path, check_output, is_pipe
from vidtwin_codec.media import MediaInfo, extract_audio, probe, spool_stdin
from vidtwin_codec.pipeline.codec import Codec, LoadCodec
from vidtwin_codec.pipeline.encoder import Encoder
from vidtwin_codec.pipeline.options import EncodeOptions, EncodeResult, Reporter
from vidtwin_codec.pipeline.packer import Packer
from vidtwin_codec.pipeline.stages import Sink

PathLike = str | os.PathLike[str]
AUDIO_CHUNK = 1 << 20


def encode(
    source: PathLike,
    output: PathLike,
    options: EncodeOptions | None = None,
    *,
    reporter: Reporter | None = None,
    load: LoadCodec = Codec.load,
) -> EncodeResult:
    """Encode a video to a .vtw file.

    Args:
        source: a video, an image sequence (``frames_%04d.png``) or ``-`` for standard input.
        output: the .vtw to write, or ``-`` for standard output. It appears when it is complete.
        options: defaults for everything left out.
        reporter: is told of progress and warnings.
        load: reads the network; :meth:`Codecs.load` of one object for many files reads it once.

    Raises:
        VidtwinError: the input holds no video, the output cannot be written, the weights cannot be read.
    """
    options, reporter = options or EncodeOptions(), reporter or Reporter()
    began = time.monotonic()
    check_output(output, source, force=options.force)
    warnings: list[str] = []

    def warn(text: str) -> None:
        warnings.append(text)
        reporter.warned(text)

    with ExitStack() as stack:
        path = stack.enter_context(spool_stdin()) if is_pipe(source) else source
        info = probe(path, fps=options.fps)
        entry = weights.resolve(options.weights)
        codec = load(entry, options, "encoder")
        encoder = Encoder(info, codec, entry, options, warn)
        temporary = stack.enter_context(atomic_path(output))
        with temporary.open("wb") as stream:
            counts = _write(stream, encoder, reporter)
    return EncodeResult(
        source=os.fspath(source),
        output=os.fspath(output),
        width=info.width,
        height=info.height,
        frames=counts.frames,
        fps=encoder.fps,
        vtw_bytes=counts.vtw_bytes,
        video_bytes=counts.video_bytes,
        audio_bytes=counts.audio_bytes,
        source_bytes=info.file_bytes,
        weights=entry.name,
        device=str(codec.device),
        seconds=time.monotonic() - began,
        warnings=warnings,
    )


def _write(stream: BinaryIO, encoder: Encoder, reporter: Reporter) -> Counts:
    options = encoder.options
    with tempfile.TemporaryDirectory(prefix="vidtwin-") as folder:
        sound = Path(folder, "audio.mka")
        audio = _extract_audio(encoder.info, sound, options)
        packer = Packer(stream, encoder, quality=options.quality, level=options.level, audio=audio)
        if audio is not None:
            packer.add_audio(_chunks(sound))
        # packing overlaps with the network, which overlaps with reading
        with closing(encoder.groups(reporter)) as groups, Sink(packer.add) as sink:
            for group in groups:
                sink.put(group)
    return packer.finish()


def _extract_audio(info: MediaInfo, target: Path, options: EncodeOptions) -> AudioInfo | None:
    if options.audio == "none":
        return None
    sound = extract_audio(info, target, mode=options.audio, bitrate_kbps=options.audio_kbps)
    return None if sound is None else AudioInfo(sound.codec, sound.bytes, sound.container)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(AUDIO_CHUNK):
            yield chunk

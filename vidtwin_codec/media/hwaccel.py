"""Decoding on a card: which of ffmpeg's methods works on this machine, and the arguments that ask for it.

ffmpeg copies the pictures from the card to memory by itself (but for QSV, where it has to be told), as NV12 or P010,
which the filters turn into the same RGB as the planar formats of its own decoders.
"""

from __future__ import annotations

import functools

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.ffmpeg import Child, clean, hwaccels
from vidtwin_codec.media.info import MediaInfo

SOFTWARE_HINT = "--hwaccel none decodes in software"
# ffmpeg's own `auto` is not used: some builds abort where the libraries of a method are missing.
_AUTO = ("cuda", "videotoolbox", "d3d11va", "vaapi")
# Their standards say what every decoder gives to the last bit; of MPEG-2, MPEG-4 Part 2 or JPEG, cards give others.
_EXACT = frozenset({"h264", "hevc", "vp8", "vp9", "av1"})
_QSV_FORMATS = {"yuv420p": "nv12", "yuvj420p": "nv12", "yuv420p10le": "p010le"}


def check_device(name: str) -> None:
    """Refuse a method that is not there.

    Args:
        name: ``none``, ``auto`` or what ``ffmpeg -hwaccels`` lists.

    Raises:
        VidtwinError: this ffmpeg does not have the method, or its device cannot be opened.
    """
    check_name(name)
    if name not in ("none", "auto") and (reason := _closed(name)):
        raise VidtwinError(f"the device for decoding by {name} cannot be opened ({reason})", SOFTWARE_HINT)


def check_name(name: str) -> None:
    """Refuse a method that this ffmpeg does not have, whatever the machine has.

    Raises:
        VidtwinError: it does not have it.
    """
    if name not in ("none", "auto", *hwaccels()):
        raise VidtwinError(
            f"this ffmpeg cannot decode by {name!r}", f"there are {', '.join(('none', 'auto', *hwaccels()))}"
        )


def arguments(info: MediaInfo) -> tuple[str, ...]:
    """Return the arguments of ffmpeg before ``-i`` that decode a video on a card; none where software has to.

    Raises:
        VidtwinError: the method was asked for by its name and cannot be had.
    """
    check_device(info.hwaccel)
    if info.hwaccel == "none" or info.decoder is not None or info.codec not in _EXACT:
        return ()
    name: str | None = info.hwaccel
    if name == "auto":
        name = next((one for one in _AUTO if one in hwaccels() and not _closed(one)), None)
    if name != "qsv":
        return () if name is None else ("-hwaccel", name)
    pix_fmt = _QSV_FORMATS.get(info.pix_fmt)
    return () if pix_fmt is None else ("-hwaccel", name, "-hwaccel_output_format", pix_fmt)


@functools.cache
def _closed(name: str) -> str | None:
    """Return in ffmpeg's words why the device of a method cannot be opened; None if it can."""
    nothing = ("-f", "lavfi", "-i", "nullsrc=s=16x16", "-frames:v", "1", "-f", "null", "-")
    with Child(["-init_hw_device", name, *nothing], level="error") as child:
        if child.wait() == 0:
            return None
        # the first line says it; those behind only that the option failed, and an abort has no line of level error
        return clean(child.messages[0].text) if child.messages and not child.hung else child.reason()

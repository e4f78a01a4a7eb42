"""The formats that an input may have: those that hold pictures or audio, and do not refer to other files."""

from __future__ import annotations

from collections.abc import Sequence

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.ffmpeg import Message

# What a playlist begins with, or holds near its beginning where it is XML.
_BEGINNINGS = {
    b"#EXTM3U": "an HLS playlist",
    b"ffconcat": "an ffconcat list",
    b"v=0": "a session description (SDP)",
}
_ROOTS = {b"<MPD": "a DASH manifest", b"CompositionPlaylist": "an IMF composition"}
HEAD_BYTES = 4096
"""Bytes of a file that :func:`refuse_playlist` looks at."""

# Not a list of what is dangerous: a format that a later ffmpeg adds has to be looked at before it is taken.
_CONTAINERS = (
    "3gp asf asf_o avi dv flv gxf live_flv lxf matroska mlv mov mpeg mpegts mpegtsraw mxf mxg nsv nut nuv ogg pva r3d "
    "rm swf ty webm wtv yuv4mpegpipe gif apng webp_anim jpegxl_anim fits ivf obu mjpeg mjpeg_2000 mpjpeg smjpeg "
    "ingenient"
)
_BARE_STREAMS = (
    "apv av1 avs2 avs3 cavsvideo dirac dnxhd evc h261 h263 h264 hevc m4v mpegvideo pdv vc1 vc1test vvc simbiosis_imx"
)
_IMAGES = (
    "image2 image2pipe alias_pix brender_pix bmp_pipe cri_pipe dds_pipe dpx_pipe exr_pipe gem_pipe gif_pipe hdr_pipe "
    "ico j2k_pipe jpeg_pipe jpegls_pipe jpegxl_pipe jpegxs_pipe pam_pipe pbm_pipe pcx_pipe pfm_pipe pgm_pipe "
    "pgmyuv_pipe pgx_pipe phm_pipe photocd_pipe pictor_pipe png_pipe ppm_pipe psd_pipe qdraw_pipe qoi_pipe sgi_pipe "
    "sunrast_pipe tiff_pipe vbn_pipe webp_pipe xbm_pipe xpm_pipe xwd_pipe"
)
_OLD_AND_GAMES = (
    "4xm anm argo_brp avs bethsoftvid bfi bink bmv c93 cdg cdxl cine dhav dsicin dxa ea ea_cdata film_cpk filmstrip "
    "flic frm gdv hnm hxvs idcin iff ifv ipmovie ipu iv8 jv kux lmlm4 luodat lvf mm mods moflex msnwctcp mtv mv mvi "
    "paf pmp psxstr rl2 roq rpl sga siff smk smush thp tiertexseq txd usm vividas vivo vmd wc3movie wsvqa xmv yop"
)
# A file of sound alone is refused by what it lacks.
_SOUND = "aac ac3 aiff amr ape au caf dts dtshd eac3 flac mp3 tak truehd tta w64 wav wv"
_ALLOWED = ",".join(f"{_CONTAINERS} {_BARE_STREAMS} {_IMAGES} {_OLD_AND_GAMES} {_SOUND}".split())

# A playlist must not reach the network, even where playlists are wanted.
_PROTOCOLS = "file,pipe"


def opening_arguments(playlists: bool) -> tuple[str, ...]:
    """Return the arguments of ffmpeg before ``-i``, for an input that is not trusted.

    Args:
        playlists: whether HLS, DASH, ffconcat and IMF inputs may open the local files that they name.
    """
    formats = f"{_ALLOWED},hls,dash,concat,imf" if playlists else _ALLOWED
    return ("-protocol_whitelist", _PROTOCOLS, "-format_whitelist", formats)


def refuse_playlist(path: object, head: bytes) -> None:
    """Refuse a playlist with a message that says so; the list of formats stops those that this does not recognise.

    Args:
        path: the input, as the user named it.
        head: the first :data:`HEAD_BYTES` of the file.

    Raises:
        VidtwinError: the input is a playlist.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    kind = next((kind for beginning, kind in _BEGINNINGS.items() if text.startswith(beginning)), None)
    if text.startswith(b"<"):
        kind = next((kind for root, kind in _ROOTS.items() if root in text), None)
    if kind:
        raise VidtwinError(
            f"{path}: is {kind}, which names other files, not a video",
            "name the video itself; --allow-playlists follows HLS, DASH, ffconcat and IMF to other local files",
        )


def is_refused(messages: Sequence[Message]) -> bool:
    """Return whether ffmpeg has refused an input for its format."""
    return any("Format not on whitelist" in message.text for message in messages)

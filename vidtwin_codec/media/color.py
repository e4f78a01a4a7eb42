"""Filter chains between a video's colours and 8-bit RGB.

The filters always state matrix and range, in both directions: ffmpeg's guesses depend on version and on which filters
it happens to insert. swscale's accurate modes are as exact here as zimg and, unlike it, take odd sizes of 4:2:0.
"""

from __future__ import annotations

from fractions import Fraction

from vidtwin_codec.media.ffmpeg import has_filters
from vidtwin_codec.media.info import MediaInfo

_ACCURATE = "accurate_rnd+full_chroma_int+full_chroma_inp"
_MATRICES = {
    "bt709": "bt709",
    "smpte170m": "bt601",
    "bt470bg": "bt601",
    "fcc": "fcc",
    "smpte240m": "smpte240m",
    "bt2020nc": "bt2020",
    "bt2020c": "bt2020",
    "ictcp": "bt2020",
}
_ZIMG_MATRICES = {"bt709": "709", "bt601": "170m", "fcc": "fcc", "smpte240m": "240m", "bt2020": "2020_ncl"}
# Primaries so much wider than BT.709 that showing them unconverted is visibly pale; the others differ by a hair.
_WIDE = {"bt2020": "2020", "smpte431": "smpte431", "smpte432": "smpte432"}
_SDR_CURVES = {"bt2020-10": "2020_10", "bt2020-12": "2020_12", "iec61966-2-1": "iec61966-2-1", "smpte170m": "601"}
TONE_MAPPED = "tone-mapped to standard dynamic range"
NOT_TONE_MAPPED = "this ffmpeg cannot tone-map (it was built without zimg), so colours will look pale"
# BT.2408: diffuse white of HDR programmes lies at 203 cd/m².
_REFERENCE_WHITE = 203


def to_rgb(info: MediaInfo, width: int, height: int) -> str:
    """Return the filters that turn decoded (and rotated) pictures into full-range 8-bit RGB of this size.

    Untagged input is read as players read it: BT.601 up to standard definition, BT.709 above; limited range.
    HDR is tone-mapped and wide gamuts are converted to BT.709 (a build of ffmpeg without zimg reads both as they are);
    transparency is composited on black.
    """
    kernel = "lanczos" if width < info.width or height < info.height else "bicubic"
    rgb = is_rgb(info.pix_fmt)
    scale = f"scale=w={width}:h={height}:flags={kernel}+{_ACCURATE}"
    if not rgb:
        scale += f":in_color_matrix={_matrix(info)}:in_range={_range(info)}"
    chain = ["bwdif=mode=send_frame:deint=all"] if info.interlaced else []
    if (info.color.hdr or info.color.primaries in _WIDE) and has_filters("zscale", "tonemap"):
        matrix = "bt2020" if rgb else _matrix(info)
        chain += [f"{scale}:out_color_matrix={matrix}:out_range=limited", "format=yuv444p16", *_to_bt709(info, matrix)]
    elif info.alpha:
        chain += [f"{scale}:out_range=full", "format=gbrap", "premultiply=inplace=1", "format=gbrp"]
    else:
        chain.append(f"{scale}:out_range=full")
    return ",".join([*chain, "format=rgb24"])


def to_yuv(pix_fmt: str, sample_aspect: Fraction, matrix: str = "bt709") -> str:
    """Return the filters that turn full-range 8-bit RGB into limited range; RGB formats stay RGB.

    Args:
        pix_fmt: the pixel format, by ffmpeg's name.
        sample_aspect: width over height of one pixel.
        matrix: ``bt709`` or ``bt601``.
    """
    aspect = _aspect(sample_aspect)
    if is_rgb(pix_fmt):
        return f"format={pix_fmt},{aspect}"
    # Lanczos halves chroma so that the reader's doubling gives back most of what was there.
    scale = f"scale=flags=lanczos+{_ACCURATE}:in_range=full:out_color_matrix={matrix}:out_range=limited"
    space = "smpte170m" if matrix == "bt601" else matrix
    tags = f"setparams=range=limited:colorspace={space}:color_primaries=bt709:color_trc=bt709"
    return f"{scale},format={pix_fmt},{tags},{aspect}"


def to_jpeg(sample_aspect: Fraction) -> str:
    """Return the filters that turn full-range 8-bit RGB into full-range BT.601, which JPEG files hold."""
    scale = f"scale=flags=lanczos+{_ACCURATE}:in_range=full:out_color_matrix=bt601:out_range=full"
    return f"{scale},format=yuv444p,setparams=range=full,{_aspect(sample_aspect)}"


def to_palette(sample_aspect: Fraction) -> str:
    """Return the filters that give each frame its best 256 colours; one frame is in memory at a time."""
    chosen = "[whole]palettegen=stats_mode=single[palette]"
    return f"split[whole][frame];{chosen};[frame][palette]paletteuse=new=1,{_aspect(sample_aspect)}"


def usual_matrix(width: int, height: int) -> str:
    """Return the matrix by which players read a video that does not name one."""
    # 720x576 is the largest standard-definition picture; a portrait one is as tall as that is wide.
    return "bt709" if max(width, height) > 1024 or min(width, height) > 576 else "bt601"


def can_tone_map() -> bool:
    """Return whether this ffmpeg was built with zimg; without it HDR and wide gamuts are read as they are."""
    return has_filters("zscale", "tonemap")


def luma_matrix(info: MediaInfo) -> str:
    """Return ffmpeg's name of the matrix that makes luma of RGB from :func:`to_rgb`: the input's own if it has one."""
    converted = (info.color.hdr or info.color.primaries in _WIDE) and can_tone_map()
    return "bt709" if converted or is_rgb(info.pix_fmt) else _matrix(info)


def is_rgb(pix_fmt: str) -> bool:
    """Return whether an ffmpeg pixel format holds RGB, which has no matrix and always full range."""
    return pix_fmt.startswith(
        ("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "x2rgb", "x2bgr", "pal8", "bayer", "mono")
    )


def _matrix(info: MediaInfo) -> str:
    known = _MATRICES.get(info.color.matrix)
    if known:
        return known
    if info.color.hdr or info.color.primaries == "bt2020":
        return "bt2020"
    return usual_matrix(info.width, info.height)


def _range(info: MediaInfo) -> str:
    if info.color.range in ("tv", "pc"):
        return "limited" if info.color.range == "tv" else "full"
    full = info.pix_fmt.startswith(("yuvj", "gray", "ya8", "ya16"))
    return "full" if full else "limited"


def _to_bt709(info: MediaInfo, matrix: str) -> list[str]:
    """Return filters from 16-bit limited YUV of ``matrix`` through linear light to gamma-coded RGB of BT.709."""
    color = info.color
    curve = color.transfer if color.hdr else _SDR_CURVES.get(color.transfer, "709")
    primaries = _WIDE.get(color.primaries, "2020" if color.hdr else "709")
    given = f"matrixin={_ZIMG_MATRICES[matrix]}:rangein=limited:primariesin={primaries}:transferin={curve}"
    linear = f"zscale={given}:matrix=gbr:range=full:primaries=709:transfer=linear:npl={_REFERENCE_WHITE}"
    mapped = ["tonemap=tonemap=mobius:param=0.6:desat=0"] if color.hdr else []
    given = "matrixin=gbr:rangein=full:primariesin=709:transferin=linear"
    back = f"zscale={given}:matrix=gbr:range=full:primaries=709:transfer=709"
    return [linear, "format=gbrpf32", *mapped, back, "format=gbrp"]


def _aspect(sample_aspect: Fraction) -> str:
    return f"setsar={sample_aspect.numerator}/{sample_aspect.denominator}:max=1000000"

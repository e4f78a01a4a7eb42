"""What the report says about how it came to be."""

from __future__ import annotations

from markupsafe import Markup

from vidtwin_codec.evaluation.compare.bd import LEAST_POINTS
from vidtwin_codec.evaluation.compare.results import Comparison
from vidtwin_codec.evaluation.report.resources import fill
from vidtwin_codec.evaluation.report.text import variant_name


def method(comparison: Comparison) -> Markup:
    """Paragraphs and a list of settings, as HTML."""
    paragraphs = {
        "Frames": f"The first {comparison.excerpt} of each source (all of a shorter one) are decoded once to 8-bit "
        "RGB. vidtwin encodes exactly these frames; conventional codecs get them as BT.709 4:2:0, and their pictures "
        "are converted back, which costs them some detail of colour. Every version is compared with the RGB frames at "
        "the source’s size, also where vidtwin coded a smaller one: it is scaled back first.",
        "Bytes": "A .vtw is counted whole, with its header, checksums and index, and holds no sound. Conventional "
        "codecs are counted as bare elementary streams with their parameter sets: no container, no informative "
        "messages, no access unit or temporal delimiters. Bits per pixel are per pixel of the source.",
        "Rates": "vidtwin is run at every quality and short side. Each conventional codec is then run at five or more "
        "rates, spread by equal ratios over the same bytes as far as its quality setting reaches; where it does not, "
        "the text under the plots says so.",
        "Settings": "Encoders are tuned for PSNR where they have such a tuning, and use one pass of constant quality. "
        "“Whole-sequence GOP” puts key frames at the start and where the encoder finds a cut; "
        f"“closed {comparison.clip_frames}-frame GOPs” cut where the clips of a .vtw are cut, each decodable alone.",
        "Metrics": "Means over frames: PSNR and SSIM of RGB, PSNR-Y and VMAF of luma (model vmaf_v0.6.1).",
        "Bjøntegaard deltas": "By the Python package bjontegaard, with piecewise cubic interpolation (PCHIP) over the "
        f"logarithm of the rate, of vidtwin’s convex hull, where both curves have {LEAST_POINTS} points or more. The "
        "mean over clips is arithmetic.",
    }
    settings = [
        (f"{label}, {variant_name(variant, comparison.clip_frames)}", ways[variant.key])
        for label, ways in comparison.settings.items()
        for variant in comparison.variants
    ]
    lists = [
        ("Left out", [*comparison.missing.items(), *comparison.failed.items()]),
        ("Warnings", [(clip.name, warning) for clip in comparison.clips for warning in clip.warnings]),
    ]
    return fill("method.html", paragraphs=paragraphs, used=comparison.used, settings=settings, lists=lists)

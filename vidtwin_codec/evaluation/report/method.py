"""What the report says about how it came to be."""

from __future__ import annotations

from html import escape

from vidtwin_codec.evaluation.compare.bd import LEAST_POINTS
from vidtwin_codec.evaluation.compare.results import Comparison
from vidtwin_codec.evaluation.report.text import variant_name


def method(comparison: Comparison) -> str:
    """Paragraphs and a list of settings, as HTML."""
    used = comparison.used
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
    text = "".join(f"<p><strong>{escape(head)}.</strong> {escape(said)}</p>" for head, said in paragraphs.items())
    versions = (
        f"<p>vidtwin {escape(used['vidtwin'])}, ffmpeg {escape(used['ffmpeg'])}, {escape(used['processor'])}.</p>"
    )
    settings = "".join(
        f"<dt>{escape(label)}, {escape(variant_name(variant, comparison.clip_frames))}</dt>"
        f"<dd><code>{escape(ways[variant.key])}</code></dd>"
        for label, ways in comparison.settings.items()
        for variant in comparison.variants
    )
    left_out = "".join(
        f"<li>{escape(name)}: {escape(reason)}</li>"
        for name, reason in (*comparison.missing.items(), *comparison.failed.items())
    )
    warnings = "".join(
        f"<li>{escape(clip.name)}: {escape(warning)}</li>" for clip in comparison.clips for warning in clip.warnings
    )
    listed = (f"<h3>Left out</h3><ul>{left_out}</ul>" if left_out else "") + (
        f"<h3>Warnings</h3><ul>{warnings}</ul>" if warnings else ""
    )
    return f"{text}{versions}<h3>Options of each encoder</h3><dl>{settings}</dl>{listed}"

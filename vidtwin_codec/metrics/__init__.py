"""Metrics of decoded frames against their source. Only a metric that needs torch imports it, when it runs."""

from vidtwin_codec.metrics.filters import FilterMeter
from vidtwin_codec.metrics.frames import Frames
from vidtwin_codec.metrics.luma import MATRICES, luma, psnr_y
from vidtwin_codec.metrics.meters import METRICS, MetricSet, Scores, why_not
from vidtwin_codec.metrics.psnr import ClipBoundaries, PsnrMeter, psnr, psnr_of_error
from vidtwin_codec.metrics.ssim import ms_ssim, ssim

__all__ = [
    "MATRICES",
    "METRICS",
    "ClipBoundaries",
    "FilterMeter",
    "Frames",
    "MetricSet",
    "PsnrMeter",
    "Scores",
    "luma",
    "ms_ssim",
    "psnr",
    "psnr_of_error",
    "psnr_y",
    "ssim",
    "why_not",
]

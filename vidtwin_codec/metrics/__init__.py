"""How close decoded frames are to their source."""

from vidtwin_codec.metrics.psnr import PsnrMeter, psnr

__all__ = ["PsnrMeter", "psnr"]

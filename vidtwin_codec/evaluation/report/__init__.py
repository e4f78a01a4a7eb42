"""A comparison as something to read: sentences, tables, plots, one HTML page."""

from vidtwin_codec.evaluation.report.page import render

__all__ = ["render"]

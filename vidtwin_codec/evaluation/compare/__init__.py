"""``vidtwin compare``: vidtwin beside conventional codecs, on equal frames, at comparable bytes, by equal metrics."""

from vidtwin_codec.evaluation.compare.codecs import CODECS, ConventionalCodec, Gop
from vidtwin_codec.evaluation.compare.options import CompareOptions
from vidtwin_codec.evaluation.compare.results import Clip, Comparison, Point, Series

__all__ = ["CODECS", "Clip", "CompareOptions", "Comparison", "ConventionalCodec", "Gop", "Point", "Series"]

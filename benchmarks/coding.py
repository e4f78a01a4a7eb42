"""What each technique of coding/ is worth, in bytes, on the latents of a folder of videos.

    python benchmarks/coding.py FOLDER [--weights NAME|FILE] [--quality 75] [--short-side 224] [--seconds 10]

For each video: the groups in zstd alone (channel-major, position-major, with a coefficient of prediction per channel,
with two symbols a byte), then as the context coder codes them without and with prediction, and as they are kept. Then
the whole file without sound against three ideals, and how long coding took beside the network. docs/CODING.md explains
the columns. benchmarks/still.py measures scenes that stand still, benchmarks/techniques.py bytes at equal quality.
"""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import zstandard
from numpy.typing import NDArray

from vidtwin_codec import weights as known_weights
from vidtwin_codec.coding import (
    CODERS,
    CONTEXT,
    DEFAULT_LEVEL,
    DEFAULT_QUALITY,
    Group,
    GroupSpan,
    LatentArrays,
    LatentLayout,
    Steps,
    pack_group,
    quality_scale,
    quantize,
)
from vidtwin_codec.coding.context import planes, scales
from vidtwin_codec.coding.context.model import Model
from vidtwin_codec.coding.context.planes import Plane
from vidtwin_codec.coding.context.tables import PRECISION
from vidtwin_codec.coding.context.tokens import EXTRA_BITS, tokenize
from vidtwin_codec.coding.order import POSITION_MAJOR, to_sequence
from vidtwin_codec.media import probe
from vidtwin_codec.pipeline.codec import Codec
from vidtwin_codec.pipeline.encoder import Encoder, Piece
from vidtwin_codec.pipeline.options import EncodeOptions
from vidtwin_codec.pipeline.packer import Packer

EIGHTHS = 8  # coefficients of the per-channel prediction are in eighths
SUFFIXES = {".mp4", ".mkv", ".mov", ".webm", ".avi"}


class Sizes(NamedTuple):
    """Bytes, and at the end seconds."""

    channel_major: float
    position_major: float
    predicted: float
    nibbles: float
    context_alone: float
    context: float
    kept: float
    file: float
    order0: float
    order0_all: float
    ideal: float
    network_s: float
    encode_s: float
    decode_s: float


class Video(NamedTuple):
    """A video's groups, and the seconds that the network took for them."""

    encoder: Encoder
    pieces: list[Piece]
    seconds: float


def read(path: Path, codec: Codec, entry: known_weights.Entry, options: EncodeOptions, seconds: float) -> Video:
    """Latents of the first whole groups of a video, at least one and no more than ``seconds`` long."""
    encoder = Encoder(probe(path), codec, entry, replace(options, effort=0))
    began = time.monotonic()
    groups: list[Piece] = []
    pieces: list[Piece] = []
    for piece in encoder.pieces():
        pieces.append(piece)
        if piece.span.end_clip % encoder.clips_per_group == 0:
            groups.append(merged(pieces))
            pieces = []
        if piece.span.end_clip % encoder.clips_per_group == 0 and piece.span.end_frame >= seconds * encoder.fps:
            break
    return Video(encoder, groups + ([merged(pieces)] if pieces else []), time.monotonic() - began)


def merged(pieces: list[Piece]) -> Piece:
    """Consecutive pieces as one."""
    first, last = pieces[0].span, pieces[-1].span
    columns = zip(*(piece.latents for piece in pieces), strict=True)
    frames, clips = last.end_frame - first.first_frame, last.end_clip - first.first_clip
    span = GroupSpan(first.first_frame, frames, first.first_clip, clips)
    return Piece(span, pieces[0].tiles, LatentArrays(*(np.concatenate(column) for column in columns)))


def predict(plane: Plane) -> Plane:
    """What is left of each channel after the lag and the coefficient that leave least; none where none helps."""
    values = plane.values.astype(np.int64)
    best, least = values.copy(), _bits_about(values)
    for lag in plane.lags:
        before = np.zeros_like(values)
        before[lag:] = values[:-lag]
        for eighths in range(1, EIGHTHS + 1):
            rest = values - (eighths * before + EIGHTHS // 2) // EIGHTHS
            cost = _bits_about(rest)
            better = cost < least
            best[:, better], least[better] = rest[:, better], cost[better]
    return plane._replace(values=best.astype(np.int32))


def _bits_about(values: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.log2(1 + 2 * np.abs(values)).sum(axis=(0, 2))


def nibbles(sequence: NDArray[np.int32]) -> bytes:
    """Two symbols a byte; those beyond +-7 are escapes (-8) and follow as bytes, and those beyond +-127 once more."""
    large = np.abs(sequence) > 7
    small = np.append(np.where(large, -8, sequence), np.zeros(len(sequence) % 2, np.int32)) & 15
    rest = sequence[large]
    bytes_ = np.clip(rest, -128, 127).astype(np.int8).tobytes() + rest[np.abs(rest) > 127].tobytes()
    return (small[0::2] | small[1::2] << 4).astype(np.uint8).tobytes() + bytes_


def adaptive_order0(values: NDArray[np.int32]) -> float:
    """Bytes of an ideal adaptive order-0 coder for one sequence: the estimator of Krichevsky and Trofimov.

    It is given the alphabet, which is more than a file would be.
    """
    _, symbols = np.unique(values.ravel(), return_inverse=True)
    alphabet = int(symbols.max()) + 1
    order = np.argsort(symbols, kind="stable")
    starts = np.searchsorted(symbols[order], np.arange(alphabet))
    seen = np.empty(symbols.size)
    seen[order] = np.arange(symbols.size) - starts[symbols[order]]
    before = np.arange(symbols.size)
    return float(np.log2((before + alphabet / 2) / (seen + 0.5)).sum() / 8)


def ideal(parts: tuple[Plane, ...], sizes: NDArray[np.int64]) -> float:
    """Bytes that the context model's probabilities ask for, before any coder rounds them."""
    bits = 0.0
    for plane in parts:
        model = Model(plane, sizes)
        for values, guesses, contexts in model.walk():
            tokens, _ = tokenize(values - guesses)
            frequencies = model.tables.intervals(contexts, tokens)[1]
            model.tables.learn(contexts, tokens)
            bits += float((PRECISION - np.log2(frequencies)).sum() + EXTRA_BITS[tokens].sum())
    return bits / 8


def measure(video: Video, steps: Steps, layout: LatentLayout, quality: float) -> Sizes:
    """All sizes of a video."""
    totals = np.zeros(len(Sizes._fields))
    for latents in video.pieces:
        symbols = quantize(latents.latents, steps)
        group = Group(*latents.span, latents.tiles, symbols)
        totals += [*measure_group(group, layout)]
    stream = io.BytesIO()
    packer = Packer(stream, video.encoder, quality=quality)
    for latents in video.pieces:
        packer.add(latents)
    packer.finish()
    return Sizes(*totals.tolist())._replace(file=len(stream.getvalue()), network_s=video.seconds)


def measure_group(group: Group, layout: LatentLayout) -> Sizes:
    """All sizes of one group."""
    symbols, clips, tiles = group.symbols, group.clips, group.tiles
    zstd = zstandard.ZstdCompressor(level=DEFAULT_LEVEL)
    parts = planes.split(symbols, layout, clips, tiles)
    rests = (predict(parts[0]), predict(parts[1]))
    rest = planes.join(rests, layout, clips, tiles)
    packed = {
        coder: len(pack_group(group, layout, coder=coder)) for coder in CODERS if CODERS[coder].fits(layout, clips)
    }
    coefficients = 2 * layout.channels // 3  # five bits a channel: which lag, and how many eighths
    predicted = len(pack_group(Group(*group.span, tiles, rest), layout, coder=2)) + coefficients
    halves = len(zstd.compress(nibbles(to_sequence(rest, POSITION_MAJOR, clips, tiles)))) + coefficients
    head = scales.to_bytes(scales.measure(parts, layout.channels))
    sizes = scales.from_bytes(head, layout.channels)
    asked = ideal(parts, sizes)
    alone = ideal(tuple(part._replace(lags=()) for part in parts), sizes)
    channels = [part.values[:, channel, places] for part in rests for channel, places in _channels(part)]
    began = time.monotonic()
    pack_group(group, layout)
    packed_at = time.monotonic()
    CODERS[CONTEXT].decode(memoryview(CODERS[CONTEXT].encode(symbols, layout, clips, tiles)), layout, clips, tiles)
    both = time.monotonic() - packed_at
    CODERS[CONTEXT].encode(symbols, layout, clips, tiles)
    encode_only = time.monotonic() - packed_at - both
    return Sizes(
        channel_major=packed[1],
        position_major=packed[2],
        predicted=predicted,
        nibbles=halves,
        context_alone=packed[CONTEXT] + alone - asked,
        context=packed[CONTEXT],
        kept=min(packed.values()),
        file=0,
        order0=sum(map(adaptive_order0, channels)),
        order0_all=adaptive_order0(np.concatenate([part.values.ravel() for part in rests])),
        ideal=asked,
        network_s=0,
        encode_s=packed_at - began,
        decode_s=max(both - encode_only, 0.0),
    )


def _channels(plane: Plane) -> list[tuple[int, NDArray[np.bool_]]]:
    """Channels of a plane with their places: x and y of the dynamics are different channels."""
    classes = np.broadcast_to(plane.classes, plane.values.shape[1:])
    return [(row, classes[row] == each) for row in range(len(classes)) for each in np.unique(classes[row])]


def table(rows: dict[str, Sizes]) -> str:
    """Markdown: bytes, and the sum with its change against position-major zstd."""
    names = "channel-major | position-major | predicted | nibbles | context, unpredicted | context | kept"
    lines = [f"| video | {names} |", "|---|" + "---:|" * 7]
    lines += [f"| {name} | " + " | ".join(f"{value:.0f}" for value in sizes[:7]) + " |" for name, sizes in rows.items()]
    sums = np.sum([sizes[:7] for sizes in rows.values()], axis=0)
    lines.append("| **all** | " + " | ".join(f"{value:.0f}" for value in sums) + " |")
    lines.append("| | " + " | ".join(f"{100 * (value / sums[1] - 1):+.1f} %" for value in sums) + " |")
    return "\n".join(lines)


def bars(rows: dict[str, Sizes]) -> str:
    """Markdown: the file against the ideals, and times."""
    lines = [
        "| video | file | of order-0 by channel | of order-0 | of the model's ideal | network s | pack s | unpack s |",
        "|---|" + "---:|" * 7,
    ]
    for name, s in rows.items():
        shares = " | ".join(f"{100 * s.file / each:.1f} %" for each in (s.order0, s.order0_all, s.ideal))
        lines.append(f"| {name} | {s.file:.0f} | {shares} | {s.network_s:.1f} | {s.encode_s:.2f} | {s.decode_s:.2f} |")
    return "\n".join(lines)


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--weights", default="mini", show_default=True)
@click.option("--quality", default=DEFAULT_QUALITY, show_default=True)
@click.option("--short-side", default=224, show_default=True)
@click.option("--seconds", default=10.0, show_default=True, help="Of each video, rounded up to whole groups.")
def main(folder: Path, weights: str, quality: float, short_side: int, seconds: float) -> None:
    entry = known_weights.resolve(weights)
    options = EncodeOptions(weights=weights, quality=quality, short_side=short_side, audio="none")
    codec = Codec.load(entry, options, "encoder")
    assert entry.metadata.steps is not None
    steps = entry.metadata.steps.scaled(quality_scale(quality))
    rows = {}
    for path in sorted(each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES):
        video = read(path, codec, entry, options, seconds)
        rows[path.stem] = sizes = measure(video, steps, codec.layout, quality)
        click.echo(f"{path.stem}: {sizes.kept:.0f} bytes", err=True)
    print(table(rows), bars(rows), sep="\n\n")


if __name__ == "__main__":
    main()

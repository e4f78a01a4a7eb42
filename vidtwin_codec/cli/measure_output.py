"""What ``vidtwin measure`` prints for people, and its CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from vidtwin_codec.cli.common import Screen
from vidtwin_codec.evaluation.measure.options import KEYS, NOT_ASKED
from vidtwin_codec.text import counted, csv_cell, human_bytes

Row = dict[str, Any]
FORMATS = {
    "psnr": ("PSNR", "{:.2f} dB"),
    "psnr_y": ("PSNR-Y", "{:.2f} dB"),
    "ssim": ("SSIM", "{:.4f}"),
    "ms_ssim": ("MS-SSIM", "{:.4f}"),
    "vmaf": ("VMAF", "{:.1f}"),
    "xpsnr": ("XPSNR", "{:.2f} dB"),
    "lpips": ("LPIPS", "{:.4f}"),
}
MATRIX_NAMES = {"bt709": "BT.709", "bt601": "BT.601", "bt2020": "BT.2020", "fcc": "FCC", "smpte240m": "SMPTE 240M"}
TABLE_WIDTH = 160
"""Of a table that goes to a file: what a terminal cannot show, a file can."""


def print_csv(rows: Sequence[Row]) -> None:
    """A header and one line per file on standard output; lists and reasons in one cell, separated by semicolons."""
    writer = csv.DictWriter(sys.stdout, [*KEYS, "error"], restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = {name: csv_cell(value) for name, value in row.items()}
        cells["reasons"] = csv_cell("; ".join(f"{name}: {reason}" for name, reason in row.get("reasons", {}).items()))
        cells["warnings"] = csv_cell("; ".join(row.get("warnings", [])))
        writer.writerow(cells)


def print_report(rows: Sequence[Row]) -> None:
    """One file as a list, several as a table, on standard output."""
    screen = Screen()
    if not screen.is_terminal:
        screen.width = TABLE_WIDTH
    screen.print(_list(rows[0]) if len(rows) == 1 else _table(rows))
    for line in _reasons(rows):
        screen.print(line)


def _list(row: Row) -> Table:
    name = row["source"] if row["output"] is None else f"{row['output']} against {row['source']}"
    table = Table(title=name, title_justify="left", show_header=False, box=None)
    lines = {
        "compared": f"{row['width']} x {row['height']}, {counted(row['frames'], 'frame')} at {row['fps']} fps, "
        f"{row['duration']:.2f} s, {counted(row['clips'], 'clip')}, protocol {row['protocol']}",
    }
    if row["video_bytes"] is not None:
        lines["size"] = (
            f"{human_bytes(row['vtw_bytes'])}: latents {human_bytes(row['video_bytes'])}, "
            f"audio {human_bytes(row['audio_bytes'])}"
        )
        lines["rate"] = (
            f"{row['kbps']:.1f} kbit/s, {row['bits_per_pixel']:.4f} bits per pixel, "
            f"{row['compression_ratio']:.0f}:1 against raw RGB"
        )
    choices = {"quality {:g}": row["quality"], "short side {}": row["short_side"]}
    encoded = [form.format(value) for form, value in choices.items() if value is not None]
    lines["network"] = ", ".join([row["weights"], *encoded, row["device"], f"{row['seconds']:.1f} s in all"])
    for metric, (title, form) in FORMATS.items():
        if row["reasons"].get(metric) != NOT_ASKED:
            lines[title] = "-" if row[metric] is None else form.format(row[metric])
    if row["psnr_y"] is not None:
        lines["PSNR-Y"] += f" ({MATRIX_NAMES[row['luma_matrix']]} luma, 8 bits, limited range)"
    if row["psnr_clip_ends"] is not None:
        lines["clips"] = (
            f"PSNR {row['psnr_clip_ends']:.2f} dB at their ends, {row['psnr_clip_middle']:.2f} dB in the middle"
        )
    for label, text in lines.items():
        table.add_row(label, text)
    return table


def _table(rows: Sequence[Row]) -> Table:
    sound = [row for row in rows if "error" not in row]
    metrics = [name for name in FORMATS if any(row["reasons"].get(name) != NOT_ASKED for row in sound)]
    sized = any(row["video_bytes"] is not None for row in sound)
    table = Table(box=None, header_style="bold")
    table.add_column("file", overflow="fold")
    for title in ("frames", *(("bpp", "kbit/s", "ratio") if sized else ()), *(FORMATS[name][0] for name in metrics)):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("ends", justify="right", no_wrap=True)
    for row in rows:
        if "error" in row:
            table.add_row(f"{_name(row)} (not measured)")
            continue
        cells = [str(row["frames"])]
        if sized:
            rate = (("bits_per_pixel", "{:.4f}"), ("kbps", "{:.1f}"), ("compression_ratio", "{:.0f}:1"))
            cells += [form.format(row[name]) for name, form in rate]
        cells += ["-" if row[name] is None else FORMATS[name][1].split()[0].format(row[name]) for name in metrics]
        cells.append("-" if row["clip_boundary_drop"] is None else f"{-row['clip_boundary_drop']:+.2f}")
        mean = row["files"] > 1
        if mean:
            table.add_section()
        table.add_row(f"mean of {row['files']}" if mean else _name(row), *cells, style="bold" if mean else None)
    table.caption = "PSNR and XPSNR in dB; ends: PSNR of the first and last frame of each clip less that of its middle"
    table.caption_justify = "left"
    return table


def _name(row: Row) -> str:
    return Path(row["output"] or row["source"]).name


def _reasons(rows: Sequence[Row]) -> list[str]:
    """Why there are dashes: each reason once."""
    found: dict[str, None] = {}  # in order
    for row in rows:
        for name, reason in row.get("reasons", {}).items():
            if name in FORMATS and reason != NOT_ASKED and row["files"] == 1:
                found[f"no {FORMATS[name][0]}: {reason}"] = None
        if "error" in row:
            name = row["output"] or row["source"]
            found[f"{_name(row)}: {row['error'].removeprefix(f'{name}: ')}"] = None
    return list(found)

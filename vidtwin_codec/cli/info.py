"""``vidtwin info``."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from vidtwin_codec import weights
from vidtwin_codec.cli.common import Screen, output_options, print_json
from vidtwin_codec.container import VtwReader
from vidtwin_codec.text import counted, human_bytes

_SHOWN = 20  # problems in the table, which takes a millisecond for a line


@click.command("info")
@click.argument("files", metavar="FILE.vtw...", nargs=-1, required=True)
@output_options
def info_command(files: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Show what .vtw files hold: sizes, rate, weights, groups.

    Reads only headers and indexes. A file whose index is missing or damaged is looked through for whole groups.
    """
    for name in files:
        with VtwReader(name, recover=True, fallback=True) as reader:
            values = describe(name, reader)
        if as_json:
            print_json(values)
        elif not quiet:
            _print_table(values)


def describe(name: str, reader: VtwReader) -> dict[str, Any]:
    """What ``info --json`` prints."""
    header = reader.header
    counts = reader.counts
    video_bytes = counts.video_bytes
    seconds = float(reader.frames / header.fps)
    pixels = header.width * header.height * reader.frames
    return {
        "source": name,
        "version": "{}.{}".format(*header.version),
        "width": header.width,
        "height": header.height,
        "coded_width": header.coded_width,
        "coded_height": header.coded_height,
        "sample_aspect": str(header.sample_aspect),
        "frames": reader.frames,
        "fps": str(header.fps),
        "duration": seconds,
        "vtw_bytes": counts.vtw_bytes,
        "video_bytes": video_bytes,
        "audio_bytes": counts.audio_bytes,
        "audio_codec": header.audio.codec if header.audio else None,
        "compression_ratio": 3 * pixels / video_bytes if video_bytes else None,
        "bits_per_pixel": 8 * video_bytes / pixels if pixels else None,
        "kbps": 8 * counts.vtw_bytes / 1000 / seconds if seconds else None,
        "weights": header.weights_name,
        "weights_sha256": header.weights_sha256,
        "weights_here": weights.find_decoder(header.weights_sha256) is not None,
        "groups": len(reader.groups),
        "clips": sum(group.clips for group in reader.groups),
        "clip_frames": header.clip_frames,
        "tile_width": header.tile_width,
        "tile_height": header.tile_height,
        "overlap": header.overlap,
        "abutting": header.abutting,
        "camera": header.camera,
        "options": header.options,
        "created_by": header.created_by,
        "complete": reader.complete,
        "damage": list(reader.damage),
    }


def _print_table(values: dict[str, Any]) -> None:
    table = Table(title=values["source"], title_justify="left", show_header=False, box=None)
    scaled = (values["coded_width"], values["coded_height"]) != (values["width"], values["height"])
    lines = {
        "video": f"{values['width']} x {values['height']}, {counted(values['frames'], 'frame')} at {values['fps']} "
        f"fps, {values['duration']:.2f} s"
        + (f", coded at {values['coded_width']} x {values['coded_height']}" if scaled else ""),
        "size": f"{human_bytes(values['vtw_bytes'])}: latents {human_bytes(values['video_bytes'])}, "
        f"audio {human_bytes(values['audio_bytes'])} ({values['audio_codec'] or 'none'})",
        "rate": "-"
        if values["kbps"] is None
        else f"{values['kbps']:.1f} kbit/s, {values['bits_per_pixel']:.4f} bits per pixel, "
        f"{values['compression_ratio']:.0f}:1 against raw RGB",
        "weights": f"{values['weights']} (SHA-256 {values['weights_sha256'][:12]}…), "
        + ("here" if values["weights_here"] else "not on this machine"),
        "layout": f"groups: {values['groups']}, clips: {values['clips']} of {values['clip_frames']} frames, "
        f"{'windows' if values['abutting'] else 'tiles'} of {values['tile_width']} x {values['tile_height']}"
        + (" that follow the camera" if values["camera"] else ""),
        "options": ", ".join(f"{key} {_plain(value)}" for key, value in values["options"].items() if value is not None),
        "made by": f"{values['created_by']}, format {values['version']}",
    }
    for label, text in lines.items():
        table.add_row(label, text)
    damage = values["damage"]
    for number, problem in enumerate(damage[:_SHOWN]):
        table.add_row("" if number else "damage", problem)
    if len(damage) > _SHOWN:
        table.add_row("", f"and {len(damage) - _SHOWN} more, which --json lists")
    Screen().print(table)


def _plain(value: Any) -> str:
    """A value of the header's free JSON, to read."""
    return " ".join(f"{key} {part}" for key, part in value.items()) if isinstance(value, dict) else str(value)

"""``vidtwin version``."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from typing import Any

import click

from vidtwin_codec import __version__, machine, weights
from vidtwin_codec.cli.common import Screen, device_option, print_json
from vidtwin_codec.cli.output import json_option
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import user_cache


@click.command("version")
@device_option("Device to show")
@json_option("Print one JSON object on standard output.")
def version_command(device: str, as_json: bool) -> None:
    """Show the versions of vidtwin, torch and ffmpeg, and on what the network runs here.

    Begin a report of a fault with this. `vidtwin --version` is the number alone, at once.
    """
    values = versions(device)
    if as_json:
        print_json(values)
        return
    for name, value in values.items():
        Screen().print(f"{name + ':':9} {value}")


def versions(device: str) -> dict[str, Any]:
    """What ``version --json`` prints: texts, and the number of cores."""
    import torch  # only here: it takes seconds

    from vidtwin_codec.network.device import select_device

    found: dict[str, Any] = {"vidtwin": __version__, "python": sys.version.split()[0], "torch": torch.__version__}
    try:
        chosen = select_device(device, "auto", "bfloat16")
        found["device"] = str(chosen)
        if chosen.device.type == "cuda":
            found["device"] += f" ({torch.cuda.get_device_name(chosen.device)})"
    except VidtwinError as error:
        found["device"] = f"none: {error.message}"
    try:
        found["weights"] = weights.resolve(None).name
    except VidtwinError as error:
        found["weights"] = f"none: {error.message}"
    found |= {"ffmpeg": _ffmpeg(), "cache": str(user_cache())}
    return found | {"system": f"{platform.platform()} {platform.machine()}", "cores": machine.cores()}


def _ffmpeg() -> str:
    """Version and place of the ffmpeg in use."""
    from vidtwin_codec.media.ffmpeg import executable

    try:
        path = executable()
        shown = subprocess.run([path, "-version"], capture_output=True, text=True, errors="replace", check=True).stdout
    except VidtwinError as error:
        return f"none: {error.message}"
    except (OSError, subprocess.CalledProcessError) as error:
        return f"cannot be run: {error}"
    named = re.match(r"ffmpeg version (\S+)", shown)
    return f"{named[1] if named else 'of unknown version'} ({path})"

"""Wrong usage: exit code 2 and a word on what was meant. Needs nothing but click."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from vidtwin_codec.errors import VidtwinError

T = TypeVar("T")
# What other programs call our verbs; spelling alone would not lead to them.
_SYNONYMS = {
    "compress": "encode",
    "pack": "encode",
    "decompress": "decode",
    "extract": "decode",
    "unpack": "decode",
    "check": "verify",
    "test": "verify",
    "show": "info",
    "probe": "info",
    "psnr": "measure",
}
_DEVICE = re.compile(r"(auto|cpu|mps|cuda)(:[0-9]{1,4})?")


class VerbGroup(click.Group):
    """A group of verbs that says which one may have been meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        known = self.list_commands(ctx)
        if name in known or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        if name == "help":
            raise click.UsageError(f"help is an option: {ctx.command_path} {' '.join([*args[1:], '--help'])}", ctx)
        import difflib  # only here: help need not wait for it

        meant = difflib.get_close_matches(name.lower(), known, n=1)
        if _SYNONYMS.get(name.lower()) in known:
            meant = [_SYNONYMS[name.lower()]]
        hint = f"did you mean {meant[0]}?" if meant else f"there are {', '.join(known)}"
        raise click.UsageError(f"no verb is called {name!r}; {hint}", ctx)


def built(kind: Callable[..., T], /, **choices: Any) -> T:
    """Options of a verb.

    Args:
        kind: the class of the options, which checks them.
        choices: its fields.

    Raises:
        UsageError: the class refuses them.
    """
    try:
        return kind(**choices)
    except VidtwinError as error:
        raise click.UsageError(f"{error.message}; {error.hint}" if error.hint else error.message) from error


def parse_hwaccel(context: click.Context, parameter: click.Parameter, text: str) -> str:
    """A way of hardware decoding that ffmpeg has; whether this machine has the hardware is found out later."""
    if text not in ("none", "auto"):
        from vidtwin_codec.media.hwaccel import check_name  # only here: ffmpeg is asked

        try:
            check_name(text)
        except VidtwinError as error:
            raise click.BadParameter(f"{error.message}; {error.hint}") from None
    return text


def parse_device(context: click.Context, parameter: click.Parameter, text: str) -> str:
    """A device's name, or several with commas; whether this machine has them is found out later."""
    for name in text.split(","):
        if not _DEVICE.fullmatch(name.strip()):
            raise click.BadParameter(f"{name.strip()!r} does not name a device; try auto, cpu, cuda, cuda:1 or mps")
    return text

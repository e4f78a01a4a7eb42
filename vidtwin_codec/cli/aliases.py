"""Options that answer to former names, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click


class AliasedOption(click.Option):
    """An option whose former names go on working, and are shown nowhere.

    Args:
        names: as of any option.
        aliases: its former names, with their dashes.
        settings: as of any option.
    """

    def __init__(self, names: Sequence[str], *, aliases: Sequence[str] = (), **settings: Any) -> None:
        super().__init__([*names, *aliases], **settings)
        self._aliases = frozenset(aliases)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """As of any option, without the former names."""
        every = self.opts
        self.opts = [name for name in every if name not in self._aliases]
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = every

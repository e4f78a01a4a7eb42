"""The ladder of efforts: what each one does. Imports nothing, so that the command line can name its ends at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """What one effort does.

    Attributes:
        passes: of rate–distortion optimised quantisation; 0 rounds every latent to the nearest symbol.
        measured: whether an error counts as much as it changes the decoder's picture; if not, as much as the
            quantisation steps say.
        descents: steps of the latents through the decoder towards the pixels.
    """

    passes: int = 0
    measured: bool = False
    descents: int = 0

    @property
    def decodes(self) -> bool:
        """Whether the encoder needs the decoder's weights."""
        return self.measured or self.descents > 0


LEVELS = (
    Level(),
    Level(passes=1),
    Level(passes=2),
    Level(passes=2, measured=True),
    Level(passes=2, measured=True, descents=2),
    Level(passes=2, measured=True, descents=4),
    Level(passes=2, measured=True, descents=8),
    Level(passes=3, measured=True, descents=14),
    Level(passes=3, measured=True, descents=24),
    Level(passes=3, measured=True, descents=48),
)
MAX_EFFORT = len(LEVELS) - 1
DEFAULT_EFFORT = 1

"""The reason why a target was missed, in one line that says what would help."""

from __future__ import annotations

from vidtwin_codec.options.target import Target

_MUCH_SOUND = 0.5
"""Share of the wanted bytes from which sound is the first thing to save on."""


def why_missed(
    target: Target, achieved: float, *, quality: float, short_side: int | None, chosen: bool, audio_share: float
) -> str:
    """Explain why a target was missed.

    Args:
        target: what was wanted.
        achieved: what the file has, in the target's unit.
        quality: quality of the file, 0 to 100.
        short_side: short side of the file in pixels; None for the video's own size.
        chosen: whether the short side was chosen here, not by the user.
        audio_share: bytes of sound over the bytes that the whole file may have; 0 where sound does not count.
    """
    size = "the video's own size" if short_side is None else f"short side {short_side}"
    coded = f"quality {quality:g} at {size} comes to {target.show(achieved)}"
    return f"the target of {target} cannot be met: {coded}; {_remedy(target, achieved, quality, chosen, audio_share)}"


def _remedy(target: Target, achieved: float, quality: float, chosen: bool, audio_share: float) -> str:
    # a smaller ratio means more bytes
    larger = (achieved > target.value) != (target.name == "ratio")
    if target.is_score:
        if not larger:
            return "more takes other --weights" if chosen else "leave --short-side out, or try other --weights"
        return "nothing coarser can be coded"
    if larger and audio_share >= _MUCH_SOUND:
        return f"sound alone takes {100 * audio_share:.0f} % of the target: lower --audio-kbps, or pass --audio none"
    if larger and quality == 0:
        fewer = "a lower --fps or other --weights take fewer bytes"
        return fewer if chosen else f"leave --short-side out, or make it smaller; {fewer}"
    if not larger and quality == 100:
        return "these weights have no use for more" if chosen else "leave --short-side out, or make it larger"
    return "no quality comes nearer"

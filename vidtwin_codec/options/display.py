"""How results and files show themselves: one line at a prompt, a small table in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from vidtwin_codec.text import counted

_TABLE = """\
<div><p><strong>{{ title }}</strong></p>
{%- if images %}
<div style="display: flex; gap: 4px; overflow-x: auto">
{%- for name, address in images %}
<img src="{{ address }}" alt="{{ name }}" title="{{ name }}" style="height: 120px; width: auto; margin: 0">
{%- endfor %}
</div>
{%- endif %}
{%- if note %}
<p><small>{{ note }}</small></p>
{%- endif %}
<table><tbody>
{%- for name, value in values %}
<tr><th scope="row" style="text-align: left">{{ name }}</th><td style="text-align: left">{{ value }}</td></tr>
{%- endfor %}
</tbody></table></div>
"""


def html_table(
    title: str, values: Mapping[str, Any], images: Sequence[tuple[str, str]] = (), note: str | None = None
) -> str:
    """Names and values as HTML; those that are None or empty are left out.

    Args:
        title: what is shown.
        values: by their names.
        images: names and addresses of a strip of frames.
        note: something to say below the strip.
    """
    from jinja2 import Environment

    given = [(name, _short(value)) for name, value in values.items() if value is not None and value not in ("", [], ())]
    template = Environment(autoescape=True).from_string(_TABLE)
    return template.render(title=title, values=given, images=images, note=note)


def extent(width: int, height: int, frames: int, fps: Fraction) -> str:
    """Size, length and rate in words."""
    rate = float(fps)
    return f"{width} × {height}, {counted(frames, 'frame')} at {rate:.5g} fps ({frames / rate:.4g} s)"


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.5g}"
    return "; ".join(map(str, value)) if isinstance(value, (list, tuple)) else value

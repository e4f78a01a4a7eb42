"""What ``import vidtwin_codec`` offers: everything documented, nothing heavy before it is used."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import vidtwin_codec

API = (Path(__file__).parent.parent / "docs" / "api.md").read_text(encoding="utf-8")


def documented(module: str) -> set[str]:
    """Names that docs/api.md describes as a module's own."""
    found: set[str] = set()
    current = ""
    for line in API.splitlines():
        if said := re.fullmatch(r"\.\. currentmodule:: (\S+)", line):
            current = said[1]
        elif (said := re.fullmatch(r"\.\. auto\w+:: (\w+)", line)) and current == module:
            found.add(said[1])
    return found


def test_everything_documented_is_exported_and_nothing_else() -> None:
    assert documented("vidtwin_codec") == set(vidtwin_codec.__all__) - {"__version__"}


@pytest.mark.parametrize("name", vidtwin_codec.__all__)
def test_every_name_is_there(name: str) -> None:
    found = getattr(vidtwin_codec, name)
    assert name in ("__version__", getattr(found, "__name__", None))
    assert name in dir(vidtwin_codec)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'enkode'"):
        vidtwin_codec.enkode  # noqa: B018


def test_listing_names_imports_nothing_heavy() -> None:
    script = (
        "import sys, vidtwin_codec\n"
        "assert {'compare', 'Batch', 'mix', 'export_latents', 'metrics'} <= set(dir(vidtwin_codec))\n"
        "assert not {'torch', 'numpy', 'vidtwin_codec.files'} & set(sys.modules)\n"
        "assert vidtwin_codec.metrics.psnr"
    )
    subprocess.run([sys.executable, "-c", script], check=True)

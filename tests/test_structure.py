"""The order of the rooms: who may import whom, read from the imports themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import vidtwin_codec

PACKAGE = Path(vidtwin_codec.__file__).parent
FLOORS = (
    *("errors", "closing", "text", "signals", "machine", "temporaries", "files", "stages", "reporter"),
    *("safetensors_file", "coding", "container", "media", "motion", "model", "weights", "metrics"),
    *("options", "network", "decoding", "encoding"),
    *("latents", "calibration", "training", "evaluation", "batch", "cli"),
)
"""From the ground up: a room imports from those before it alone. README.md draws them."""


def modules() -> dict[str, Path]:
    """Every module but the package's own face and the entry points, by its name below the package."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[-1] == "__main__" or parts == ("__init__",):
            continue
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Modules of the package that a file imports when it runs, at its top or within a function."""
    tree = ast.parse(path.read_text())
    # what is imported for annotations alone
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports by relative name"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            inside = name.removeprefix("vidtwin_codec.")
            while inside != name and inside and inside not in known:  # what is named may be a function
                inside = inside.rpartition(".")[0]
            if inside in known:
                yield inside


def test_every_room_has_a_floor() -> None:
    rooms = {name.partition(".")[0] for name in modules()}
    assert rooms == set(FLOORS)


def test_no_room_imports_from_one_above_it() -> None:
    known = modules()
    wrong = [
        f"{name} imports {other}"
        for name, path in known.items()
        for other in imports(path, known)
        if FLOORS.index(other.partition(".")[0]) > FLOORS.index(name.partition(".")[0])
    ]
    assert not wrong


def test_no_file_imports_itself_by_a_detour() -> None:
    known = modules()
    graph = {name: set(imports(path, known)) - {name} for name, path in known.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which shows the circle

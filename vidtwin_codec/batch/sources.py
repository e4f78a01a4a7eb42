"""The files that a batch takes, from folders, patterns, lists and plain names, with notes on what is left out."""

from __future__ import annotations

import codecs
import fnmatch
import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error, standard_input

_SUFFIXES_SHOWN = 5

Wanted = Callable[[PurePath], bool]


@dataclass(frozen=True)
class Input:
    """An input file; ``relative`` is its path in the tree that the destination repeats."""

    path: Path
    relative: PurePath


@dataclass
class Listing:
    """The inputs that were found.

    Attributes:
        inputs: files in order of discovery, none twice.
        problems: names that cannot be taken, each with its reason; they count as failures.
        notes: what was left out, in words.
    """

    inputs: list[Input] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find_inputs(
    sources: Sequence[str],
    suffixes: Collection[str],
    *,
    lists: Sequence[str] = (),
    root: Path | None = None,
    hidden: bool = False,
    without: Path | None = None,
) -> Listing:
    """Find all files that ``sources`` and ``lists`` name.

    A folder stands for its files with one of ``suffixes``, at any depth, in the order of their names; links to files
    and to folders are followed, but no folder is entered twice. A pattern (``clips/**/*.mp4``) stands for what it
    matches. A file that is named is taken whatever its extension.

    Args:
        sources: folders, patterns and files.
        suffixes: extensions to take from folders, in lower case with their dot.
        lists: text files with one name a line; ``-`` is standard input. Empty lines and those that begin with ``#``
            do not count.
        root: folder below which files keep their relative path. Without it a file keeps its path below the folder, or
            below the part of the pattern before the first wildcard; a file that is named keeps only its name, and one
            from a list keeps its path as written (an absolute one without the leading slash).
        hidden: whether to take hidden files and folders.
        without: a folder that is not searched: the destination.

    Raises:
        VidtwinError: a list cannot be read.
    """
    finder = _Finder(suffixes, root, hidden, without)
    for name in sources:
        finder.add_name(name)
    for name in lists:
        for line in _read_list(name):
            finder.add_line(line)
    return finder.finish()


class _Finder:
    def __init__(self, suffixes: Collection[str], root: Path | None, hidden: bool, without: Path | None) -> None:
        self._suffixes, self._hidden = suffixes, hidden
        self._root = None if root is None else Path(os.path.abspath(root))
        self._without = None if without is None else os.path.realpath(without)
        self._found = Listing()
        self._taken: set[str] = set()
        self._others: Counter[str] = Counter()
        self._hidden_names = self._repeats = self._links = self._excluded = 0

    def add_name(self, name: str) -> None:
        path = Path(name)
        if path.is_dir():
            self._walk(path, PurePath())
        elif os.path.lexists(path) or not glob.has_magic(name):
            self._take(path, PurePath(path.name))
        else:
            self._match(name)

    def add_line(self, line: str) -> None:
        path = Path(line)
        if path.is_dir():
            self._found.problems[line] = "is a folder; a list names files"
            return
        if path.is_absolute() or ".." in path.parts:
            whole = PurePath(os.path.abspath(path))
            self._take(path, whole.relative_to(whole.anchor))
        else:
            self._take(path, PurePath(os.path.normpath(path)))

    def finish(self) -> Listing:
        notes = self._found.notes
        if self._others:
            kinds = [f"{suffix or 'no extension'} {count}" for suffix, count in self._others.most_common()]
            more = [f"{len(kinds) - _SUFFIXES_SHOWN} more kinds"] if len(kinds) > _SUFFIXES_SHOWN else []
            shown = ", ".join(kinds[:_SUFFIXES_SHOWN] + more)
            kind = "no videos" if ".vtw" not in self._suffixes else "no .vtw files"
            notes.append(f"left out, {kind} by their extension: {sum(self._others.values())} ({shown})")
        if self._hidden_names:
            notes.append(f"left out, hidden: {self._hidden_names} (--hidden takes them)")
        if self._links:
            notes.append(f"left out, links to folders that are searched anyway: {self._links}")
        if self._excluded:
            notes.append("left out: the destination, which lies inside the source")
        if self._repeats:
            notes.append(f"named more than once, taken once: {self._repeats}")
        return self._found

    def _take(self, path: Path, relative: PurePath) -> None:
        whole = Path(os.path.abspath(path))
        if str(whole) in self._taken:
            self._repeats += 1
            return
        self._taken.add(str(whole))
        if not path.is_file():
            reason = "the link points nowhere" if path.is_symlink() else "no such file"
            self._found.problems[str(path)] = "is not a regular file" if path.exists() else reason
            return
        if self._root is not None and whole.is_relative_to(self._root):
            relative = whole.relative_to(self._root)
        self._found.inputs.append(Input(path, relative))

    def _match(self, pattern: str) -> None:
        before = len(self._taken) + self._repeats
        parts = Path(pattern).parts
        fixed = Path(*parts[: _fixed_parts(parts)])
        if "**" in parts:
            # glob itself would follow links in circles
            regex = re.compile(_translate(parts[_fixed_parts(parts) :]))
            self._walk(fixed, PurePath(), lambda place: regex.fullmatch(place.as_posix()) is not None)
        else:
            for name in sorted(glob.glob(pattern, include_hidden=self._hidden)):
                path = Path(name)
                if path.is_dir():
                    self._walk(path, path.relative_to(fixed))
                else:
                    self._choose(path, path.relative_to(fixed))
        if len(self._taken) + self._repeats == before:
            self._found.problems[pattern] = "the pattern matches nothing to work on"

    def _choose(self, path: Path, relative: PurePath) -> None:
        """Take a file that was found, not named, if its extension is wanted."""
        if path.suffix.lower() in self._suffixes:
            self._take(path, relative)
        else:
            self._others[path.suffix.lower()] += 1

    def _walk(self, top: Path, relative: PurePath, wanted: Wanted = lambda _: True) -> None:
        linked: list[tuple[Path, PurePath]] = []  # entered last, so that a folder is met under its own name first
        entered: set[tuple[int, int]] = set()
        self._enter(top, relative, wanted, entered, linked)
        while linked:
            self._enter(*linked.pop(0), wanted, entered, linked)

    def _enter(
        self,
        folder: Path,
        relative: PurePath,
        wanted: Wanted,
        entered: set[tuple[int, int]],
        linked: list[tuple[Path, PurePath]],
    ) -> None:
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in entered:
                self._links += 1
                return
            entered.add((status.st_dev, status.st_ino))
            names = sorted(os.listdir(folder))
        except OSError as error:
            self._found.problems[str(folder)] = error.strerror or str(error)
            return
        folders = []
        for name in names:
            path, place = folder / name, relative / name
            if name.startswith(".") and not self._hidden:
                self._hidden_names += 1
            elif not path.is_dir():
                if wanted(place):
                    self._choose(path, place)
            elif os.path.realpath(path) == self._without:
                self._excluded += 1
            elif path.is_symlink():
                linked.append((path, place))
            else:
                folders.append((path, place))
        for path, place in folders:
            self._enter(path, place, wanted, entered, linked)


def _fixed_parts(parts: Sequence[str]) -> int:
    """Count the parts of a pattern before its first wildcard."""
    return [glob.has_magic(part) for part in parts].index(True)


def _translate(parts: Sequence[str]) -> str:
    """Turn a pattern into a regular expression for a path with slashes; ``**`` is any number of folders."""
    *folders, last = parts
    any_folders = "(?:[^/]+/)*"
    before = [any_folders if part == "**" else f"{_part(part)}/" for part in folders]
    return "".join(before) + (f"{any_folders}[^/]+" if last == "**" else _part(last))


def _part(part: str) -> str:
    inside = fnmatch.translate(part).removeprefix("(?s:").removesuffix(r")\Z")
    return inside.replace(".*", "[^/]*")


def _read_list(name: str) -> list[str]:
    try:
        data = standard_input().read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise explain_os_error(error, "standard input" if name == "-" else name) from error
    # some editors begin a text with a byte order mark; names may contain anything but line ends
    lines = [os.fsdecode(line.removesuffix(b"\r")) for line in data.removeprefix(codecs.BOM_UTF8).split(b"\n")]
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    if not lines:
        raise VidtwinError(f"{'standard input' if name == '-' else name}: names no files")
    return lines

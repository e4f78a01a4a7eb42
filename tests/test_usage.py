"""Wrong usage is exit code 2, in every verb; what the environment sets; `version`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import torch
from conftest import MakeVideo

from vidtwin_codec import __version__
from vidtwin_codec.cli.main import VERBS, _run, cli
from vidtwin_codec.cli.output import OutputState
from vidtwin_codec.weights import resolve


def _verbs() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every verb that can be run, with its name."""
    context = click.Context(cli)
    for name in VERBS:
        command = cli.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from (((name, inner), one) for inner, one in command.commands.items())
        else:
            yield (name,), command


ALL = list(_verbs())
NAMES = [" ".join(name) for name, _ in ALL]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> object:
    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vidtwin", *map(str, arguments)])
        code = _run(OutputState())
        return code, *capsys.readouterr()

    return call


def _wrong(run: object, *arguments: str) -> str:
    code, out, err = run(*arguments)  # type: ignore[operator]
    assert (code, out) == (2, ""), f"{arguments}: {code} {err}"
    assert "Usage: vidtwin" in err
    return str(err)


@pytest.mark.parametrize(("name", "command"), ALL, ids=NAMES)
def test_wrong_usage_of_every_verb(run: object, name: tuple[str, ...], command: click.Command) -> None:
    assert "--no-such-option" in _wrong(run, *name, "--no-such-option")
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    if any(one.required for one in arguments):
        _wrong(run, *name)
    if all(one.nargs == 1 for one in arguments):
        _wrong(run, *name, *["bash"] * (len(arguments) + 1))


def test_wrong_usage_reads_as_every_error(run: object) -> None:
    lines = _wrong(run, "encode", "in.mp4").splitlines()
    assert lines == [
        "vidtwin: error: missing argument 'OUTPUT.vtw'",
        "  Usage: vidtwin encode [OPTIONS] SOURCE OUTPUT.vtw (vidtwin encode --help says more)",
    ]
    for choice in ["--json"], ["--progress", "json"], ["--progress=json"]:
        code, out, err = run("encode", "--no-such-option", "in.mp4", *choice)  # type: ignore[operator]
        told = json.loads(out if choice == ["--json"] else err)
        assert code == 2
        assert "no such option" in told.get("error", told.get("text"))
        assert told["hint"].startswith("Usage: vidtwin encode")


@pytest.mark.parametrize(("name", "command"), ALL, ids=NAMES)
def test_wrong_values_of_every_option(run: object, name: tuple[str, ...], command: click.Command) -> None:
    free = (click.types.StringParamType, click.Path)
    words = [word for one in command.params if isinstance(one, click.Argument) for word in ["bash"] * max(one.nargs, 2)]
    if name == ("train",):
        words += ["-o", "out.safetensors"]
    for option in command.params:
        checked = not isinstance(option.type, free) or option.name == "device"
        if isinstance(option, click.Option) and checked and not option.is_flag:
            assert option.opts[-1] in _wrong(run, *name, f"{option.opts[-1]}=@@", *words[: _most(command)])


def _most(command: click.Command) -> int | None:
    """How many words are right; None for any number."""
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    return len(arguments) if all(one.nargs == 1 for one in arguments) and command.name != "train" else None


@pytest.mark.parametrize(
    "command",
    [
        "encode a.mp4 b.vtw --fps 1001",
        "decode a.vtw b.mp4 --duration 0",
        "mix a.vtw b.vtw c.mp4 --duration 0",
        "train videos -o a.safetensors --steps -1",
        "train videos -o a.safetensors",
        "compare a.mp4 -o a.html --against mpeg2",
        "compare a.mp4 -o a.html --qualities 101",
        "measure a.mp4 b.vtw --protocol vidtwin",
        "batch --decode --fps 25 a b",
        "batch --decode --measure a b",
    ],
)
def test_what_the_options_themselves_refuse_is_wrong_usage(run: object, command: str) -> None:
    _wrong(run, *command.split())


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("encod", "did you mean encode?"),
        ("Decode", "did you mean decode?"),
        ("compress", "did you mean encode?"),
        ("weights ftech", "did you mean fetch?"),
        ("zzz", "there are encode, decode,"),
        ("help", "vidtwin --help"),
        ("help encode", "vidtwin encode --help"),
    ],
)
def test_did_you_mean(run: object, given: str, meant: str) -> None:
    assert meant in _wrong(run, *given.split())


def test_what_is_set_once(
    run: object, make_video: MakeVideo, micro_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, packed, decoded = make_video("in.mp4", frames=2), tmp_path / "a.vtw", tmp_path / "a.mp4"
    monkeypatch.setenv("VIDTWIN_WEIGHTS", str(micro_weights))
    monkeypatch.setenv("VIDTWIN_DEVICE", "cpu")
    code, out, err = run("encode", source, packed, "--json")  # type: ignore[operator]
    assert code == 0, err
    assert json.loads(out)["weights"] == "micro"
    # a file says which weights it needs: others that are set do not matter, others that are asked for do
    monkeypatch.setattr("vidtwin_codec.weights.find_decoder", lambda digest: resolve(micro_weights))
    monkeypatch.setenv("VIDTWIN_WEIGHTS", "mini")
    assert run("decode", packed, decoded)[0] == 0  # type: ignore[operator]
    assert run("measure", source, packed, "-m", "psnr")[0] == 0  # type: ignore[operator]
    assert run("batch", "--decode", packed, tmp_path / "back")[0] == 0  # type: ignore[operator]
    assert run("decode", packed, tmp_path / "b.mp4", "--weights", "mini")[0] == 1  # type: ignore[operator]
    monkeypatch.setenv("VIDTWIN_DEVICE", "abacus")
    assert "'abacus' does not name a device" in _wrong(run, "encode", str(source), "b.vtw")


def test_version_tells_what_a_report_needs(run: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIDTWIN_CACHE", str(tmp_path))
    code, out, _ = run("version", "--device", "cpu", "--json")  # type: ignore[operator]
    values = json.loads(out)
    assert code == 0
    assert (values["vidtwin"], values["torch"], values["cache"]) == (__version__, torch.__version__, str(tmp_path))
    assert values["device"].startswith("cpu ")
    assert values["ffmpeg"][0].isdigit() or values["ffmpeg"][0] == "n"
    code, out, _ = run("version", "--device", "cuda:9999")  # type: ignore[operator]
    assert code == 0
    assert "device:   none: this machine has no" in out


def test_the_number_alone_needs_no_torch() -> None:
    script = "import sys; from vidtwin_codec.cli.main import cli\ntry: cli(['--version'])\n"
    script += "finally: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"vidtwin {__version__}\n"


UNSET = {
    *("--target-kbps", "--target-size", "--target-ratio", "--target-psnr", "--target-vmaf", "--sample"),
    *("--side-by-side", "--also-json", "--source", "--from-file", "--steps", "--minutes", "--description"),
}
"""Options that do nothing unless they are given."""


@pytest.mark.parametrize(("name", "command"), ALL, ids=NAMES)
def test_every_option_says_what_it_does_and_what_its_default_is(name: tuple[str, ...], command: click.Command) -> None:
    context = click.Context(command)
    for option in command.params:
        if not isinstance(option, click.Option) or option.hidden:
            continue
        text, shown = option.help or "", option.opts[0] if option.opts[0].startswith("--") else option.opts[-1]
        assert re.fullmatch(r"[A-Z].*[^.…]\.", text), (shown, text)
        assert not re.match(r"(Of|The|A|Only|What|Where|How|Whether|Whose)\b", text), (shown, text)
        assert not any(part in text for part in ("...", "…", "(default", "[default")), (shown, text)
        if option.required or (option.is_flag and not option.secondary_opts) or shown in UNSET:
            continue
        assert option.show_default, shown
        record = option.get_help_record(context)
        assert record is not None
        assert "default: " in record[1], shown


def test_the_same_option_means_the_same_in_all_verbs() -> None:
    about_video = {"encode", "decode", "measure", "batch", "compare", "mix", "inspect", "play", "import", "export"}
    texts: dict[str, set[str]] = {}
    for name, command in ALL:
        for option in command.params:
            if name[0] in about_video and isinstance(option, click.Option) and not option.hidden:
                texts.setdefault(option.opts[-1], set()).add(option.help or "")
    shared = {"--weights", "--device", "--precision", "--batch", "--camera", "--progress", "--quiet", "--json", "--crf"}
    assert {name: len(texts[name]) for name in shared} == dict.fromkeys(shared, 1)


@pytest.mark.parametrize(("name", "command"), ALL, ids=NAMES)
def test_help_lists_files_first_and_output_of_the_program_last(name: tuple[str, ...], command: click.Command) -> None:
    rooms = (("force",), ("quality",), ("start",), ("weights",), ("audio", "sound"), ("as_json",), ("quiet",))
    params = [option.name for option in command.params if isinstance(option, click.Option) and not option.hidden]
    if name == ("train",) or name[0] == "weights":
        rooms = (("output",), ("force",), ("as_json",), ("quiet",))
    places = [params.index(word) for room in rooms for word in room if word in params]
    assert places == sorted(places)

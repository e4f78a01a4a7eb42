"""Decoding on a card: what ffmpeg is asked, and what becomes of a card that is not there or does not do it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeVideo
from media_samples import ffmpeg, lavfi, read_all, stand_in

from vidtwin_codec.cli.main import _run
from vidtwin_codec.cli.output import OutputState
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import FrameReader, hwaccel, probe
from vidtwin_codec.media.color import to_rgb
from vidtwin_codec.media.ffmpeg import executable, hwaccels

needs_bash = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for ffmpeg is a script")


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    """What this machine has is found out in every test."""
    yield
    hwaccels.cache_clear()
    hwaccel._closed.cache_clear()


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """An ffmpeg that claims to have cards, and decodes in software: ``card(says)`` runs a line of bash before each.

    Its arguments are in the file that is returned, a call a line.
    """
    real, script, log = shutil.which(executable()), tmp_path / "ffmpeg.sh", tmp_path / "arguments"
    assert real is not None

    def make(says: str = "") -> Path:
        # the real one gets no -hwaccel, nor what belongs to it
        lines = [
            f'echo "$*" >> {log}',
            'if [[ "$*" == *-hwaccels ]]; then echo "Methods:"; printf "%s\\n" cuda qsv vaapi; exit; fi',
            'given=("$@"); kept=()',
            "while [ ${#given[@]} -gt 0 ]; do case ${given[0]} in",
            '-hwaccel|-hwaccel_output_format|-init_hw_device) on=${given[1]}; given=("${given[@]:2}");;',
            '*) kept+=("${given[0]}"); given=("${given[@]:1}");; esac; done',
            says,
            f'exec {real} "${{kept[@]}}"',
        ]
        stand_in(script, "\n".join(lines))
        monkeypatch.setattr("vidtwin_codec.media.ffmpeg.executable", lambda: str(script))
        hwaccels.cache_clear()
        return log

    return make


def _calls(log: Path) -> list[list[str]]:
    return [line.split() for line in log.read_text().splitlines()]


def _readers(log: Path) -> list[list[str]]:
    return [call for call in _calls(log) if "rawvideo" in call]


def test_auto_gives_the_frames_of_software(make_video: MakeVideo) -> None:
    path = make_video("in.mp4", frames=12)
    assert np.array_equal(read_all(probe(path, hwaccel="auto")), read_all(path))


@pytest.mark.parametrize(
    ("planar", "packed"), [("yuv420p", "nv12"), ("yuv420p10le", "p010le"), ("yuv420p12le", "p016le")]
)
def test_formats_of_cards_become_the_same_rgb(tmp_path: Path, planar: str, packed: str) -> None:
    """What a card gives is NV12 or P010; so its pixels are those of software if decoding is exact."""
    options = ("-frames:v", "3", "-pix_fmt", planar, "-c:v", "ffv1")
    path = lavfi(tmp_path / "in.mkv", *options, source="testsrc2=s=98x74:r=25")
    info = probe(path)
    for size in (98, 74), (50, 38):
        software, card = (
            ffmpeg("-i", path, "-vf", before + to_rgb(info, *size), "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
            for before in ("", f"format={packed},")
        )
        assert software == card


@needs_bash
def test_the_frames_alone_are_decoded_by_the_card(card: Callable[[str], Path], make_video: MakeVideo) -> None:
    path = make_video("in.mp4", frames=6)
    log = card("")
    info = probe(path, hwaccel="cuda")
    assert not any("-hwaccel" in call for call in _calls(log))
    assert len(read_all(info)) == 6
    (call,) = _readers(log)
    place = call.index("-hwaccel")
    assert call[place + 1] == "cuda"
    assert place < call.index("-protocol_whitelist") < call.index("-format_whitelist") < call.index("-i")
    assert "-hwaccel_output_format" not in call


@needs_bash
def test_what_is_asked_of_which_video(card: Callable[[str], Path], make_video: MakeVideo) -> None:
    card("")
    info = probe(make_video("in.mp4", frames=2))

    def asked(**changes: str | None) -> tuple[str, ...]:
        return hwaccel.arguments(replace(info, **changes))  # type: ignore[arg-type]

    assert info.codec == "h264"
    assert asked() == ()
    assert asked(hwaccel="auto") == ("-hwaccel", "cuda")
    assert asked(hwaccel="vaapi", codec="hevc") == ("-hwaccel", "vaapi")
    assert asked(hwaccel="cuda", codec="mpeg2video") == ()
    assert asked(hwaccel="cuda", codec="vp9", decoder="libvpx-vp9") == ()
    qsv = ("-hwaccel", "qsv", "-hwaccel_output_format")
    assert asked(hwaccel="qsv", pix_fmt="yuv420p10le") == (*qsv, "p010le")
    assert asked(hwaccel="qsv", pix_fmt="yuv444p") == ()


@needs_bash
def test_auto_takes_what_opens(card: Callable[[str], Path], make_video: MakeVideo) -> None:
    info = probe(make_video("in.mp4", frames=2), hwaccel="auto")
    log = card('if [[ "$*" == *"-init_hw_device cuda"* ]]; then echo "[error] no card" >&2; exit 1; fi')
    assert hwaccel.arguments(info) == hwaccel.arguments(info) == ("-hwaccel", "vaapi")
    assert sum("-init_hw_device" in call for call in _calls(log)) == 2  # each is tried once


@needs_bash
@pytest.mark.parametrize("name", ["cuda", "auto"])
@pytest.mark.parametrize("then", ["exit 69", ":"], ids=["no-picture", "ffmpeg-falls-back"])
def test_a_video_that_the_card_does_not_decode_is_decoded_in_software(
    card: Callable[[str], Path], make_video: MakeVideo, name: str, then: str
) -> None:
    path = make_video("in.mp4", frames=6)
    frames = read_all(path)
    said = "[h264 @ 0x55] [error] Hardware is lacking required capabilities"
    log = card(f"if [[ $on == cuda && \"$*\" == *rawvideo* ]]; then echo '{said}' >&2; {then}; fi")
    info = probe(path, hwaccel=name)
    with FrameReader(info, start=Fraction(1, 25)) as reader:
        assert np.array_equal(reader.read_full(100), frames[1:])
    told = "decoded in software, because decoding by cuda said: Hardware is lacking required capabilities"
    assert reader.warnings == [*info.warnings, *([told] if name == "cuda" else [])]
    assert ["-hwaccel" in call for call in _readers(log)] == [True, False]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def call(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["vidtwin", *map(str, arguments)])
        code = _run(OutputState())
        return code, capsys.readouterr().err

    return call


@pytest.mark.parametrize("verb", ["encode", "batch", "measure"])
def test_a_method_that_ffmpeg_lacks_is_wrong_usage(run: Callable[..., tuple[int, str]], verb: str) -> None:
    code, said = run(verb, "--hwaccel", "abacus", "in.mp4", "out.vtw")
    assert code == 2
    assert "this ffmpeg cannot decode by 'abacus'; there are none, auto," in said.splitlines()[0]


@needs_bash
def test_a_device_that_cannot_be_opened_is_one_line(
    card: Callable[[str], Path],
    run: Callable[..., tuple[int, str]],
    make_video: MakeVideo,
    micro_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, packed = make_video("in.mp4", frames=4), tmp_path / "out.vtw"
    monkeypatch.setenv("VIDTWIN_HWACCEL", "vaapi")
    card('if [[ $on == vaapi ]]; then echo "lib.so: not found" >&2; echo "[error] failed" >&2; exit 134; fi')
    wrong = "the device for decoding by vaapi cannot be opened (lib.so: not found)"
    for verb, target in ("encode", packed), ("batch", tmp_path / "packed"):
        code, said = run(verb, path, target, "--weights", micro_weights, "--device", "cpu", "-q")
        assert code == 1
        assert said.splitlines() == [f"vidtwin: error: {wrong}", "  --hwaccel none decodes in software"]
        assert not target.exists()
    assert run("encode", path, packed, "--weights", micro_weights, "--device", "cpu", "--hwaccel", "none")[0] == 0
    measure = ("measure", path, packed, "--weights", micro_weights, "--device", "cpu", "-m", "psnr")
    code, said = run(*measure)
    assert (code, wrong in said) == (1, True)
    code, said = run(*measure, "--hwaccel", "auto")
    assert (code, wrong in said) == (0, False), said


@pytest.mark.parametrize("name", ["cuda", "vaapi", "videotoolbox"])
def test_the_real_ffmpeg_says_what_its_device_lacks(name: str, make_video: MakeVideo) -> None:
    if name not in hwaccels():
        pytest.skip(f"this ffmpeg has no {name}")
    if hwaccel._closed(name) is None:
        pytest.skip(f"this machine has {name}")
    with pytest.raises(VidtwinError, match=rf"decoding by {name} cannot be opened \(\S.*\)") as caught:
        FrameReader(probe(make_video("in.mp4", frames=2), hwaccel=name))
    assert "\n" not in caught.value.message

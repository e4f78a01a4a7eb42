"""Fixtures that most tests stand on: a micro-sized random network, and videos made on the spot."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import settings
from media_samples import ffmpeg
from micro import pipeline_model, window_model, write_weights

from vidtwin_codec.cli.main import main
from vidtwin_codec.signals import STOPPING

# a busy machine must not fail a test that is right; pytest's own timeout stops one that hangs
settings.register_profile("vidtwin", deadline=None)
settings.load_profile("vidtwin")
# a shell that runs this in the background, or nohup, has signals ignored that tests send to themselves and to children
signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.platform != "win32":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
# where torchvision is installed, `measure` would download AlexNet for LPIPS
sys.modules["torchvision"] = None  # type: ignore[assignment]


@pytest.fixture(scope="session")
def micro_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file holding a micro-sized random network, with steps."""
    return write_weights(tmp_path_factory.mktemp("weights") / "micro.safetensors", pipeline_model(), 0.1)


@pytest.fixture(scope="session")
def window_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a network that sees whole frames, and makes wide latents of which many are zero."""
    return write_weights(tmp_path_factory.mktemp("weights") / "window.safetensors", window_model(), 0.4)


MakeVideo = Callable[..., Path]


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """``make_video("a.mp4", size="64x48", rate="25", frames=12, audio=True)`` through ffmpeg's own test pictures."""

    def make(
        name: str, *, size: str = "40x36", rate: str | Fraction = "25", frames: int = 10, audio: bool = False
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        picture = ["-f", "lavfi", "-i", f"testsrc2=size=128x128:rate={rate},scale={size.replace('x', ':')},format=gbrp"]
        seconds = float(frames / Fraction(rate))
        sound = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}"] if audio else []
        # 4:4:4 so that odd sizes are possible
        ffmpeg(*picture, *sound, "-frames:v", str(frames), "-c:v", "libx264", "-pix_fmt", "yuv444p", f"file:{path}")
        return path

    return make


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``code, out, err = run("encode", …)`` in this process."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vidtwin", *map(str, arguments)])
        handlers = {number: signal.getsignal(number) for number in STOPPING}
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return call

"""Whatever is wrong with the input: one clear line, exit code 1, no output file, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from conftest import MakeVideo, Run
from launching import vidtwin
from media_samples import ffmpeg

from vidtwin_codec.media import probe


def refuses(run: Run, *arguments: str | Path) -> str:
    """Run, expect exit code 1, and give the one line of error."""
    code, out, err = run(*arguments)
    lines = [line for line in err.splitlines() if line.startswith("vidtwin: ")]
    assert (code, out, len(lines)) == (1, "", 1), err
    assert "Traceback" not in err
    return lines[0]


def test_inputs_that_are_no_video(run: Run, tmp_path: Path, micro_weights: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video\n" * 50)
    (tmp_path / "empty.mp4").touch()
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", tmp_path / "sound.m4a")
    (tmp_path / "folder.mp4").mkdir()
    output = tmp_path / "out.vtw"
    before = sorted(tmp_path.iterdir())
    for name, expected in (
        ("text.mp4", "text.mp4"),
        ("empty.mp4", "empty"),
        ("sound.m4a", "no video"),
        ("folder.mp4", "directory"),
        ("missing.mp4", "missing.mp4"),
    ):
        line = refuses(run, "encode", tmp_path / name, output, "--weights", micro_weights)
        assert expected in line
    assert sorted(tmp_path.iterdir()) == before


def test_unreadable_input(run: Run, micro_weights: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        Path(folder).chmod(0o755)
        source = Path(folder, "in.mp4")
        source.write_bytes(b"something")
        source.chmod(0)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)  # root may read everything
        try:
            line = refuses(run, "encode", source, Path(tempfile.gettempdir(), "out.vtw"), "--weights", micro_weights)
        finally:
            if root:
                os.seteuid(0)
    assert line == f"vidtwin: error: {source}: Permission denied"


def test_outputs_that_cannot_be(
    run: Run,
    make_video: MakeVideo,
    tmp_path: Path,
    micro_weights: Path,
) -> None:
    source = make_video("in.mp4")
    original = source.read_bytes()
    for output, expected in (
        (tmp_path / "no" / "out.vtw", "no such folder"),
        (tmp_path, "is a directory"),
        (source, "same file"),
    ):
        for force in ([], ["--force"]):
            assert expected in refuses(run, "encode", source, output, "--weights", micro_weights, *force)
    assert source.read_bytes() == original
    (tmp_path / "link.mp4").symlink_to(source)
    assert "same file" in refuses(run, "encode", tmp_path / "link.mp4", source, "-f", "--weights", micro_weights)


def test_a_truncated_video_is_encoded_as_far_as_it_goes(
    run: Run,
    make_video: MakeVideo,
    tmp_path: Path,
    micro_weights: Path,
) -> None:
    whole = make_video("whole.mp4", frames=60, size="128x128")
    fast = tmp_path / "fast.mp4"
    ffmpeg("-i", whole, "-c", "copy", "-movflags", "+faststart", fast)
    source = tmp_path / "cut.mp4"
    source.write_bytes(fast.read_bytes()[: fast.stat().st_size * 2 // 3])
    code, _, err = run("encode", source, tmp_path / "out.vtw", "--weights", micro_weights)
    assert code == 0
    assert "warning:" in err
    assert run("verify", tmp_path / "out.vtw", "-q")[0] == 0
    assert run("decode", "-q", tmp_path / "out.vtw", tmp_path / "out.mp4", "--weights", micro_weights)[0] == 0
    frames = probe(tmp_path / "out.mp4").frames
    assert frames is not None
    assert 10 < frames < 60


def test_weights_that_cannot_be_used(
    run: Run,
    make_video: MakeVideo,
    tmp_path: Path,
) -> None:
    source, output = make_video("in.mp4"), tmp_path / "out.vtw"
    (tmp_path / "bad.safetensors").write_bytes(b"nothing of the kind")
    assert "bad.safetensors" in refuses(run, "encode", source, output, "--weights", tmp_path / "bad.safetensors")
    assert "no weights are called" in refuses(run, "encode", source, output, "--weights", "nonesuch")
    assert not output.exists()


def test_an_interrupt_leaves_nothing_behind(make_video: MakeVideo, tmp_path: Path, micro_weights: Path) -> None:
    source = make_video("in.mp4", size="640x480", frames=400, rate="25")
    folder = tmp_path / "out"
    folder.mkdir()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        command = [*vidtwin(), "encode", str(source), str(folder / "out.vtw"), "--weights", str(micro_weights)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert "encode: cpu" in process.stderr.readline()  # the network is loaded, work has begun
            time.sleep(0.3)
            process.send_signal(number)
            rest = process.stderr.read()
        assert process.returncode == 1, rest
        assert rest.strip().splitlines()[-1] == "vidtwin: interrupted; nothing was written"
        assert list(folder.iterdir()) == []


def test_a_full_disk_is_said(make_video: MakeVideo, tmp_path: Path, micro_weights: Path) -> None:
    """A limit on file size stands in for a full disk: writing fails in the middle just the same."""
    source = make_video("in.mp4", size="320x240", frames=50)
    script = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    script += "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
    script += "from vidtwin_codec.cli.main import main; main()"
    arguments = ["encode", source, tmp_path / "o.vtw", "--weights", micro_weights]
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "vidtwin: error:" in done.stderr
    assert not [path for path in tmp_path.iterdir() if "vtw" in path.name or "vidtwin" in path.name]

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vidtwin_codec import files
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import atomic_path, check_output, finished_outputs


def test_the_output_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out.vtw"
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:  # noqa: PT012
        temporary.write_bytes(b"half")
        assert not target.exists()
        assert temporary.suffix == ".vtw"
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    target.write_bytes(b"old")
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["out.vtw"]


def test_new_files_have_ordinary_permissions(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "out") as temporary:
            temporary.touch()
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_path(tmp_path / "link") as temporary:
        temporary.write_bytes(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_named_pipes_and_devices_are_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_output(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    with atomic_path(pipe) as temporary:
        temporary.write_bytes(b"all of it")
    reader.join()
    assert received == [b"all of it"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_full_device_is_said(tmp_path: Path) -> None:
    device = tmp_path / "full"
    device.symlink_to("/dev/full")
    with pytest.raises(VidtwinError, match="the disk is full"), atomic_path(device) as temporary:
        temporary.write_bytes(b"x")
    assert stat.S_ISCHR(device.stat().st_mode)


def test_outputs_are_checked_before_any_work(tmp_path: Path) -> None:
    check_output("-")
    check_output(tmp_path / "new.vtw")
    (tmp_path / "old.vtw").touch()
    (tmp_path / "link.vtw").symlink_to(tmp_path / "old.vtw")
    with pytest.raises(VidtwinError, match="already exists"):
        check_output(tmp_path / "old.vtw")
    check_output(tmp_path / "old.vtw", force=True)
    with pytest.raises(VidtwinError, match="the name is too long"):
        check_output(tmp_path / ("n" * 300))
    with pytest.raises(VidtwinError, match="same file"):
        check_output(tmp_path / "link.vtw", tmp_path / "old.vtw", force=True)
    with pytest.raises(VidtwinError, match="is a directory"):
        check_output(tmp_path, force=True)
    with pytest.raises(VidtwinError, match="no such folder"):
        check_output(tmp_path / "none" / "a.vtw")


def test_of_two_that_write_one_output_without_force_one_wins_and_the_other_says_so(tmp_path: Path) -> None:
    target = tmp_path / "out.vtw"
    with pytest.raises(VidtwinError, match="another program has written it meanwhile") as caught:  # noqa: PT012, SIM117
        with atomic_path(target, force=False) as slow:
            with atomic_path(target, force=False) as fast:
                fast.write_bytes(b"first")
            slow.write_bytes(b"second")
    assert str(target) in caught.value.message
    assert "--force" in (caught.value.hint or "")
    assert target.read_bytes() == b"first"
    with atomic_path(target, force=True) as temporary:
        temporary.write_bytes(b"third")
    assert target.read_bytes() == b"third"
    assert list(tmp_path.iterdir()) == [target]
    assert finished_outputs()[-2:] == [str(target)] * 2


def test_disks_without_links_serve_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*names: object, **choices: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "out.vtw"
    with atomic_path(target, force=False) as temporary:
        temporary.write_bytes(b"first")
    with pytest.raises(VidtwinError, match="already exists"), atomic_path(target, force=False) as temporary:  # noqa: PT012
        target.unlink()
        target.write_bytes(b"theirs")
    assert target.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [target]


def test_permissions_hold_while_threads_make_files(tmp_path: Path) -> None:
    """Nothing of a process may change for a moment: another thread would make its files then."""
    mask = os.umask(0o077)
    try:
        with ThreadPoolExecutor(8) as pool:

            def make(number: int) -> int:
                with atomic_path(tmp_path / f"{number}.vtw") as temporary:
                    temporary.touch()
                return stat.S_IMODE((tmp_path / f"{number}.vtw").stat().st_mode)

            assert set(pool.map(make, range(400))) == {0o600}
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(mask)


def test_messages_name_the_output_and_not_its_temporary(tmp_path: Path) -> None:
    with pytest.raises(VidtwinError) as caught, atomic_path(tmp_path / "out.vtw") as temporary:
        raise VidtwinError(f"{temporary}: the disk is full")
    assert caught.value.message == str(caught.value) == f"{tmp_path / 'out.vtw'}: the disk is full"


def test_long_names_that_are_allowed_work(tmp_path: Path) -> None:
    target = tmp_path / ("a." + "n" * 250)
    with atomic_path(target) as temporary:
        temporary.touch()
    assert target.exists()


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("piped", [True, False])
def test_standard_output_by_name_is_written_to(tmp_path: Path, name: str, piped: bool) -> None:
    if not os.path.exists("/dev/fd"):
        pytest.skip("this system has no names for open files")
    (tmp_path / "link").symlink_to("/dev/stdout")
    program = (
        "import sys; from vidtwin_codec.files import atomic_path, check_output\n"
        "check_output(sys.argv[1])\n"
        "with atomic_path(sys.argv[1]) as path: path.write_bytes(b'all of it')\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "link") if name == "link" else name]
    if piped:
        assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == b"all of it"
        return
    # as a shell does for { echo before; vidtwin ...; } > file
    with (tmp_path / "file").open("wb", buffering=0) as stream:
        stream.write(b"before ")
        subprocess.run(command, stdout=stream, check=True)
        stream.write(b" after")
    assert (tmp_path / "file").read_bytes() == b"before all of it after"


def test_errors_name_the_output_and_not_the_temporary(tmp_path: Path) -> None:
    for name in (tmp_path / "out.mp4", "-"):
        with pytest.raises(VidtwinError) as caught, atomic_path(name, suffix=".mp4") as temporary:
            raise VidtwinError(f"{temporary}: cannot be written; {temporary.name} is no more", "a hint")
        shown = "standard output" if name == "-" else str(name)
        assert caught.value.message == f"{shown}: cannot be written; {shown} is no more"
        assert caught.value.hint == "a hint"


def test_an_output_is_finished_from_the_moment_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, place = tmp_path / "in_place.bin", files.TemporaryFile.place
    for last in (False, True):

        def interrupted(self: files.TemporaryFile, to: Path, *, replace: bool, last: bool = last) -> None:
            if last:
                place(self, to, replace=replace)
            raise KeyboardInterrupt

        monkeypatch.setattr(files.TemporaryFile, "place", interrupted)
        with pytest.raises(KeyboardInterrupt), atomic_path(target, force=False) as temporary:
            temporary.write_bytes(b"whole")
        assert target.exists() == last
        assert (str(target) in finished_outputs()) == last

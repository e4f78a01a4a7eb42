from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import atomic_path, check_output


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
    with pytest.raises(VidtwinError, match="same file"):
        check_output(tmp_path / "link.vtw", tmp_path / "old.vtw", force=True)
    with pytest.raises(VidtwinError, match="is a directory"):
        check_output(tmp_path, force=True)
    with pytest.raises(VidtwinError, match="no such folder"):
        check_output(tmp_path / "none" / "a.vtw")

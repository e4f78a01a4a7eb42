"""VtwFile over streams and URLs: the same latents, and no more bytes than they take."""

from __future__ import annotations

import io
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeVideo
from latent_samples import write_sample
from torch.utils.data import DataLoader

from vidtwin_codec import EncodeOptions, VidtwinError, VtwDataset, VtwFile, encode
from vidtwin_codec.coding import LatentArrays
from vidtwin_codec.container.remote import is_url

fsspec = pytest.importorskip("fsspec", reason="the extra `remote` is not installed")


@dataclass
class Site:
    """One file at every address but /gone.vtw, and how it is served."""

    content: bytes
    ranges: bool = True
    cut: bool = False
    url: str = ""
    sent: list[int] = field(default_factory=list)


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """On a free port of loopback while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            if self.path == "/gone.vtw":
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data, asked = site.content, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if asked and site.ranges:
                data = data[int(asked[1]) : int(asked[2]) + 1]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {asked[1]}-{asked[2]}/{len(site.content)}")
            else:
                self.send_response(200)
            if site.ranges:
                self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data[: len(data) // 2] if site.cut else data)
                site.sent.append(len(data))
                self.close_connection = site.cut

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LatentArrays]:
    path = tmp_path_factory.mktemp("remote") / "a.vtw"
    return path, write_sample(path, (3, 1, 8, 8, 8, 2))


@pytest.fixture
def site(sample: tuple[Path, LatentArrays]) -> Iterator[Site]:
    pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")
    with serving(Site(sample[0].read_bytes())) as site:
        yield site


def same(one: LatentArrays, other: LatentArrays) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def part(symbols: LatentArrays, clips: slice) -> LatentArrays:
    return LatentArrays(*(array[clips] for array in symbols))


class Dribbling(io.BytesIO):
    """Gives a few bytes at a time, as unbuffered streams may."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(7, size or 0))


def test_streams_give_the_same_latents_and_stay_open(sample: tuple[Path, LatentArrays]) -> None:
    path, symbols = sample
    for stream in (io.BytesIO(path.read_bytes()), Dribbling(path.read_bytes()), path.open("rb", buffering=0)):
        with VtwFile(stream) as file:
            assert file.path is stream
            assert same(file[:].symbols, symbols)
        assert not stream.closed
        stream.close()


def test_what_cannot_be_read_by_position_is_refused(sample: tuple[Path, LatentArrays]) -> None:
    with sample[0].open("r", encoding="latin-1") as text, pytest.raises(TypeError, match=r'a\.vtw with "rb"'):
        VtwFile(text)  # type: ignore[arg-type]

    class Pipe(io.RawIOBase):
        name = "pipe"

    with pytest.raises(VidtwinError, match="pipe: cannot be read by position"):
        VtwFile(Pipe())  # type: ignore[arg-type]


def test_frames_of_a_stream(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    network = {"weights": str(micro_weights), "device": "cpu"}
    encode(make_video("in.mp4", frames=10), tmp_path / "a.vtw", EncodeOptions(**network))
    with VtwFile(tmp_path / "a.vtw") as file:
        expected = list(file.frames(3, 9, **network))
    with VtwFile(io.BytesIO((tmp_path / "a.vtw").read_bytes())) as file:
        found = list(file.frames(3, 9, **network))
    assert len(found) == 6
    assert np.array_equal(found, expected)


def test_any_store_of_fsspec(sample: tuple[Path, LatentArrays]) -> None:
    path, symbols = sample
    fsspec.filesystem("memory").pipe("/bucket/a.vtw", path.read_bytes())
    for url in ("memory://bucket/a.vtw", path.as_uri(), f"simplecache::{path.as_uri()}"):
        with VtwFile(url) as file:
            assert file.name == url
            assert same(file[2:7].symbols, part(symbols, slice(2, 7)))
    dataset = VtwDataset(["memory://bucket/a.vtw", path], clips=2)
    assert dataset.files == ["memory://bucket/a.vtw", str(path)]
    assert np.array_equal(
        VtwDataset(path, random=False)[4]["structure"],
        VtwDataset("memory://bucket/a.vtw", random=False)[4]["structure"],
    )
    with pytest.raises(VidtwinError, match=r"memory://bucket/b\.vtw: no such file"):
        VtwFile("memory://bucket/b.vtw")
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def test_over_http_only_the_groups_needed_are_sent(sample: tuple[Path, LatentArrays], site: Site) -> None:
    with VtwFile(f"{site.url}/a.vtw") as file:
        opened = sum(site.sent)
        found = file[5:7]
        assert same(found.symbols, part(sample[1], slice(5, 7)))
        assert sum(site.sent) - opened == file.group_bytes[2]
        assert opened < len(site.content) - sum(file.group_bytes) + 100


def test_workers_read_over_http(sample: tuple[Path, LatentArrays], site: Site) -> None:
    dataset = VtwDataset(f"{site.url}/a.vtw", random=False)
    found = [sample["structure"] for sample in DataLoader(dataset, batch_size=None, num_workers=2, timeout=60)]
    with VtwFile(sample[0]) as file:
        assert np.array_equal(np.concatenate(found), file[:].structure[:, 0])


def test_what_is_wrong_with_a_server_is_one_line(site: Site) -> None:
    with pytest.raises(VidtwinError, match=r"/gone\.vtw: cannot be reached \(404, .*Not Found"):
        VtwFile(f"{site.url}/gone.vtw")
    site.ranges = False
    with pytest.raises(VidtwinError, match="does not give parts of files"):
        VtwFile(f"{site.url}/a.vtw")
    site.ranges, site.cut = True, True
    with pytest.raises(VidtwinError, match=rf"{site.url}/a\.vtw: "):
        VtwFile(f"{site.url}/a.vtw")
    with serving(Site(b"")) as closed:
        pass
    with pytest.raises(VidtwinError, match=rf"{closed.url}/a\.vtw: cannot be reached"):
        VtwFile(f"{closed.url}/a.vtw")


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VidtwinError, match="nosuch://a"):
        VtwFile("nosuch://a")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(VidtwinError, match="cannot be read from there") as caught:
        VtwFile("https://example.org/a.vtw")
    assert "vidtwin-codec[remote]" in str(caught.value.hint)


@pytest.mark.parametrize("text", ["a.vtw", "/a/b.vtw", "C:\\a.vtw", "a::b.vtw", "a:b", "://a", Path("a.vtw"), None])
def test_paths_are_no_urls(text: object) -> None:
    assert not is_url(text)

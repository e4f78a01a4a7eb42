"""A small stand-in for the Hugging Face hub on loopback: resolve, redirect, ETag, Range, and its bad days."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """One file, and how the server behaves.

    Attributes:
        repository, file: where it lies on the hub.
        content: what is sent.
        etag: what is stated; the SHA-256 of ``content`` unless a test says otherwise.
        cuts: for each coming answer, after how many bytes to drop the connection.
        refuse_after_cut: answer 403 to every attempt to go on.
        ignores_ranges: always send everything.
        size: bytes that are stated; those of ``content`` if None.
        pushed: contents of the files that were committed, by name.
        card: whether the repository has a README already.
        ranges: the ``Range`` header of every ``GET`` of the contents so far.
    """

    repository: str
    file: str
    content: bytes
    etag: str = ""
    cuts: list[int] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    refuse_after_cut: bool = False
    ignores_ranges: bool = False
    size: int | None = None
    pushed: dict[str, bytes] = field(default_factory=dict)
    card: bool = False
    url: str = ""

    def __post_init__(self) -> None:
        self.etag = self.etag or hashlib.sha256(self.content).hexdigest()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            """What committing small files asks for, in the hub's order."""
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Authorization") != "Bearer secret":
                self.reply(401, {"error": "no token"})
            elif self.path == "/api/repos/create":
                self.reply(200, {"url": f"{hub.url}/{hub.repository}", "name": hub.repository})
            elif self.path == "/api/validate-yaml":
                self.reply(200, {"warnings": [], "errors": []})
            elif self.path == f"/api/models/{hub.repository}/preupload/main":
                names = [one["path"] for one in json.loads(sent)["files"]]
                modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False, "oid": None} for name in names]
                self.reply(200, {"files": modes})
            elif self.path == f"/api/models/{hub.repository}/commit/main":
                for line in map(json.loads, sent.splitlines()):
                    if line["key"] == "file":
                        hub.pushed[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                self.reply(200, {"commitUrl": f"{hub.url}/{hub.repository}/commit/{COMMIT}", "commitOid": COMMIT})
            else:
                self.reply(404, {"error": self.path})

        def reply(self, status: int, values: dict[str, object]) -> None:
            data = json.dumps(values).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def answer(self) -> None:
            if self.path == "/cdn/contents":
                self.contents()
            elif self.path in {f"/{hub.repository}/resolve/{revision}/{hub.file}" for revision in ("main", COMMIT)}:
                self.send_response(302)
                self.send_header(
                    "Location", hub.url.replace("127.0.0.1", "localhost") + "/cdn/contents"
                )  # another host, as on the hub
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("X-Linked-Etag", f'"{hub.etag}"')
                self.send_header("X-Linked-Size", str(len(hub.content) if hub.size is None else hub.size))
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif self.path == f"/{hub.repository}/resolve/main/README.md" and hub.card:
                self.send_response(200)
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", '"' + "0" * 40 + '"')
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def contents(self) -> None:
            asked = self.headers.get("Range")
            hub.ranges.append(asked)
            if hub.refuse_after_cut and not hub.cuts:
                self.send_response(403)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            found = re.fullmatch(r"bytes=(\d+)-", asked or "")
            start = int(found[1]) if found and not hub.ignores_ranges else 0
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(hub.content) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(hub.content) - 1}/{len(hub.content)}")
            self.end_headers()
            data = hub.content[start:]
            if hub.cuts:
                self.wfile.write(data[: hub.cuts.pop(0)])
                self.close_connection = True
            else:
                self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are nothing to print."""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve ``hub`` on a free port of 127.0.0.1 while the block runs; ``hub.url`` says where."""
    server = _Server(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

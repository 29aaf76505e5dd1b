"""A web server on this machine that hands out bytes, can be made to fail, and remembers what it was asked."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Asked:
    """One request: what was asked for, and how many bytes of the file were sent."""

    method: str
    path: str
    range: str | None
    condition: str | None
    status: int = 0
    sent: int = 0


@dataclass
class Web:
    """What the server has and does.

    Attributes:
        files: Contents by path.
        ranges: Whether it knows ranges.
        etags: Whether it names versions.
        faults: What happens to the next GET requests, in turn: a status, ``("cut", n)`` to close after n bytes.
        statuses: Paths that are always answered with a status.
        log: The requests.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    etags: bool = True
    faults: list[Any] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    log: list[Asked] = field(default_factory=list)

    def add(self, *paths: Path, folder: str = "/m") -> None:
        """Hand out files of this machine."""
        for path in paths:
            self.files[f"{folder}/{path.name}"] = path.read_bytes()

    def gets(self, ending: str = "") -> list[Asked]:
        """The requests for contents, of files whose name ends so."""
        return [asked for asked in self.log if asked.method == "GET" and asked.path.endswith(ending)]


@functools.lru_cache(64)
def etag(content: bytes) -> str:
    """The version's name that the server gives a content."""
    return f'"{hashlib.sha256(content).hexdigest()[:16]}"'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    web: Web

    def log_message(self, *args: Any) -> None:
        """Nothing on the terminal."""

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def _answer(self, body: bool) -> None:
        web, asked = (
            self.web,
            Asked(self.command, self.path, self.headers.get("Range"), self.headers.get("If-Range")),
        )
        web.log.append(asked)
        content = web.files.get(self.path)
        fault = web.faults.pop(0) if body and content is not None and web.faults else None
        status = web.statuses.get(self.path) or (404 if content is None else 200)
        asked.status = fault if isinstance(fault, int) else status
        if asked.status != 200 or content is None:
            self.send_response(asked.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, stop = 0, len(content)
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.range or "")
        fits = asked.condition is None or asked.condition == etag(content)
        if found and web.ranges and fits:
            start, stop = int(found[1]), min(int(found[2] or stop - 1) + 1, stop)
            asked.status = 206 if start < len(content) else 416
        self.send_response(asked.status)
        if asked.status == 416:
            start = stop = 0
        if asked.status == 206:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        if web.etags:
            self.send_header("ETag", etag(content))
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        if not body:
            return
        end = min(stop, start + fault[1]) if isinstance(fault, tuple) else stop
        try:
            self.wfile.write(content[start:end])
            asked.sent = end - start
        except OSError:
            pass  # the other side has seen enough
        self.close_connection = self.close_connection or end < stop


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: Any) -> None:
        """Nothing on the terminal: a client may go before it has seen everything."""


@contextmanager
def serving() -> Iterator[Web]:
    """A server that runs as long as the block."""
    web = Web()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": web}))
    web.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    # A proxy that the environment names cannot reach this machine's own address.
    before = os.environ.get("no_proxy")
    os.environ["no_proxy"] = "*"
    try:
        yield web
    finally:
        os.environ.pop("no_proxy")
        if before is not None:
            os.environ["no_proxy"] = before
        server.shutdown()
        server.server_close()

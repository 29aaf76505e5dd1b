"""A local web server that serves bytes, can be made to fail, and logs its requests."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Request:
    """A logged request, and how many bytes of the file were sent."""

    method: str
    path: str
    range: str | None
    condition: str | None
    status: int = 0
    sent: int = 0


@dataclass
class Answer:
    """A response other than the correct one.

    Attributes:
        status: Replaces the correct status.
        headers: Replace the correct headers; None omits one.
        body: Makes the pieces to send from the correct content; without a Content-Length, closing the connection ends
            them.
    """

    status: int | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    body: Callable[[bytes], Iterable[bytes]] | None = None


@dataclass
class Web:
    """The content and behavior of the server.

    Attributes:
        files: Contents by path.
        ranges: Whether it supports range requests.
        etags: Whether it sends ETags.
        faults: Faults of the next GET requests, in order: a status, ``("cut", n)`` to close after n bytes, or an
            `Answer`.
        always: The response to all GET requests without a fault of their own.
        heads: Replace the correct headers in responses to HEAD; None omits one.
        over: Set when the server stops; a body may wait for it.
        statuses: Fixed statuses by path.
        log: The requests.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    etags: bool = True
    faults: list[Any] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    log: list[Request] = field(default_factory=list)
    always: Answer | None = None
    heads: dict[str, str | None] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def add(self, *paths: Path, folder: str = "/m") -> None:
        """Serve local files."""
        for path in paths:
            self.files[f"{folder}/{path.name}"] = path.read_bytes()

    def gets(self, ending: str = "") -> list[Request]:
        """The GET requests for paths with this ending."""
        return [request for request in self.log if request.method == "GET" and request.path.endswith(ending)]


@functools.lru_cache(64)
def etag(content: bytes) -> str:
    """The ETag that the server sends for a content."""
    return f'"{hashlib.sha256(content).hexdigest()[:16]}"'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    web: Web

    def log_message(self, *args: Any) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def _answer(self, body: bool) -> None:
        web = self.web
        request = Request(self.command, self.path, self.headers.get("Range"), self.headers.get("If-Range"))
        web.log.append(request)
        content = web.files.get(self.path)
        fault = (web.faults.pop(0) if web.faults else web.always) if body and content is not None else None
        other = fault if isinstance(fault, Answer) else Answer(headers={} if body else web.heads)
        status = web.statuses.get(self.path) or (404 if content is None else 200)
        request.status = fault if isinstance(fault, int) else status
        if request.status != 200 or content is None:
            self.send_response(request.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, stop = 0, len(content)
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", request.range or "")
        fits = request.condition is None or request.condition == etag(content)
        if found and web.ranges and fits:
            start, stop = int(found[1]), min(int(found[2] or stop - 1) + 1, stop)
            request.status = 206 if start < len(content) else 416
        request.status = other.status or request.status
        headers: dict[str, str | None] = {}
        if request.status == 416:
            start = stop = 0
        if request.status == 206:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        if web.etags:
            headers["ETag"] = etag(content)
        headers["Content-Length"] = str(stop - start)
        headers |= other.headers
        self.send_response(request.status)
        for key, value in headers.items():
            if value is not None:
                self.send_header(key, value)
        self.end_headers()
        if not body:
            return
        end = min(stop, start + fault[1]) if isinstance(fault, tuple) else stop
        pieces = [content[start:end]] if other.body is None else other.body(content[start:end])
        try:
            for piece in pieces:
                # Counted first: the client may look at the log as soon as it has the bytes.
                request.sent += len(piece)
                self.wfile.write(piece)
        except OSError:  # the client closed the connection
            request.sent -= len(piece)
        self.close_connection = self.close_connection or end < stop or other.body is not None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: Any) -> None:
        """Print nothing: a client may disconnect early."""


@contextmanager
def serving() -> Iterator[Web]:
    """Run a server during the block."""
    web = Web()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": web}))
    web.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    # A proxy set in the environment cannot reach the loopback address.
    before = os.environ.get("no_proxy")
    os.environ["no_proxy"] = "*"
    try:
        yield web
    finally:
        web.over.set()
        os.environ.pop("no_proxy")
        if before is not None:
            os.environ["no_proxy"] = before
        server.shutdown()
        server.server_close()

"""Headless Chromium, driven through the DevTools protocol over pipes: the standard library is enough."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Key codes of the protocol, without which Chromium does not act on a key.
CODES = {
    "Enter": 13,
    "Escape": 27,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "Tab": 9,
}


class Page:
    """A tab of the browser.

    Attributes:
        problems: Exceptions, errors on the console, and everything that was requested but the page itself.
    """

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._rest = b""
        self._number = 0
        self._session: str | None = None
        self.problems: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, path: Path, *, width: int = 1280, height: int = 800, dark: bool = False) -> None:
        """Show a file on a screen of this size, and wait until its script has run."""
        metrics: dict[str, Any] = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url=path.resolve().as_uri())
        self(
            "new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))"
        )

    def __call__(self, expression: str) -> Any:
        """The value of an expression in JavaScript, awaited if it is a promise."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def settle(self) -> None:
        """Wait for the next two frames."""
        self("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def center(self, selector: str, text: str = "") -> tuple[float, float]:
        """The middle of the first element with this text in it."""
        found = self(
            f"""(() => {{ const found = [...document.querySelectorAll({json.dumps(selector)})]
            .find(each => each.textContent.includes({json.dumps(text)}));
            if (!found) return null;
            const box = found.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()"""
        )
        assert found, f"no {selector} with {text!r}"
        return found[0], found[1]

    def click(self, selector: str, text: str = "") -> None:
        """Press the mouse button over an element."""
        x, y = self.center(selector, text)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)
        self.settle()

    def hover(self, selector: str, text: str = "") -> None:
        """Move the mouse over an element."""
        x, y = self.center(selector, text)
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.settle()

    def type(self, text: str) -> None:
        """Type into the focused element."""
        self._call("Input.insertText", text=text)
        self.settle()

    def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        for key in keys:
            text = {"text": "\r" if key == "Enter" else key} if key == "Enter" or len(key) == 1 else {}
            code = CODES.get(key, ord(key[0]))
            for kind in ("keyDown", "keyUp"):
                self._call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)
                text = {}
        self.settle()

    def picture(self, path: Path | None = None) -> bytes:
        """What is on the screen, as a PNG."""
        self.settle()
        data = base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])
        if path is not None:
            path.write_bytes(data)
        return data

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self._notice(answer)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 20)
            assert more, "the browser ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _notice(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event["method"] == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(params["entry"]["text"])
        elif event["method"] == "Network.requestWillBeSent" and params["type"] != "Document":
            self.problems.append(f"requested {params['request']['url']}")


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A headless Chromium with its profile in a folder; skips the test where none is installed."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    # The browser reads from descriptor 3 and writes to 4: move ours out of the way.
    child = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, from_write)]
    os.close(to_read)
    os.close(from_write)

    def pipes() -> None:
        os.dup2(child[0], 3)
        os.dup2(child[1], 4)

    words = [
        program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(
        words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, preexec_fn=pipes, close_fds=False
    )
    try:
        for end in child:
            os.close(end)
        yield Page(to_write, from_read)
    finally:
        process.terminate()
        process.wait()
        os.close(to_write)
        os.close(from_read)

"""Termination by a signal: unfinished files are removed, finished ones stay and are listed.

The handlers end the process themselves. Python's KeyboardInterrupt is lost in destructors and in callbacks from C,
turned into an ImportError by packages that are being imported, and waits for threads. The handlers are only for the
program (`tfpt.commands.main`): in other processes KeyboardInterrupt unwinds the stack as usual.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType

_SAID = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}
_SHOW_CURSOR = b"\x1b[?25h"  # a progress bar hides it

# Lists and sets, whose methods are atomic: threads change them, and a handler may run at any time.
_begun: set[str] = set()
_finished: list[str] = []
_holding: list[None] = []
_waiting: list[int] = []
_process: int | None = None


def begin(path: str | os.PathLike[str]) -> None:
    """Register a temporary path for removal when a signal ends the process; call it before creating the path."""
    _begun.add(os.fspath(path))


def end(path: str | os.PathLike[str]) -> None:
    """Unregister a temporary file or folder that is removed or has its final name."""
    _begun.discard(os.fspath(path))


def finish(path: str | os.PathLike[str]) -> None:
    """Register a complete output, which later error messages mention."""
    if _process is not None:
        _finished.append(os.fspath(path))


def finished() -> str:
    """The complete outputs, in words; empty if there are none."""
    return f"written before that: {', '.join(map(_printable, _finished))}" if _finished else ""


class uninterrupted:  # noqa: N801 (used like a function)
    """A `with` block that is completed after a first signal; a second signal does not wait."""

    def __enter__(self) -> None:
        _holding.append(None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _holding.pop()
        if _waiting and not _holding:
            _leave(_waiting[0])


def install() -> None:
    """Handle SIGINT, SIGTERM and SIGHUP, unless they are ignored (nohup, a job with ``&``)."""
    global _process
    _process = os.getpid()
    atexit.register(_ignore)  # registered first, so it runs last
    for name in _SAID:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)


def _ignore() -> None:
    """At exit Python removes its handlers, and a signal would then kill a process that has succeeded."""
    for name in _SAID:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is _handle:
            signal.signal(number, signal.SIG_IGN)


def _handle(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _process:
        # A forked child: the files belong to its parent.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    elif _holding and not _waiting:
        _waiting.append(number)
    else:
        _leave(number)


def _leave(number: int) -> None:
    """Remove unfinished files, and exit with the status that shells use: 130 for SIGINT, 143 for SIGTERM."""
    for path in list(_begun):
        _remove(path)
    said = "; ".join(filter(None, [_SAID[signal.Signals(number).name], finished()]))
    with suppress(OSError):  # stderr is closed
        os.write(2, (_SHOW_CURSOR if os.isatty(2) else b"") + said.encode(errors="replace") + b"\n")
    os._exit(128 + number)


def _remove(path: str) -> None:
    # Not shutil: a handler must not import anything.
    for folder, folders, files in os.walk(path, topdown=False):
        for name in files:
            _quietly(os.unlink, os.path.join(folder, name))
        for name in folders:
            at = os.path.join(folder, name)
            _quietly(os.unlink if os.path.islink(at) else os.rmdir, at)
    _quietly(os.rmdir if os.path.isdir(path) else os.unlink, path)


def _quietly(function: Callable[[str], None], path: str) -> None:
    with suppress(OSError):
        function(path)


def _printable(text: str) -> str:
    """Without control characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def open_standard_streams() -> None:
    """Open closed standard streams on the null device: otherwise the next file to be opened would get their number."""
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:  # takes the lowest free number
        os.set_inheritable(number, True)
    os.close(number)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115

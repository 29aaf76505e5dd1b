"""`tfpt` as a process that gets a signal at a chosen point: before the k-th thing that it asks of the system.

Points are counted by Python's audit hooks (imports, opened files, renames, links, locks) and, from the first change of
a file on, at each system call of the main thread: a number means the same point on any machine, however busy it is.

The process stops before a point and forks: the copy goes on from there, gets its signal, and ends. The process itself
never changes a file, and copies run one at a time.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

# Its arguments: the descriptors of a pipe of orders and of one of answers, where copies write their output, and tfpt's
# own. Answers are the number of the point before which it stopped, and whether the next thing is the first change; and
# the exit code of a copy. The last line of a copy's standard error counts the points, before the first change and all.
SCRIPT = """
import atexit, os, sys
from tfpt.commands.main import main
from tfpt.io import interruption

orders, answers, streams = open(int(sys.argv[1])), int(sys.argv[2]), sys.argv[3]
sys.argv[1:] = sys.argv[4:]
seen, unchanged, stop = 0, None, 1  # points up to now, those before the first change, where to stop
point, number = 0, 0  # of a copy: where it gets which signal
me, stopped = os.getpid(), False
CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "fcntl.flock"}
COUNTED = CHANGES | {"import", "open"}

def audited(event, arguments):
    global unchanged
    if event not in COUNTED or stopped or os.getpid() != me:
        return
    writing = event == "open" and arguments[0] != os.devnull and arguments[2] & os.O_ACCMODE
    if unchanged is None and (writing or event in CHANGES):
        unchanged = seen
        if orders:
            obey()
        sys.setprofile(called)
    reached()

def called(frame, event, function):
    if event == "c_call" and function.__module__ in ("posix", "fcntl") and frame.f_globals is not globals():
        reached()

def reached():
    global seen
    seen += 1
    if orders and seen == stop:
        obey()
    if seen == point:
        os.kill(me, number)

def obey():
    global stopped
    stopped = True
    answer(seen, unchanged is not None)
    for order in orders:
        if not carried_out(*map(int, order.split())):
            stopped = False
            return
        answer(seen, unchanged is not None)
    os._exit(0)

def carried_out(at, signal):
    global orders, me, stop, point, number
    if signal < 0:
        stop = at
        return unchanged is not None
    if child := os.fork():
        answer(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return True
    orders, me, point, number = None, os.getpid(), at, signal
    interruption._process = me  # it takes the place of its parent
    for stream in 1, 2:
        os.dup2(os.open(f"{streams}/{stream}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    return False

def answer(*numbers):
    os.write(answers, (" ".join(str(int(n)) for n in numbers) + "\\n").encode())

def tell():
    sys.setprofile(None)
    os.write(2, f"points: {seen if unchanged is None else unchanged} {seen}\\n".encode())

atexit.register(tell)
sys.addaudithook(audited)
main()
"""


@dataclass(frozen=True)
class Ended:
    """How it ended.

    Attributes:
        code: The exit code; of a process killed by a signal, the negative number of that.
        out: Standard output.
        err: Standard error.
        unchanged: How many points precede the first change of a file; 0 if it did not come to its end.
        points: How many points there are; 0 if it did not come to its end.
    """

    code: int
    out: str
    err: str
    unchanged: int
    points: int


@dataclass
class Copies:
    """A stopped process, of which copies run."""

    orders: TextIO
    answers: TextIO
    streams: Path
    at: int = 0
    changing: bool = False

    def whole(self) -> Ended:
        """What a copy does that gets no signal."""
        return self._copy(0, 0)

    def stopped_at(self, point: int, number: int) -> Ended:
        """What a copy does that gets the signal at the point; points are asked for in ascending order."""
        if point > self.at and not self.changing:
            self._order(point, -1)
            self._stopped()
        assert point > self.at or (point == self.at and not self.changing), (point, self.at)
        return self._copy(point, number)

    def _copy(self, point: int, number: int) -> Ended:
        self._order(point, int(number))
        code = int(self.answers.readline())
        self._stopped()
        out, err = (
            "".join((self.streams / f"{part}{stream}").read_text() for part in ("before", ""))
            for stream in (1, 2)
        )
        found = re.search(r"points: (\d+) (\d+)\n", err)
        unchanged, points = (int(found[1]), int(found[2])) if found else (0, 0)
        return Ended(code, out, re.sub(r"points: .*\n", "", err), unchanged, points)

    def _order(self, point: int, number: int) -> None:
        self.orders.write(f"{point} {number}\n")
        self.orders.flush()

    def _stopped(self) -> None:
        at, changing = self.answers.readline().split()
        self.at, self.changing = int(at), changing == "1"


@contextmanager
def copies(*words: object, folder: Path, starter: tuple[str, ...] = ()) -> Iterator[Copies]:
    """Copies of a process that runs `tfpt` in `folder`, perhaps started by a shell."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        orders, to_orders = os.pipe()
        from_answers, answers = os.pipe()
        stack.enter_context(
            subprocess.Popen(
                [
                    *starter,
                    sys.executable,
                    "-c",
                    SCRIPT,
                    str(orders),
                    str(answers),
                    str(place),
                    *map(str, words),
                ],
                stdin=subprocess.DEVNULL,
                stdout=stack.enter_context((place / "before1").open("w")),
                stderr=stack.enter_context((place / "before2").open("w")),
                cwd=folder,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # bytecode would be the first change
                pass_fds=(orders, answers),
            )
        )
        os.close(orders)
        os.close(answers)
        read = stack.enter_context(os.fdopen(from_answers))
        written = stack.enter_context(os.fdopen(to_orders, "w"))  # closed first, which ends the process
        made = Copies(written, read, place)
        made._stopped()
        yield made

"""`tfpt` as a process that gets a signal at a chosen point: before the k-th thing that it asks of the system.

Points are counted by Python's audit hooks (imports, opened files, renames, links, locks), so that the same number means
the same point on any machine, however busy it is.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# Its arguments: the number of the point, the signal, and tfpt's own. The last line of standard error counts the points.
SCRIPT = """
import atexit, os, sys
from tfpt.commands.main import main
point, number = int(sys.argv[1]), int(sys.argv[2])
seen, me, events = 0, os.getpid(), {"import", "open", "os.rename", "os.link", "os.remove", "fcntl.flock"}
def count(event, arguments):
    global seen
    if event in events and os.getpid() == me:
        seen += 1
        if seen == point:
            os.kill(me, number)
def tell():
    os.write(2, f"points: {seen}\\n".encode())
sys.argv[1:] = sys.argv[3:]
atexit.register(tell)
sys.addaudithook(count)
main()
"""


@dataclass(frozen=True)
class Ended:
    """How it ended, and at how many points it could have been stopped."""

    code: int
    out: str
    err: str
    points: int


def stopped_at(point: int, number: int, *words: object, folder: Path) -> Ended:
    """Run `tfpt` in `folder` and send it the signal at the point; at none for 0."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(point), str(int(number)), *map(str, words)],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    found = re.search(r"points: (\d+)\n", done.stderr)
    return Ended(
        done.returncode,
        done.stdout,
        re.sub(r"points: \d+\n", "", done.stderr),
        int(found[1]) if found else 0,
    )

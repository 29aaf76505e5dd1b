"""Progress bars for conversions and downloads, on a terminal only."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tfpt.visible import visible

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from tfpt.execution.jobs import Job
    from tfpt.planning import Step


@contextmanager
def conversion_progress(jobs: Sequence[Job]) -> Iterator[Callable[[Job, Step], None] | None]:
    """A bar for each conversion, counted in bytes written; ``None`` if standard error is not a terminal."""
    if not sys.stderr.isatty() or is_quiet():
        yield None
        return
    from tfpt.report.terminal import escape

    with _bars() as progress:
        tasks = {
            id(job): progress.add_task(
                escape(job.plan.mapping), total=sum(spec.nbytes for spec in job.plan.writes.values())
            )
            for job in jobs
        }
        yield lambda job, step: progress.advance(tasks[id(job)], sum(spec.nbytes for spec in step.writes))


@contextmanager
def fetching_progress(*, quiet: bool = False) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """A bar for each download, counted in bytes; one line each if standard error is not a terminal."""
    if quiet or is_quiet():
        yield None
        return
    if not sys.stderr.isatty():
        yield _one_line_each()
        return
    from tfpt.report.terminal import escape

    with _bars() as progress:
        tasks: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(escape(name), total=total)
            progress.update(tasks[name], completed=done, total=total)

        yield show


def is_quiet() -> bool:
    """Whether warnings are switched off, as `tfpt -q` does: then there is no progress to see, either."""
    return not logging.getLogger("tfpt").isEnabledFor(logging.WARNING)


def _one_line_each() -> Callable[[str, int, int | None], None]:
    from tfpt.report.terminal import size

    printed: set[str] = set()

    def show(name: str, done: int, total: int | None) -> None:
        if name not in printed:
            printed.add(name)
            print(f"fetching {visible(name)}" + (f" ({size(total)})" if total else ""), file=sys.stderr)

    return show


def _bars() -> Progress:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from tfpt.report.terminal import console

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=console(stderr=True), transient=True)

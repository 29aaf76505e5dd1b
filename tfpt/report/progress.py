"""A progress bar for conversions, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tfpt.conversion import Job
from tfpt.planning import Step


@contextmanager
def conversion_progress(jobs: Sequence[Job]) -> Iterator[Callable[[Job, Step], None] | None]:
    """A bar for each conversion, counted in bytes written; ``None`` where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from tfpt.report.terminal import console

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        tasks = {
            id(job): progress.add_task(
                job.plan.mapping, total=sum(spec.nbytes for spec in job.plan.writes.values())
            )
            for job in jobs
        }
        yield lambda job, step: progress.advance(tasks[id(job)], sum(spec.nbytes for spec in step.writes))

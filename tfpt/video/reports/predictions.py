"""Prints predictions: the input of each network, and the classes, most likely first."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from tfpt.report.progress import is_quiet
from tfpt.report.terminal import console, count, escape, figure
from tfpt.video.prediction.scores import Guess, Prediction, Scores, StreamScores


def print_prediction(out: Console, prediction: Prediction) -> None:
    """Each stream with its classes, then the joint scores, then the result in a line."""
    for stream in prediction.streams:
        _print_stream(out, stream)
    if prediction.joint is not None:
        names = " + ".join(_term(stream) for stream in prediction.streams)
        out.print(f"[bold]joint[/] = {escape(names)}", soft_wrap=True)
        _print_scores(out, prediction.joint)
    for path in prediction.saved:
        out.print(f"[green]wrote[/] {escape(str(path))}", soft_wrap=True)
    best = prediction.scores.top[0]
    out.print(f"[green]{escape(name_of(best))}[/], with probability {figure(best.probability)}")


def name_of(guess: Guess) -> str:
    """A class's label, or its number.

    Example:
        >>> name_of(Guess(7, None, 0.5, 1.0)), name_of(Guess(7, "yoga", 0.5, 1.0))
        ('class 7', 'yoga')
    """
    return f"class {guess.index}" if guess.label is None else guess.label


@contextmanager
def prediction_progress(*, quiet: bool = False) -> Iterator[Callable[[str, int, int], None] | None]:
    """A progress line for long clips; ``None`` if standard error is not a terminal."""
    if quiet or is_quiet() or not sys.stderr.isatty():
        yield None
        return
    with console(stderr=True).status("reading the clip") as status:
        yield lambda mapping, frames, windows: status.update(
            f"{escape(mapping)}: {count(frames, 'frame')}, {count(windows, 'window')}"
        )


def _print_stream(out: Console, stream: StreamScores) -> None:
    out.print(f"[bold]{escape(stream.mapping)}[/] ← {escape(stream.weights)}", soft_wrap=True)
    fps = "" if stream.fps is None else f", {stream.fps:g} per second"
    shape = f"{count(stream.frames, 'frame')} of {stream.size[0]} by {stream.size[1]}{fps}"
    cut = "" if stream.windows == 1 else f", {count(stream.windows, 'window')} of {stream.window}"
    if stream.window > stream.frames:
        cut = f", repeated to fill {stream.window}"
    out.print(f"  {escape(stream.clip)}: {shape}{cut}", soft_wrap=True)
    for note in stream.notes:
        out.print(f"  [yellow]note[/] {escape(note)}", soft_wrap=True)
    _print_scores(out, stream.scores)


def _print_scores(out: Console, scores: Scores) -> None:
    out.print(f"  norm of logits {scores.norm:.6f}")
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("  probability", justify="right", no_wrap=True)
    table.add_column("logit", justify="right", no_wrap=True)
    table.add_column("label", overflow="fold")
    for rank, guess in enumerate(scores.top):
        style = "bold" if rank == 0 else None
        table.add_row(figure(guess.probability), f"{guess.logit:.4f}", escape(name_of(guess)), style=style)
    out.print(table)
    out.print()


def _term(stream: StreamScores) -> str:
    return stream.mapping if stream.weight == 1 else f"{stream.weight:g} × {stream.mapping}"

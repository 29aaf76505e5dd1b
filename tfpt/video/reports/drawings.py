"""Prints the result of drawing."""

from __future__ import annotations

from rich.console import Console

from tfpt.report.terminal import count, escape, size
from tfpt.tensors import format_shape
from tfpt.video.visualization import Drawing, Picture


def print_drawing(out: Console, drawing: Drawing, noun: str) -> None:
    """The layer, the meaning of the colors, and a line per file; `noun` is what a tile shows."""
    out.print(
        f"[bold]{escape(drawing.mapping)}[/]  {escape(drawing.layer)} {escape(format_shape(drawing.shape))}, "
        f"{count(len(drawing.shown), noun)}",
        soft_wrap=True,
    )
    out.print(f"  scale: {drawing.scale.text}", soft_wrap=True)
    for picture in drawing.pictures:
        out.print(
            f"[green]wrote[/] {escape(picture.path)} ({size(picture.nbytes)}, {_measures(picture)})",
            soft_wrap=True,
        )


def _measures(picture: Picture) -> str:
    measures = f"{picture.width} × {picture.height}"
    if picture.fps is None:
        return measures
    return f"{measures}, {count(picture.frames, 'frame')}, {picture.fps:.3g} per second"

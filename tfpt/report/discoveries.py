"""Discovered endpoints in the terminal: the rows to paste, where the networks part, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from tfpt.report.terminal import count, escape, figure
from tfpt.report.verifications import sides_in_words
from tfpt.tensors import format_shape
from tfpt.verification import Discovery, Place
from tfpt.verification.discovered import Figures

# How many places are shown.
SHOWN = 5
# Up to this relative difference two activations are called similar.
_SIMILAR = 0.5
_HEADS = ("min", "10%", "median", "90%", "max")


def print_discovery(out: Console, result: Discovery, *, everything: bool = False) -> None:
    """Print what was compared, the endpoints as YAML, the places where nothing agrees, and last the verdict."""
    out.print(
        f"[bold]{escape(result.mapping)}[/]: {escape(result.weights)} against {escape(result.recording)}",
        soft_wrap=True,
    )
    for line in sides_in_words(result.facts, result.tolerance):
        out.print(f"  {escape(line)}", soft_wrap=True)
    out.print()
    for line in result.rows.splitlines():
        out.print(escape(line), soft_wrap=True)
    shown = result.places if everything else result.places[:SHOWN]
    for place in shown:
        out.print()
        _print_place(out, place)
    if len(shown) < len(result.places):
        out.print()
        out.print(f"… and {count(len(result.places) - len(shown), 'more place')} (--all shows them)")
    out.print()
    color = "green" if result.agrees else "red"
    verdict, rest = headline(result)
    out.print(f"[bold {color}]{verdict}[/]{escape(rest)}", soft_wrap=True)


def headline(result: Discovery) -> tuple[str, str]:
    """The verdict in a word, and the rest of its sentence."""
    shared = (
        f"{count(len(result.endpoints), 'endpoint')}, from {count(result.ran, 'module')} and "
        f"{count(result.recorded, 'activation')} of TensorFlow's"
    )
    if result.places:
        first = f", the first of {len(result.places):,} places" if len(result.places) > 1 else ""
        after = f", nor like what {count(result.after, 'module')} after it computed" if result.after else ""
        place = f" at {result.places[0].path}{first}"
        return "departs", f"{place}: nothing that TensorFlow computed is like it{after}; {shared}"
    if result.output is None:
        return "departs", f": nothing that TensorFlow computed is like the model's output; {shared}"
    return "agrees", f": the model's output is that of {result.output.tf}; {shared}"


def _print_place(out: Console, place: Place) -> None:
    out.print(f"[bold red]nothing agrees with {escape(place.path)}[/] ({escape(place.kind)})", soft_wrap=True)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("shape", no_wrap=True)
    for head in ("mean |x|", *_HEADS):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_row(f"  PyTorch     {escape(place.path)}", format_shape(place.shape), *_figures(place.figures))
    nearest = place.nearest
    if nearest is not None:
        table.add_row(
            f"  TensorFlow  {escape(nearest.name)}", format_shape(nearest.shape), *_figures(nearest.figures)
        )
    out.print(table)
    if nearest is None:
        out.print("  every activation of TensorFlow's agrees with another module")
    elif nearest.difference is None:
        out.print(
            f"  no activation without a module has this size; TensorFlow's {escape(nearest.name)} is the next one",
            soft_wrap=True,
        )
    else:
        apart = nearest.difference
        similar = apart.rel <= _SIMILAR
        order = f", with layout {nearest.layout}" if similar and nearest.layout else ""
        what = "is the most similar" if similar else "has this size, but is not similar"
        out.print(
            f"  TensorFlow's {escape(nearest.name)} {what}: rel {figure(apart.rel)}, max rel "
            f"{figure(apart.max_rel)}, cosine {apart.cosine:.6f}{escape(order)}",
            soft_wrap=True,
        )


def _figures(figures: Figures) -> Iterator[str]:
    yield figure(figures.mean_abs)
    yield from map(figure, figures.quantiles)

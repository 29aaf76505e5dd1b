"""Prints profiles: totals, then time by kind of operation and by layer."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tfpt.profiling import Profile
from tfpt.profiling.layer_times import LayerTime
from tfpt.profiling.operator_times import OUTSIDE
from tfpt.profiling.passes import Pass
from tfpt.report.terminal import count, escape, size

# The slowest layers, about a screenful.
SHOWN = 10
_BAR = 24
_FUNCTIONS = "outside layers: functions (relu, cat, …)"
_NAMES = {
    "float32": "float32",
    "bfloat16": "bfloat16 throughout",
    "float16": "float16 throughout",
    "autocast": "float32 with mixed precision (bfloat16)",
}


def print_profile(
    out: Console, profile: Profile, *, depth: int | None = None, everything: bool = False
) -> None:
    """The headline, the totals, and for each pass its kinds of operations and its layers, slowest first."""
    _headline(out, profile)
    out.print()
    out.print(_totals(profile))
    _notes(out, profile)
    for each in profile.passes:
        out.print()
        out.print(f"[bold]{each.name}[/]: time by kind of operation")
        out.print(_kinds(each))
        if each.layers is not None:
            out.print()
            at = "" if depth is None else f", modules at depth {depth}"
            out.print(f"[bold]{each.name}[/]: time by layer{at}")
            _print_layers(out, each, depth, everything)


def seconds(value: float) -> str:
    """A duration with three digits.

    Example:
        >>> seconds(1.2345), seconds(0.01234), seconds(0.0000123), seconds(83.0)
        ('1.23 s', '12.3 ms', '12.3 µs', '83.0 s')
    """
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if abs(value) * factor >= 0.9995 or unit == "µs":
            scaled = value * factor
            digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
            return f"{scaled:.{digits}f} {unit}"
    raise AssertionError


def bar(share: float, width: int = _BAR) -> str:
    """A bar for a share of its width, in eighths of a character.

    Example:
        >>> bar(0.5, 8), bar(1 / 64, 8), bar(0, 8)
        ('████', '▏', '')
    """
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]


def _headline(out: Console, profile: Profile) -> None:
    weights = profile.facts["weights"] or "random weights"
    out.print(
        f"[bold]{escape(profile.mapping)}[/]  {escape(profile.model)}, {profile.parameters:,} parameters "
        f"({size(profile.parameter_bytes)}), {escape(str(weights))}",
        soft_wrap=True,
    )
    threads = f", {profile.threads} thread{'s' * (profile.threads != 1)}" if profile.device == "cpu" else ""
    out.print(
        f"  on {escape(profile.machine)} ({profile.device}{threads}), torch {profile.facts['torch']}",
        soft_wrap=True,
    )
    frames, batch = profile.passes[0].frames, profile.passes[0].batch
    parts = "" if frames is None else f" of {count(frames, _parts(profile))}"
    chosen = [_NAMES[profile.dtype]]
    chosen += ["channels last"] if profile.facts["channels_last"] else []
    chosen += ["optimized"] if profile.facts["optimize"] else []
    chosen += [f"compiled by {profile.facts['compile']}"] if profile.facts["compile"] else []
    shape = " × ".join(map(str, profile.shape))
    out.print(f"  input {shape}: {count(batch, profile.sample)}{parts}; {', '.join(chosen)}", soft_wrap=True)


def _parts(profile: Profile) -> str:
    """What a sample consists of over time."""
    return "token" if profile.sample == "sequence" else "frame"


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first, overflow="fold")
    for column in others:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _gflop(value: float) -> str:
    """Two decimals, or two digits of a small network's count."""
    return f"{value:.2f}" if value >= 0.1 or not value else f"{value:.2g}"


def _totals(profile: Profile) -> Table:
    noun = profile.sample
    columns = [
        "median",
        "min … max",
        "passes",
        f"{noun}s/s",
        f"{_parts(profile)}s/s",
        f"GFLOP/{noun}",
        "GFLOP/s",
    ]
    if noun == "picture":
        columns.remove("frames/s")
    table = _table("pass", *columns, "peak memory")
    for each in profile.passes:
        spread = each.seconds
        frames = [] if each.frames_per_second is None else [f"{each.frames_per_second:.1f}"]
        table.add_row(
            each.name,
            f"[bold]{seconds(spread.median)}[/]",
            f"{seconds(spread.least)} … {seconds(spread.most)}",
            str(len(spread.seconds)),
            f"{each.clips_per_second:.2f}",
            *frames,
            _gflop(each.flops / each.batch / 1e9),
            f"{each.flops_per_second / 1e9:.1f}",
            "—" if each.memory is None else size(each.memory),
        )
    return table


def _notes(out: Console, profile: Profile) -> None:
    how = "peak memory: all tensors, including weights and input"
    resident = [each.resident for each in profile.passes if each.resident is not None]
    if resident:
        how += f"; the whole process used up to {size(max(resident))}"
    out.print(f"  {how}", style="dim", soft_wrap=True)
    for each in profile.passes:
        if each.compile_seconds is not None:
            out.print(f"  compiling for {each.name}: {seconds(each.compile_seconds)}, not included above")
    if profile.facts["compile"]:
        out.print("  compiled code has no layers: no times by layer", style="dim")
    if profile.facts["optimize"] and len(profile.passes) == 1:
        out.print("  the faster form is for inference only: no training step was measured", style="dim")


def _kinds(each: Pass) -> Table:
    table = _table("kind", "time", "share", "calls")
    table.add_column("", no_wrap=True)
    total = sum(kind.seconds for kind in each.kinds)
    for kind in each.kinds:
        share = kind.seconds / total
        # The profiler has no operator for code fused by a compiler.
        fused = each.layers is None and kind.kind == OUTSIDE
        table.add_row(
            "fused by the compiler, or outside operators" if fused else kind.kind,
            seconds(kind.seconds),
            f"{share:.1%}",
            str(kind.calls or ""),
            f"[cyan]{bar(share)}[/]",
        )
    return table


def _print_layers(out: Console, each: Pass, depth: int | None, everything: bool) -> None:
    layers = each.layers
    assert layers is not None
    training = layers.step is not None
    rows = sorted(layers.rows(depth), key=lambda layer: -layer.total)
    shown = rows if everything else rows[:SHOWN]
    table = _table("layer", *(["forward", "backward"] if training else ["time"]), "share")
    table.add_column("", no_wrap=True)
    table.add_column("module", no_wrap=True)
    total = layers.total

    def add(
        name: str, forward: float | None, backward: float | None, kind: str = "", style: str = ""
    ) -> None:
        share = ((forward or 0.0) + (backward or 0.0)) / total
        times = [forward, backward] if training else [forward]
        cells = ["" if time is None else seconds(time) for time in times]
        table.add_row(name, *cells, f"{share:.1%}", f"[cyan]{bar(share)}[/]", escape(kind), style=style)

    for layer in shown:
        add(escape(layer.path or "(the model)"), layer.forward, layer.backward, layer.kind)
    if len(shown) < len(rows):
        add(f"… and {len(rows) - len(shown)} more (--all)", *_sums(rows[len(shown) :]), style="dim")
    forward, backward = layers.outside(depth)
    add(_FUNCTIONS, forward, None)
    if backward is not None:
        add("outside layers: their gradients, the loss, autograd itself", None, backward)
    if layers.step is not None:
        add("the optimizer's step", None, layers.step)
    out.print(table)
    slower = layers.total / each.seconds.median
    passes = "a separate pass" if layers.repeats == 1 else f"the mean of {layers.repeats} separate passes"
    out.print(
        f"  together {seconds(layers.total)}: {passes}, timed layer by layer, "
        f"{slower:.2f} times the median above",
        style="dim",
        soft_wrap=True,
    )


def _sums(rows: Sequence[LayerTime]) -> tuple[float, float | None]:
    backward = None if rows[0].backward is None else sum(row.backward or 0.0 for row in rows)
    return sum(row.forward for row in rows), backward

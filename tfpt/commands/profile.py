"""`tfpt profile`: what a mapping's model costs on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from tfpt.commands.options import (
    all_option,
    config_option,
    dequantize_option,
    device_option,
    json_option,
    mapping_help,
    optimize_option,
    parse_settings,
    reports_errors,
    settings_option,
    trust_option,
)

_positive = click.IntRange(min=1)


@click.command()
@click.option("--mapping", required=True, help=mapping_help)
@click.option("--weights", help="A checkpoint, or a file that `convert` wrote. [default: random weights]")
@click.option("--frames", type=_positive, default=16, show_default=True, help="Frames of a clip.")
@click.option("--batch", type=_positive, default=2, show_default=True, help="Clips in a pass.")
@click.option("--size", type=_positive, help="Height and width. [default: the mapping's]")
@click.option("--channels", type=_positive, help="Channels of the input. [default: the model's]")
@device_option
@click.option(
    "--dtype", type=click.Choice(["float32", "bfloat16", "float16", "autocast"]), default="float32",
    show_default=True, help="Of weights and input; autocast: float32, what torch can in bfloat16.",
)  # fmt: skip
@click.option("--compile", "compiled", is_flag=True, help="Run what torch.compile makes of the model.")
@click.option(
    "--compile-backend", default="inductor", show_default=True, help="What compiles it, with --compile."
)
@click.option("--channels-last", is_flag=True, help="Lay tensors out with the channels innermost.")
@optimize_option
@click.option("--forward-only", is_flag=True, help="Measure the forward pass alone.")
@click.option("--train", is_flag=True, help="Measure the pass with backward and a step alone.")
@click.option("--threads", type=_positive, help="Threads on the host. [default: torch's choice]")
@click.option("--repeats", type=_positive, help="Passes that count. [default: for two seconds, but 5 to 100]")
@click.option(
    "--warmup", type=click.IntRange(min=0), default=2, show_default=True, help="Passes before them."
)
@click.option(
    "--trace", type=click.Path(path_type=Path), help="Write a trace for Perfetto to this JSON file."
)
@click.option("--force", is_flag=True, help="Replace a trace that exists.")
@click.option("--depth", type=_positive, help="Sum up layers this many names down. [default: the leaves]")
@settings_option
@config_option
@dequantize_option
@trust_option
@all_option
@json_option
@reports_errors
def command(
    mapping: str,
    weights: str | None,
    frames: int,
    batch: int,
    size: int | None,
    channels: int | None,
    device: str,
    dtype: str,
    compiled: bool,
    compile_backend: str,
    channels_last: bool,
    optimize: bool,
    forward_only: bool,
    train: bool,
    threads: int | None,
    repeats: int | None,
    warmup: int,
    trace: Path | None,
    force: bool,
    depth: int | None,
    settings: Sequence[str],
    config: Path | None,
    dequantize: bool,
    trust: bool,
    everything: bool,
    as_json: bool,
) -> None:
    """Time a mapping's model, as a whole, by kind of work and layer by layer.

    Measures a forward pass, and a forward pass with its backward pass and a step of SGD. The
    totals are medians of passes that nothing disturbs; what is shown by kind and by layer comes
    from passes of their own.
    """
    if forward_only and train:
        raise click.UsageError("--forward-only and --train: give one of them, or neither for both")
    from contextlib import nullcontext

    from tfpt.report.terminal import console, escape, print_json
    from tfpt.video.profiling import profile

    # Some passes of a large network take their time, and a terminal is told that they run.
    status = nullcontext() if as_json else console(stderr=True).status(f"measuring {escape(mapping)} …")
    with status:
        found = profile(
            mapping,
            weights,
            frames=frames,
            batch=batch,
            size=size,
            channels=channels,
            device=device,
            dtype=dtype,
            compile=compiled,
            compile_backend=compile_backend,
            channels_last=channels_last,
            optimize=optimize,
            train=False if forward_only else True if train else None,
            threads=threads,
            repeats=repeats,
            warmup=warmup,
            trace=trace,
            overwrite=force,
            settings=parse_settings(settings),
            config=str(config) if config else None,
            dequantize=dequantize,
            trust=trust,
        )
    if as_json:
        print_json({**found.to_json(), "trace": str(trace) if trace else None})
        return

    from tfpt.video.reports.profiles import print_profile

    out = console()
    print_profile(out, found, depth=depth, everything=everything)
    if trace:
        out.print(f"\n[green]wrote[/] {escape(str(trace))} (open it at ui.perfetto.dev)", soft_wrap=True)

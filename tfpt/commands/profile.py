"""`tfpt profile`: measure the time and memory of a mapping's model."""

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
    mapping_type,
    optimize_option,
    parse_settings,
    reports_errors,
    settings_option,
    trust_option,
)

_positive = click.IntRange(min=1)


@click.command()
@click.option("--mapping", type=mapping_type, required=True, help=mapping_help)
@click.option("--weights", help="A checkpoint, or a file that `convert` wrote. [default: random weights]")
@click.option(
    "--frames", type=_positive, default=16, show_default=True, help="Frames per clip, or tokens per sequence."
)
@click.option(
    "--batch", type=_positive, default=2, show_default=True, help="Clips, pictures or sequences per pass."
)
@click.option("--size", type=_positive, help="Height and width. [default: the mapping's]")
@click.option("--channels", type=_positive, help="Channels of the input. [default: the model's]")
@device_option
@click.option(
    "--dtype", type=click.Choice(["float32", "bfloat16", "float16", "autocast"]), default="float32",
    show_default=True, help="Dtype of weights and input. autocast: float32 weights, mixed precision with bfloat16.",
)  # fmt: skip
@click.option("--compile", "compiled", is_flag=True, help="Compile the model with torch.compile.")
@click.option("--compile-backend", default="inductor", show_default=True, help="Backend of --compile.")
@click.option("--channels-last", is_flag=True, help="Use the channels-last memory format.")
@optimize_option
@click.option("--forward-only", is_flag=True, help="Measure only the forward pass.")
@click.option("--train", is_flag=True, help="Measure only the training step.")
@click.option("--threads", type=_positive, help="Number of CPU threads. [default: torch's]")
@click.option("--repeats", type=_positive, help="Measured passes. [default: as many as fit in 2 s, 5 to 100]")
@click.option(
    "--warmup",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Passes before the measured ones.",
)
@click.option(
    "--trace", type=click.Path(path_type=Path), help="Also write a Perfetto trace to this JSON file."
)
@click.option("--force", is_flag=True, help="Replace an existing trace.")
@click.option(
    "--depth", type=_positive, help="Group layers at this depth of the module tree. [default: the leaves]"
)
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
    """Time a mapping's model: in total, by kind of operation, and layer by layer.

    Measures a forward pass, and a training step (forward, backward, SGD). The totals are medians
    of uninstrumented passes; times by kind and by layer are measured in separate passes.
    """
    if forward_only and train:
        raise click.UsageError("--forward-only and --train: give one of them, or neither to measure both")
    from contextlib import nullcontext

    from tfpt.profiling import profile
    from tfpt.report.terminal import console, escape, print_json

    # A large network takes a while: show on a terminal that it is running.
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

    from tfpt.report.profiles import print_profile

    out = console()
    print_profile(out, found, depth=depth, everything=everything)
    if trace:
        out.print(f"\n[green]wrote[/] {escape(str(trace))} (open it at ui.perfetto.dev)", soft_wrap=True)

"""`tfpt convert`: translate checkpoints; all are planned before the first byte is written."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfpt.commands.options import (
    all_option,
    checkpoint_help,
    checksums_option,
    config_option,
    dequantize_option,
    html_option,
    json_option,
    mapping_help,
    mapping_type,
    model_option,
    name_of,
    parse_settings,
    reports_errors,
    settings_option,
    trust_option,
)

if TYPE_CHECKING:
    from tfpt.execution.jobs import Conversion, Job


@click.command()
@click.option(
    "--mapping",
    "mappings",
    type=mapping_type,
    required=True,
    multiple=True,
    help=f"{mapping_help} Repeatable.",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    help=f"{checkpoint_help} One for each mapping. [default: the checkpoint published for the mapping, downloaded]",
)
@click.option(
    "--out",
    "outs",
    multiple=True,
    help="Output file (.safetensors, .pth, .pt), or a folder. [default: MAPPING.safetensors]",
)
@click.option("--dry-run", is_flag=True, help="Plan only: show what would be done, and every finding.")
@click.option("--dtype", help="Write floating-point parameters in this dtype, such as float16 or bfloat16.")
@click.option("--force", is_flag=True, help="Replace existing output files.")
@click.option(
    "--workers", type=click.IntRange(min=1), help="Number of threads. [default: one per core, at most 8]"
)
@settings_option
@config_option
@trust_option
@model_option
@checksums_option
@dequantize_option
@all_option
@html_option
@json_option
@reports_errors
def command(
    mappings: Sequence[str],
    checkpoints: Sequence[str],
    outs: Sequence[str],
    dry_run: bool,
    dtype: str | None,
    force: bool,
    workers: int | None,
    settings: Sequence[str],
    config: Path | None,
    trust: bool,
    use_model: bool,
    verify_checksums: bool,
    dequantize: bool,
    everything: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Translate TensorFlow checkpoints into PyTorch weights.

    Everything is planned first: if anything does not fit, every finding is shown and nothing is
    written. With several mappings, give one checkpoint for all, or one for each in the same order.

    Without --checkpoint, the checkpoint at the mapping's source.url is downloaded into the cache
    ($TFPT_CACHE, else ~/.cache/tfpt).
    """
    if html is not None:
        from tfpt.report.pages.document import check_path

        check_path(html, force)
    from tfpt.execution.jobs import prepare
    from tfpt.report.progress import fetching_progress

    sources = _pair(mappings, checkpoints)
    targets, folder = _outputs(mappings, outs)
    with fetching_progress(quiet=as_json) as progress:
        jobs = [
            prepare(
                mapping,
                source,
                target,
                settings=parse_settings(settings),
                config=config,
                dtype=dtype,
                trust=trust,
                use_model=use_model,
                verify_checksums=verify_checksums,
                dequantize=dequantize,
                index_only=dry_run,
                progress=progress,
            )
            for mapping, source, target in zip(mappings, sources, targets, strict=True)
        ]
    for job in jobs:
        click.get_current_context().call_on_close(job.source.close)
    fits = all(job.plan.ok for job in jobs)
    if not as_json:
        _show_plans(jobs, dry_run, everything)
    written: list[Conversion] = []
    if fits and not dry_run:
        if folder is not None:
            _make(folder)
        written = _carry_out(jobs, force, workers, quiet=as_json)
    if html is not None:
        from tfpt.report.pages.matching_of import of_plan
        from tfpt.report.pages.trees import write_page

        pages = [of_plan(job.plan, job.source.specs, job.mapping.model.factory or "") for job in jobs]
        write_page(html, pages, overwrite=force)
    if as_json:
        from tfpt.proposal.causes import causes_to_json
        from tfpt.report.terminal import print_json

        paths = [str(done.path) for done in written] if written else [None for _ in jobs]
        page = {} if html is None else {"html": str(html)}
        print_json(
            [
                {**job.plan.to_json(), **causes_to_json(job.plan), "out": path, **page}
                for job, path in zip(jobs, paths, strict=True)
            ]
        )
    elif html is not None:
        from tfpt.report.terminal import console, print_written

        print_written(console(), html)
    if not as_json and not fits and not dry_run:
        click.echo("\nnothing was written", err=True)
    sys.exit(0 if fits else 1)


def _pair(mappings: Sequence[str], checkpoints: Sequence[str]) -> Sequence[str | None]:
    if not checkpoints:
        return [None] * len(mappings)
    if len(mappings) == 1 and len(checkpoints) > 1 and all("=" in checkpoint for checkpoint in checkpoints):
        return [",".join(checkpoints)]  # the files of one model
    if len(checkpoints) == len(mappings):
        return checkpoints
    if len(checkpoints) == 1:
        return list(checkpoints) * len(mappings)
    raise click.UsageError(
        f"{len(mappings)} --mapping and {len(checkpoints)} --checkpoint: give one checkpoint, or one for each mapping"
    )


def _outputs(mappings: Sequence[str], outs: Sequence[str]) -> tuple[Sequence[Path | None], Path | None]:
    """The output of each mapping, and the folder named by `--out`, where files are named after their mappings."""
    if not outs:
        return [None] * len(mappings), None
    if len(outs) == 1:
        folder = Path(os.path.expanduser(outs[0]))
        if os.path.isdir(folder) or outs[0].endswith("/") or (len(mappings) > 1 and not folder.suffix):
            names = [f"{name_of(mapping)}.safetensors" for mapping in mappings]
            return [folder / name for name in names], folder
    if len(outs) != len(mappings):
        raise click.UsageError(
            f"{len(mappings)} --mapping and {len(outs)} --out: give one folder, or a file for each mapping"
        )
    return [Path(os.path.expanduser(out)) for out in outs], None


def _make(folder: Path) -> None:
    from tfpt.errors import SinkError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError("cannot create the output folder", where=str(folder), got=error.strerror) from error


def _show_plans(jobs: Sequence[Job], dry_run: bool, everything: bool) -> None:
    from tfpt.report.plans import print_plan
    from tfpt.report.terminal import console

    out = console()
    for index, job in enumerate(jobs):
        if index:
            out.print()
        print_plan(out, job.plan, steps=dry_run and job.plan.ok, everything=everything)


def _carry_out(jobs: Sequence[Job], force: bool, workers: int | None, quiet: bool) -> list[Conversion]:
    from tfpt.execution.jobs import carry_out

    if quiet:
        return carry_out(jobs, overwrite=force, workers=workers)

    from tfpt.report.progress import conversion_progress
    from tfpt.report.terminal import console, escape, size

    with conversion_progress(jobs) as advance:
        written = carry_out(jobs, overwrite=force, workers=workers, progress=advance)
    out = console()
    for done in written:
        tensors = f"{len(done.plan.writes)} tensors"
        out.print(
            f"[green]wrote[/] {escape(str(done.path))} ({size(done.nbytes)}, {tensors})", soft_wrap=True
        )
    return written

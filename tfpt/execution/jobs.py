"""Convert a checkpoint to a file of PyTorch weights: plan, then translate if the plan has no findings."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfpt.errors import SinkError, SourceError, TfptError
from tfpt.execution.kept_values import Kept, kept_of, with_kept
from tfpt.execution.sinks import open_sink
from tfpt.execution.sinks.sink import FileSink, Sink
from tfpt.execution.translate import metadata_of, translate
from tfpt.formats import Source
from tfpt.formats.joined import open_for
from tfpt.formats.roles import roles_of
from tfpt.io.output_file import real_path, refuse_input
from tfpt.io.publishing import publish
from tfpt.language.loader import load_mapping
from tfpt.language.mapping import Mapping as TfptMapping
from tfpt.planning import Plan, PlanError, Step, make_plan
from tfpt.targets.manifest import target_specs
from tfpt.targets.model import build_model
from tfpt.tensors import DTYPES

if TYPE_CHECKING:
    from tfpt.formats.cache import Fetched

# Valid values of --dtype: PyTorch's floating-point types.
_FLOATS = tuple(name for name, held in DTYPES.items() if held.torch and name.startswith(("float", "bfloat")))


@dataclass(frozen=True)
class Job:
    """A conversion that is planned but not yet carried out.

    Attributes:
        mapping: The compiled mapping.
        source: The opened checkpoint.
        plan: The plan.
        out: The file to write.
        trust: Whether the model may be imported from outside the trusted packages.
        fetched: The cached copy of a published checkpoint, if `source` is one.
        kept: The model's own values, for `keep` rows; None without such rows or if no model was built.
    """

    mapping: TfptMapping
    source: Source
    plan: Plan
    out: Path
    trust: bool = False
    fetched: Fetched | None = None
    kept: Kept | None = None


@dataclass(frozen=True)
class Conversion:
    """A finished conversion.

    Attributes:
        path: The file.
        plan: The plan that was carried out.
        nbytes: The size of the file.
    """

    path: Path
    plan: Plan
    nbytes: int


def prepare(
    mapping: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    dtype: str | None = None,
    trust: bool = False,
    use_model: bool = True,
    verify_checksums: bool = True,
    dequantize: bool = False,
    index_only: bool = False,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Job:
    """Plan a conversion: read the mapping, the checkpoint's index and the manifest, and no weight.

    Args:
        mapping: A bundled name or a path.
        checkpoint: A checkpoint's prefix, any of its files, or its folder; a path or a URL. Without it the one that
            the mapping's `source.url` names, which is downloaded into the cache first.
        out: The output file; by default the mapping's name with `.safetensors`, in the working directory.
        settings: Values for the mapping's parameters.
        config: The model's configuration, as a dict or a JSON file.
        dtype: The dtype in which floating-point parameters are written, if not the model's.
        trust: Import a model from outside the trusted packages, where one is needed.
        use_model: Whether to compare the rows with the manifest or the model. Otherwise parameters have the names and
            shapes that the rows give and the dtypes of the variables, and nothing about the PyTorch side is checked.
        verify_checksums: Whether to verify each tensor's checksum when it is read.
        dequantize: Read quantized weights as the float32 values that they encode.
        index_only: Download only the index of a published checkpoint; the plan cannot be carried out.
        progress: Called while a published checkpoint is downloaded: file, bytes so far, and size if known.

    Raises:
        TfptError: The mapping, the checkpoint or the model cannot be read; findings are in the plan, not raised.
    """
    if dtype is not None and dtype not in _FLOATS:
        raise TfptError("parameters cannot be written in this dtype", expected=", ".join(_FLOATS), got=dtype)
    compiled = load_mapping(
        os.fspath(mapping), settings, os.fspath(config) if isinstance(config, os.PathLike) else config
    )
    fetched = None
    if checkpoint is None:
        # Imported here: most conversions are given a checkpoint.
        from tfpt.formats.published import published

        fetched = published(compiled.url, compiled.named, index_only=index_only, progress=progress)
        checkpoint = fetched.location
    source = _opened(
        compiled,
        checkpoint,
        fetched,
        verify_checksums=verify_checksums,
        dequantize=dequantize,
        names=compiled.names,
    )
    try:
        plan = make_plan(
            compiled,
            source.specs,
            target_specs(compiled, trust=trust) if use_model else None,
            source=source.location if isinstance(checkpoint, Mapping) else os.fspath(checkpoint),
            dtype=dtype,
            roles=roles_of(source),
            quantized=source.quantized,
            skipped=source.skipped,
        )
        plan, kept = with_kept(plan, compiled, trust=trust)
    except BaseException:
        source.close()
        raise
    target = Path(os.path.expanduser(out)) if out else Path(f"{compiled.name}.safetensors")
    return Job(compiled, source, plan, target, trust, fetched, kept)


def carry_out(
    jobs: Sequence[Job],
    *,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Callable[[Job, Step], None] | None = None,
) -> list[Conversion]:
    """Write the files of several plans; nothing is written unless every plan is free of findings.

    Raises:
        PlanError: A plan has findings.
        SinkError: Two jobs have the same output, an output is a checkpoint, or a file cannot be written; no output has
            changed unless the message says otherwise.
        SourceError: A tensor cannot be read, or fails its checksum; no output has changed.
    """
    for job in jobs:
        if not job.plan.ok:
            raise PlanError(job.plan)
    outs = [real_path(job.out) for job in jobs]
    for job in jobs:
        refuse_input(job.out, job.source.location, *job.source.files)
    for index, out in enumerate(outs):
        if out in outs[:index]:
            raise SinkError(
                "two conversions would write the same file", where=str(jobs[index].out), hint="--out FOLDER"
            )
    with ExitStack() as stack:
        # All outputs are opened before the first is written and finished after the last: all appear, or none.
        sinks = [stack.enter_context(_open(job, overwrite)) for job in jobs]
        for job, sink in zip(jobs, sinks, strict=True):
            _fill(job, sink, workers, progress)
        files = [sink.finish() for sink in sinks]
        publish(files)
    return [Conversion(job.out, job.plan, file.nbytes) for job, file in zip(jobs, files, strict=True)]


def convert(
    mapping: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    workers: int | None = None,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    dtype: str | None = None,
    trust: bool = False,
    use_model: bool = True,
    verify_checksums: bool = True,
    dequantize: bool = False,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Conversion:
    """See `tfpt.api.convert`."""
    job = prepare(
        mapping,
        checkpoint,
        out,
        settings=settings,
        config=config,
        dtype=dtype,
        trust=trust,
        use_model=use_model,
        verify_checksums=verify_checksums,
        dequantize=dequantize,
        progress=progress,
    )
    try:
        return carry_out([job], overwrite=overwrite, workers=workers)[0]
    finally:
        job.source.close()


def plan(
    mapping: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    dtype: str | None = None,
    trust: bool = False,
    use_model: bool = True,
    dequantize: bool = False,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Plan:
    """See `tfpt.api.plan`."""
    job = prepare(
        mapping,
        checkpoint,
        settings=settings,
        config=config,
        dtype=dtype,
        trust=trust,
        use_model=use_model,
        dequantize=dequantize,
        index_only=True,
        progress=progress,
    )
    job.source.close()
    return job.plan


def sample(
    mapping: str | os.PathLike[str],
    prefix: str | os.PathLike[str],
    *,
    seed: int = 0,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | None = None,
    trust: bool = False,
) -> int:
    """See `tfpt.api.sample`."""
    from tfpt.execution.samples import write_sample

    compiled = load_mapping(os.fspath(mapping), settings, config)
    return write_sample(
        compiled, target_specs(compiled, trust=trust), Path(prefix), seed=seed, overwrite=overwrite
    )


def _opened(
    mapping: TfptMapping,
    checkpoint: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]],
    fetched: Fetched | None,
    **options: Any,
) -> Source:
    try:
        return open_for(mapping.files, checkpoint, **options)
    except SourceError as error:
        if fetched is None:
            raise
        from tfpt.formats.published import kept

        raise kept(error, fetched) from error


def _open(job: Job, overwrite: bool) -> FileSink:
    return open_sink(job.out, job.plan.writes.values(), metadata_of(job.plan, job.source), overwrite)


def _fill(job: Job, sink: Sink, workers: int | None, progress: Callable[[Job, Step], None] | None) -> None:
    kept = None if job.kept is None else job.kept.values
    if kept is None and job.plan.kept:
        built = kept_of(job.plan, lambda: build_model(job.mapping, device="cpu", trust=job.trust))
        kept = built.values
    advance = None if progress is None else (lambda step: progress(job, step))
    try:
        translate(job.plan, job.source, sink, kept=kept, workers=workers, progress=advance)
    except SourceError as error:
        if job.fetched is None:
            raise
        from tfpt.formats.published import discarded

        # A damaged copy must not stay in the cache.
        raise discarded(error, job.fetched) from error

"""`tfpt init`: propose a mapping."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import click

from tfpt.commands.options import (
    dequantize_option,
    html_option,
    json_option,
    parse_settings,
    reports_errors,
    trust_option,
)

if TYPE_CHECKING:
    from tfpt.proposal.proposal import Proposal


@click.command(short_help="Propose a mapping for a checkpoint and a model.")
@click.argument("checkpoint")
@click.option(
    "--model", metavar="PACKAGE.MODULE:NAME", help="The PyTorch model: a class, or a function that builds it."
)
@click.option("--kwargs", metavar="NAME=VALUE", multiple=True, help="An argument of the model. Repeatable.")
@click.option("--config", type=click.Path(path_type=Path), help="The config.json of a model of transformers.")
@click.option(
    "--target", metavar="FILE", help="Instead of a model: a file of PyTorch weights, or a manifest."
)
@click.option(
    "--write-model",
    "module",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Instead of a model: write one, net.py, from a Keras file of a whole model.",
)
@click.option("--out", type=click.Path(path_type=Path), help="The mapping to write; by default MODEL.yaml.")
@click.option("--overwrite", is_flag=True, help="Replace an existing mapping.")
@click.option(
    "--averages",
    type=click.Choice(["prefer", "ignore"]),
    help="Whether to read moving averages where the checkpoint has them.",
)
@click.option(
    "--prove",
    metavar="NETWORK",
    help="Run this TensorFlow network (or take its recording) and the model on one input, and settle what is unsure.",
)
@dequantize_option
@click.option("--interactive", is_flag=True, help="Ask about whatever is unsure.")
@click.option("--explain", is_flag=True, help="Print the evidence for each row.")
@html_option
@trust_option
@json_option
@reports_errors
def command(
    checkpoint: str,
    model: str | None,
    kwargs: Sequence[str],
    config: Path | None,
    target: str | None,
    module: Path | None,
    out: Path | None,
    overwrite: bool,
    averages: Literal["prefer", "ignore"] | None,
    prove: str | None,
    dequantize: bool,
    interactive: bool,
    explain: bool,
    html: Path | None,
    trust: bool,
    as_json: bool,
) -> None:
    """Propose a mapping for a checkpoint and a model that have none.

    tfpt compares names, shapes and the order of both sides, writes the mapping that fits, and says
    what it is unsure about. Weights are only read with --prove. With --write-model it writes the model
    as well, from a Keras file, and compares what the two networks compute.

    Exit code 0: everything has its place; 1: something is unsure or open; 2: the checkpoint or the
    model cannot be read.
    """
    from tfpt.proposal.writing import propose
    from tfpt.report.proposals import print_evidence, print_proposal
    from tfpt.report.terminal import console, print_json, print_written

    if module is not None:
        if (
            model
            or target
            or kwargs
            or config
            or averages
            or prove
            or dequantize
            or interactive
            or explain
            or html
        ):
            raise click.UsageError(
                "--write-model can only be combined with --out, --overwrite, --trust and --json"
            )
        _write_model(checkpoint, module, out, overwrite, trust, as_json)
    if (model is None) == (target is None):
        raise click.UsageError("give either --model, --target or --write-model")
    if target is not None and (kwargs or config):
        raise click.UsageError("--kwargs and --config are for a --model")
    if interactive and as_json:
        raise click.UsageError("--interactive and --json cannot be combined")
    if html is not None:
        from tfpt.report.pages.document import check_path

        check_path(html, overwrite)
    path = out or Path(f"{_name(model or target or '')}.yaml")
    decided: dict[str, str] = {}
    while True:
        proposal = propose(
            checkpoint,
            path,
            model=model,
            kwargs=parse_settings(kwargs),
            config=config,
            target=target,
            decided=decided,
            averages=averages,
            prove=prove,
            dequantize=dequantize,
            overwrite=overwrite or bool(decided),
            trust=trust,
        )
        answers = _ask(proposal) if interactive else {}
        if not answers:
            break
        decided |= answers
    if html is not None:
        from tfpt.report.pages.matching_of import of_proposal
        from tfpt.report.pages.trees import write_page

        matching = of_proposal(proposal, str(path), checkpoint, model or target or "")
        write_page(html, [matching], overwrite=overwrite)
    if as_json:
        print_json(proposal.to_json(explain=explain))
    else:
        options = [*(["--config", str(config)] if config else ())]
        options += [name for name, given in (("--trust", trust), ("--dequantize", dequantize)) if given]
        print_proposal(console(), proposal, checkpoint, path, options)
        if explain:
            print_evidence(console(), proposal)
        if html is not None:
            print_written(console(), html)
    sys.exit(0 if proposal.settled else 1)


def _write_model(
    checkpoint: str, module: Path, out: Path | None, overwrite: bool, trust: bool, as_json: bool
) -> NoReturn:
    """Write a model and its mapping, and exit."""
    from tfpt.modelwriting.writing import write_model
    from tfpt.report.terminal import console, print_json
    from tfpt.report.written_models import print_written_model

    written = write_model(checkpoint, module, out, overwrite=overwrite, trust=trust)
    if as_json:
        print_json(written.to_json())
    else:
        print_written_model(console(), written, checkpoint)
    sys.exit(0 if written.settled else 1)


def _name(model: str) -> str:
    """The file name for a model or a file.

    Example:
        >>> _name("transformers:BertModel"), _name("weights/net.safetensors")
        ('bertmodel', 'net')
    """
    return model.rpartition(":")[2].lower() if ":" in model else Path(model).name.partition(".")[0]


def _ask(proposal: Proposal) -> dict[str, str]:
    """Ask about the first unsure group of parameters; what the user decided, by parameter."""
    question = next(iter(proposal.questions), None)
    if question is None:
        return {}
    click.echo(question.text)
    for number, option in enumerate(question.options, 1):
        click.echo(f"  {number}  {option.text}")
    answer = click.prompt("which", type=click.IntRange(1, len(question.options)), default=1)
    return dict(question.options[answer - 1].decisions)

"""`tfpt.propose`: opens both sides, and writes the mapping and, if there is no model, its manifest."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfpt.errors import SinkError, TfptError
from tfpt.formats import open_source
from tfpt.io.output_file import AtomicFile
from tfpt.proposal.proof import prove as prove_proposal
from tfpt.proposal.propose import Proposal, Shown
from tfpt.proposal.propose import propose as make_proposal
from tfpt.proposal.target import build, target_of_file, target_of_model
from tfpt.targets.manifest import write_manifest


def propose(
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    model: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    target: str | os.PathLike[str] | None = None,
    decided: Mapping[str, str] | None = None,
    averages: Literal["prefer", "ignore"] | None = None,
    prove: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    trust: bool = False,
) -> Proposal:
    """See `tfpt.propose`."""
    path = Path(out)
    if path.exists() and not overwrite:
        raise SinkError("the mapping exists already", where=str(path), hint="--overwrite, or another --out")
    source = open_source(checkpoint)
    if source.layer_names:
        source = open_source(checkpoint, names="keras")
    if model is not None:
        other = target_of_model(model, kwargs, config, trust=trust)
    elif target is not None:
        other = target_of_file(target)
    else:
        raise TfptError("there is nothing to map to", expected="a model, or a target")
    with tempfile.TemporaryDirectory() as folder:

        def make(decided: Mapping[str, str] | None, shown: Shown | None = None) -> Proposal:
            return make_proposal(
                source,
                other,
                Path(folder),
                name=path.stem,
                summary=f"{source.format} to {model or path.stem}",
                decided=decided,
                averages=averages,
                shown=shown,
            )

        proposal = make(decided)
        if prove is not None:
            if model is None:
                raise TfptError("only a model can be run", where="--prove", expected="--model, not --target")
            built, _ = build(model, kwargs, config, device="cpu", trust=trust)
            proof = prove_proposal(proposal, source, built, prove, trust=trust)
            known = {**(decided or {}), **proof.decided}
            if proof.proven:
                known = {**proposal.choices, **known}
            # Of several names of one activation, such as that of an Identity, the first.
            by_module = {each.pt: each for each in reversed(proof.agreements)}
            shown = Shown(
                proof.eps,
                proof.padding,
                [(each.tf, each.pt, each.row) for each in proof.agreements if by_module[each.pt] is each],
                proof.input,
                [str(proof)],
            )
            proposal = replace(make(known, shown), proof=proof)
    with AtomicFile(path, overwrite=overwrite) as file:
        file.write_at(0, np.frombuffer(proposal.text.encode(), np.uint8))
        file.commit()
    if model is None:
        write_manifest(path.with_suffix(".manifest.json"), other.specs)
    return proposal

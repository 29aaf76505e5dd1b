"""`tfpt.propose`: opens both sides, and writes the mapping and, if there is no model, its manifest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfpt.errors import SinkError, TfptError
from tfpt.formats import Source, open_source
from tfpt.io.output_file import AtomicFile
from tfpt.io.temporary import TemporaryFolder
from tfpt.proposal.proof import prove as prove_proposal
from tfpt.proposal.proposal import Proposal, Shown
from tfpt.proposal.propose import plan_of
from tfpt.proposal.propose import propose as make_proposal
from tfpt.proposal.proven import Proof
from tfpt.proposal.target import build, target_of_file, target_of_model
from tfpt.targets.manifest import write_manifest
from tfpt.verification.pairing import one_per_module


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
    dequantize: bool = False,
    overwrite: bool = False,
    trust: bool = False,
) -> Proposal:
    """See `tfpt.propose`."""
    path, manifest = Path(out), Path(out).with_suffix(".manifest.json")
    if model is None and target is None:
        raise TfptError("there is nothing to map to", expected="a model, or a target")
    if prove is not None and model is None:
        raise TfptError("only a model can be run", where="--prove", expected="--model, not --target")
    _refuse_existing(path, manifest if model is None else None, target, overwrite)
    with closing(_opened(checkpoint, dequantize)) as source:
        if model is not None:
            other = target_of_model(model, kwargs, config, trust=trust)
        else:
            assert target is not None
            other = target_of_file(target)
        with TemporaryFolder() as folder:

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
                assert model is not None
                built, _ = build(model, kwargs, config, device="cpu", trust=trust)
                proof = prove_proposal(proposal, source, built, prove, trust=trust)
                known = {**(decided or {}), **proof.decided}
                if proof.proven:
                    known = {**proposal.choices, **known}
                proposal = replace(make(known, _shown(proof)), proof=proof)
        with AtomicFile(path, overwrite=overwrite) as file:
            file.write_at(0, np.frombuffer(proposal.text.encode(), np.uint8))
            file.commit()
        if model is None:
            write_manifest(manifest, other.specs)
        # Findings point at the file that was written.
        return replace(proposal, plan=plan_of(path, source, other))


def _opened(checkpoint: str | os.PathLike[str], dequantize: bool) -> Source:
    source = open_source(checkpoint, dequantize=dequantize)
    if not source.layer_names:
        return source
    source.close()
    return open_source(checkpoint, names="keras", dequantize=dequantize)


def _refuse_existing(
    path: Path, manifest: Path | None, target: str | os.PathLike[str] | None, overwrite: bool
) -> None:
    """Raise the error of an existing output before anything is computed."""
    if overwrite:
        return
    if path.exists():
        raise SinkError("the mapping exists already", where=str(path), hint="--overwrite, or another --out")
    if manifest is not None and manifest.exists() and not (target and manifest.samefile(target)):
        what = "the manifest that comes with the mapping exists already"
        raise SinkError(what, where=str(manifest), hint="--overwrite, or another --out")


def _shown(proof: Proof) -> Shown:
    return Shown(
        proof.eps,
        proof.padding,
        [(each.tf, each.pt, each.row) for each in one_per_module(proof.agreements)],
        proof.input,
        [str(proof)],
    )

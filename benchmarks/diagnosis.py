"""What the diagnosis of `tfpt verify` finds: every fault of the networks in tests/verification/diagnosis/networks.

Each fault is put into a port that agrees with Keras, and diagnosed twice: with an endpoint for each block, and with the
output alone. Pairs of faults are drawn from a seed. A cause counts as named if every place that was proven is the
fault's, and as equivalent if some are not. Either way the repaired model must agree with Keras on other inputs, too; if
it does not, that is a false proof. Seconds are of processor time on one thread, so that other programs do not count.

    python benchmarks/diagnosis.py                              everything
    python benchmarks/diagnosis.py --network residual           one network
    python benchmarks/diagnosis.py --fault epsilon --seconds 5  faults with this text in their names
    python benchmarks/diagnosis.py --pairs 5 --seed 3           five pairs of each network, too
    python benchmarks/diagnosis.py --write                      write the totals to docs/verify.md
    python benchmarks/diagnosis.py --read a.json b.json --write the same from runs that wrote --json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Threads that wait for each other would count as processor time.
os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from tests.verification.diagnosis.networks import NETWORKS, Fault, Network, pairs  # noqa: E402
from tfpt.verification import Verification  # noqa: E402
from tfpt.verification.diagnosis import repair_loop  # noqa: E402
from tfpt.verification.diagnosis.changes import applied  # noqa: E402

PAGE = ROOT / "docs" / "verify.md"
BEGIN, END = "<!-- written by benchmarks/diagnosis.py -->", "<!-- end -->"
SECTION = """## What it finds

`benchmarks/diagnosis.py` puts known mistakes into ports of small networks that Keras recorded, and counts which of them
the diagnosis names. Each is diagnosed with an endpoint for each block, and from the output alone; pairs with all
endpoints. A cause counts if the kind and the place are right, or if the repaired model agrees with Keras on other
inputs as well; a proof for which neither holds is false. Mistakes that no change can repair count if nothing is proven.

"""
NAMED, EQUIVALENT, PARTLY, UNPROVEN, FALSE = "named", "equivalent", "partly", "unproven", "FALSE"
HIDDEN = "hidden"
GROUPS = ("blocks", "output", "pairs")


@dataclass(frozen=True)
class Outcome:
    """What one diagnosis of a model with these faults found.

    Attributes:
        group: The endpoints: ``blocks``, ``output`` alone, or ``pairs`` of faults with all endpoints.
        located: Whether the first endpoint that departs is the one expected.
        cause: One of those above; `PARTLY` if causes were proven, but not all; `HIDDEN` if the output alone agrees in
            spite of the fault, so that there is nothing to diagnose.
        right: Whether that is what was to be found: a cause that is named or equivalent, or nothing where no change of
            the model repairs the fault.
        found: The kinds and places.
    """

    network: str
    faults: tuple[str, ...]
    group: str
    located: bool
    cause: str
    right: bool
    found: str
    seconds: float
    trials: int

    @property
    def line(self) -> str:
        name = " + ".join(self.faults)
        mark = "·" if self.cause == HIDDEN else "✓" if self.right else "✗"
        return (
            f"{mark} {self.network:12} {self.group:6} {name[:64]:64} {'' if self.located else 'elsewhere ':10}"
            f"{self.cause:10} {self.seconds:5.1f} s {self.trials:5}  {self.found[:110]}"
        )


def diagnosed(network: Network, names: Sequence[str], group: str, seconds: float) -> Outcome:
    """Diagnose the network with these faults."""
    faults = [network.faults[name] for name in names]
    recording = network.output_alone if group == "output" else network.recording
    net = network.broken(*names)
    with captured() as loops, patch.object(time, "monotonic", time.process_time):
        result = network.verify(net, recording, seconds=seconds)
    expected = {network.output} if group == "output" else {fault.endpoint for fault in faults}
    located = result.first is not None and result.first.name in expected
    diagnoses = result.explanation.diagnoses if result.explanation else ()
    cause = HIDDEN if result.agrees else cause_of(network, faults, result, loops)
    found = "; ".join(
        " and ".join(f"{place.kind} {place.path or 'input'} → {place.expected}" for place in one.places)
        if one.proven
        else f"(unproven at {one.name})"
        for one in diagnoses
    )
    repairable = any(fault.kinds for fault in faults)
    right = cause in ((NAMED, EQUIVALENT) if repairable else (UNPROVEN,))
    return Outcome(
        network.name,
        tuple(names),
        group,
        located,
        cause,
        right,
        found,
        result.explanation.seconds if result.explanation else 0.0,
        sum(one.trials for one in diagnoses),
    )


def cause_of(network: Network, faults: Sequence[Fault], result: Verification, loops: Sequence[Any]) -> str:
    """Whether the proven causes are the faults."""
    explanation = result.explanation
    proven = [one for one in explanation.diagnoses if one.proven] if explanation else []
    if explanation is None or not proven:
        return UNPROVEN
    places = [place for one in proven for place in one.places]
    accepted = all(any(fault.accepts(place.kind, place.path) for fault in faults) for place in places)
    # Endpoints that were not recorded need not agree: a ReLU on the other side of a max-pool is equivalent.
    recorded = {one.name for one in result.endpoints if one.verdict != "unrecorded"}
    names = recorded if explanation.repaired else {one.name for one in proven}
    if not (agrees_elsewhere(network, names, loops[-1]) if loops else accepted):
        return FALSE
    if not explanation.repaired:
        return PARTLY
    return NAMED if accepted else EQUIVALENT


def agrees_elsewhere(network: Network, names: set[str], loop: Any) -> bool:
    """Whether these endpoints of the model with all repairs agree with Keras on other inputs."""
    changes = [change for hypotheses in loop.repairs for one in hypotheses for change in one.changes]
    with applied(loop.replay.model, changes):
        other = network.verify(loop.replay.model, network.other_inputs, diagnose=False)
    return not any(one.bad for one in other.endpoints if one.name in names)


@contextmanager
def captured() -> Iterator[list[Any]]:
    """The repair loops that run, with the repairs that they made."""
    loops: list[Any] = []
    kind = repair_loop._RepairLoop
    run = kind.run

    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        loops.append(self)
        return run(self, *args, **kwargs)

    kind.run = noted  # type: ignore[method-assign]
    try:
        yield loops
    finally:
        kind.run = run  # type: ignore[method-assign]


def outcomes(arguments: argparse.Namespace) -> Iterator[Outcome]:
    for network in NETWORKS:
        if arguments.network and network.name not in arguments.network:
            continue
        for name in network.faults:
            if any(word.lower() in name.lower() for word in arguments.fault or [""]):
                for group in GROUPS[:2]:
                    if group in arguments.groups:
                        yield diagnosed(network, [name], group, arguments.seconds)
        if "pairs" in arguments.groups and not arguments.fault:
            for pair in pairs(network, arguments.pairs, arguments.seed):
                yield diagnosed(network, pair, "pairs", arguments.seconds)


def totals(found: Sequence[Outcome]) -> list[str]:
    """A table with a line for each network: how many faults were located, named, and falsely proven."""
    lines = [
        "| network | faults | endpoint | cause | from the output alone | pairs | false proofs | seconds each |",
        "|---|---|---|---|---|---|---|---|",
    ]
    names = list(dict.fromkeys(one.network for one in found))
    for name in [*names, *([""] if len(names) > 1 else [])]:
        here = [one for one in found if one.cause != HIDDEN and (not name or one.network == name)]
        blocks, output, both = ([one for one in here if one.group == group] for group in GROUPS)
        cells = (
            name or "**all**",
            len({(one.network, tuple(one.faults)) for one in blocks + output}),
            share([one.located for one in blocks]),
            share([one.right for one in blocks]),
            share([one.right for one in output]),
            share([one.right for one in both]),
            sum(one.cause == FALSE for one in here),
            f"{sum(one.seconds for one in here) / len(here):.1f}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def share(right: Sequence[bool]) -> str:
    return f"{sum(right)} of {len(right)}" if right else "—"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", action="append", choices=[network.name for network in NETWORKS])
    parser.add_argument("--fault", action="append", help="text in the names of faults")
    parser.add_argument("--groups", default="blocks,output,pairs")
    parser.add_argument("--pairs", type=int, default=5, help="how many pairs of each network")
    parser.add_argument("--seed", type=int, default=0, help="of the pairs")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each diagnosis")
    parser.add_argument("--json", type=Path, help="write every outcome to this file")
    parser.add_argument(
        "--read", type=Path, nargs="+", help="the table of outcomes written by --json, without a run"
    )
    parser.add_argument("--write", action="store_true", help="write the totals to docs/verify.md")
    arguments = parser.parse_args()
    arguments.groups = arguments.groups.split(",")
    torch.set_num_threads(1)
    found = [Outcome(**one) for path in arguments.read or () for one in json.loads(path.read_text())]
    for outcome in () if arguments.read else outcomes(arguments):
        found.append(outcome)
        print(outcome.line, flush=True)
    lines = totals(found)
    print(*lines, sep="\n")
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(one) for one in found], indent=1))
    if arguments.write:
        page = PAGE.read_text()
        before, _, rest = (
            page if BEGIN in page else f"{page.rstrip()}\n\n{SECTION}{BEGIN}{END}\n"
        ).partition(BEGIN)
        PAGE.write_text(before + "\n".join([BEGIN, *lines, END]) + rest.partition(END)[2])


if __name__ == "__main__":
    main()

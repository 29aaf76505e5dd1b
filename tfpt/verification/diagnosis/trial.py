"""The bench: one endpoint of a model, run again with something done otherwise, and compared with the recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from tfpt.errors import ModelError
from tfpt.language import mapping as rows
from tfpt.networks.endpoints import watch
from tfpt.verification.diagnosis.changes import Change, applied
from tfpt.verification.diagnosis.context import look
from tfpt.verification.diagnosis.evidence import Difference, agreeing_pieces
from tfpt.verification.replay import Replay, Seen, as_tf, undisturbed


class Bench:
    """Trials at one endpoint.

    Args:
        replay: The model, what it is fed, and the recording.
        mapping: What it was loaded through.
        path: The module whose output is the endpoint.
        previous: The module at the endpoint before it, which agrees; ``None`` at the first.
        kept: Changes that every trial has.

    Attributes:
        scene: The model, its mapping, and what ran between the two.
        base: The endpoint without any trial.
        difference: Its values beside the recorded ones; ``None`` where the shapes differ.
        trials: How many there have been.
    """

    def __init__(
        self,
        replay: Replay,
        mapping: rows.Mapping,
        path: str,
        previous: str | None,
        kept: Sequence[Change] = (),
    ) -> None:
        self.replay = replay
        self.model = replay.model
        self.path = path
        self.endpoint = next(one for one in replay.endpoints if one.pt == path)
        self.kept = tuple(kept)
        self.trials = 0
        self.scene = look(replay, mapping, path, previous, self.kept)
        whole = self.scene.trace.output
        self.base: Seen = replay.see(path, whole)
        self.difference: Difference | None = None
        if self.base.measure is not None:
            recorded = replay.recorded(path)
            array = as_tf(whole, self.endpoint, recorded.shape)
            self.difference = Difference.of(recorded, array, self.endpoint)
            if (pieces := self.scene.trace.pieces) is not None:
                sound = tuple(agreeing_pieces(self.difference, pieces))
                self.scene = replace(self.scene, sound=sound)
        self._latest: int | None = None
        self._remembers = self._choose_memory(whole)

    def trial(self, changes: Sequence[Change]) -> Seen | None:
        """The endpoint with these changes; ``None`` where the model cannot run so."""
        self.trials += 1
        try:
            return self.replay.see(self.path, self._output(changes, self._latest, recall=self._remembers))
        except Exception:  # whatever a changed model raises: it is then not what TensorFlow ran
            return None

    def _output(self, changes: Sequence[Change], latest: int | None, *, recall: bool = False) -> Tensor:
        found: list[Tensor] = []
        memory = self.scene.trace.memory
        with undisturbed(self.model), applied(self.model, [*self.kept, *changes]):
            if recall:
                with memory.recalled(self.model, latest):
                    watch(self.model, self._inputs(), [self.path], lambda _, x: found.append(x))
            else:
                watch(self.model, self._inputs(), [self.path], lambda _, x: found.append(x))
        if not found:
            raise ModelError(f"the model never ran {self.path}")
        return found[0]

    def _inputs(self) -> Tensor | dict[str, Tensor]:
        inputs = self.replay.inputs
        if isinstance(inputs, Tensor):
            return inputs.clone()
        return {name: value.clone() for name, value in inputs.items()}

    def _choose_memory(self, whole: Tensor) -> bool:
        """Whether what comes before the span can be left out: only if the endpoint is then the same in every bit."""
        memory = self.scene.trace.memory
        if not memory.whole or not memory.results:
            return False
        # A chain needs the last result alone; where layers reach further back, all of them.
        for latest in (1, None):
            try:
                again = self._output([], latest, recall=True)
            except Exception:
                continue
            if np.array_equal(again.float().cpu().numpy(), whole.float().cpu().numpy(), equal_nan=True):
                self._latest = latest
                return True
        return False

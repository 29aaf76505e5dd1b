"""Trials at one endpoint: the model is run again with changes, and the endpoint compared with the recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from tfpt.errors import ModelError
from tfpt.language import mapping as rows
from tfpt.networks.endpoints import watch
from tfpt.verification.agreement import reals
from tfpt.verification.diagnosis.changes import Change, applied
from tfpt.verification.diagnosis.evidence import Difference, agreeing_branches
from tfpt.verification.diagnosis.trace import context_at
from tfpt.verification.replay import Observation, Replay, as_tf, copied, state_preserved


class Trials:
    """Trials at one endpoint.

    Args:
        replay: The model, its inputs, and the recording.
        mapping: The mapping that the model was loaded with.
        path: The module whose output is the endpoint.
        previous: The module at the endpoint before it, which agrees; ``None`` at the first.
        repairs: Changes applied in every trial.

    Attributes:
        context: The model, its mapping, and what ran between the two endpoints.
        baseline: The endpoint with the repairs alone.
        difference: Its values beside the recorded ones; ``None`` if the shapes differ.
        count: How many trials were run.
    """

    def __init__(
        self,
        replay: Replay,
        mapping: rows.Mapping,
        path: str,
        previous: str | None,
        repairs: Sequence[Change] = (),
    ) -> None:
        self.replay = replay
        self.model = replay.model
        self.path = path
        self.endpoint = next(one for one in replay.endpoints if one.pt == path)
        self.repairs = tuple(repairs)
        self.count = 0
        self.context = context_at(replay, mapping, path, previous, self.repairs)
        output = self.context.trace.output
        self.baseline: Observation = replay.observe(path, output)
        self.difference: Difference | None = None
        if self.baseline.measure is not None:
            recorded = replay.recorded(path)
            array = as_tf(output, self.endpoint, recorded.shape)
            self.difference = Difference.of(recorded, array, self.endpoint)
            if (concatenation := self.context.trace.concatenation) is not None:
                agreeing = tuple(agreeing_branches(self.difference, concatenation))
                self.context = replace(self.context, agreeing=agreeing)
        self._latest: int | None = None
        self._cached = self._can_use_cache(output)

    def run(self, changes: Sequence[Change]) -> Observation | None:
        """Run one trial; ``None`` if the model raises an error with these changes."""
        self.count += 1
        try:
            output = self._output(changes, self._latest, use_cache=self._cached)
            return self.replay.observe(self.path, output)
        except Exception:  # a changed model may raise anything; either way it is not what TensorFlow ran
            return None

    def values(self, changes: Sequence[Change]) -> np.ndarray | None:
        """The endpoint's values at the recorded positions, in float64; ``None`` if the model raises an error."""
        self.count += 1
        try:
            output = self._output(changes, self._latest, use_cache=self._cached)
            recorded = self.replay.recorded(self.path)
            array = as_tf(output, self.endpoint, recorded.shape)
            return reals(recorded.samples_of(array)) if array.shape == recorded.shape else None
        except Exception:  # as in `run`
            return None

    def _output(self, changes: Sequence[Change], latest: int | None, *, use_cache: bool = False) -> Tensor:
        found: list[Tensor] = []
        cache = self.context.trace.cache
        with state_preserved(self.model), applied(self.model, [*self.repairs, *changes]):
            if use_cache:
                with cache.in_use(self.model, latest):
                    watch(self.model, copied(self.replay.inputs), [self.path], lambda _, x: found.append(x))
            else:
                watch(self.model, copied(self.replay.inputs), [self.path], lambda _, x: found.append(x))
        if not found:
            raise ModelError(f"the model never ran {self.path}")
        return found[0]

    def _can_use_cache(self, output: Tensor) -> bool:
        """Whether cached results can replace what runs before the span: only if the endpoint stays bit-identical."""
        cache = self.context.trace.cache
        if not cache.complete or not cache.results:
            return False
        # In a sequential model the last result is enough; with skip connections all of them are needed.
        for latest in (1, None):
            try:
                again = self._output([], latest, use_cache=True)
            except Exception:
                continue
            if np.array_equal(again.float().cpu().numpy(), output.float().cpu().numpy(), equal_nan=True):
                self._latest = latest
                return True
        return False

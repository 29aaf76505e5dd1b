"""What two networks share: the result of discovering the endpoints of a mapping."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfpt.language.inline import inline
from tfpt.verification.agreement import Measure
from tfpt.verification.pairing import Agreement

_QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


@dataclass(frozen=True)
class Figures:
    """The distribution of an activation's values, over the positions that are compared.

    Attributes:
        mean_abs: The mean absolute value.
        quantiles: The smallest value, the 10th percentile, the median, the 90th percentile and the largest value.
    """

    mean_abs: float
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, values: np.ndarray) -> Figures:
        """The figures of an array.

        Example:
            >>> Figures.of(np.arange(-5, 6))
            Figures(mean_abs=2.727..., quantiles=(-5.0, -4.0, 0.0, 4.0, 5.0))
        """
        flat = np.abs(values) if values.dtype.kind == "c" else values
        flat = flat.reshape(-1).astype(np.float64)
        if not flat.size:
            return cls(0.0, (math.nan,) * len(_QUANTILES))
        return cls(float(np.abs(flat).mean()), tuple(map(float, np.quantile(flat, _QUANTILES))))

    def to_json(self) -> dict[str, Any]:
        return {"mean_abs": self.mean_abs, "quantiles": list(self.quantiles)}


@dataclass(frozen=True)
class Nearest:
    """The activation of TensorFlow's that is most like a module's output, of those that no module computes.

    Attributes:
        name: Its name.
        shape: Its shape.
        layout: From its axes to those of the output; empty if they are the same, or the sizes differ.
        difference: How far apart the two are; ``None`` if the sizes differ. Then it is the first activation after the
            last one that agrees.
        figures: The distribution of its values.
    """

    name: str
    shape: tuple[int, ...]
    layout: str
    difference: Measure | None
    figures: Figures

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "shape": list(self.shape),
            "layout": self.layout,
            "difference": None if self.difference is None else self.difference.to_json(),
            "figures": self.figures.to_json(),
        }


@dataclass(frozen=True)
class Place:
    """A module whose output is like no activation of TensorFlow's, although everything before it is.

    Attributes:
        path: The module.
        kind: Its class.
        shape: The shape of its output, in PyTorch's order of axes.
        figures: The distribution of its values.
        nearest: The activation that is most like it; ``None`` if every activation agrees with some module.
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    figures: Figures
    nearest: Nearest | None

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "kind": self.kind,
            "shape": list(self.shape),
            "figures": self.figures.to_json(),
            "nearest": None if self.nearest is None else self.nearest.to_json(),
        }


@dataclass(frozen=True)
class Discovery:
    """What two networks compute alike, without being told where to look.

    Attributes:
        mapping: The name of the mapping.
        weights: Where the model's weights come from.
        recording: Where TensorFlow's values come from.
        tolerance: The relative difference up to which two activations count as the same.
        endpoints: The activations that agree, one for each module, in the order in which the modules run.
        places: The first places where nothing agrees, in the same order.
        after: How many more modules, which come after these places, agree with nothing.
        output: The activation that the model's output agrees with; ``None`` if there is none.
        ran: How many modules ran.
        recorded: How many activations of TensorFlow's were compared.
        input: The layout of the input, if the mapping does not say it; empty if it is the same on both sides.
        facts: Both sides, the input and the versions, as JSON values.
    """

    mapping: str
    weights: str
    recording: str
    tolerance: float
    endpoints: tuple[Agreement, ...] = ()
    places: tuple[Place, ...] = ()
    after: int = 0
    output: Agreement | None = None
    ran: int = 0
    recorded: int = 0
    input: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether the model's output agrees, and no module departs."""
        return self.output is not None and not self.places

    @property
    def rows(self) -> str:
        """The part of a mapping that names these endpoints, as YAML.

        Example:
            >>> print(Discovery("m", "w", "r", 1e-5, (Agreement("conv/Relu", "conv", "", 0.0, "relu"),)).rows)
            endpoints:
              - {tf: conv/Relu, pt: conv, apply: relu}
        """
        lines = ["endpoints:" if self.endpoints else "endpoints: []"]
        for each in self.endpoints:
            keys = f", {each.row}" if each.row else ""
            lines.append(f"  - {{tf: {inline(each.tf)}, pt: {inline(each.pt)}{keys}}}")
        if self.input:
            lines += ["", f"input: {{layout: {inline(self.input)}}}"]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        return {
            "mapping": self.mapping,
            "weights": self.weights,
            "recording": self.recording,
            "agrees": self.agrees,
            "tolerance": self.tolerance,
            "output": None if self.output is None else self.output.tf,
            "endpoints": [
                {
                    "tf": each.tf,
                    "pt": each.pt,
                    "layout": each.layout,
                    "apply": each.apply,
                    "difference": each.difference,
                }
                for each in self.endpoints
            ],
            "places": [place.to_json() for place in self.places],
            "after": self.after,
            "modules": self.ran,
            "activations": self.recorded,
            "rows": self.rows,
            "facts": self.facts,
        }

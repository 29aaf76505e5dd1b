"""A mapping as the planner sees it: rows with compiled templates and transforms, and where each was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfpt.language.parameters import Default
from tfpt.language.schema import InputEntry
from tfpt.language.templates import Template
from tfpt.language.tree import Position, row_location
from tfpt.operations.layout import Layout
from tfpt.operations.transform import Transform
from tfpt.tensors import Role


@dataclass(frozen=True)
class Row:
    """One row at one scope: which variables become which parameters, and how.

    Attributes:
        tf: Templates of whole variable names, the source's scope included; empty for `fill` and `keep`.
        pt: Templates of parameter names.
        transform: What happens to the values.
        index: The field along which tensors are stacked (it stands on the TensorFlow side only) or taken apart
            (on the PyTorch side only); empty for most rows.
        dtype: The dtype written; ``None`` for that of the parameter.
        fill: The constant of a `fill` row.
        like: The parameter whose shape a `fill` row takes.
        shape: The shape that a `fill` row states.
        keep: The parameter keeps what the model itself generates.
        position: Where the row stands.
        scope: Where the scope stands that put the row's layer in its place.
    """

    tf: tuple[Template, ...]
    pt: tuple[Template, ...]
    transform: Transform
    position: Position
    scope: Position | None = None
    index: str = ""
    dtype: str | None = None
    fill: bool | int | float | None = None
    like: Template | None = None
    shape: tuple[int, ...] | None = None
    keep: bool = False
    optional: bool = False
    overrides: bool = False
    tied: bool = False
    fallback: bool = False

    @property
    def where(self) -> str:
        """File and line of the row, and of its scope."""
        return row_location(self.position, self.scope)

    @property
    def stacks(self) -> bool:
        """Whether the index gathers variables (rather than taking one apart)."""
        return bool(self.index) and any(self.index in template.fields for template in self.tf)

    def __str__(self) -> str:
        pt = " ".join(template.text for template in self.pt)
        if self.tf:
            return f"{' '.join(template.text for template in self.tf)} → {pt}"
        return f"keep → {pt}" if self.keep else f"fill {self.fill} → {pt}"


@dataclass(frozen=True)
class Ignore:
    """Variables left out on purpose: those that `tf` matches, or those of a role, which a plan looks up as `names`."""

    tf: Template | None
    role: Role | None
    why: str
    overrides: bool
    position: Position
    names: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ema:
    """What to do with shadow variables: `tf` names them, its path field is the variable they shadow."""

    tf: Template
    use: str
    exclude: tuple[Template, ...]
    scope: str
    position: Position


@dataclass(frozen=True)
class Behavior:
    """How the modules at a path must behave to compute what TensorFlow computes."""

    pt: Template
    padding: str | None
    eps: float | None
    position: Position


@dataclass(frozen=True)
class Endpoint:
    """One activation under both names; `layout` goes from TensorFlow's axes to PyTorch's.

    Attributes:
        op: The operation of a graph that computes it; ``None`` where `tf` is that operation, or the scope around it.
    """

    tf: Template
    pt: Template
    op: Template | None
    layout: Layout | None
    position: Position


@dataclass(frozen=True)
class ModelReference:
    """How to build the PyTorch model."""

    factory: str | None
    kwargs: dict[str, Any]
    config: str | None
    position: Position


@dataclass(frozen=True)
class RowSet:
    """What a mapping says once its scope is chosen."""

    scope: str
    rows: tuple[Row, ...]
    ignore: tuple[Ignore, ...]
    ema: Ema | None


@dataclass(frozen=True)
class Mapping:
    """A mapping, read and compiled.

    Attributes:
        name: The file's name without its ending.
        path: The file.
        named: What commands call it: the name of a bundled one, the path of any other.
        alternatives: One set of rows for each scope that `source.scope` lists; exactly one must fit a checkpoint.
        behaviors: The stated padding and epsilon of modules.
        labels: The file with the names of the classes, one a line, in the order of the logits.
        params: The parameters with their values.
        names_are_paths: Whether rows name variables by where they are stored rather than by their readable names.
        adapted: Whether `--set` or `--config` changed the model, so that the manifest does not describe it.
        digest: A hash of everything the mapping says.
        defaulted: The parameters that have their defaults because the configuration lacks their keys.
    """

    name: str
    path: Path
    named: str
    summary: str
    alternatives: tuple[RowSet, ...]
    model: ModelReference
    behaviors: tuple[Behavior, ...]
    endpoints: tuple[Endpoint, ...]
    input: InputEntry
    params: dict[str, Any]
    digest: str
    url: str | None = None
    labels: Path | None = None
    names_are_paths: bool = False
    adapted: bool = False
    config: dict[str, Any] | None = field(default=None, repr=False)
    defaulted: tuple[Default, ...] = ()

    @property
    def manifest_path(self) -> Path:
        """Where the list of parameters stands that this mapping writes."""
        return self.path.with_name(f"{self.name}.manifest.json")

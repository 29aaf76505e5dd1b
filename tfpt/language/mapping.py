"""A compiled mapping: rows with their templates and transforms, and the position of each in its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tfpt.language.declarations import Default
from tfpt.language.endpoint_steps import OutputSteps
from tfpt.language.schema import AboutEntry, InputEntry
from tfpt.language.templates import Template
from tfpt.language.tree import Position, row_location
from tfpt.operations.layout import Layout
from tfpt.operations.transform import Transform
from tfpt.tensors import Role


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row at one scope: a `Copy`, a `Fill` or a `Keep`.

    Attributes:
        pt: Templates of the parameters written.
        position: The position of the row.
        scopes: The positions of the scopes that the row's layer is in, outermost first.
        dtype: The dtype to write; ``None`` for the parameter's own.
        optional: Whether the row may match nothing.
        overrides: Whether it overrides other rows that write the same parameter.
        fallback: Whether it writes only parameters that no other row writes.
    """

    pt: tuple[Template, ...]
    position: Position
    scopes: tuple[Position, ...] = ()
    dtype: str | None = None
    optional: bool = False
    overrides: bool = False
    fallback: bool = False

    @property
    def where(self) -> str:
        """File and line of the row, and of its scopes."""
        return row_location(self.position, self.scopes)

    def __str__(self) -> str:
        return f"{self._source} → {_texts(self.pt)}"

    @property
    def _source(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Copy(Row):
    """Copies variables to parameters.

    Attributes:
        tf: Templates of full variable names, including the scope of the source.
        transform: The operations on the values.
        index: The field along which variables are stacked (only the TensorFlow side has it) or a variable is split
            (only the PyTorch side has it); empty for most rows.
        tied: Whether another row may read the same variables.
    """

    tf: tuple[Template, ...]
    transform: Transform
    index: str = ""
    tied: bool = False

    @property
    def stacks(self) -> bool:
        """Whether variables are stacked along the index."""
        return bool(self.index) and any(self.index in template.fields for template in self.tf)

    @property
    def splits(self) -> bool:
        """Whether the index numbers the parameters that a variable is split into."""
        return bool(self.index) and not self.stacks

    @property
    def _source(self) -> str:
        return _texts(self.tf)


@dataclass(frozen=True, kw_only=True)
class Fill(Row):
    """Fills parameters with a constant.

    Attributes:
        value: The constant.
        like: The parameter whose shape the row states, if any.
        shape: The shape that the row states, if any.
    """

    value: bool | int | float
    like: Template | None = None
    shape: tuple[int, ...] | None = None

    @property
    def _source(self) -> str:
        return f"fill {self.value}"


@dataclass(frozen=True, kw_only=True)
class Keep(Row):
    """Keeps the model's own initial values of parameters.

    Attributes:
        random: Whether they may be random.
    """

    random: bool = False

    @property
    def _source(self) -> str:
        return "keep random" if self.random else "keep"


def _texts(templates: Sequence[Template]) -> str:
    return " ".join(map(str, templates))


@dataclass(frozen=True)
class Ignore:
    """Variables skipped on purpose: those that `tf` matches, or those with a role, which a plan resolves to `names`."""

    tf: Template | None
    role: Role | None
    why: str
    overrides: bool
    position: Position
    names: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ema:
    """How to treat shadow variables: `tf` matches them, and its path field is the variable they shadow."""

    tf: Template
    use: str
    exclude: tuple[Template, ...]
    scope: str
    position: Position


@dataclass(frozen=True)
class ResponseNorm:
    """The constants of a local response normalization in TensorFlow."""

    depth_radius: int
    bias: float
    alpha: float
    beta: float


@dataclass(frozen=True)
class Behavior:
    """The padding, the epsilon and the operation that the modules at a path need to match TensorFlow.

    Attributes:
        resize: The rule of a resizing: ``half_pixel_centers``, ``align_corners`` or ``legacy``.
        response_norm: The constants of a local response normalization.
        depth_to_space: Whether blocks are rearranged in TensorFlow's order of channels.
        inherited: Whether they are stated for everything in a scope, so that they concern only those of its modules
            that pad or normalize.
    """

    pt: Template
    padding: str | None
    eps: float | None
    position: Position
    inherited: bool = False
    resize: str | None = None
    response_norm: ResponseNorm | None = None
    depth_to_space: bool = False


@dataclass(frozen=True)
class Endpoint:
    """One activation under both names; `layout` goes from TensorFlow's axes to PyTorch's.

    Attributes:
        op: The graph operation that computes it; ``None`` if `tf` is that operation or its scope.
        steps: What is done to the module's output before it is compared, if anything.
    """

    tf: Template
    pt: Template
    op: Template | None
    layout: Layout | None
    position: Position
    steps: OutputSteps | None = None


@dataclass(frozen=True)
class ModelReference:
    """How to build the PyTorch model."""

    factory: str | None
    kwargs: dict[str, Any]
    config: str | None
    position: Position


@dataclass(frozen=True)
class RowSet:
    """The rows of a mapping for one scope of the source."""

    scope: str
    rows: tuple[Row, ...]
    ignore: tuple[Ignore, ...]
    ema: Ema | None


@dataclass(frozen=True)
class Mapping:
    """A compiled mapping.

    Attributes:
        name: The file's name without its extension.
        path: The file.
        named: Its name in messages: that of a bundled mapping, the path of any other.
        files: The files that its checkpoint consists of, if there are several: names, with what each is.
        about: Where the weights come from, and other facts for people.
        alternatives: One set of rows for each scope in `source.scope`; exactly one must match a checkpoint.
        behaviors: The stated padding and epsilon of modules.
        labels: The file with the class names, one per line, in the order of the logits.
        params: The parameters with their values.
        names: The names of variables that rows use: readable, stored paths, or layer and weight as Keras calls them.
        adapted: Whether `--set` or `--config` changed the model, so that the manifest does not describe it.
        digest: A hash of the mapping's content.
        defaulted: The parameters that take their defaults because the configuration lacks their keys.
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
    files: dict[str, str] = field(default_factory=dict)
    about: AboutEntry = field(default_factory=AboutEntry)
    url: str | None = None
    labels: Path | None = None
    names: Literal["readable", "path", "keras"] = "readable"
    adapted: bool = False
    config: dict[str, Any] | None = field(default=None, repr=False)
    defaulted: tuple[Default, ...] = ()

    @property
    def manifest_path(self) -> Path:
        """The file that lists the parameters written by this mapping."""
        return self.path.with_name(f"{self.name}.manifest.json")

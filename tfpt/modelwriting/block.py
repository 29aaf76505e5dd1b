"""What is written of one class: its modules, the statements of `forward`, and the rows of the mapping.

Activations are channels first wherever a layer of torch wants them so, and channels last elsewhere, as in Keras; each
`Value` knows which. A layer asks for the order that it needs, and the change is written where it happens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from tfpt.modelwriting.configuration import Graph, Layer
from tfpt.modelwriting.names import RESERVED, identifier
from tfpt.modelwriting.settings import GapError, Shape
from tfpt.tensors import TensorSpec

Order = Literal["first", "last"]

# Letters for the axes of an activation in Keras' order, by rank.
_LETTERS = {1: "b", 2: "bc", 3: "btc", 4: "bhwc", 5: "bthwc"}


@dataclass(eq=False)
class Value:
    """An activation.

    Attributes:
        shape: Its shape in Keras' order of axes, with the batch.
        order: Where its channels are in the written module.
        flat: If the axes of a channels-first activation were flattened in torch's order: their sizes in Keras' order.
        masked: Whether Keras attaches a mask to it.
        integer: Whether it is of an integer dtype.
        rows: If it indexes an embedding: the number of rows of the smallest one.
    """

    shape: Shape
    order: Order = "last"
    flat: tuple[int, ...] | None = None
    masked: bool = False
    integer: bool = False
    rows: int | None = None

    @property
    def channels(self) -> int:
        size = self.shape[-1] if len(self.shape) > 1 else None
        if size is None:
            raise GapError("the number of its input channels is not known")
        return size

    def axis(self, axis: int) -> int:
        """The axis of the written module for an axis in Keras' order.

        Example:
            >>> value = Value((None, 7, 11, 5), order="first")
            >>> [value.axis(axis) for axis in (-1, 1, 2, 3, 0)]
            [1, 2, 3, 1, 0]
        """
        rank = len(self.shape)
        if not -rank <= axis < rank:
            raise GapError(f"the axis {axis} of an activation of {rank} axes")
        axis %= rank
        if self.order == "last" or rank < 3 or axis == 0:
            return axis
        return 1 if axis == rank - 1 else axis + 1

    @property
    def written_shape(self) -> Shape:
        """The shape in the written module's order."""
        if self.order == "last" or len(self.shape) < 3:
            return self.shape
        return (self.shape[0], self.shape[-1], *self.shape[1:-1])

    @property
    def layout(self) -> str | None:
        """From Keras' axes to those of the written module; `None` if they are the same."""
        if self.order == "last" or len(self.shape) < 3:
            return None
        letters = _LETTERS[len(self.shape)]
        return f"{' '.join(letters)} -> {' '.join(letters[0] + letters[-1] + letters[1:-1])}"


# How a statement may be joined with the one before it. A "call" has a line of its own; a "wrap" (an activation
# function, a normalization) may take the line before it as its operand; a "change" (of axes, padding) may become part
# of the next.
Kind = Literal["call", "wrap", "change"]


@dataclass(frozen=True)
class Statement:
    """One line of `forward`.

    Attributes:
        outputs: The values that it computes.
        text: The expression, with ``{0}``, ``{1}`` for its operands.
        operands: The values that it uses.
        hint: A name for its output, if it needs one.
        operator: Whether the expression needs parentheses as part of another.
        comment: A comment above it.
    """

    outputs: tuple[Value, ...]
    text: str
    operands: tuple[Value, ...]
    kind: Kind = "call"
    hint: str = "y"
    operator: bool = False
    comment: str = ""


@dataclass(frozen=True)
class Scope:
    """A layer's weights in the mapping: the names on both sides, and what they are in the library."""

    tf: str
    pt: str
    use: str = ""
    layer: str = ""
    eps: float | None = None
    axes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A row of the mapping outside any layer; `more` has its other keys as YAML."""

    tf: str
    pt: str
    more: str = ""


@dataclass(frozen=True)
class Endpoint:
    """The same activation on both sides."""

    tf: str
    pt: str
    layout: str | None
    more: str = ""


@dataclass(frozen=True)
class Missing:
    """A layer that was not written.

    Attributes:
        layer: Its path in the Keras model.
        kind: Its class in Keras.
        shapes: The shapes of its inputs and outputs, as text.
        reason: Why.
        attribute: The path of the module that takes its place.
        variables: Its variables, with their shapes.
    """

    layer: str
    kind: str
    shapes: str
    reason: str
    attribute: str
    variables: tuple[TensorSpec, ...] = ()


@dataclass
class Written:
    """All that is shared by the classes of one file.

    Attributes:
        specs: The variables of the model.
        generation: 2 or 3, of Keras; `None` if the file does not say.
        roles: The roles of the file's other tensors.
    """

    specs: Mapping[str, TensorSpec]
    generation: int | None
    classes: list[Block] = field(default_factory=list)
    class_names: set[str] = field(default_factory=set)
    helpers: dict[str, str] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)
    scopes: list[Scope | Row] = field(default_factory=list)
    endpoints: list[Endpoint] = field(default_factory=list)
    ignored: dict[str, str] = field(default_factory=dict)
    roles: Collection[str] = ()
    layers: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    count: int = 0


class Block:
    """One class.

    Args:
        graph: The model that it is written from.
        written: What the classes of the file share.
        name: The name of the class.
        tf: The path of the model in Keras, ending in ``/`` if it is nested.
        pt: The path of the module, ending in ``.`` if it is nested.
    """

    def __init__(self, graph: Graph, written: Written, name: str, tf: str = "", pt: str = "") -> None:
        self.graph, self.written, self.name, self.tf, self.pt = graph, written, name, tf, pt
        self.modules: dict[str, str] = {}
        self.buffers: list[str] = []
        self.statements: list[Statement] = []
        self.inputs: dict[str, Value] = {}
        self.outputs: list[Value] = []
        self.nested: dict[str, Block] = {}
        self._attributes: dict[str, str] = {}
        self._converted: dict[tuple[Value, Order], Value] = {}
        self._base = set(dir(nn.Module())) | RESERVED

    # Values

    def add(
        self,
        text: str,
        *operands: Value,
        shape: Shape,
        layer: Layer | None = None,
        order: Order | None = None,
        kind: Kind = "call",
        operator: bool = False,
        comment: str = "",
    ) -> Value:
        """Add a line to `forward`; its value."""
        chosen = order or (operands[0].order if operands else "last")
        value = Value(shape, chosen)
        hint = identifier(layer.name) if layer else "y"
        self.statements.append(Statement((value,), text, operands, kind, hint, operator, comment))
        return value

    def ordered(self, value: Value, order: Order) -> Value:
        """The value with its channels first or last."""
        if value.flat is not None:
            raise GapError("its input is flattened in torch's order")
        if value.order == order or len(value.shape) < 3:
            return value
        if (value, order) not in self._converted:
            if len(value.shape) == 3:
                text = "{0}.transpose(1, 2)"
            else:
                text = "{0}.movedim(-1, 1)" if order == "first" else "{0}.movedim(1, -1)"
            changed = Value(value.shape, order, None, value.masked, value.integer)
            self.statements.append(Statement((changed,), text, (value,), "change"))
            self._converted[value, order] = changed
            self._converted[changed, value.order] = value
        return self._converted[value, order]

    def first(self, value: Value) -> Value:
        return self.ordered(value, "first")

    def last(self, value: Value) -> Value:
        return self.ordered(value, "last")

    # Modules and weights

    def attribute(self, layer: Layer, suffix: str = "") -> str:
        """The attribute of a layer; the same for every call of it."""
        key = f"{layer.name}\n{suffix}"
        if key not in self._attributes:
            taken = self._base | set(self._attributes.values())
            self._attributes[key] = identifier(layer.name + suffix, taken)
        return self._attributes[key]

    def module(self, layer: Layer, expression: str, suffix: str = "") -> str:
        """Add a module to `__init__`; the expression that refers to it."""
        attribute = self.attribute(layer, suffix)
        self.modules.setdefault(attribute, expression)
        return f"self.{attribute}"

    def path(self, layer: Layer) -> str:
        """The layer's path in the Keras model."""
        path = f"{self.tf}{layer.name}"
        if any(each in path for each in "{}$"):
            raise GapError("its name has a brace or a dollar, which a mapping cannot name")
        return path

    def variables(self, layer: Layer, below: str = "") -> list[str]:
        """The names of a layer's variables."""
        prefix = f"{self.variable_scope(layer)}/{below}"
        return [name for name in self.written.specs if name.startswith(prefix)]

    def variable_scope(self, layer: Layer) -> str:
        """The beginning of the names of a layer's variables.

        Older HDF5 files do not name models inside nested models, and may add a counter: ``conv/conv_1/kernel``.
        """
        full = self.path(layer)
        above = self.tf.rstrip("/").split("/")[0]
        for scope in (full, f"{above}/{layer.name}", layer.name) if self.tf else (full,):
            names = [name for name in self.written.specs if name.startswith(f"{scope}/")]
            if names:
                parts = {name.removeprefix(f"{scope}/").split("/")[0] for name in names}
                repeated = len(parts) == 1 and next(iter(parts)).startswith(f"{layer.name}_")
                return f"{scope}/{next(iter(parts))}" if repeated else scope
        return full

    def scope(
        self,
        layer: Layer,
        use: str = "",
        *,
        below: str = "",
        attribute: str | None = None,
        own: str = "",
        eps: float | None = None,
        axes: Mapping[str, int] | None = None,
    ) -> None:
        """Place a layer of the library, or one of the mapping's `own`, on the layer's weights."""
        pt = f"{self.pt}{attribute or self.attribute(layer)}"
        scope = Scope(f"{self.variable_scope(layer)}{below}", pt, use, own, eps, axes or {})
        if own:
            self.written.layers.add(own)
        if scope not in self.written.scopes:
            self.written.scopes.append(scope)

    def row(self, layer: Layer, tf: str, pt: str, more: str = "") -> None:
        """Add a row for one variable of the layer; without `tf`, a constant."""
        row = Row(f"{self.variable_scope(layer)}/{tf}" if tf else "", f"{self.pt}{pt}", more)
        if row not in self.written.scopes:
            self.written.scopes.append(row)

    def endpoint(self, layer: Layer, value: Value, suffix: str = "", more: str = "") -> None:
        """The module's output is the layer's, up to `more`; not for layers that are called several times."""
        if len(layer.calls) == 1 and value.flat is None and len(value.shape) in _LETTERS:
            path = f"{self.pt}{self.attribute(layer, suffix)}"
            layout = value.layout
            if more and layout is None:
                letters = " ".join(_LETTERS[len(value.shape)])
                layout = f"{letters} -> {letters}"
            self.written.endpoints.append(Endpoint(self.path(layer), path, layout, more))

    def helper(self, name: str, source: str) -> str:
        """A class or function that the file needs; its name."""
        self.written.class_names.add(name)
        self.written.helpers.setdefault(name, source)
        return name


def call(function: str, *arguments: object, **settings: object) -> str:
    """The text of a call; settings that are `None` are left out.

    Example:
        >>> call("nn.Conv2d", 3, 5, (3, 3), stride=(1, 2), bias=None)
        'nn.Conv2d(3, 5, 3, stride=(1, 2))'
    """
    listed = [_literal(each) for each in arguments]
    listed += [f"{key}={_literal(value)}" for key, value in settings.items() if value is not None]
    return f"{function}({', '.join(listed)})"


def _literal(value: object) -> str:
    """A number, a tuple of numbers (a single one if all are equal) or a word, in Python."""
    if isinstance(value, tuple):
        if len(value) == 1 or (len(set(value)) == 1 and len(value) > 1):
            return repr(value[0])
        return repr(value)
    if isinstance(value, bool | int | float):
        return short(value)
    if isinstance(value, str):
        return '"' + value + '"'
    raise TypeError(value)


def short(value: float) -> str:
    """A number as one would write it.

    Example:
        >>> short(0.001), short(1e-12), short(0.010000000000000009), short(True), short(6.0)
        ('1e-3', '1e-12', '0.01', 'True', '6.0')
    """
    if isinstance(value, float):
        value = float(f"{value:.12g}")
        mantissa, _, exponent = f"{value:e}".partition("e")
        if 0 < abs(value) < 0.01 and float(mantissa) == int(float(mantissa)):
            return f"{int(float(mantissa))}e-{-int(exponent)}"
    return repr(value)

"""The shape of a mapping file: every key, its type and its default, as pydantic models.

These classes describe the YAML as it is written (docs/language.md); `loading` turns them into rows.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from tfpt.errors import SourceError
from tfpt.io.addresses import PUBLISHED, refuse_unknown_store
from tfpt.operations.values import Scale
from tfpt.tensors import DTYPES, Role


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _number(value: Any) -> float:
    """A finite number, or a fraction such as 1/7."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("expected a number or a fraction such as 1/7")
    try:
        number = float(Fraction(value) if isinstance(value, str) and "/" in value else value)
    except (ValueError, ZeroDivisionError):
        raise ValueError("expected a number or a fraction such as 1/7") from None
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("expected a number or a fraction, finite and within float64")
    return number


def _scale(value: Any) -> Any:
    number = _number(value)
    if number == 0:
        raise ValueError("expected a number other than 0, in float64; fill: 0 writes zeros")
    if isinstance(value, str) and "/" in value:
        fraction = Fraction(value)
        # What float64 does not hold exactly is no better than the nearest number to the fraction.
        if max(abs(fraction.numerator), fraction.denominator) <= 1 << 53:
            return Scale(fraction.numerator, fraction.denominator)
    return Scale(number)


def _constant(value: Any) -> Any:
    if isinstance(value, str):
        try:
            number = float(value)  # YAML 1.1 takes 1e-3 for text
        except ValueError:
            raise ValueError("expected a number, true or false") from None
        if math.isinf(number) and any(letter.isdigit() for letter in value):
            raise ValueError("expected a number that float64 holds")
        return number
    if value is not None and not isinstance(value, bool | int | float):
        raise ValueError("expected a number, true or false")
    return value


def _dtype_name(value: Any) -> Any:
    if not isinstance(value, str) or value not in DTYPES or DTYPES[value].torch is None:
        known = ", ".join(name for name, held in DTYPES.items() if held.torch)
        raise ValueError(f"expected one of {known}")
    return value


_ONE_OR_MORE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}

Names = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1), WithJsonSchema(_ONE_OR_MORE)]
Number = Annotated[float, BeforeValidator(_number), WithJsonSchema({"type": ["number", "string"]})]
ScaleNumber = Annotated[Scale, BeforeValidator(_scale), WithJsonSchema({"type": ["number", "string"]})]
DtypeName = Annotated[str, BeforeValidator(_dtype_name)]
Constant = Annotated[
    Any, BeforeValidator(_constant), WithJsonSchema({"type": ["number", "boolean", "string"]})
]
Padding = Literal["same", "valid", "symmetric"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class AxisEntry(_Strict):
    """`{axis: v}`: an axis by its letter in the layout."""

    axis: str

    @model_validator(mode="before")
    @classmethod
    def _bare_letter(cls, value: Any) -> Any:
        return {"axis": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core))
        return schema if schema["required"] != ["axis"] else {"anyOf": [schema, {"type": "string"}]}


class ReorderEntry(AxisEntry):
    """`{axis: o, groups: [i, j, f, o], as: [i, f, j, o]}`; without `groups` they are numbered from 0."""

    order: Annotated[list[str | int], Field(alias="as", min_length=1)]
    groups: list[str | int] | None = None

    @model_validator(mode="after")
    def _is_permutation(self) -> ReorderEntry:
        groups = list(range(len(self.order))) if self.groups is None else self.groups
        if sorted(map(str, groups)) != sorted(map(str, self.order)) or len(set(map(str, groups))) < len(
            groups
        ):
            raise ValueError(f"as: must hold each of {', '.join(map(str, groups))} once")
        return self

    def indices(self) -> tuple[int, ...]:
        groups = list(range(len(self.order))) if self.groups is None else self.groups
        return tuple(list(map(str, groups)).index(str(name)) for name in self.order)


class AddEntry(_Strict):
    """A number, or `{axis: o, groups: [i, f, j, o], values: {f: 1}}`: a number for each equal group of an axis."""

    axis: str | None = None
    groups: Annotated[list[str | int] | None, Field(min_length=1)] = None
    values: dict[str, Number]

    @model_validator(mode="before")
    @classmethod
    def _bare_number(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {"values": {"": value}}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler.resolve_ref_schema(handler(core)), {"type": ["number", "string"]}]}

    @model_validator(mode="after")
    def _groups_are_known(self) -> AddEntry:
        if (self.axis is None) != (self.groups is None) or (self.axis is None and set(self.values) != {""}):
            raise ValueError("axis: and groups: go together, and values: with both")
        unknown = [name for name in self.values if self.groups and name not in map(str, self.groups)]
        if unknown:
            raise ValueError(f"values: names {unknown[0]!r}, which is not among the groups")
        return self


class PadEntry(AxisEntry):
    """`{axis: v, to: 30528}` or `{axis: v, multiple: 64}`."""

    to: Annotated[int | None, Field(gt=0)] = None
    multiple: Annotated[int | None, Field(gt=0)] = None
    value: Constant = 0

    @model_validator(mode="after")
    def _one_of_both(self) -> PadEntry:
        if (self.to is None) == (self.multiple is None):
            raise ValueError("expected either to: or multiple:")
        return self


class ZeroEntry(AxisEntry):
    """`{axis: v, at: 0}`."""

    at: int


class SplitEntry(AxisEntry):
    """`{axis: o, sizes: [3, 5]}`; without `sizes` the pieces are equal."""

    sizes: Annotated[list[Annotated[int, Field(gt=0)]] | None, Field(min_length=1)] = None


class RowEntry(_Strict):
    """One row: what goes where, and how."""

    tf: Names | None = None
    pt: Names
    layout: str | None = None
    axes: dict[str, Annotated[int, Field(gt=0)]] = {}
    slice: dict[str, str] = {}
    concat: AxisEntry | None = None
    split: SplitEntry | None = None
    reorder: ReorderEntry | None = None
    scale: ScaleNumber | None = None
    add: AddEntry | None = None
    pad: PadEntry | None = None
    zero: ZeroEntry | None = None
    dtype: DtypeName | None = None
    fill: Constant | None = None
    like: str | None = None
    shape: list[Annotated[int, Field(ge=0)]] | None = None
    keep: bool = False
    optional: bool = False
    overrides: bool = False
    tied: bool = False
    fallback: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> RowEntry:
        kinds = [self.tf is not None, self.fill is not None, self.keep]
        if sum(kinds) != 1:
            raise ValueError("a row has one of tf:, fill: and keep: true")
        if self.fill is None and (self.like is not None or self.shape is not None):
            raise ValueError("like: and shape: go with fill:")
        if self.like is not None and self.shape is not None:
            raise ValueError("expected either like: or shape:")
        if self.tf is None:
            for key in (
                "layout",
                "axes",
                "slice",
                "concat",
                "split",
                "reorder",
                "scale",
                "add",
                "pad",
                "zero",
                "tied",
            ):
                if getattr(self, key):
                    raise ValueError(f"{key}: needs tf:")
        return self


class LayerEntry(_Strict):
    """What one layer holds, and how it behaves."""

    padding: Padding | None = None
    eps: Annotated[float | None, Field(gt=0)] = None
    weights: list[RowEntry] = []


class ScopeEntry(_Strict):
    """Where a layer stands on both sides; `optional` and `overrides` hold for all its rows."""

    tf: str
    pt: str
    layer: str
    optional: bool = False
    overrides: bool = False


class IgnoreEntry(_Strict):
    """Variables that are left out on purpose, and why: by name, or by what they are for."""

    tf: str | None = None
    role: Role | None = None
    why: str
    overrides: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> IgnoreEntry:
        if (self.tf is None) == (self.role is None):
            raise ValueError("expected either tf: or role:")
        return self


class EmaEntry(_Strict):
    """How the shadow variables of an exponential moving average are treated."""

    tf: str
    use: Literal["prefer", "ignore", "require"]
    exclude: Annotated[Names, Field(alias="except")] = []


class SourceEntry(_Strict):
    """What is known of the TensorFlow side."""

    scope: Names = [""]
    ignore: list[IgnoreEntry] = []
    ema: EmaEntry | None = None
    names: Literal["readable", "path"] = "readable"
    url: str | None = None

    @field_validator("url")
    @classmethod
    def _published(cls, url: str | None) -> str | None:
        if url is not None:
            try:
                refuse_unknown_store(url.partition("#")[0], PUBLISHED)
            except SourceError as error:
                raise ValueError(f"{error.what}; expected {error.expected}") from None
        return url


class ModelEntry(_Strict):
    """How the PyTorch model is built: `factory` is `package.module:callable`."""

    factory: str | None = None
    kwargs: dict[str, Any] = {}
    config: str | None = None


class ModuleEntry(_Strict):
    """How layers without weights must behave."""

    pt: str
    padding: Padding | None = None
    eps: Annotated[float | None, Field(gt=0)] = None


class EndpointEntry(_Strict):
    """One activation under both names; `op` is the operation that computes it, where `tf` is not its name."""

    tf: str
    pt: str
    op: str | None = None
    layout: str | None = None


class InputEntry(_Strict):
    """What the network is fed."""

    layout: str | None = None
    range: Annotated[list[float] | None, Field(min_length=2, max_length=2)] = None
    size: Annotated[int | None, Field(gt=0)] = None
    fps: Annotated[float | None, Field(gt=0)] = None
    kind: Literal["rgb", "flow"] | None = None


class MappingEntry(_Strict):
    """A whole mapping file, after `extends` and `params` have been worked in."""

    version: Literal[1]
    summary: str = ""
    params: dict[str, Any] = {}
    source: SourceEntry = SourceEntry()
    model: ModelEntry = ModelEntry()
    layers: dict[str, LayerEntry] = {}
    scopes: list[ScopeEntry] = []
    weights: list[RowEntry] = []
    modules: list[ModuleEntry] = []
    endpoints: list[EndpointEntry] = []
    input: InputEntry = InputEntry()
    labels: str | None = None


def json_schema() -> dict[str, Any]:
    """The JSON schema of a mapping file, with which editors complete and check keys.

    Example:
        >>> sorted(json_schema()["properties"])[:3]
        ['endpoints', 'extends', 'input']
    """
    schema = MappingEntry.model_json_schema(by_alias=True)
    extends = {
        "type": "string",
        "description": "A mapping to start from: a file beside this one, or a bundled name.",
    }
    schema["properties"] = {"extends": extends, **schema["properties"]}
    # What a mapping extends may state the version.
    schema["required"] = [key for key in schema.get("required", []) if key != "version"]
    return schema

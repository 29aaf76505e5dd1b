"""The structure of a mapping file: every key, its type and its default, as pydantic models.

These classes describe the YAML as written (docs/language.md); `compiler` turns them into rows. The operations of a row
are parsed directly into the classes that implement them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from tfpt.errors import SourceError
from tfpt.io.addresses import PUBLISHED, refuse_unknown_store
from tfpt.language.endpoint_steps import Function
from tfpt.operations.add import Add
from tfpt.operations.cast import DtypeName
from tfpt.operations.combine import CombineNumbers
from tfpt.operations.concat import Concat, Split
from tfpt.operations.fold import Fold
from tfpt.operations.function import Functions
from tfpt.operations.numbers import Constant
from tfpt.operations.pad import Pad
from tfpt.operations.reorder import Reorder
from tfpt.operations.scale import ScaleNumber
from tfpt.operations.slice import Slices
from tfpt.operations.zero import Zero
from tfpt.tensors import Role


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


_ONE_OR_MORE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}

Names = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1), WithJsonSchema(_ONE_OR_MORE)]
Padding = Literal["same", "valid", "symmetric"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RowEntry(_Strict):
    """One row: its source, its target and the operations between."""

    tf: Names | None = None
    pt: Names
    also: Names | None = None
    when: StrictBool = True
    layout: Names | None = None
    axes: dict[str, Annotated[int, Field(gt=0)]] = {}
    slice: Slices = {}
    concat: Concat | None = None
    combine: CombineNumbers | None = None
    product: str | None = None
    fold: Fold | None = None
    split: Split | None = None
    reorder: Reorder | None = None
    apply: Functions | None = None
    scale: ScaleNumber | None = None
    add: Add | None = None
    pad: Pad | None = None
    zero: Zero | None = None
    dtype: DtypeName | None = None
    fill: Constant | None = None
    like: str | None = None
    shape: list[Annotated[int, Field(ge=0)]] | None = None
    keep: bool | Literal["random"] = False
    optional: bool = False
    overrides: bool = False
    tied: bool = False
    fallback: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> RowEntry:
        kinds = [self.tf is not None, self.fill is not None, bool(self.keep)]
        if sum(kinds) != 1:
            raise ValueError("a row has one of tf:, fill: and keep: true")
        if self.fill is None and (self.like is not None or self.shape is not None):
            raise ValueError("like: and shape: go with fill:")
        if self.like is not None and self.shape is not None:
            raise ValueError("expected either like: or shape:")
        if self.also is not None and len(self.pt) > 1:
            raise ValueError("also: goes with one name under pt:")
        if self.tf is None:
            for key in (
                "layout",
                "axes",
                "slice",
                "concat",
                "combine",
                "product",
                "fold",
                "split",
                "reorder",
                "apply",
                "scale",
                "add",
                "pad",
                "zero",
                "tied",
            ):
                if getattr(self, key):
                    raise ValueError(f"{key}: needs tf:")
        return self


class ScopeEntry(_Strict):
    """Where a layer is used, on both sides; everything else applies to all of the layer."""

    tf: str
    pt: str
    layer: str | None = None
    use: str | None = None
    optional: bool = False
    overrides: bool = False
    when: StrictBool = True
    axes: dict[str, Annotated[int, Field(gt=0)]] = {}
    padding: Padding | None = None
    eps: Annotated[float | None, Field(gt=0)] = None

    @property
    def name(self) -> str:
        """The name of the layer."""
        return self.layer or self.use or ""

    @model_validator(mode="after")
    def _one_layer(self) -> ScopeEntry:
        if (self.layer is None) == (self.use is None):
            raise ValueError("expected either layer: or use:")
        return self


class LayerEntry(_Strict):
    """The weights of one layer, the layers inside it, and its padding and epsilon."""

    padding: Padding | None = None
    eps: Annotated[float | None, Field(gt=0)] = None
    weights: list[RowEntry] = []
    scopes: list[ScopeEntry] = []


class IgnoreEntry(_Strict):
    """Variables skipped on purpose, by name or by role, and why."""

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
    """How to treat the shadow variables of an exponential moving average."""

    tf: str
    use: Literal["prefer", "ignore", "require"]
    exclude: Annotated[Names, Field(alias="except")] = []


class SourceEntry(_Strict):
    """The TensorFlow side."""

    scope: Names = [""]
    ignore: list[IgnoreEntry] = []
    ema: EmaEntry | None = None
    names: Literal["readable", "path", "keras"] = "readable"
    url: str | None = None
    files: dict[str, str] = {}

    @field_validator("files")
    @classmethod
    def _plain_names(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            if not name.isidentifier():
                raise ValueError(f"the name of a file is a word, not {name!r}")
        return files

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
    """How to build the PyTorch model: `factory` is `package.module:callable`; `type` is that of its configurations."""

    factory: str | None = None
    kwargs: dict[str, Any] = {}
    config: str | None = None
    type: Names | None = None


class ModuleEntry(_Strict):
    """The padding and epsilon of layers without weights."""

    pt: str
    padding: Padding | None = None
    eps: Annotated[float | None, Field(gt=0)] = None


class EndpointEntry(_Strict):
    """One activation under both names; `op` is the operation that computes it, if not `tf`."""

    tf: str
    pt: str
    op: str | None = None
    layout: str | None = None
    select: dict[str, int] = {}
    slice: dict[str, str] = {}
    apply: Function | dict[Literal["softmax"], str] | None = None

    @field_validator("apply")
    @classmethod
    def _softmax_has_an_axis(cls, apply: Any) -> Any:
        if apply == "softmax" or apply == {}:
            raise ValueError("softmax needs its axis: {softmax: c}")
        return apply


class InputEntry(_Strict):
    """The input of the network."""

    layout: str | None = None
    range: Annotated[list[float] | None, Field(min_length=2, max_length=2)] = None
    tf_range: Annotated[list[float] | None, Field(min_length=2, max_length=2)] = None
    names: dict[str, str] = {}
    size: Annotated[int | None, Field(gt=0)] = None
    fps: Annotated[float | None, Field(gt=0)] = None
    kind: Literal["rgb", "flow"] | None = None

    @field_validator("range", "tf_range")
    @classmethod
    def _low_to_high(cls, limits: list[float] | None) -> list[float] | None:
        if limits is not None and not limits[0] < limits[1]:
            raise ValueError("the first number must be less than the second")
        return limits

    @model_validator(mode="after")
    def _both_ranges(self) -> InputEntry:
        if self.tf_range is not None and self.range is None:
            raise ValueError("tf_range: needs range:, that of the PyTorch model")
        return self


class AboutEntry(_Strict):
    """Facts for people: where the weights come from, and how the PyTorch model differs."""

    source: str | None = None
    target: str | None = None
    license: str | None = None
    citation: str | None = None
    notes: str | None = None


class MappingEntry(_Strict):
    """A whole mapping file, after `extends` and `params` have been applied."""

    version: Literal[1]
    summary: str = ""
    about: AboutEntry = AboutEntry()
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
    """The JSON schema of a mapping file, for completion and validation in editors.

    Example:
        >>> sorted(json_schema()["properties"])[:3]
        ['about', 'drop', 'endpoints']
    """
    schema: dict[str, Any] = _with_parameters(MappingEntry.model_json_schema(by_alias=True))
    extends = {
        **_ONE_OR_MORE,
        "description": "Mappings to start from: files beside this one, or bundled names.",
    }
    drop = {**_ONE_OR_MORE, "description": "Inherited rows, scopes and modules to leave out, by their pt."}
    schema["properties"] = {"extends": extends, "drop": drop, **schema["properties"]}
    # The version may be stated in the mapping that it extends.
    schema["required"] = [key for key in schema.get("required", []) if key != "version"]
    return schema


# What an editor sees where a number or a choice will be: a parameter or an expression.
_PARAMETER = {"type": "string", "pattern": r"\$\{"}


def _with_parameters(schema: Any) -> Any:
    """The schema with `${…}` allowed wherever a value other than free text is expected."""
    if isinstance(schema, list):
        return [_with_parameters(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {key: _with_parameters(value) for key, value in schema.items()}
    if schema.get("type") in ("integer", "number", "boolean", "array") or "enum" in schema:
        kept = {key: inside.pop(key) for key in ("title", "description", "default") if key in inside}
        return {**kept, "anyOf": [inside, _PARAMETER]}
    return inside

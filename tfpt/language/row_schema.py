"""The structure of rows, layers and scopes: every key, its type and its default, as pydantic models.

The operations of a row are parsed directly into the classes that implement them.
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
    model_validator,
)

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


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


ONE_OR_MORE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}

Names = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1), WithJsonSchema(ONE_OR_MORE)]
Padding = Literal["same", "valid", "symmetric"]


class Strict(BaseModel):
    """A table that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid")


class RowEntry(Strict):
    """One row: its source, its target and the operations between."""

    tf: Names | None = Field(
        None, description="The variables to read: a template of names, or a list of templates."
    )
    pt: Names = Field(description="The parameters to write: a template of names, or a list of templates.")
    also: Names | None = Field(
        None, description="Further parameters with the same value, such as tied embeddings."
    )
    when: StrictBool = Field(True, description="False leaves the row out.")
    layout: Names | None = Field(
        None,
        description="An einops pattern, from the variable's axes to the parameter's; or one for each name under tf.",
    )
    axes: dict[str, Annotated[int, Field(gt=0)]] = Field(
        {}, description="Sizes of axes that the layout cannot infer, by letter."
    )
    slice: Slices = Field({}, description="Parts of axes of the variable, as Python slices in quotes.")
    concat: Concat | None = Field(
        None, description="The axis along which several variables are concatenated."
    )
    combine: CombineNumbers | None = Field(
        None, description="Adds up several variables, each multiplied by its number."
    )
    product: str | None = Field(
        None,
        description="An einsum pattern for the product of two or more variables, used instead of layout.",
    )
    fold: Fold | None = Field(None, description="Folds a batch normalization into the convolution before it.")
    split: Split | None = Field(
        None, description="The axis along which the result is split into the parameters under pt."
    )
    reorder: Reorder | None = Field(None, description="Permutes equal groups along an axis of the parameter.")
    apply: Functions | None = Field(None, description="Functions applied to every value, in this order.")
    scale: ScaleNumber | None = Field(
        None, description="A number, or a fraction such as 1/7, that every value is multiplied by."
    )
    add: Add | None = Field(
        None, description="A number added to every value, or one for each equal group along an axis."
    )
    pad: Pad | None = Field(None, description="Appends values at the end of an axis of the parameter.")
    zero: Zero | None = Field(None, description="Sets one index along an axis of the parameter to zero.")
    dtype: DtypeName | None = Field(
        None, description="The dtype to write, instead of that of the parameter in the model."
    )
    fill: Constant | None = Field(
        None, description="Fills the parameter with this constant, instead of reading a variable."
    )
    like: str | None = Field(None, description="With fill, a parameter of the model whose shape is used.")
    shape: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, description="With fill, the shape to write."
    )
    keep: bool | Literal["random"] = Field(
        False,
        description="Keeps the model's own value of the parameter; random allows a value drawn at random.",
    )
    optional: bool = Field(False, description="Whether the variable may be absent from the checkpoint.")
    overrides: bool = Field(
        False,
        description="Whether this row takes precedence over rows with the same variable or parameter.",
    )
    tied: bool = Field(False, description="Whether this row reads a variable that another row claims.")
    fallback: bool = Field(False, description="Whether this row writes only what no other row writes.")

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


class ScopeEntry(Strict):
    """Where a layer is used, on both sides; everything else applies to all of the layer."""

    tf: str = Field(description="The prefix of the layer's variables: a template, or an empty text.")
    pt: str = Field(description="The prefix of the layer's parameters: a template, or an empty text.")
    layer: str | None = Field(None, description="The name of a layer under layers.")
    use: str | None = Field(None, description="A layer that comes with tfpt, such as keras/dense.")
    optional: bool = Field(
        False, description="Whether all variables of the layer may be absent from the checkpoint."
    )
    overrides: bool = Field(
        False,
        description="Whether the layer's rows take precedence over rows with the same variables or parameters.",
    )
    when: StrictBool = Field(True, description="False leaves the scope out.")
    axes: dict[str, Annotated[int, Field(gt=0)]] = Field(
        {}, description="Sizes of axes for every layout in the scope that names them."
    )
    padding: Padding | None = Field(
        None, description="How the layer's modules must pad, instead of what the layer says."
    )
    eps: Annotated[float | None, Field(gt=0)] = Field(
        None, description="The epsilon of the layer's normalizations, instead of what the layer says."
    )

    @property
    def name(self) -> str:
        """The name of the layer."""
        return self.layer or self.use or ""

    @model_validator(mode="after")
    def _one_layer(self) -> ScopeEntry:
        if (self.layer is None) == (self.use is None):
            raise ValueError("expected either layer: or use:")
        return self


class LayerEntry(Strict):
    """The weights of one layer, the layers inside it, and its padding and epsilon."""

    padding: Padding | None = Field(None, description="How the layer's modules must pad.")
    eps: Annotated[float | None, Field(gt=0)] = Field(
        None, description="The epsilon of the layer's normalizations."
    )
    weights: list[RowEntry] = Field([], description="The layer's rows, with names relative to its scopes.")
    scopes: list[ScopeEntry] = Field([], description="The layers inside this one.")

"""The structure of a mapping file: every key, its type and its default, as pydantic models.

These classes describe the YAML as written (docs/language.md); `compiler` turns them into rows.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, field_validator, model_validator

from tfpt.errors import SourceError
from tfpt.io.addresses import PUBLISHED, refuse_unknown_store
from tfpt.language.endpoint_steps import Function
from tfpt.language.row_schema import LayerEntry, Names, Padding, RowEntry, ScopeEntry, Strict
from tfpt.tensors import Role


class IgnoreEntry(Strict):
    """Variables skipped on purpose, by name or by role, and why."""

    tf: str | None = Field(None, description="A template of the names of variables to skip.")
    role: Role | None = Field(None, description="The role of variables to skip, as tfpt inspect shows it.")
    why: str = Field(description="Why they are skipped, by which reports count them.")
    overrides: bool = Field(
        False, description="Whether this entry takes precedence over rows that claim the same variables."
    )

    @model_validator(mode="after")
    def _one_way(self) -> IgnoreEntry:
        if (self.tf is None) == (self.role is None):
            raise ValueError("expected either tf: or role:")
        return self


class EmaEntry(Strict):
    """How to treat the shadow variables of an exponential moving average."""

    tf: str = Field(
        description="A template of the shadow's name, with one path field for the variable that it shadows."
    )
    use: Literal["prefer", "ignore", "require"] = Field(
        description="Whether to read the shadow if there is one, never, or always."
    )
    exclude: Annotated[Names, Field(alias="except")] = Field(
        [], description="Variables that are always read themselves."
    )


class SourceEntry(Strict):
    """The TensorFlow side."""

    scope: Names = Field(
        [""], description="The prefix of every tf name, or a list of prefixes of which exactly one must fit."
    )
    ignore: list[IgnoreEntry] = Field([], description="Variables that are skipped on purpose.")
    ema: EmaEntry | None = Field(None, description="How to treat moving averages.")
    names: Literal["readable", "path", "keras"] = Field(
        "readable",
        description="Which names of variables the rows use: readable ones, stored paths, or those of Keras.",
    )
    url: str | None = Field(None, description="The address of the published checkpoint.")
    files: dict[str, str] = Field(
        {},
        description="The files of a checkpoint that has several: a name for each, and what it contains.",
    )

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


class ModelEntry(Strict):
    """How to build the PyTorch model: `factory` is `package.module:callable`; `type` is that of its configurations."""

    factory: str | None = Field(
        None, description="A class or function that returns the model, as package.module:Name."
    )
    kwargs: dict[str, Any] = Field(
        {}, description="Keyword arguments of the factory, or of its configuration."
    )
    config: str | None = Field(
        None,
        description="The class of its configuration, as package.module:Name.",
    )
    type: Names | None = Field(
        None, description="The model_type of its configurations, or a list of alternatives."
    )


class ResponseNormEntry(Strict):
    """The arguments of `tf.nn.local_response_normalization`, with its defaults."""

    depth_radius: Annotated[int, Field(ge=0)] = Field(
        5, description="The number of channels on each side that count."
    )
    bias: float = Field(1.0, description="The number added to the sum of squares.")
    alpha: float = Field(1.0, description="The factor of the sum, which torch also divides by the window.")
    beta: float = Field(0.5, description="The exponent.")


class ModuleEntry(Strict):
    """The padding, the epsilon and the operation of layers without weights."""

    pt: str = Field(description="A template of the paths of modules.")
    padding: Padding | None = Field(None, description="How these modules must pad.")
    eps: Annotated[float | None, Field(gt=0)] = Field(
        None, description="The epsilon of these normalizations."
    )
    resize: Literal["half_pixel_centers", "align_corners", "legacy"] | None = Field(
        None, description="The rule by which these modules resize images."
    )
    response_norm: ResponseNormEntry | None = Field(
        None, description="TensorFlow's constants of these local response normalizations."
    )
    depth_to_space: StrictBool = Field(
        False, description="Whether these modules order the channels of blocks as tf.nn.depth_to_space does."
    )


class EndpointEntry(Strict):
    """One activation under both names; `op` is the operation that computes it, if not `tf`."""

    tf: str = Field(description="The TensorFlow name of the activation.")
    pt: str = Field(description="The path of the PyTorch module whose output it is.")
    op: str | None = Field(
        None, description="The graph operation or name scope that computes it, if it differs from tf."
    )
    layout: str | None = Field(None, description="From TensorFlow's axes of the activation to PyTorch's.")
    select: dict[str, int] = Field(
        {}, description="The one index of an axis of the module's output that is compared."
    )
    slice: dict[str, str] = Field(
        {}, description="The range of an axis of the module's output that is compared."
    )
    apply: Function | dict[Literal["softmax"], str] | None = Field(
        None, description="A function applied to the module's output before it is compared."
    )

    @field_validator("apply")
    @classmethod
    def _softmax_has_an_axis(cls, apply: Any) -> Any:
        if apply == "softmax" or apply == {}:
            raise ValueError("softmax needs its axis: {softmax: c}")
        return apply


class InputEntry(Strict):
    """The input of the network."""

    layout: str | None = Field(None, description="From TensorFlow's axes of the input to PyTorch's.")
    range: Annotated[list[float] | None, Field(min_length=2, max_length=2)] = Field(
        None, description="The smallest and the largest value of the input."
    )
    tf_range: Annotated[list[float] | None, Field(min_length=2, max_length=2)] = Field(
        None, description="The same for the TensorFlow network, if it differs."
    )
    names: dict[str, str] = Field(
        {}, description="Of several inputs, TensorFlow's names with the model's arguments that differ."
    )
    size: Annotated[int | None, Field(gt=0)] = Field(None, description="Height and width of the input.")
    fps: Annotated[float | None, Field(gt=0)] = Field(None, description="Frames per second of a video.")
    kind: Literal["rgb", "flow"] | None = Field(
        None, description="Whether a video consists of frames or of optical flow."
    )

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


class AboutEntry(Strict):
    """Facts for people: where the weights come from, and how the PyTorch model differs."""

    source: str | None = Field(None, description="Where the weights were published.")
    target: str | None = Field(None, description="The PyTorch model that the parameters belong to.")
    license: str | None = Field(None, description="The license of the weights.")
    citation: str | None = Field(None, description="The paper to cite.")
    notes: str | None = Field(None, description="Anything else that people should know.")


class MappingEntry(Strict):
    """A whole mapping file, after `extends` and `params` have been applied."""

    version: Literal[1] = Field(description="The version of the mapping language, which is 1.")
    summary: str = Field("", description="One line that says what is translated.")
    about: AboutEntry = Field(
        AboutEntry(), description="Facts for people, such as where the weights come from."
    )
    params: dict[str, Any] = Field(
        {}, description="Values that the file uses as ${name}, which --set and --config change."
    )
    source: SourceEntry = Field(SourceEntry(), description="Facts about the TensorFlow side.")
    model: ModelEntry = Field(ModelEntry(), description="How to build the PyTorch model.")
    layers: dict[str, LayerEntry] = Field({}, description="The contents of layers, by name.")
    scopes: list[ScopeEntry] = Field([], description="Where the layers occur on both sides.")
    weights: list[RowEntry] = Field([], description="Rows outside any layer.")
    modules: list[ModuleEntry] = Field([], description="How modules without weights must behave.")
    endpoints: list[EndpointEntry] = Field(
        [], description="The same activations under both names, in network order."
    )
    input: InputEntry = Field(
        InputEntry(), description="The layout, value range and size of the network's input."
    )
    labels: str | None = Field(
        None, description="A text file with one class name per line, in the order of the logits."
    )

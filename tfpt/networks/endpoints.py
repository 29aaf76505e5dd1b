"""Activations by name: finds a mapping's endpoints in a PyTorch model, and observes or replaces them during a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tfpt.errors import ModelError
from tfpt.language import mapping as rows
from tfpt.language.endpoint_steps import OutputSteps, Part
from tfpt.language.name_index import NameIndex
from tfpt.language.templates import PT_SEPARATOR
from tfpt.language.tree import Position
from tfpt.nearest import nearest
from tfpt.operations.layout import Layout

Inputs = Tensor | Mapping[str, Tensor]


@dataclass(frozen=True)
class Endpoint:
    """One activation under its names on both sides, with its templates filled in.

    Attributes:
        tf: TensorFlow's name, used in recordings.
        op: The operation of the graph that computes it, or its name scope.
        pt: The path of the PyTorch module whose output it is.
        layout: From TensorFlow's axes to PyTorch's; ``None`` if they are the same.
        position: Its position in the mapping.
        steps: What is done to the module's output before it is compared; with any, the output cannot be replaced by
            what TensorFlow computed.
        part: The part of TensorFlow's activation that is compared; ``None`` for all of it.
        reshape: Whether the shapes differ, with the same numbers in row-major order: the layout, if there is one, is
            from the shape that TensorFlow's has then.
    """

    tf: str
    op: str
    pt: str
    layout: Layout | None
    position: Position
    steps: OutputSteps | None = None
    part: Part | None = None
    reshape: bool = False


def endpoints_in(model: nn.Module, mapping: rows.Mapping) -> tuple[Endpoint, ...]:
    """The mapping's endpoints that the model has, in the mapping's order; those of one template in the model's order.

    Raises:
        ModelError: The mapping has no endpoints, one of them matches no module, or two match the same module.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> from tfpt.targets.model import build_model
        >>> mapping = load_mapping("i3d_rgb")
        >>> found = endpoints_in(build_model(mapping), mapping)
        >>> len(found), found[0].tf, found[0].pt, found[-2].op
        (18, 'Conv3d_1a_7x7', 'conv3d_1a_7x7', 'Mean')
    """
    if not mapping.endpoints:
        raise ModelError(
            f"the mapping {mapping.name} names no activation to compare",
            where=str(mapping.path),
            expected="endpoints: with rows such as {tf: Mixed_3b, pt: mixed_3b}",
            hint="tfpt verify --discover finds activations that both networks compute",
        )
    paths = NameIndex((path for path, _ in model.named_modules() if path), PT_SEPARATOR)
    found: dict[str, Endpoint] = {}
    for row in mapping.endpoints:
        reached = paths.matches(row.pt)
        if not reached:
            raise ModelError(
                f"the model has no module {row.pt}",
                where=row.position.row,
                got=f"endpoints: {row.tf} → {row.pt}",
                nearest=nearest(row.pt.text, paths.names),
            )
        for path, values in reached:
            tf = row.tf.render(values)
            op = tf if row.op is None else row.op.render(values)
            if tf is None or op is None:
                continue  # a number that the other side cannot have in a name, such as a negative one
            if path in found:
                raise ModelError(
                    f"two endpoints are the output of {path}",
                    where=row.position.row,
                    expected="one",
                    got=f"{found[path].tf} and {tf}",
                )
            found[path] = Endpoint(tf, op, path, row.layout, row.position, row.steps, row.part, row.reshape)
    return tuple(found.values())


def watch(
    model: nn.Module,
    inputs: Inputs,
    paths: Iterable[str],
    see: Callable[[str, Tensor], Tensor | None],
    *,
    to_the_end: bool = False,
) -> list[str]:
    """Run a model without gradients and pass each module's output to a function as it is computed.

    Args:
        model: Any model. Its mode (training or evaluation) is not changed.
        inputs: The single positional argument, or keyword arguments.
        paths: The modules to observe; if one runs several times, the first time counts.
        see: Called with a path and the module's output (the first tensor of a tuple or dict). The tensor is the model's
            own, which later layers may change in place: copy it to keep it. A returned tensor replaces the output in
            everything that follows.
        to_the_end: Continue after the last of `paths`.

    Returns:
        The paths that were reached, in the order in which they ran.

    Raises:
        ModelError: The model has no module at a path, or the module's output contains no tensor.

    Example:
        >>> model = nn.Sequential(nn.ReLU(), nn.Flatten())
        >>> watch(model, torch.tensor([[-1.0, 2.0]]), ["1", "0"], lambda path, x: print(path, x))
        0 tensor([[0., 2.]])
        1 tensor([[0., 2.]])
        ['0', '1']
    """
    modules = dict(model.named_modules())
    wanted = list(dict.fromkeys(paths))
    reached: list[str] = []

    def hook_for(path: str) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(_module: nn.Module, _arguments: Any, output: Any) -> Any:
            if path in reached:
                return None
            reached.append(path)
            replacement = see(path, first_tensor(output, path))
            if len(reached) == len(wanted) and not to_the_end:
                raise _Enough
            return None if replacement is None else _with_first_tensor(output, replacement)

        return hook

    for path in wanted:
        if path not in modules:
            raise ModelError(f"the model has no module {path}", nearest=nearest(path, modules))
    handles = [modules[path].register_forward_hook(hook_for(path)) for path in wanted]
    try:
        with torch.no_grad():
            model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    except _Enough:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return reached


def activations(model: nn.Module, inputs: Inputs, paths: Iterable[str]) -> dict[str, Tensor]:
    """Copies of the outputs of the modules at `paths`, in the order in which they ran; see `watch`.

    Example:
        >>> model = nn.Sequential(nn.ReLU(), nn.Flatten())
        >>> activations(model, torch.tensor([[-1.0, 2.0]]), ["0"])
        {'0': tensor([[0., 2.]])}
    """
    found: dict[str, Tensor] = {}

    def keep(path: str, output: Tensor) -> None:
        found[path] = output.detach().clone()

    watch(model, inputs, paths, keep)
    return found


def first_tensor(output: Any, path: str) -> Tensor:
    """A module's output, or the first tensor in it.

    Raises:
        ModelError: The output contains no tensor.
    """
    for value in _parts(output):
        if isinstance(value, Tensor):
            return value
    raise ModelError(f"the module {path} returns no tensor", got=type(output).__name__)


def _parts(output: Any) -> Iterator[Any]:
    """The leaves of an output, in order: the output itself, or the parts of a tuple, list or dict, recursively."""
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, tuple | list):
        for part in output:
            yield from _parts(part)
    else:
        yield output


def _with_first_tensor(output: Any, replacement: Tensor) -> Any:
    """The output with its first tensor replaced; a dict or list is changed in place."""
    if isinstance(output, Tensor):
        return replacement
    pairs = output.items() if isinstance(output, Mapping) else enumerate(output)
    key, part = next(
        (key, part) for key, part in pairs if any(isinstance(value, Tensor) for value in _parts(part))
    )
    inner = _with_first_tensor(part, replacement)
    if not isinstance(output, tuple):
        output[key] = inner
        return output
    values = [*output[:key], inner, *output[key + 1 :]]
    return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)


class _Enough(BaseException):
    """All requested modules have been observed."""

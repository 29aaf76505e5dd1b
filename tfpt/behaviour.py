"""Layers that must behave: does each module pad as its mapping says TensorFlow did, with the same epsilon?"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from tfpt.mapping.rows import Behaviour, Mapping
from tfpt.nn.adapt import adapt
from tfpt.nn.padding import pads, span
from tfpt.planning import Finding

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_AVG_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_PADDED = (*_CONVS, *_MAX_POOLS, *_AVG_POOLS)

# The size at which an example is worked out where the mapping states none: what most image networks take.
_USUAL_SIZE = 224


def check_behaviour(model: nn.Module, mapping: Mapping) -> list[Finding]:
    """A `behaviour` finding for each module that contradicts the mapping, a note for each row that reaches none.

    Example:
        >>> from tfpt.mapping.loading import load_mapping
        >>> from tfpt.model import build_model
        >>> mapping = load_mapping("i3d_rgb")
        >>> check_behaviour(build_model(mapping), mapping)
        []
    """
    size = mapping.input.size or _USUAL_SIZE
    findings = []
    for behaviour in mapping.behaviours:
        found = list(_reached(model, behaviour))
        for path, module in found:
            findings += _contradictions(path, module, behaviour, size)
        if not found:
            findings.append(
                Finding(
                    "dead-row",
                    f"no module stands at {behaviour.pt}",
                    str(behaviour.pt),
                    behaviour.position.row,
                )
            )
    return findings


def adapt_model(model: nn.Module, mapping: Mapping) -> list[str]:
    """Replace the stock layers that contradict the mapping by those of `tfpt.nn`, and set the mapping's epsilon.

    Returns:
        The paths of the modules that were changed.

    Raises:
        ModelError: A layer has options that leave no room for the mapping's padding.
    """
    changed = []
    size = mapping.input.size or _USUAL_SIZE
    for behaviour in mapping.behaviours:
        for path, module in list(_reached(model, behaviour)):
            if not _contradictions(path, module, behaviour, size):
                continue
            changed.append(path)
            if behaviour.padding is not None and isinstance(module, _PADDED):
                parent, _, name = path.rpartition(".")
                setattr(model.get_submodule(parent), name, adapt(module, behaviour.padding))
            if behaviour.eps is not None and _eps_name(module):
                setattr(module, _eps_name(module), behaviour.eps)
    return changed


def _reached(model: nn.Module, behaviour: Behaviour) -> Iterator[tuple[str, nn.Module]]:
    """The layers at the paths that the row names, or inside the containers there."""
    for path, module in model.named_modules():
        if behaviour.pt.match(path) is None:
            continue
        for inner, layer in module.named_modules(prefix=path):
            if isinstance(layer, _PADDED) or _eps_name(layer):
                yield inner, layer


def _contradictions(path: str, module: nn.Module, behaviour: Behaviour, size: int) -> list[Finding]:
    found = []
    if behaviour.padding is not None and isinstance(module, _PADDED):
        got = _padding_contradiction(module, behaviour.padding, size)
        if got:
            expected = f"padding: {behaviour.padding}" + (f", {got[0]}" if got[0] else "")
            found.append(_finding(path, module, behaviour, expected, got[1]))
    name = _eps_name(module)
    if behaviour.eps is not None and name and getattr(module, name) != behaviour.eps:
        found.append(
            _finding(path, module, behaviour, f"eps: {behaviour.eps:g}", f"{getattr(module, name):g}")
        )
    return found


def _finding(path: str, module: nn.Module, behaviour: Behaviour, expected: str, got: str) -> Finding:
    return Finding(
        "behaviour",
        f"{path} ({type(module).__name__}) does not compute what TensorFlow computed",
        name=path,
        where=behaviour.position.row,
        row=str(behaviour.pt),
        expected=expected,
        got=got,
        hint="tfpt.load(…, adapt=True) replaces stock layers; or put a layer of tfpt.nn there",
    )


def _eps_name(module: nn.Module) -> str:
    if isinstance(module, _PADDED) or next(module.children(), None) is not None:
        return ""
    return next(
        (name for name in ("eps", "variance_epsilon") if isinstance(getattr(module, name, None), float)), ""
    )


def _padding_contradiction(module: nn.Module, padding: str, size: int) -> tuple[str, str] | None:
    """What TensorFlow would do and what the module does instead; ``None`` if they are the same at every size."""
    ours = getattr(module, "tf_padding", None)
    if ours is not None:
        return None if ours == padding else ("", f"padding: {ours}")
    stated = getattr(module, "padding", 0)
    if isinstance(stated, str):
        # torch's own "same" exists for stride 1 only, where it is TensorFlow's.
        return None if stated == padding else ("", f"padding: {stated}")
    if (
        isinstance(module, _AVG_POOLS)
        and module.count_include_pad
        and any(_tuple(stated))
        and padding == "same"
    ):
        return "pads not counted in averages", "count_include_pad=True"
    ceil = bool(getattr(module, "ceil_mode", False))
    dimensions = len(_tuple(module.kernel_size, _dimensions(module)))
    along = (
        _tuple(getattr(module, name, 1), dimensions)
        for name in ("kernel_size", "stride", "dilation", "padding")
    )
    for kernel, stride, dilation, pad in zip(*along, strict=True):
        least = span(kernel, dilation)
        for tried in (size, *range(least, least + 2 * stride)):
            wanted = pads(padding, tried, kernel, stride, dilation)
            windows = (tried + sum(wanted) - least) // stride + 1
            room = tried + 2 * pad - least
            got = -(-room // stride) + 1 if ceil else room // stride + 1
            if ceil and (got - 1) * stride >= tried + pad:
                got -= 1  # torch drops a window that would begin in the pads behind
            if (wanted[0], windows) != (pad, got):
                return (
                    f"which pads {wanted} at size {tried}",
                    f"the module pads {(pad, pad)}{' with ceil_mode' if ceil else ''}",
                )
    return None


def _dimensions(module: nn.Module) -> int:
    return int(type(module).__name__[-2]) if type(module).__name__[-2:-1].isdigit() else 1


def _tuple(value: object, dimensions: int = 1) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (int(str(value)),) * dimensions

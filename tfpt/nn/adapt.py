"""Replaces a stock torch layer with one that pads as TensorFlow does and shares its parameters."""

from __future__ import annotations

from typing import Any

from torch import nn

from tfpt.errors import ModelError
from tfpt.nn.conv import Conv1d, Conv2d, Conv3d
from tfpt.nn.padding import check_padding
from tfpt.nn.pool import AvgPool1d, AvgPool2d, AvgPool3d, MaxPool1d, MaxPool2d, MaxPool3d
from tfpt.nn.transposed import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d

_CONVS: dict[type[nn.Module], Any] = {
    nn.Conv1d: Conv1d,
    nn.Conv2d: Conv2d,
    nn.Conv3d: Conv3d,
}
_TRANSPOSED: dict[type[nn.Module], Any] = {
    nn.ConvTranspose1d: ConvTranspose1d,
    nn.ConvTranspose2d: ConvTranspose2d,
    nn.ConvTranspose3d: ConvTranspose3d,
}
_MAX_POOLS: dict[type[nn.Module], Any] = {
    nn.MaxPool1d: MaxPool1d,
    nn.MaxPool2d: MaxPool2d,
    nn.MaxPool3d: MaxPool3d,
}
_AVG_POOLS: dict[type[nn.Module], Any] = {
    nn.AvgPool1d: AvgPool1d,
    nn.AvgPool2d: AvgPool2d,
    nn.AvgPool3d: AvgPool3d,
}
# Layers of tfpt.nn are accepted too; their rule is replaced.
for _table in (_CONVS, _TRANSPOSED, _MAX_POOLS, _AVG_POOLS):
    _table.update({ours: ours for ours in tuple(_table.values())})


def adapt(module: nn.Module, padding: str) -> nn.Module:
    """Return the layer of `tfpt.nn` that differs from `module` only in its padding.

    Parameters are shared, not copied, so optimizers that refer to them remain valid. Kernel size, stride, dilation,
    groups and training mode are kept; the module's own padding is replaced by the rule. Under ``"symmetric"`` an
    average pool keeps its `count_include_pad`; otherwise padding is not counted.

    Args:
        module: A convolution, transposed convolution, max-pool or average pool of ``torch.nn`` or `tfpt.nn`, in 1 to
            3 dimensions. The output of a transposed convolution gets the size that Keras gives it without
            `output_padding`; under ``"symmetric"``, the module's own `output_padding` is kept.
        padding: ``"same"``, ``"valid"`` or ``"symmetric"``; see `tfpt.nn.padding`.

    Raises:
        ModelError: The module is another layer or a subclass, or has an option that is incompatible with the rule
            (`padding_mode`, `return_indices`, `divisor_override`, `ceil_mode`, hooks).

    Example:
        >>> stock = nn.Conv2d(3, 5, kernel_size=7, stride=2, padding=3)
        >>> layer = adapt(stock, "same")
        >>> layer
        Conv2d(3, 5, kernel_size=(7, 7), stride=(2, 2), tf_padding='same')
        >>> layer.weight is stock.weight
        True
    """
    check_padding(padding)
    kind = type(module)
    if kind in _CONVS:
        layer = _conv(module, padding)
    elif kind in _TRANSPOSED:
        layer = _transposed(module, padding)
    elif kind in _MAX_POOLS:
        layer = _max_pool(module, padding)
    elif kind in _AVG_POOLS:
        layer = _avg_pool(module, padding)
    else:
        raise _refusal(module, padding, "only these layers, not subclasses of them, can be adapted")
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
        raise _refusal(
            module, padding, "its hooks would be lost", "remove the hooks, adapt, and register them again"
        )
    return layer.train(module.training)


def _refusal(module: nn.Module, padding: str, why: str, hint: str | None = None) -> ModelError:
    expected = "a conv, transposed conv, max-pool or average pool of torch.nn in 1 to 3 dimensions"
    return ModelError(
        f"a {type(module).__name__} cannot be given TensorFlow's {padding} padding: {why}",
        expected=expected,
        got=repr(module),
        hint=hint,
    )


def _conv(module: Any, padding: str) -> nn.Module:
    if module.padding_mode != "zeros":
        raise _refusal(module, padding, f"it pads with padding_mode={module.padding_mode!r}, not zeros")
    _refuse_computed_weight(module, padding)
    layer: nn.Module = _CONVS[type(module)](
        module.in_channels,
        module.out_channels,
        module.kernel_size,
        module.stride,
        padding,
        module.dilation,
        module.groups,
        bias=False,
        device="meta",
    )
    layer.weight = module.weight
    layer.bias = module.bias
    return layer


def _transposed(module: Any, padding: str) -> nn.Module:
    _refuse_computed_weight(module, padding)
    layer: nn.Module = _TRANSPOSED[type(module)](
        module.in_channels,
        module.out_channels,
        module.kernel_size,
        module.stride,
        padding,
        _kept_output_padding(module) if padding == "symmetric" else None,
        module.groups,
        bias=False,
        dilation=module.dilation,
        device="meta",
    )
    layer.weight = module.weight
    layer.bias = module.bias
    return layer


def _kept_output_padding(module: Any) -> tuple[int, ...] | None:
    """Torch's, if it fits; the rule has no size of its own."""
    given: tuple[int, ...] = module.output_padding
    return given if all(each < s for each, s in zip(given, module.stride, strict=True)) else None


def _refuse_computed_weight(module: Any, padding: str) -> None:
    if "weight" not in module._parameters:
        raise _refusal(module, padding, "its weight is computed", "remove the weight norm or parametrization")


def _max_pool(module: Any, padding: str) -> nn.Module:
    if module.return_indices:
        raise _refusal(module, padding, "it returns indices, which would be those of the padded input")
    _refuse_ceil_mode(module, padding)
    layer: nn.Module = _MAX_POOLS[type(module)](module.kernel_size, module.stride, padding, module.dilation)
    return layer


def _avg_pool(module: Any, padding: str) -> nn.Module:
    if getattr(module, "divisor_override", None) is not None:
        why = f"it divides by {module.divisor_override}, not by the number of kernel positions"
        raise _refusal(module, padding, why)
    _refuse_ceil_mode(module, padding)
    layer: nn.Module = _AVG_POOLS[type(module)](
        module.kernel_size,
        module.stride,
        padding,
        getattr(module, "dilation", 1),
        count_include_pad=padding == "symmetric" and module.count_include_pad,
    )
    return layer


def _refuse_ceil_mode(module: Any, padding: str) -> None:
    # SAME has windows that extend beyond the end, which ports use ceil_mode for; the other rules do not.
    if module.ceil_mode and padding != "same":
        raise _refusal(
            module,
            padding,
            "ceil_mode adds a window at the end that the rule does not have",
            "set ceil_mode=False",
        )

"""Causes that a layer of `tfpt.nn` repairs: transposed convolutions, resizing, local response norms, blocks, gates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

import tfpt.nn
from tfpt.errors import TfptError
from tfpt.verification.diagnosis.changes import Change, Hypothesis, forward
from tfpt.verification.diagnosis.trace import Context, FunctionCall, ModuleRun

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
# Resizing in TensorFlow 2, in TensorFlow 1, and with its option align_corners.
_RULES: dict[str, dict[str, bool]] = {
    "half-pixel centers": {},
    "TensorFlow 1's rule": {"half_pixel_centers": False},
    "aligned corners": {"align_corners": True},
}
# TensorFlow's default is 5.
_MAX_RADIUS = 7
_MODES = ("bilinear", "nearest", "bicubic", "area")


def transposed_paddings(context: Context) -> Iterator[Hypothesis]:
    """Transposed convolutions with TensorFlow's output sizes and crops."""
    for rule in ("same", "valid", "symmetric"):
        parts = []
        for run in _once(context):
            module: Any = run.module
            if not isinstance(module, TRANSPOSED):
                continue
            layer = _adapted(module, rule)
            if layer is None or getattr(module, "tf_padding", "") == rule:
                continue
            now = getattr(module, "tf_padding", "") or f"padding {tuple(module.padding)}"
            actual = f"crops by {now}, with output_padding {tuple(module.output_padding)}"
            change = Change(run.path, actual, f"{rule.upper()}", partial(forward, module, layer.forward))
            parts.append((change,))
        yield from _transposed(parts, rule)
        parts = []
        for run in _once(context):
            inner = _only_transposed(run.module)
            layer = None if inner is None else _adapted(inner, rule)
            if layer is not None and run.shape[:1] == run.output[:1] and len(run.shape) == len(run.output):
                actual = "crops a transposed convolution in code of its own"
                change = Change(run.path, actual, rule.upper(), partial(forward, run.module, layer.forward))
                parts.append((change,))
        yield from _transposed(parts, rule)


def _transposed(parts: Sequence[tuple[Change, ...]], rule: str) -> Iterator[Hypothesis]:
    """The hypothesis about these places; none without places."""
    if parts:
        yield Hypothesis(
            "padding",
            f"transposed {rule} {parts[0][0].actual[:5]}",
            f"a transposed convolution does not crop as {rule.upper()} does",
            tuple(parts),
            f"use tfpt.nn.adapt(module, {rule!r}), or a layer of tfpt.nn, which crops as TensorFlow does",
            mapping_entry=f"padding: {rule}",
        )


def resizes(context: Context) -> Iterator[Hypothesis]:
    """Resizing by TensorFlow's functions: each mode by each rule."""
    for mode in _MODES:
        for rule, options in _RULES.items():
            expected = f"{mode} by {rule}"
            try:
                tfpt.nn.Resize(1, mode=mode, **options)
            except TfptError:
                continue
            parts = []
            interpolating = {call.path for call in context.trace.calls if call.name == "interpolate"}
            for call in context.trace.calls:
                if call.name == "interpolate" and len(call.output) >= 3:
                    size = call.output[2:]
                    answer = _answer(tfpt.nn.Resize(size, mode=mode, **options).forward)
                    words = f"resizes by {call.kwargs.get('mode', 'nearest')}", expected
                    parts.append((Change(call.path, *words, call=call.key, answer=answer),))
            for run in _once(context):
                if _resizes(run) and run.path not in interpolating:
                    layer = tfpt.nn.Resize(run.output[2:], mode=mode, **options)
                    words = "resizes by a rule of its own", expected
                    parts.append((Change(run.path, *words, partial(forward, run.module, layer.forward)),))
            if parts:
                arguments = "".join(f", {name}={value}" for name, value in options.items())
                yield Hypothesis(
                    "resize",
                    expected,
                    "an activation is resized by another rule than TensorFlow's",
                    tuple(parts),
                    f"use tfpt.nn.Resize(…, mode={mode!r}{arguments})",
                )


def response_norms(context: Context) -> Iterator[Hypothesis]:
    """Local response norms in TensorFlow's convention, whose alpha is not divided by the size of the window."""
    sizes = [_response(call)["size"] for call in context.trace.calls if call.name == "local_response_norm"]
    for expected, convert in (*_RESPONSES, *_radii()) if sizes else ():
        parts = []
        for call in context.trace.calls:
            if call.name != "local_response_norm":
                continue
            given = _response(call)
            size, alpha = given["size"], given.get("alpha", 1e-4)
            radius, factor = convert(size, alpha)
            beta, bias = given.get("beta", 0.75), given.get("k", 1.0)
            layer = tfpt.nn.LocalResponseNorm(radius, bias, factor, beta)
            words = f"divides alpha {alpha:g} by the size {size}", expected.format(radius, factor)
            answer = _answer(layer.forward)
            parts.append((Change(call.path, *words, call=call.key, answer=answer),))
        if parts:
            yield Hypothesis(
                "local response",
                parts[0][0].expected,
                "a local response norm has torch's convention, not TensorFlow's",
                tuple(parts),
                "use tfpt.nn.LocalResponseNorm(depth_radius, bias, alpha, beta), with TensorFlow's numbers",
            )


def channel_blocks(context: Context) -> Iterator[Hypothesis]:
    """Blocks of channels moved to positions, or back, in the other order of channels."""
    parts = []
    for call in context.trace.calls:
        if call.name in ("pixel_shuffle", "pixel_unshuffle"):
            shuffles = call.name == "pixel_shuffle"
            size = next((one for one in (*call.args[1:], *call.kwargs.values()) if type(one) is int), 2)
            layer = tfpt.nn.DepthToSpace(size) if shuffles else tfpt.nn.SpaceToDepth(size)
            words = "counts channels before positions, as torch does", "positions before channels"
            answer = _answer(layer.forward)
            parts.append((Change(call.path, *words, call=call.key, answer=answer),))
    for run in _once(context):
        if isinstance(run.module, tfpt.nn.DepthToSpace | tfpt.nn.SpaceToDepth):
            size = run.module.block_size
            shuffles = isinstance(run.module, tfpt.nn.DepthToSpace)
            stock = nn.PixelShuffle(size) if shuffles else nn.PixelUnshuffle(size)
            words = "counts positions before channels, as TensorFlow does", "channels before positions"
            parts.append((Change(run.path, *words, partial(forward, run.module, stock.forward)),))
    if parts:
        yield Hypothesis(
            "pixel shuffle",
            "",
            "blocks of channels are in another order than TensorFlow's",
            tuple(parts),
            "use tfpt.nn.DepthToSpace (or SpaceToDepth), which has TensorFlow's order of channels",
        )


def resets(context: Context) -> Iterator[Hypothesis]:
    """GRUs with the reset gate before the recurrent kernel, which torch's cannot compute."""
    yield from _recurrent(context, "reset")


def gate_activations(context: Context) -> Iterator[Hypothesis]:
    """Recurrent layers with other activations, which torch's cannot have."""
    yield from _recurrent(context, "activation")


def _recurrent(context: Context, wanted: str) -> Iterator[Hypothesis]:
    for kind, expected, options, advice in _FORMS:
        if kind != wanted:
            continue
        parts = []
        for run in _once(context):
            module: Any = run.module
            layer = _form(module, options)
            if layer is not None:
                actual = "computes what torch's layer does"
                parts.append((Change(run.path, actual, expected, partial(forward, module, layer.forward)),))
        if parts:
            yield Hypothesis(
                kind,
                expected,
                "a recurrent layer has another form than TensorFlow's, which torch's layers cannot compute",
                tuple(parts),
                advice,
            )


_Convert = Callable[[int, float], tuple[int, float]]
_RESPONSES: tuple[tuple[str, _Convert], ...] = (
    ("alpha {1:g} undivided, with a depth_radius of {0}", lambda size, alpha: (size // 2, alpha)),
    ("a depth_radius of {0}, and alpha {1:g} undivided", lambda size, alpha: (size, alpha)),
    ("alpha {1:g}, with a depth_radius of {0}", lambda size, alpha: (size, alpha / size)),
)


def _radii() -> Iterator[tuple[str, _Convert]]:
    """Other windows, with alpha as it is and divided by torch's size."""
    for radius in range(1, _MAX_RADIUS + 1):
        words = "alpha {1:g}, with a depth_radius of {0}"
        yield words, partial(_with_radius, radius=radius, divided=False)
        yield words, partial(_with_radius, radius=radius, divided=True)


def _with_radius(size: int, alpha: float, radius: int, divided: bool) -> tuple[int, float]:
    return radius, alpha / size if divided else alpha


def _response(call: FunctionCall) -> dict[str, Any]:
    """The arguments of a local response norm by name."""
    names = ("input", "size", "alpha", "beta", "k")
    return {**dict(zip(names, call.args, strict=False)), **call.kwargs}


_FORMS: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    (
        "reset",
        "the reset gate before the recurrent kernel (reset_after=False)",
        {"reset_after": False},
        "use tfpt.nn.GRU(…, reset_after=False)",
    ),
    (
        "activation",
        "gates by a hard sigmoid of slope 0.2",
        {"recurrent_activation": lambda x: (0.2 * x + 0.5).clamp(0, 1)},
        "use a layer of tfpt.nn with recurrent_activation, Keras 2's hard_sigmoid",
    ),
    (
        "activation",
        "gates by a hard sigmoid of slope 1/6",
        {"recurrent_activation": nn.functional.hardsigmoid},
        "use a layer of tfpt.nn with recurrent_activation, Keras 3's hard_sigmoid",
    ),
    (
        "activation",
        "relu in place of tanh",
        {"activation": nn.functional.relu},
        "use a layer of tfpt.nn with activation='relu'",
    ),
)


def _once(context: Context) -> list[ModuleRun]:
    return list({run.path: run for run in context.trace.runs}.values())


def _adapted(module: nn.Module, rule: str) -> Any:
    try:
        if type(module) in (
            *TRANSPOSED,
            tfpt.nn.ConvTranspose1d,
            tfpt.nn.ConvTranspose2d,
            tfpt.nn.ConvTranspose3d,
        ):
            return tfpt.nn.adapt(module, rule)
        # A subclass computes as it likes; what it should compute is known from its parameters.
        base = next(kind for kind in TRANSPOSED if isinstance(module, kind))
        stock: Any = base.__new__(base)
        stock.__dict__ = {**module.__dict__, "_forward_hooks": {}, "_forward_pre_hooks": {}}
        stock.__dict__.pop("forward", None)
        return tfpt.nn.adapt(stock, rule)
    except (TfptError, TypeError, ValueError):
        return None


def _only_transposed(module: nn.Module) -> nn.Module | None:
    """The transposed convolution of a module that has nothing else with parameters."""
    inner = [one for one in module.children() if next(one.parameters(), None) is not None]
    return inner[0] if len(inner) == 1 and isinstance(inner[0], TRANSPOSED) else None


def _resizes(run: ModuleRun) -> bool:
    """Whether a module without parameters changes the size of images, as an upsampling in code of its own does."""
    before, after = run.shape, run.output
    return (
        run.leaf
        and len(before) == len(after) == 4
        and before[:2] == after[:2]
        and all(one > other for one, other in zip(after[2:], before[2:], strict=True))
        and next(run.module.parameters(), None) is None
    )


def _answer(function: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    return lambda _, args, kwargs: function(args[0] if args else kwargs["input"])


def _form(module: Any, options: dict[str, Any]) -> nn.Module | None:
    """A layer of `tfpt.nn` with the parameters of a recurrent layer, and these options; ``None`` if it has none."""
    kind = (
        tfpt.nn.GRU if isinstance(module, nn.GRU) else tfpt.nn.LSTM if isinstance(module, nn.LSTM) else None
    )
    if kind is None or module.num_layers != 1 or ("reset_after" in options and kind is tfpt.nn.LSTM):
        return None
    layer: Any = kind(
        module.input_size,
        module.hidden_size,
        module.bias,
        module.batch_first,
        module.bidirectional,
        device="meta",
        **options,
    )
    for name, parameter in module.named_parameters(recurse=False):
        if name in layer._parameters:
            layer._parameters[name] = parameter
        elif name.startswith("bias_hh"):
            # Without a second bias the two that torch adds are one.
            both = layer._parameters[name.replace("bias_hh", "bias_ih")] + parameter
            layer._parameters[name.replace("bias_hh", "bias_ih")] = nn.Parameter(both.detach())
        else:
            return None
    if any(parameter.device.type == "meta" for parameter in layer.parameters()):
        return None
    result: nn.Module = layer.eval()
    return result

"""LSTM, GRU and simple recurrent layers, in one direction or both."""

from __future__ import annotations

from collections.abc import Sequence

from tfpt.modelwriting.block import Block, Value, call
from tfpt.modelwriting.configuration import Call, Layer
from tfpt.modelwriting.layers.activations import function_name
from tfpt.modelwriting.registry import writes
from tfpt.modelwriting.settings import GapError, Settings
from tfpt.nn.activations import ACTIVATIONS

_CELLS = {"LSTM": "lstm_cell", "GRU": "gru_cell", "SimpleRNN": "simple_rnn_cell"}
_MODULES = {"LSTM": "nn.LSTM", "GRU": "nn.GRU", "SimpleRNN": "nn.RNN"}


def _module(block: Block, kind: str, settings: Settings, inputs: int, both: bool) -> str:
    """The module: of torch, or of `tfpt.nn` for what torch's does not compute.

    Raises:
        GapError: There is none.
    """
    activation = function_name(settings)
    gate = function_name(settings, "recurrent_activation") if kind != "SimpleRNN" else ""
    for key in ("return_state", "stateful", "time_major"):
        if settings.flag(key):
            raise GapError(f"it has {key}=True")
    if kind == "SimpleRNN" and activation not in ("tanh", "relu"):
        raise GapError(f"its activation is {activation}, not tanh or relu")
    ours = kind != "SimpleRNN" and (
        (activation, gate) != ("tanh", "sigmoid") or _resets_before(kind, settings)
    )
    if ours and not {activation, gate} <= ACTIVATIONS.keys():
        raise GapError(f"its activations are {activation} and {gate}; tfpt.nn.{kind} does not have both")
    return call(
        f"tfnn.{kind}" if ours else _MODULES[kind],
        inputs,
        settings.integer("units"),
        nonlinearity="relu" if kind == "SimpleRNN" and activation == "relu" else None,
        bias=None if settings.flag("use_bias", True) else False,
        batch_first=True,
        bidirectional=True if both else None,
        activation=_own_name(block, activation) if ours and activation != "tanh" else None,
        recurrent_activation=_own_name(block, gate) if ours and gate != "sigmoid" else None,
        reset_after=False if _resets_before(kind, settings) else None,
    )


def _own_name(block: Block, activation: str) -> str:
    """The name of an activation in `tfpt.nn`.

    Raises:
        GapError: It depends on the version of Keras, which the file does not say.
    """
    if activation != "hard_sigmoid" or block.written.generation == 3:
        return activation
    if block.written.generation is None:
        raise GapError(
            "hard_sigmoid of Keras 2 differs from that of Keras 3, and the file does not say which"
        )
    return "hard_sigmoid_keras2"


def _resets_before(kind: str, settings: Settings) -> bool:
    """Whether the reset gate of a GRU is applied before the matrix product."""
    return kind == "GRU" and not settings.flag("reset_after", True)


def _use(kind: str, settings: Settings) -> str:
    gru = "keras/gru_reset_before" if _resets_before(kind, settings) else "keras/gru"
    return {"LSTM": "keras/lstm", "GRU": gru}.get(kind, "")


def _cell(block: Block, layer: Layer, below: str, kind: str) -> str:
    """The end of the scope of a cell's variables; older files do not name the cell."""
    cell = f"{below}/{_CELLS[kind]}"
    return cell if block.variables(layer, f"{cell[1:]}/") else below


@writes("LSTM", "GRU", "SimpleRNN", order="last", mask="use")
def recurrent(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    settings, kind = layer.settings, layer.kind
    x = block.last(inputs[0])
    module = block.module(layer, _module(block, kind, settings, x.channels, False))
    own = "" if _use(kind, settings) else "simple_rnn"
    block.scope(layer, _use(kind, settings), below=_cell(block, layer, "", kind), own=own)
    units = settings.integer("units")
    backwards = settings.flag("go_backwards")
    if backwards:
        x = block.add("{0}.flip(1)", x, shape=x.shape, kind="change")
    if settings.flag("return_sequences"):
        shape = (*x.shape[:2], units)
        value = block.add(f"{module}({{0}})[0]", x, shape=shape, layer=layer)
        block.endpoint(layer, value)
        return value
    value = block.add(f"{module}({{0}})[0][:, -1]", x, shape=(x.shape[0], units), layer=layer)
    _last_step(block, layer, value)
    return value


def _last_step(block: Block, layer: Layer, value: Value) -> None:
    block.endpoint(layer, value, more=", select: {t: -1}")
    if block.written.endpoints and block.written.endpoints[-1].more == ", select: {t: -1}":
        last = block.written.endpoints.pop()
        block.written.endpoints.append(type(last)(last.tf, last.pt, "b c -> b t c", last.more))


@writes("Bidirectional", order="last", mask="use")
def bidirectional(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    forward = layer.settings.get("layer")
    backward = layer.settings.get("backward_layer")
    if not isinstance(forward, dict) or forward.get("class_name") not in _CELLS:
        kind = forward.get("class_name") if isinstance(forward, dict) else "nothing"
        raise GapError(f"it runs {kind} in both directions")
    kind = str(forward["class_name"])
    settings = Settings(forward.get("config") or {})
    if settings.flag("go_backwards"):
        raise GapError("its forward layer goes backwards")
    if layer.settings.values.get("merge_mode", "concat") != "concat":
        raise GapError(f"merge_mode is {layer.settings.values['merge_mode']!r}"[:100])
    names = ("name", "go_backwards", "dtype", "trainable")
    if isinstance(backward, dict):
        other = Settings(backward.get("config") or {})
        same = {k: v for k, v in settings.values.items() if not k.endswith("initializer") and k not in names}
        if backward.get("class_name") != kind or any(other.values.get(k) != v for k, v in same.items()):
            raise GapError("its backward layer differs from the forward one")
    x = block.last(inputs[0])
    module = block.module(layer, _module(block, kind, settings, x.channels, True))
    below = {
        name.removeprefix(f"{block.variable_scope(layer)}/").split("/")[0] for name in block.variables(layer)
    }
    ways = [next((each for each in below if each.startswith(way)), "") for way in ("forward_", "backward_")]
    if "" in ways:
        raise GapError("the file does not name the variables of both directions")
    use = _use(kind, settings)
    gru = "gru_reset_before" if _resets_before(kind, settings) else "gru"
    own = {"LSTM": "lstm", "GRU": gru, "SimpleRNN": "simple_rnn"}[kind]
    block.scope(layer, use, below=_cell(block, layer, f"/{ways[0]}", kind), own="" if use else own)
    block.scope(layer, below=_cell(block, layer, f"/{ways[1]}", kind), own=f"{own}_reverse")
    units = settings.integer("units")
    text = f"{module}({{0}})[0]"
    if settings.flag("return_sequences"):
        value = block.add(text, x, shape=(*x.shape[:2], 2 * units), layer=layer)
        block.endpoint(layer, value)
        return value
    sequence = block.add(text, x, shape=(*x.shape[:2], 2 * units), layer=layer)
    name = block.helper("last_states", _LAST_STATES)
    return block.add(f"{name}({{0}})", sequence, shape=(x.shape[0], 2 * units), layer=layer, kind="wrap")


_LAST_STATES = '''
def last_states(x: Tensor) -> Tensor:
    """The last outputs of both directions, of which the backward one is at the first step."""
    forward, backward = x.chunk(2, dim=-1)
    return torch.cat([forward[:, -1], backward[:, 0]], dim=-1)
'''

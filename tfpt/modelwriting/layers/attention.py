"""Attention: multi-head, and the dot product alone."""

from __future__ import annotations

from collections.abc import Sequence

from tfpt.modelwriting.block import Block, Value, call, short
from tfpt.modelwriting.configuration import Call, Layer
from tfpt.modelwriting.registry import writes
from tfpt.modelwriting.settings import GapError

_ATTENTION = '''
class MultiHeadAttention(nn.Module):
    """Attention with heads of any size, as in Keras; activations are (batch, length, channels)."""

    def __init__(
        self,
        query: int,
        key: int,
        value: int,
        out: int,
        heads: int,
        key_size: int,
        value_size: int,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(query, heads * key_size, bias)
        self.key = nn.Linear(key, heads * key_size, bias)
        self.value = nn.Linear(value, heads * value_size, bias)
        self.attention_output = nn.Linear(heads * value_size, out, bias)

    def forward(
        self, query: Tensor, value: Tensor, key: Tensor, causal: bool = False
    ) -> Tensor:
        q, k, v = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x in (self.query(query), self.key(key), self.value(value))
        )
        dropout = self.dropout if self.training else 0.0
        x = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=causal)
        return self.attention_output(x.transpose(1, 2).flatten(2))
'''


def _named(inputs: Sequence[Value], given: Call, names: Sequence[str]) -> dict[str, Value]:
    """The activations by the names of the arguments.

    Raises:
        GapError: An argument is something else.
    """
    values = iter(inputs)
    found: dict[str, Value] = {}
    for name, each in [*zip(names, given.args, strict=False), *given.kwargs.items()]:
        refs = Call((each,)).refs
        if len(refs) == 1 and name in names:
            found[name] = next(values)
        elif refs or (each not in (None, False) and name != "use_causal_mask"):
            raise GapError(f"it is called with {name}")
    return found


@writes("MultiHeadAttention", order="last", mask="use", inputs=None)
def multi_head(block: Block, layer: Layer, inputs: Sequence[Value], given: Call) -> Value:
    settings = layer.settings
    found = _named(inputs, given, ("query", "value", "key"))
    if not {"query", "value"} <= found.keys():
        raise GapError("it is not called with query and value")
    query, value = (block.last(found[name]) for name in ("query", "value"))
    key = block.last(found["key"]) if "key" in found else value
    if any(len(each.shape) != 3 for each in (query, value, key)):
        raise GapError("its inputs are not (batch, length, channels)")
    heads, size = settings.integer("num_heads"), settings.integer("key_dim")
    value_size = size if settings.get("value_dim") is None else settings.integer("value_dim")
    if settings.get("attention_axes") not in (None, [1]):
        raise GapError(f"attention_axes is {settings.get('attention_axes')!r}"[:100])
    if settings.flag("use_gate"):
        raise GapError("it has use_gate=True")
    output = settings.get("output_shape")
    output = [query.channels] if output is None else output if isinstance(output, list) else [output]
    if len(output) != 1 or not isinstance(output[0], int):
        raise GapError(f"output_shape is {output!r}"[:100])
    causal = given.kwargs.get("use_causal_mask") is True
    bias, rate = settings.flag("use_bias", True), settings.number("dropout", default=0.0)
    channels = (query.channels, key.channels, value.channels)
    shape = (*query.shape[:2], output[0])
    below = [name.rpartition("/")[0].rpartition("/")[2] for name in block.variables(layer)]
    if not {"query", "key", "value", "attention_output"} <= set(below):
        raise GapError("the file does not name the variables of its projections")
    if {*channels, output[0]} == {heads * size} and value_size == size and not causal:
        module = block.module(
            layer,
            call(
                "nn.MultiheadAttention",
                output[0],
                heads,
                dropout=rate or None,
                bias=None if bias else False,
                batch_first=True,
            ),
        )
        block.scope(layer, "keras/multi_head_attention")
        if query is key is value:
            text = f"{module}({{0}}, {{0}}, {{0}}, need_weights=False)[0]"
            result = block.add(text, query, shape=shape, layer=layer)
        else:
            text = f"{module}({{0}}, {{1}}, {{2}}, need_weights=False)[0]"
            result = block.add(text, query, key, value, shape=shape, layer=layer)
    else:
        block.helper("MultiHeadAttention", _ATTENTION)
        module = block.module(
            layer,
            call(
                "MultiHeadAttention",
                *channels,
                output[0],
                heads=heads,
                key_size=size,
                value_size=value_size,
                dropout=rate or None,
                bias=None if bias else False,
            ),
        )
        name = block.attribute(layer)
        for part in ("query", "key", "value"):
            block.scope(layer, "keras/attention_projection", below=f"/{part}", attribute=f"{name}.{part}")
        part = "attention_output"
        block.scope(layer, "keras/attention_output", below=f"/{part}", attribute=f"{name}.{part}")
        more = ", causal=True" if causal else ""
        text = f"{module}({{0}}, {{1}}, {{2}}{more})"
        result = block.add(text, query, value, key, shape=shape, layer=layer)
    block.endpoint(layer, result)
    return result


@writes("Attention", order="last", mask="use", inputs=None)
def dot_product(block: Block, layer: Layer, inputs: Sequence[Value], given: Call) -> Value:
    settings = layer.settings
    if settings.flag("use_scale") or settings.values.get("score_mode", "dot") != "dot":
        raise GapError("its scores are scaled by a weight, or not a dot product")
    if len(inputs) not in (2, 3) or not isinstance(given.args[0] if given.args else None, list):
        raise GapError("it is not called with a list of query, value and key")
    if any(len(each.shape) != 3 for each in inputs):
        raise GapError("its inputs are not (batch, length, channels)")
    if any(given.kwargs.get(key) for key in ("return_attention_scores", "mask")):
        raise GapError("it is called with a mask, or returns its scores")
    query, value, *rest = (block.last(each) for each in inputs)
    key = rest[0] if rest else value
    causal = ", is_causal=True" if given.kwargs.get("use_causal_mask") is True else ""
    rate = settings.number("dropout", default=0.0)
    dropout = f", dropout_p={short(rate)} if self.training else 0.0" if rate else ""
    text = f"F.scaled_dot_product_attention({{0}}, {{1}}, {{2}}{dropout}{causal}, scale=1.0)"
    shape = (*query.shape[:2], value.shape[-1])
    return block.add(text, query, key, value, shape=shape, layer=layer)

"""One Transformer of two blocks in Keras, and three ways in which ports write its attention.

`FORMS` are `nn.MultiheadAttention` (with norms behind the residuals, as BERT), separate linear layers (a width that is
not that of the heads; scaled embeddings, norms in front), and a packed projection stored input first, as GPT-2 has it
(causal, norms in front). The faults are in transformer_faults.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.verification.diagnosis.networks.network import filled

LENGTH, ROWS, TOKENS = 11, 14, 17
HEADS, SIZE = 3, 4
INNER = HEADS * SIZE

# What the networks differ in.
FORMS: dict[str, dict[str, Any]] = {
    "multihead": {"width": 12, "first": False, "causal": False, "scaled": False, "eps": 1e-12, "tanh": False},
    "linear": {"width": 10, "first": True, "causal": False, "scaled": True, "eps": 1e-6, "tanh": False},
    "packed": {"width": 12, "first": True, "causal": True, "scaled": False, "eps": 1e-5, "tanh": True},
}

_ATTENTION = "block{i}_attention"
_PACKED = ", ".join(f'"{_ATTENTION}/{name}/NAME"' for name in ("query", "key", "value"))
_KERNELS, _BIASES = _PACKED.replace("NAME", "kernel"), _PACKED.replace("NAME", "bias")
_ROWS = {
    "multihead": f"""\
  - {{tf: [{_KERNELS}], pt: "block{{i}}.attention.in_proj_weight", layout: "p i h d -> (p h d) i"}}
  - {{tf: [{_BIASES}],  pt: "block{{i}}.attention.in_proj_bias",   layout: "p h d -> (p h d)"}}
  - {{tf: "block{{i}}_attention/attention_output/kernel", pt: "block{{i}}.attention.out_proj.weight",
     layout: "h d o -> o (h d)"}}
  - {{tf: "block{{i}}_attention/attention_output/bias",   pt: "block{{i}}.attention.out_proj.bias"}}
""",
    "linear": """\
  - {tf: "block{i}_attention/{p:query|key|value}/kernel", pt: "block{i}.attention.{p}.weight",
     layout: "i h d -> (h d) i"}
  - {tf: "block{i}_attention/{p:query|key|value}/bias",   pt: "block{i}.attention.{p}.bias",   layout: "h d -> (h d)"}
  - {tf: "block{i}_attention/attention_output/kernel", pt: "block{i}.attention.output.weight",
     layout: "h d o -> o (h d)"}
  - {tf: "block{i}_attention/attention_output/bias",   pt: "block{i}.attention.output.bias"}
""",
    "packed": f"""\
  - {{tf: [{_KERNELS}], pt: "block{{i}}.attention.c_attn.weight", layout: "p i h d -> i (p h d)"}}
  - {{tf: [{_BIASES}],  pt: "block{{i}}.attention.c_attn.bias",   layout: "p h d -> (p h d)"}}
  - {{tf: "block{{i}}_attention/attention_output/kernel", pt: "block{{i}}.attention.c_proj.weight",
     layout: "h d o -> (h d) o"}}
  - {{tf: "block{{i}}_attention/attention_output/bias",   pt: "block{{i}}.attention.c_proj.bias"}}
""",
}  # fmt: skip


def mapping(form: str) -> str:
    """The mapping to the network with this form of attention."""
    # The dense layers of the packed form are stored input first, too.
    layout = "" if form == "packed" else ', layout: "i o -> o i"'
    return f"""\
version: 1
summary: a small Transformer
model: {{factory: "tests.verification.diagnosis.networks.transformer:Net", kwargs: {{form: {form}}}}}
weights:
  - {{tf: tokens/embeddings,    pt: embed.tokens.weight}}
  - {{tf: positions/embeddings, pt: embed.positions.weight}}
  - {{tf: embed/gamma, pt: embed.norm.weight, optional: true}}
  - {{tf: embed/beta,  pt: embed.norm.bias, optional: true}}
{_ROWS[form]}\
  - {{tf: "block{{i}}_norm{{j}}/gamma", pt: "block{{i}}.norm{{j}}.weight"}}
  - {{tf: "block{{i}}_norm{{j}}/beta",  pt: "block{{i}}.norm{{j}}.bias"}}
  - {{tf: "block{{i}}_{{d:up|down}}/kernel", pt: "block{{i}}.{{d}}.weight"{layout}}}
  - {{tf: "block{{i}}_{{d:up|down}}/bias",   pt: "block{{i}}.{{d}}.bias"}}
  - {{tf: logits/kernel, pt: logits.weight, layout: "i o -> o i"}}
  - {{tf: logits/bias,   pt: logits.bias}}
endpoints:
  - {{tf: embed,  pt: embed}}
  - {{tf: block1, pt: block1}}
  - {{tf: block2, pt: block2}}
  - {{tf: logits, pt: logits}}
"""


class Linear(nn.Module):
    """Attention in separate linear layers, written out."""

    def __init__(self, width: int, causal: bool = False) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, INNER) for _ in range(3))
        self.output = nn.Linear(INNER, width)

    def heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], HEADS, SIZE).transpose(1, 2)

    def merged(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(2)

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        return q @ k.transpose(-1, -2) / math.sqrt(SIZE)

    def weights(self, scores: Tensor) -> Tensor:
        return scores.softmax(-1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (self.heads(each(x)) for each in (self.query, self.key, self.value))
        scores = self.scores(q, k) + torch.where(mask, 0.0, -1e9)[:, None, None, :]
        return self.output(self.merged(self.weights(scores) @ v))


class Conv1D(nn.Module):
    """A linear layer whose weight is stored input first."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.empty(inputs, outputs)),
            nn.Parameter(torch.empty(outputs)),
        )

    def forward(self, x: Tensor) -> Tensor:
        flat = torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight)
        return flat.view(*x.shape[:-1], flat.shape[-1])


class Packed(nn.Module):
    """Attention with one projection for all three, and torch's function."""

    def __init__(self, width: int, causal: bool = False) -> None:
        super().__init__()
        self.c_attn, self.c_proj = Conv1D(width, 3 * INNER), Conv1D(INNER, width)
        self.causal = causal
        self.scale: float | None = None

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(one.view(*one.shape[:2], HEADS, SIZE).transpose(1, 2) for one in x.chunk(3, -1))

    def merged(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        allowed = mask[:, None, None, :]
        if self.causal:
            allowed = allowed & torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        q, k, v = self.split(self.c_attn(x))
        return self.c_proj(
            self.merged(functional.scaled_dot_product_attention(q, k, v, allowed, scale=self.scale))
        )


class Multihead(nn.MultiheadAttention):
    def __init__(self, width: int, causal: bool = False) -> None:
        super().__init__(width, HEADS, batch_first=True)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, x, x, key_padding_mask=~mask, need_weights=False)[0]


class Embed(nn.Module):
    def __init__(self, width: int, scaled: bool, norm: nn.Module) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(TOKENS, width), nn.Embedding(ROWS, width)
        self.scale = math.sqrt(width) if scaled else 1.0
        self.offset = 0
        self.norm = norm

    def forward(self, ids: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1]) + self.offset
        return self.norm(self.tokens(ids) * self.scale + self.positions(places))


class Block(nn.Module):
    """With the norms in front of attention and dense layers."""

    def __init__(self, form: str, width: int, causal: bool, eps: float, tanh: bool) -> None:
        super().__init__()
        dense = Conv1D if form == "packed" else nn.Linear
        self.attention = {"multihead": Multihead, "linear": Linear, "packed": Packed}[form](width, causal)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.up, self.act, self.down = dense(width, 19), nn.GELU("tanh" if tanh else "none"), dense(19, width)

    def dense(self, x: Tensor) -> Tensor:
        return self.down(self.act(self.up(x)))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), mask)
        return x + self.dense(self.norm2(x))


class PostNorm(Block):
    """With the norms behind the residuals."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.dense(x))


class Net(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        options = FORMS[form]
        width, eps, first = options["width"], options["eps"], options["first"]
        norm = nn.Identity() if first else nn.LayerNorm(width, eps)
        self.embed = Embed(width, options["scaled"], norm)
        kind = Block if first else PostNorm
        self.block1, self.block2 = (
            kind(form, width, options["causal"], eps, options["tanh"]) for _ in range(2)
        )
        self.logits = nn.Linear(width, 7)

    def allowed(self, mask: Tensor) -> Tensor:
        return mask != 0

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x, mask = self.embed(ids), self.allowed(mask)
        return self.logits(self.block2(self.block1(x, mask), mask))


def keras_model(form: str) -> Any:
    import keras
    from keras import layers, ops

    options = FORMS[form]
    width, first, eps = options["width"], options["first"], options["eps"]

    @keras.saving.register_keras_serializable("tfpt.tests")
    class Positions(layers.Layer):
        def build(self, shape: Any) -> None:
            self.embeddings = self.add_weight(shape=(ROWS, shape[-1]), name="embeddings")

        def call(self, x: Any) -> Any:
            return x + self.embeddings[: x.shape[1]]

    def norm(x: Any, name: str) -> Any:
        return layers.LayerNormalization(epsilon=eps, name=name)(x)

    def attention(x: Any, name: str) -> Any:
        layer = layers.MultiHeadAttention(HEADS, SIZE, name=f"{name}_attention")
        return layer(x, x, attention_mask=allowed, use_causal_mask=options["causal"])

    def dense(x: Any, name: str) -> Any:
        x = layers.Dense(19, name=f"{name}_up")(x)
        x = ops.gelu(x, approximate=options["tanh"])
        return layers.Dense(width, name=f"{name}_down")(x)

    ids = keras.Input((LENGTH,), dtype="int32", name="ids")
    mask = keras.Input((LENGTH,), dtype="int32", name="mask")
    allowed = ops.expand_dims(ops.cast(mask, "bool"), 1)
    x = layers.Embedding(TOKENS, width, name="tokens")(ids)
    x = layers.Rescaling(math.sqrt(width))(x) if options["scaled"] else x
    x = Positions(name="positions")(x)
    x = layers.Activation("linear", name="embed")(x) if first else norm(x, "embed")
    for name in ("block1", "block2"):
        if first:
            x = layers.Add()([x, attention(norm(x, f"{name}_norm1"), name)])
            x = layers.Add(name=name)([x, dense(norm(x, f"{name}_norm2"), name)])
        else:
            x = norm(layers.Add()([x, attention(x, name)]), f"{name}_norm1")
            x = norm(layers.Add()([x, dense(x, name)]), f"{name}_norm2")
            x = layers.Activation("linear", name=name)(x)
    x = layers.Dense(7, name="logits")(x)
    # Embeddings as small as BERT's, so that the first epsilon shows; and attention that is far from even.
    gains = {"tokens": 0.05, "positions": 0.05}
    gains |= {f"{block}_attention": 2.0 for block in ("block1", "block2")}
    return filled(keras.Model([ids, mask], x), 17, 1.0, gains)


def by_size(axis: int, parts: int = 1, only: int | None = None) -> Callable[[Tensor], Tensor]:
    """An axis of (parts heads size) in the order of (parts size heads), in all of its parts or in one."""

    def function(tensor: Tensor) -> Tensor:
        pieces = list(tensor.chunk(parts, axis))
        for index, piece in enumerate(pieces):
            if only in (None, index):
                split = piece.unflatten(axis, (HEADS, SIZE))
                pieces[index] = split.transpose(axis, axis + 1).flatten(axis, axis + 1)
        return torch.cat(pieces, axis)

    return function


def reordered(axis: int, *order: int) -> Callable[[Tensor], Tensor]:
    """The three parts of a packed projection in another order."""
    return lambda tensor: torch.cat([tensor.chunk(3, axis)[index] for index in order], axis)


def scaled(axis: int, factor: float) -> Callable[[Tensor], Tensor]:
    """The first of three parts multiplied: a query with or without the scale of the attention."""

    def function(tensor: Tensor) -> Tensor:
        query, key, value = tensor.chunk(3, axis)
        return torch.cat([query * factor, key, value], axis)

    return function

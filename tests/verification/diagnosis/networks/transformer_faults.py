"""What ports get wrong in attention, in its three forms, and in the rest of a Transformer."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tests.verification.diagnosis.networks.network import (
    Fault,
    Network,
    become,
    change,
    exchange,
    loaded,
    perturbed,
    put,
    sets,
    together,
)
from tests.verification.diagnosis.networks.transformer import (
    FORMS,
    HEADS,
    SIZE,
    Block,
    Linear,
    Multihead,
    Net,
    Packed,
    PostNorm,
    by_size,
    keras_model,
    mapping,
    reordered,
    scaled,
)

Change = Callable[[nn.Module], object]
BLOCKS = ("block1", "block2")


class Unmasked(Net):
    def allowed(self, mask: Tensor) -> Tensor:
        return torch.ones_like(mask) != 0


class Inverted(Net):
    def allowed(self, mask: Tensor) -> Tensor:
        return mask == 0


class WithoutFirstResidual(Block):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention(self.norm1(x), mask)
        return x + self.dense(self.norm2(x))


class WithoutSecondResidual(Block):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), mask)
        return self.dense(self.norm2(x))


class PostWithoutFirst(PostNorm):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm1(self.attention(x, mask))
        return self.norm2(x + self.dense(x))


class PostWithoutSecond(PostNorm):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(self.dense(x))


class LinearUnscaled(Linear):
    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        return q @ k.transpose(-1, -2)


class LinearScaledTwice(Linear):
    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        return super().scores(q, k) / math.sqrt(SIZE)


class LinearOverQueries(Linear):
    def weights(self, scores: Tensor) -> Tensor:
        return scores.softmax(-2)


class LinearInterleaved(Linear):
    def heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], SIZE, HEADS).permute(0, 3, 1, 2)


class LinearMergedWrongly(Linear):
    def merged(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(2)


class LinearCausal(Linear):
    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        allowed = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).tril()
        return super().scores(q, k).masked_fill(~allowed, -1e9)


class PackedInterleaved(Packed):
    """Query, key and value beside each other for each head, as Megatron packs them."""

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.view(*x.shape[:2], HEADS, 3, SIZE).transpose(1, 2).unbind(3)


class PackedMergedWrongly(Packed):
    def merged(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(2)


class MultiheadCausal(Multihead):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        return nn.MultiheadAttention.forward(
            self, x, x, x, key_padding_mask=~mask, need_weights=False, attn_mask=causal
        )[0]


def both(fault: Callable[[str], Change]) -> Change:
    """The same in both blocks."""
    return together(*(fault(block) for block in BLOCKS))


def weight_and_bias(weight: str, bias: str, function: Callable[[int], Any], axis: int) -> Change:
    return together(change(weight, function(axis)), change(bias, function(0)))


def common(first: bool, tanh: bool) -> dict[str, Fault]:
    """Faults outside of the attention."""
    wrong_gelu = nn.GELU("none" if tanh else "tanh")
    epsilon = "block1.norm1" if first else "embed.norm"
    without = (
        (WithoutFirstResidual, WithoutSecondResidual) if first else (PostWithoutFirst, PostWithoutSecond)
    )
    attention = tuple(f"{block}.attention" for block in BLOCKS)
    return {
        "mask missing": Fault(become("", Unmasked), "block1", "mask", "", *BLOCKS),
        "mask inverted": Fault(become("", Inverted), "block1", "mask", "", *BLOCKS),
        "norm, gamma and beta exchanged": Fault(
            exchange("block1.norm2.weight", "block1.norm2.bias"), "block1", "statistics", "block1.norm2"
        ),
        "a norm's epsilon": Fault(sets(epsilon, eps=1e-3), epsilon.partition(".")[0], "epsilon", epsilon),
        "torch's epsilon everywhere": Fault(
            lambda net: [
                sets(name, eps=1e-7 if FORMS["packed"]["eps"] == module.eps else 1e-5)(net)
                for name, module in net.named_modules()
                if isinstance(module, nn.LayerNorm)
            ],
            "block1" if first else "embed",
            "epsilon",
            "embed.norm",
            *(f"{block}.norm{index}" for block in BLOCKS for index in (1, 2)),
        ),
        "the other gelu": Fault(put("block1.act", lambda _: wrong_gelu), "block1", "activation", "block1"),
        "the other gelu everywhere": Fault(
            both(lambda block: put(f"{block}.act", lambda _: wrong_gelu)), "block1", "activation", *BLOCKS
        ),
        "relu in place of gelu": Fault(
            put("block2.act", lambda _: nn.ReLU()), "block2", "activation", "block2"
        ),
        "gelu missing": Fault(
            put("block2.act", lambda _: nn.Identity()), "block2", "missing activation", "block2"
        ),
        "residual of the attention forgotten": Fault(
            become("block1", without[0]), "block1", "missing skip", "block1"
        ),
        "residual of the dense layers forgotten": Fault(
            become("block2", without[1]), "block2", "missing skip", "block2"
        ),
        "norms on the other side": Fault(
            both(lambda block: become(block, PostNorm if first else Block)), "block1", "norm order", *BLOCKS
        ),
        "position off by one": Fault(sets("embed", offset=1), "embed", "rows", "embed"),
        "positions off by two": Fault(sets("embed", offset=2), "embed", "rows", "embed"),
        "embeddings doubled": Fault(
            change("embed.tokens.weight", lambda w: 2 * w), "embed", "scale", "embed"
        ),
        "norms of a block exchanged": Fault(
            together(*(exchange(f"block2.norm1.{one}", f"block2.norm2.{one}") for one in ("weight", "bias"))),
            "block2",
            "exchanged weights",
            "block2.norm1",
            "block2.norm2",
        ),
        "attentions of the blocks exchanged": Fault(
            _exchanged_attentions, "block1", "exchanged weights", *attention
        ),
        "moving averages": Fault(perturbed, "embed", set()),
    }


def _exchanged_attentions(net: Net) -> None:
    net.block1.attention, net.block2.attention = net.block2.attention, net.block1.attention


def of_multihead() -> dict[str, Fault]:
    def packed(block: str, function: Callable[[int], Any]) -> Change:
        name = f"{block}.attention.in_proj"
        return weight_and_bias(f"{name}_weight", f"{name}_bias", function, 0)

    def fault(kinds: str | set[str], function: Callable[[int], Any], block: str = "block1") -> Fault:
        return Fault(packed(block, function), block, kinds, f"{block}.attention")

    out = "block1.attention.out_proj.weight"
    paths = tuple(f"{block}.attention" for block in BLOCKS)
    return {
        "key, query, value": fault("packed order", lambda axis: reordered(axis, 1, 0, 2)),
        "query, value, key": fault("packed order", lambda axis: reordered(axis, 0, 2, 1)),
        "value, query, key": fault("packed order", lambda axis: reordered(axis, 2, 0, 1), "block2"),
        "heads by size": fault("heads", lambda axis: by_size(axis, 3)),
        "heads by size, of the query": fault("heads", lambda axis: by_size(axis, 3, 0)),
        "heads by size, of the value": fault("heads", lambda axis: by_size(axis, 3, 2), "block2"),
        "heads by size, everywhere": Fault(
            both(lambda block: packed(block, lambda axis: by_size(axis, 3))), "block1", "heads", *paths
        ),
        "heads by size, of the output": Fault(change(out, by_size(1)), "block1", "heads", "block1.attention"),
        "output transposed": Fault(change(out, lambda w: w.T), "block1", "square weight", "block1.attention"),
        "output transposed everywhere": Fault(
            both(lambda block: change(f"{block}.attention.out_proj.weight", lambda w: w.T)),
            "block1",
            "square weight",
            *paths,
        ),
        "query scaled in the weights": fault(
            {"scale", "score scale"}, lambda axis: scaled(axis, 1 / math.sqrt(SIZE))
        ),
        "not scaled": fault({"scale", "score scale"}, lambda axis: scaled(axis, math.sqrt(SIZE))),
        "causal": Fault(become("block2.attention", MultiheadCausal), "block2", "mask", "block2"),
        "another number of heads": Fault(
            sets("block1.attention", num_heads=4, head_dim=3), "block1", "heads", "block1.attention"
        ),
        "projections transposed": Fault(
            change("block1.attention.in_proj_weight", lambda w: torch.cat([one.T for one in w.chunk(3)])),
            "block1",
            "square weight",
            "block1.attention",
        ),
    }


def of_linear() -> dict[str, Fault]:
    name = "block1.attention"

    def projection(part: str) -> Change:
        return weight_and_bias(f"{name}.{part}.weight", f"{name}.{part}.bias", by_size, 0)

    def exchanged(a: str, b: str) -> Fault:
        fault = together(*(exchange(f"{name}.{a}.{one}", f"{name}.{b}.{one}") for one in ("weight", "bias")))
        return Fault(fault, "block1", {"exchanged weights", "packed order"}, name)

    def turned(kinds: str | set[str], kind: type[nn.Module]) -> Fault:
        return Fault(become(name, kind), "block1", kinds, name)

    def everywhere(kinds: str | set[str], kind: type[nn.Module]) -> Fault:
        paths = tuple(f"{block}.attention" for block in BLOCKS)
        return Fault(both(lambda block: become(f"{block}.attention", kind)), "block1", kinds, *paths)

    return {
        "query and key exchanged": exchanged("query", "key"),
        "key and value exchanged": exchanged("key", "value"),
        "heads by size": Fault(
            together(*(projection(part) for part in ("query", "key", "value"))), "block1", "heads", name
        ),
        "heads by size, of the query": Fault(projection("query"), "block1", "heads", name),
        "heads by size, of the output": Fault(
            change(f"{name}.output.weight", by_size(1)), "block1", "heads", name
        ),
        "heads interleaved": turned("heads", LinearInterleaved),
        "heads merged by size": turned("heads", LinearMergedWrongly),
        "not scaled": everywhere({"scale", "score scale"}, LinearUnscaled),
        "scaled twice": everywhere({"scale", "score scale"}, LinearScaledTwice),
        "softmax over the queries": everywhere("softmax axis", LinearOverQueries),
        "causal": turned("mask", LinearCausal),
        "embeddings not scaled": Fault(sets("embed", scale=1.0), "embed", "scale", "embed"),
    }


def of_packed() -> dict[str, Fault]:
    name = "block1.attention"

    def fault(kinds: str | set[str], function: Callable[[int], Any]) -> Fault:
        change = weight_and_bias(f"{name}.c_attn.weight", f"{name}.c_attn.bias", function, 1)
        return Fault(change, "block1", kinds, name)

    paths = tuple(f"{block}.attention" for block in BLOCKS)
    scale = {"scale", "score scale"}
    return {
        "key, query, value": fault("packed order", lambda axis: reordered(axis, 1, 0, 2)),
        "value, key, query": fault("packed order", lambda axis: reordered(axis, 2, 1, 0)),
        "heads by size": fault("heads", lambda axis: by_size(axis, 3)),
        "heads by size, of the value": fault("heads", lambda axis: by_size(axis, 3, 2)),
        "heads by size, of the output": Fault(
            change(f"{name}.c_proj.weight", by_size(0)), "block1", "heads", name
        ),
        "packed for each head": Fault(
            become(name, PackedInterleaved), "block1", {"heads", "packed order"}, name
        ),
        "heads merged by size": Fault(become(name, PackedMergedWrongly), "block1", "heads", name),
        "output transposed": Fault(
            change(f"{name}.c_proj.weight", lambda w: w.T), "block1", "square weight", name
        ),
        "not scaled": Fault(sets(name, scale=1.0), "block1", scale, name),
        "scaled twice": Fault(
            both(lambda block: sets(f"{block}.attention", scale=1 / SIZE)), "block1", scale, *paths
        ),
        "not causal": Fault(
            both(lambda block: sets(f"{block}.attention", causal=False)), "block1", "mask", *BLOCKS
        ),
        "one block not causal": Fault(sets("block2.attention", causal=False), "block2", "mask", "block2"),
    }


OWN = {"multihead": of_multihead, "linear": of_linear, "packed": of_packed}

NETWORKS = [
    Network(
        f"transformer_{form}",
        mapping(form),
        partial(keras_model, form),
        partial(loaded, mapping(form)),
        {**OWN[form](), **common(options["first"], options["tanh"])},
    )
    for form, options in FORMS.items()
]

"""Transformer-XL with an adaptive softmax, under the names of TransfoXLLMHeadModel, which transformers 5 lacks.

Dai et al., "Transformer-XL: Attentive Language Models Beyond a Fixed-Length Context", ACL 2019. It follows
https://github.com/kimiyoung/transformer-xl (tf/model.py), and gives the log-probabilities of the next word.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class RelativeAttention(nn.Module):
    """Attention of (length, batch, width) to itself and to what precedes it, by relative position."""

    def __init__(self, width: int, heads: int, head_size: int) -> None:
        super().__init__()
        self.heads, self.head_size = heads, head_size
        self.qkv_net = nn.Linear(width, 3 * heads * head_size, bias=False)
        self.o_net = nn.Linear(heads * head_size, width, bias=False)
        self.r_net = nn.Linear(width, heads * head_size, bias=False)
        self.layer_norm = nn.LayerNorm(width)
        self.r_r_bias = nn.Parameter(torch.zeros(heads, head_size))
        self.r_w_bias = nn.Parameter(torch.zeros(heads, head_size))

    def forward(self, x: Tensor, memory: Tensor, positions: Tensor, masked: Tensor) -> Tensor:
        length = x.shape[0]
        heads = (self.heads, self.head_size)
        q, k, v = (
            part.unflatten(-1, heads) for part in self.qkv_net(torch.cat([memory, x])).chunk(3, dim=-1)
        )
        q = q[-length:]
        r = self.r_net(positions).unflatten(-1, heads)
        content = torch.einsum("ibnd,jbnd->ijbn", q + self.r_w_bias, k)
        position = _shifted(torch.einsum("ibnd,jnd->ijbn", q + self.r_r_bias, r))
        scores = (content + position) / self.head_size**0.5
        weights = scores.masked_fill(masked[:, :, None, None], -torch.inf).softmax(dim=1)
        attended = torch.einsum("ijbn,jbnd->ibnd", weights, v).flatten(-2)
        return self.layer_norm(x + self.o_net(attended))


class FeedForward(nn.Module):
    """Two layers, position by position, and a norm after the sum."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        # Dropout has its place in the numbering of the layers.
        self.CoreNet = nn.Sequential(
            nn.Linear(width, inner), nn.ReLU(), nn.Identity(), nn.Linear(inner, width)
        )
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer_norm(x + self.CoreNet(x))


class Layer(nn.Module):
    def __init__(self, attention: RelativeAttention, feed_forward: FeedForward) -> None:
        super().__init__()
        self.dec_attn = attention
        self.pos_ff = feed_forward


class AdaptiveEmbedding(nn.Module):
    """Embeddings of frequent words in full width, of rare ones in a fraction of it, projected to the model's width."""

    def __init__(self, ends: Sequence[int], sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.ends, self.width = list(ends), width
        self.emb_layers = nn.ModuleList(
            nn.Embedding(stop - start, size)
            for (start, stop), size in zip(pairwise(ends), sizes, strict=True)
        )
        self.emb_projs = nn.ParameterList(nn.Parameter(torch.zeros(width, size)) for size in sizes)

    def forward(self, words: Tensor) -> Tensor:
        embedded = self.emb_projs[0].new_zeros(*words.shape, self.width)
        for i, (start, stop) in enumerate(pairwise(self.ends)):
            chosen = (words >= start) & (words < stop)
            embedded[chosen] = self.emb_layers[i](words[chosen] - start) @ self.emb_projs[i].T
        return embedded * self.width**0.5


class AdaptiveSoftmax(nn.Module):
    """Log-probabilities: of the frequent words and of each cluster of rare ones, then of the words in the clusters."""

    def __init__(self, ends: Sequence[int], sizes: Sequence[int], width: int) -> None:
        super().__init__()
        clusters = len(sizes) - 1
        self.cluster_weight = nn.Parameter(torch.zeros(clusters, sizes[0]))
        self.cluster_bias = nn.Parameter(torch.zeros(clusters))
        self.out_layers = nn.ModuleList(
            nn.Linear(size, stop - start) for (start, stop), size in zip(pairwise(ends), sizes, strict=True)
        )
        self.out_projs = nn.ParameterList(nn.Parameter(torch.zeros(width, size)) for size in sizes)

    def forward(self, hidden: Tensor) -> Tensor:
        frequent = self.out_layers[0]
        head = functional.linear(
            hidden @ self.out_projs[0],
            torch.cat([frequent.weight, self.cluster_weight]),
            torch.cat([frequent.bias, self.cluster_bias]),
        ).log_softmax(dim=-1)
        count = frequent.out_features
        tails = [
            head[..., count + i, None] + layer(hidden @ projection).log_softmax(dim=-1)
            for i, (layer, projection) in enumerate(
                zip(self.out_layers[1:], list(self.out_projs)[1:], strict=True)
            )
        ]
        return torch.cat([head[..., :count], *tails], dim=-1)


class Transformer(nn.Module):
    """The network without its output layer."""

    def __init__(self, embedding: AdaptiveEmbedding, layers: Sequence[Layer], inv_freq: Tensor) -> None:
        super().__init__()
        self.word_emb = embedding
        self.layers = nn.ModuleList(layers)
        self.pos_emb = nn.Module()
        self.pos_emb.register_buffer("inv_freq", inv_freq)


class TransfoXL(nn.Module):
    """Transformer-XL, by default as published for WikiText-103.

    The output layer has its own parameters; those that the published network shares with the embeddings are equal.

    Args:
        vocab_size: Number of words, most frequent first.
        cutoffs: Where the clusters of rare words begin; at least one.
        d_model: Width of the network.
        d_embed: Width of the embeddings of the most frequent words.
        div_val: Each cluster's embeddings are narrower than the previous ones' by this factor, above 1.
        n_layer: Number of layers.
        n_head: Number of heads.
        d_head: Size of a head.
        d_inner: Width inside the feed-forward layers.
        mem_len: Number of previous positions that each layer remembers.
        clamp_len: Distances above this count as this distance; 0 or less for no limit.
        same_length: Whether every position attends to equally many others.

    Example:
        >>> model = TransfoXL(50, [20], 16, 16, n_layer=1, n_head=2, d_head=8, d_inner=32, mem_len=4)
        >>> scores, memory = model(torch.zeros(3, 5, dtype=torch.int64))
        >>> scores.shape, memory[0].shape
        (torch.Size([3, 5, 50]), torch.Size([4, 3, 16]))
    """

    def __init__(
        self,
        vocab_size: int = 267735,
        cutoffs: Sequence[int] = (20000, 40000, 200000),
        d_model: int = 1024,
        d_embed: int = 1024,
        div_val: int = 4,
        n_layer: int = 18,
        n_head: int = 16,
        d_head: int = 64,
        d_inner: int = 4096,
        mem_len: int = 1600,
        clamp_len: int = 1000,
        same_length: bool = True,
    ) -> None:
        super().__init__()
        ends = [0, *cutoffs, vocab_size]
        sizes = [d_embed // div_val**i for i in range(len(cutoffs) + 1)]
        self.mem_len, self.clamp_len, self.same_length = mem_len, clamp_len, same_length
        layers = [
            Layer(RelativeAttention(d_model, n_head, d_head), FeedForward(d_model, d_inner))
            for _ in range(n_layer)
        ]
        inv_freq = 1 / 10000 ** (torch.arange(0.0, d_model, 2.0) / d_model)
        self.transformer = Transformer(AdaptiveEmbedding(ends, sizes, d_model), layers, inv_freq)
        self.crit = AdaptiveSoftmax(ends, sizes, d_model)

    def forward(self, words: Tensor, memory: Sequence[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """The log-probabilities of the words after each of `words`, and what to remember for the words that follow.

        Args:
            words: int64 (batch, length).
            memory: What an earlier call returned; for each layer (mem_len, batch, d_model). Zeros at first.

        Returns:
            float32 (batch, length, vocab_size), and the memory.
        """
        x = self.transformer.word_emb(words.T)
        length, batch, width = x.shape
        memory = memory or [x.new_zeros(self.mem_len, batch, width) for _ in self.transformer.layers]
        total = memory[0].shape[0] + length
        distances = torch.arange(total - 1, -1, -1, device=x.device).to(x.dtype)
        if self.clamp_len > 0:
            distances = distances.clamp(max=self.clamp_len)
        angles = torch.outer(distances, self.transformer.pos_emb.inv_freq)  # type: ignore[arg-type]
        positions = torch.cat([angles.sin(), angles.cos()], dim=-1)
        masked = self._masked(length, total, x.device)
        remembered = []
        for layer, earlier in zip(self.transformer.layers, memory, strict=True):
            remembered.append(torch.cat([earlier, x])[total - min(total, self.mem_len) :].detach())
            x = layer.pos_ff(layer.dec_attn(x, earlier, positions, masked))
        return self.crit(x.transpose(0, 1)), remembered

    def _masked(self, length: int, total: int, device: torch.device) -> Tensor:
        """Which of all positions each of the new ones does not attend to."""
        everything = torch.ones(length, total, dtype=torch.bool, device=device)
        masked = everything.triu(1 + total - length)
        if self.same_length:
            beyond = max(total - self.mem_len, 0)
            masked |= everything.tril(beyond - length)
        return masked


def _shifted(scores: Tensor) -> Tensor:
    """Scores by distance as scores by position: row i moves left by as many places as there are rows after it."""
    rows, columns = scores.shape[:2]
    padded = torch.cat([scores.new_zeros(rows, 1, *scores.shape[2:]), scores], dim=1)
    return padded.view(columns + 1, rows, *scores.shape[2:])[1:].view_as(scores)

"""How alike two words are, before anything is known about the pair of models."""

from __future__ import annotations

from functools import lru_cache

# Words that stand for the same thing in TensorFlow and PyTorch code.
_KIN = tuple(
    frozenset(line.split())
    for line in """
    kernel weight weights w embeddings embedding table
    gamma weight scale g
    beta bias offset
    bias biases b
    query q
    key k
    value v
    attention attn att
    dense linear fc proj projection
    conv convolution
    layernorm ln norm
    batchnorm bn norm normalization
    embedding embeddings emb embed embedder
    layer layers block blocks h stage stages unit units
    feed ffn ff mlp
    intermediate fc ffn mlp
    word token wte tok
    position positional pos wpe
    output out o proj
    downsample shortcut proj projection
    classifier head logits fc predictions
    stem root embedder first initial
    encoder enc
    decoder dec
    cross encdec
    depthwise dw
    pointwise pw
    expand expansion
    project reduce projection
    moving_mean mean
    moving_variance var variance
    branch branches
    final last
    """.strip().splitlines()
)
_ALIKE, _PREFIX, _SUFFIX = 0.75, 0.7, 0.5
# Words of at least this many letters are compared by letters.
_LETTERS = 3
_SIMILAR = 0.7


@lru_cache(maxsize=100_000)
def likeness(one: str, other: str) -> float:
    """How alike two words are, from 0 to 1.

    Example:
        >>> likeness("kernel", "kernel"), likeness("gamma", "weight"), likeness("gamma", "beta")
        (1.0, 0.75, 0.0)
        >>> likeness("attn", "attention"), likeness("embed", "embeddings")
        (0.75, 0.75)
    """
    if one == other:
        return 1.0
    if one.isdigit() or other.isdigit():
        return 0.0
    if any(one in kin and other in kin for kin in _KIN):
        return _ALIKE
    if min(len(one), len(other)) < _LETTERS:
        return 0.0
    if one.startswith(other) or other.startswith(one):
        return _PREFIX
    if one.endswith(other) or other.endswith(one):
        return _SUFFIX
    # Imported here: most commands never compare words.
    from rapidfuzz.distance import Indel

    similar = Indel.normalized_similarity(one, other)
    return (similar - 0.5) * 1.2 if similar > _SIMILAR else 0.0

"""Mappings written in a test, from formats of every kind, against what the official converters made: bit for bit.

They show that the engine knows no model: nothing but these texts says what the files hold.
"""

from __future__ import annotations

import pytest
from safetensors.numpy import load_file

import tfpt
from tfpt.targets.manifest import write_manifest

BIT = """
version: 1
source: {scope: resnet}
layers:
  conv: {weights: [{tf: kernel, pt: weight, layout: "h w i o -> o i h w"}]}
  norm: {weights: [{tf: gamma, pt: weight, layout: "c -> c"}, {tf: beta, pt: bias, layout: "c -> c"}]}
scopes:
  - {tf: root_block/standardized_conv2d, pt: stem.conv, layer: conv}
  - {tf: "block{s+1}/unit{b+1:02}/a/proj/standardized_conv2d", pt: "stages.{s}.blocks.{b}.downsample.conv", layer: conv}
  - {tf: "block{s+1}/unit{b+1:02}/{n:a=1|b=2|c=3}/standardized_conv2d", pt: "stages.{s}.blocks.{b}.conv{n}", layer: conv}
  - {tf: "block{s+1}/unit{b+1:02}/{n:a=1|b=2|c=3}/group_norm", pt: "stages.{s}.blocks.{b}.norm{n}", layer: norm}
  - {tf: group_norm, pt: norm, layer: norm}
weights:
  - {tf: head/conv2d/kernel, pt: head.fc.weight, layout: "h w i o -> o i h w"}
  - {tf: head/conv2d/bias, pt: head.fc.bias}
"""

H5_BERT = """
version: 1
layers:
  dense: {weights: [{tf: "kernel:0", pt: weight, layout: "i o -> o i"}, {tf: "bias:0", pt: bias}]}
  norm: {weights: [{tf: "gamma:0", pt: weight}, {tf: "beta:0", pt: bias}]}
scopes:   # the second component holds a counter of the process: never literal
  - {tf: "bert/{_}/bert/embeddings/LayerNorm", pt: embeddings.LayerNorm, layer: norm}
  - {tf: "bert/{_}/bert/encoder/layer_._{i:int}/{path...}/LayerNorm", pt: "encoder.layer.{i}.{path...}.LayerNorm", layer: norm}
  - {tf: "bert/{_}/bert/encoder/layer_._{i:int}/{path...}/{part:query|key|value|dense}", pt: "encoder.layer.{i}.{path...}.{part}", layer: dense}
  - {tf: "bert/{_}/bert/pooler/dense", pt: pooler.dense, layer: dense}
weights:
  - {tf: "bert/{_}/bert/embeddings/word_embeddings/weight:0", pt: embeddings.word_embeddings.weight}
  - {tf: "bert/{_}/bert/embeddings/{table:position|token_type}_embeddings/embeddings:0", pt: "embeddings.{table}_embeddings.weight"}
"""

BERT_OF_OBJECTS = """
version: 1
params: {layers: 2, heads: 4}
source:
  scope: model
  names: path
  ignore:
    - {role: slot, why: optimizer slot}
    - {role: counter, why: counter}
    - {role: record, why: description of the objects}
layers:
  dense: {weights: [{tf: kernel, pt: weight, layout: "i o -> o i"}, {tf: bias, pt: bias}]}
  heads_in: {weights: [{tf: kernel, pt: weight, layout: "i h d -> (h d) i"}, {tf: bias, pt: bias, layout: "h d -> (h d)"}]}
  heads_out: {weights: [{tf: kernel, pt: weight, layout: "h d o -> o (h d)"}, {tf: bias, pt: bias}]}
  norm: {weights: [{tf: gamma, pt: weight}, {tf: beta, pt: bias}]}
scopes:
  - {tf: layer_with_weights-3, pt: embeddings.LayerNorm, layer: norm}
  - {tf: "layer_with_weights-{i+4}/_attention_layer/_{part:query|key|value}_dense", pt: "encoder.layer.{i}.attention.self.{part}", layer: heads_in}
  - {tf: "layer_with_weights-{i+4}/_attention_output_dense", pt: "encoder.layer.{i}.attention.output.dense", layer: heads_out}
  - {tf: "layer_with_weights-{i+4}/_attention_layer_norm", pt: "encoder.layer.{i}.attention.output.LayerNorm", layer: norm}
  - {tf: "layer_with_weights-{i+4}/_intermediate_dense", pt: "encoder.layer.{i}.intermediate.dense", layer: dense}
  - {tf: "layer_with_weights-{i+4}/_output_dense", pt: "encoder.layer.{i}.output.dense", layer: dense}
  - {tf: "layer_with_weights-{i+4}/_output_layer_norm", pt: "encoder.layer.{i}.output.LayerNorm", layer: norm}
weights:
  - {tf: layer_with_weights-0/embeddings, pt: embeddings.word_embeddings.weight}
  - {tf: layer_with_weights-1/embeddings, pt: embeddings.position_embeddings.weight}
  - {tf: layer_with_weights-2/embeddings, pt: embeddings.token_type_embeddings.weight}
  - {tf: "layer_with_weights-6/kernel", pt: pooler.dense.weight, layout: "i o -> o i"}
  - {tf: "layer_with_weights-6/bias", pt: pooler.dense.bias}
"""


@pytest.mark.parametrize(
    ("folder", "file", "text", "tensors"),
    [
        ("bit_npz", "tf/BiT-tiny.npz", BIT, 54),
        ("h5_bert", "tf/tf_model.h5", H5_BERT, 39),
        ("bert_tf2", "tf", BERT_OF_OBJECTS, 39),
    ],
)
def test_a_mapping_makes_what_the_official_converter_made(folder, file, text, tensors, shared, tmp_path):
    gold = shared / "gold" / "converters" / folder
    mapping = tmp_path / "m.yaml"
    mapping.write_text(text)
    write_manifest(tmp_path / "m.manifest.json", tfpt.open_source(gold / "gold.safetensors").specs)
    done = tfpt.convert(mapping, gold / file, tmp_path / "w.safetensors")
    written, official = load_file(done.path), load_file(gold / "gold.safetensors")
    assert set(written) == set(official)
    assert len(official) == tensors
    for name, values in official.items():
        assert written[name].dtype == values.dtype
        assert written[name].tobytes() == values.tobytes(), name

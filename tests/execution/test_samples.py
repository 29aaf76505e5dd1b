"""Sample checkpoints: they fit their mapping, TensorFlow reads them, and the seed decides every value."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tfpt
from tests.conftest import DATA
from tfpt.errors import MappingError
from tfpt.language.loader import bundled_mappings, load_mapping

SMALL_BERT = {"vocab_size": 11, "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2,
              "intermediate_size": 6, "max_position_embeddings": 13}  # fmt: skip


def options(name: str) -> dict[str, object]:
    """Sizes that keep a sample small, which need the model's package; the full size of networks that are small."""
    config = DATA / "zoo" / f"{name}.json"
    if name != "bert" and not config.is_file():
        return {}
    pytest.importorskip(str(load_mapping(name).model.factory).partition(".")[0].partition(":")[0])
    return {"config": SMALL_BERT if name == "bert" else json.loads(config.read_text())}


@pytest.mark.parametrize("name", sorted(bundled_mappings()))
def test_a_sample_of_every_bundled_mapping_converts_without_findings(name, tmp_path):
    number = tfpt.sample(name, tmp_path / "m", **options(name))
    done = tfpt.convert(name, tmp_path / "m", tmp_path / "w.safetensors", **options(name))
    assert done.plan.findings == ()
    assert len(done.plan.used) == done.plan.variables == number


@pytest.mark.parametrize("name", ["i3d_rgb", "bert"])
def test_tensorflow_reads_a_sample(name, tmp_path):
    tf = pytest.importorskip("tensorflow")
    tfpt.sample(name, tmp_path / "m", **options(name))
    reader = tf.train.load_checkpoint(str(tmp_path))
    shapes = reader.get_variable_to_shape_map()
    source = tfpt.open_source(tmp_path / "m")
    assert shapes == {name: list(spec.shape) for name, spec in source.specs.items()}
    for variable in list(shapes)[::20]:
        np.testing.assert_array_equal(reader.get_tensor(variable), source.read(variable))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tiny, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        tfpt.sample(tiny.mapping, tmp_path / name, seed=seed)
    files = [(tmp_path / f"{name}.data-00000-of-00001").read_bytes() for name in "abc"]
    assert files[0] == files[1]
    assert files[0] != files[2]
    assert (tmp_path / "a.index").read_bytes() == (tmp_path / "b.index").read_bytes()
    assert not tfpt.diff(tmp_path / "a", tmp_path / "c").same


def test_variances_are_positive_and_kernels_keep_the_size_of_activations(sampled_rgb):
    found = tfpt.inspect(sampled_rgb, stats=True).statistics
    assert all(s.minimum >= 0.5 for name, s in found.items() if name.endswith("moving_variance"))
    kernel = found["RGB/inception_i3d/Conv3d_2c_3x3/conv_3d/w"]
    assert kernel.std == pytest.approx((2 / (64 * 27)) ** 0.5, rel=0.01)


def test_variables_of_one_shape_have_values_of_their_own(sampled_rgb):
    source = tfpt.open_source(sampled_rgb)
    unit = "RGB/inception_i3d/Mixed_3b/Branch_0/Conv3d_0a_1x1/batch_norm"
    assert not np.array_equal(source.read(f"{unit}/beta"), source.read(f"{unit}/moving_mean"))


def test_a_row_that_leaves_sizes_open_is_refused_with_its_place(tiny, tmp_path):
    tiny.rewrite('"h w i o -> o i h w"', '"h w (i o) -> 1 (h w) i o"')
    with pytest.raises(MappingError, match="does not determine the size of") as error:
        tfpt.sample(tiny.mapping, tmp_path / "m")
    assert "tiny.yaml:10" in str(error.value)
    assert "axes:" in str(error.value)
    assert not (tmp_path / "m.index").exists()


ROWS = """\
  - {tf: a, pt: a, layout: "(n o) i -> (n o) i", axes: {n: 3}, slice: {n: "1:"}}
  - {tf: b, pt: b, layout: "v d -> d v", slice: {v: "1:-1"}}
  - {tf: c, pt: c, layout: "v d -> d v", slice: {v: "::2"}}
  - {tf: d, pt: d, layout: "v d -> d v", slice: {v: "::-1"}, pad: {axis: v, multiple: 8, value: 0.5}}
  - {tf: [q, k, v], pt: qkv, layout: "n i o -> (n o) i", scale: 1/7}
  - {tf: [e1, e2], pt: e, layout: "v d -> v d", concat: v}
  - {tf: f, pt: [f1, f2], layout: "i o -> o i", slice: {o: "-7:"}, split: {axis: o, sizes: [3, 4]}}
  - {tf: "l{i:int}/w", pt: l, layout: "n i o -> n o i", slice: {n: "1:"}}
  - {tf: all, pt: "m.{i:int}", layout: "l i o -> l o i", slice: {l: "1:-1"}}
  - {tf: t, pt: t, add: 1, dtype: int32}
"""
SHAPES = {"a": (10, 7), "b": (3, 5), "c": (3, 5), "d": (3, 8), "qkv": (6, 5), "e": (11, 3), "f1": (3, 5), "f2": (4, 5),
          "l": (2, 5, 3), "m.0": (5, 2), "m.1": (5, 2), "t": (3,)}  # fmt: skip


def test_a_sample_of_slices_pads_and_joins_converts(tmp_path):
    (tmp_path / "m.yaml").write_text(f"version: 1\nweights:\n{ROWS}")
    manifest = {
        name: {"dtype": "int32" if name == "t" else "float32", "shape": shape}
        for name, shape in SHAPES.items()
    }
    (tmp_path / "m.manifest.json").write_text(json.dumps(manifest))
    assert tfpt.sample(tmp_path / "m.yaml", tmp_path / "s") == 15
    source = tfpt.open_source(tmp_path / "s")
    assert source.specs["a"].shape == (15, 7)
    assert source.specs["b"].shape == (7, 3)
    assert [name for name in source.specs if name.startswith("l")] == ["l0/w", "l1/w", "l2/w"]
    done = tfpt.convert(tmp_path / "m.yaml", tmp_path / "s", tmp_path / "w.safetensors")
    assert done.plan.findings == ()
    written = tfpt.open_source(tmp_path / "w.safetensors")
    assert {name: spec.shape for name, spec in written.specs.items()} == SHAPES
    np.testing.assert_array_equal(written.read("b"), source.read("b")[1:-1].T)
    np.testing.assert_array_equal(written.read("a"), source.read("a")[5:])


def sampled(tmp_path, rows: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The variables of a sample, after it has been converted without findings."""
    (tmp_path / "m.yaml").write_text(f"version: 1\nweights:\n{rows}")
    manifest = {name: {"dtype": "float32", "shape": shape} for name, shape in shapes.items()}
    (tmp_path / "m.manifest.json").write_text(json.dumps(manifest))
    tfpt.sample(tmp_path / "m.yaml", tmp_path / "s")
    done = tfpt.convert(tmp_path / "m.yaml", tmp_path / "s", tmp_path / "w.safetensors")
    assert done.plan.findings == ()
    assert tfpt.diff(tmp_path / "s", tmp_path / "w.safetensors", mapping=tmp_path / "m.yaml").same
    return {name: spec.shape for name, spec in tfpt.open_source(tmp_path / "s").specs.items()}


def test_a_sample_takes_a_row_that_fits_in_shape_and_not_just_by_name(tmp_path):
    rows = """\
  - {tf: "{x}/depthwise", pt: "{x}.weight", layout: "h w i m -> (i m) 1 h w", axes: {m: 1}, optional: true}
  - {tf: "{x}/kernel", pt: "{x}.weight", layout: "i o -> o i", optional: true}
"""
    assert sampled(tmp_path, rows, {"a.weight": (5, 1, 3, 2), "b.weight": (7, 5)}) == {
        "a/depthwise": (3, 2, 5, 1),
        "b/kernel": (5, 7),
    }


FIELDS = """\
  - {tf: "lstm{i:counter}/{d:fw=|bw=_reverse}/{_:kernel|w}", pt: "lstm.{i}.w_l0{d}"}
  - {tf: "res{i//[2,1]+2}{i%[2,1]:a=0|b=1}{_:counter}", pt: "units.{i}.{_:weight|w}"}
  - {tf: "{path...}/dense_{_}/{_:03}", pt: "{path...}.dense"}
  - {tf: "{j:q=0|k=1}", pt: qk, layout: "n c -> n c"}
  - {tf: "n{i:stem=0|int}", pt: "n.{i+1}"}
"""


def test_a_sample_of_every_kind_of_field_converts(tmp_path):
    shapes: dict[str, tuple[int, ...]] = {
        "lstm.0.w_l0": (2,),
        "lstm.1.w_l0_reverse": (3,),
        "units.0.w": (5,),
        "units.1.weight": (7,),
        "units.2.w": (11,),
        "a.0.dense": (13,),
        "qk": (2, 17),
        "n.1": (19,),
        "n.3": (23,),
    }
    assert sampled(tmp_path, FIELDS, shapes) == {
        "lstm/fw/kernel": (2,),
        "lstm_1/bw/kernel": (3,),
        "res2a": (5,),
        "res2b": (7,),
        "res3a": (11,),
        "a/0/dense_0/000": (13,),
        "q": (17,),
        "k": (17,),
        "nstem": (19,),
        "n2": (23,),
    }


COMPUTED = """\
  - {tf: q, pt: q, layout: "i ... -> (...) i"}
  - {tf: flat, pt: ih, layout: "(g o i) -> (g o) i", axes: {g: 4, o: 5}, slice: {"(g o i)": "0:140"}}
  - {tf: flat, pt: hh, layout: "(g o i) -> (g o) i", axes: {g: 4, o: 5}, slice: {"(g o i)": "140:240"}, tied: true}
  - {tf: flat, pt: b, layout: "b -> b", slice: {b: "240:260"}, tied: true}
  - {tf: [bias, kernel], pt: c, layout: ["o -> o 1", "1 1 i o -> o i"], concat: i}
  - {tf: [b1, b2], pt: difference, combine: [1, -1], apply: log}
  - {tf: sigma, pt: n.running_var, apply: [log, reciprocal, sqrt], dtype: float32}
  - {tf: w, pt: w, layout: "h w i o -> o i h w"}
  - {tf: u, pt: u, layout: "1 o -> o"}
  - {tf: [w, u], pt: v, product: "h w i o, 1 o -> (i h w)", apply: normalize, tied: true}
  - {tf: [x, y], pt: xy, product: "i k, k o -> o i", axes: {k: 3}}
  - tf: [k, g, be, m, v]
    pt: [conv.weight, conv.bias]
    layout: "h w i m -> (i m) 1 h w"
    axes: {m: 2}
    fold: {batch_norm: [kernel, gamma, beta, mean, variance], eps: 0, axis: "(i m)"}
"""
COMPUTED_SHAPES = {"q": (6, 5), "ih": (20, 7), "hh": (20, 5), "b": (20,), "c": (3, 6), "difference": (999,),
                   "n.running_var": (999,), "w": (7, 5, 2, 3), "u": (7,), "v": (30,), "xy": (2, 5),
                   "conv.weight": (10, 1, 2, 3), "conv.bias": (10,)}  # fmt: skip


def test_a_sample_of_rows_that_compute_converts_and_compares_equal(tmp_path):
    (tmp_path / "m.yaml").write_text(f"version: 1\nweights:\n{COMPUTED}")
    manifest = {name: {"dtype": "float32", "shape": shape} for name, shape in COMPUTED_SHAPES.items()}
    (tmp_path / "m.manifest.json").write_text(json.dumps(manifest))
    tfpt.sample(tmp_path / "m.yaml", tmp_path / "s")
    source = tfpt.open_source(tmp_path / "s")
    shapes = {name: spec.shape for name, spec in source.specs.items()}
    assert (shapes["flat"], shapes["bias"], shapes["kernel"]) == ((260,), (3,), (1, 1, 5, 3))
    assert (shapes["q"], shapes["x"], shapes["k"], shapes["v"]) == ((5, 6), (5, 3), (2, 3, 5, 2), (10,))
    done = tfpt.convert(tmp_path / "m.yaml", tmp_path / "s", tmp_path / "w.safetensors")
    assert [finding for finding in done.plan.findings if finding.stops] == []
    written = tfpt.open_source(tmp_path / "w.safetensors")
    assert {name: spec.shape for name, spec in written.specs.items()} == COMPUTED_SHAPES
    assert all(np.isfinite(written.read(name)).all() for name in COMPUTED_SHAPES)
    np.testing.assert_array_equal(written.read("hh").ravel(), source.read("flat")[140:240])
    variance = written.read("n.running_var")
    assert 0.5 <= variance.min() < variance.max() <= 1.5
    assert tfpt.diff(tmp_path / "s", tmp_path / "w.safetensors", mapping=tmp_path / "m.yaml").same

"""What a network is fed: a person's arrays under the network's names, or values from a seed."""

from __future__ import annotations

import numpy as np
import pytest

from tfpt.errors import MappingError, SourceError
from tfpt.language.loader import load_mapping
from tfpt.networks.recording.generated import Sizes
from tfpt.networks.recording.inputs import given_inputs, match_inputs, read_arrays, seeded_inputs
from tfpt.networks.running.network import InputSpec

CLIP = InputSpec("Placeholder", (None, None, 224, 224, 3), "float32")


def specs_of(*specs):
    return {spec.name: spec for spec in specs}


def shape_of(spec, mapping=None, **sizes):
    return seeded_inputs(specs_of(spec), mapping, Sizes(**sizes), 3, "net.pb").arrays[spec.name].shape


def test_a_mapping_says_shape_and_range():
    mapping = load_mapping("i3d_rgb")
    fed = seeded_inputs(specs_of(CLIP), mapping, Sizes(), 7, "net.pb")
    expected = np.random.default_rng(7).uniform(-1, 1, (1, 16, 224, 224, 3)).astype(np.float32)
    np.testing.assert_array_equal(fed.arrays["Placeholder"], expected)
    assert fed.facts["Placeholder"] == {
        "seed": 7, "range": [-1.0, 1.0], "shape": [1, 16, 224, 224, 3], "dtype": "float32",
    }  # fmt: skip
    assert fed.named() == {"input": "Placeholder"}


@pytest.mark.parametrize(
    ("own", "sizes", "expected"),
    [
        ((1, 79, 224, 224, 3), {}, (1, 79, 224, 224, 3)),  # the network's own frames
        ((None, None, None, None, 3), {}, (1, 16, 224, 224, 3)),  # the mapping's size
        ((None, None, None, None, 3), {"batch": 2, "frames": 9, "size": 193}, (2, 9, 193, 193, 3)),
        ((None, None, 7, 5, 3), {}, (1, 16, 7, 5, 3)),
        (None, {}, (1, 16, 224, 224, 3)),
    ],
)
def test_sizes_are_a_persons_then_the_networks_then_the_mappings(own, sizes, expected):
    assert shape_of(InputSpec("x", own, "float32"), load_mapping("i3d_rgb"), **sizes) == expected


def test_sizes_that_the_network_does_not_take_are_refused():
    spec = InputSpec("x", (1, 79, 224, 224, 3), "float32")
    with pytest.raises(SourceError, match="has fixed sizes") as caught:
        shape_of(spec, load_mapping("i3d_rgb"), frames=16)
    assert (caught.value.expected, caught.value.got) == ("[1, 79, 224, 224, 3]", "[1, 16, 224, 224, 3]")
    with pytest.raises(SourceError, match="other axes than the mapping i3d_rgb"):
        shape_of(InputSpec("x", (None, 7), "float32"), load_mapping("i3d_rgb"))


@pytest.mark.parametrize(
    ("own", "sizes", "expected"),
    [
        ((None, 7), {}, (1, 7)),
        ((), {}, ()),
        ((None, None, 3), {"frames": 11}, (1, 11, 3)),
        ((None, None, None, 3), {"size": 32, "batch": 5}, (5, 32, 32, 3)),
        ((None, None, None, None, 2), {"size": 32}, (1, 16, 32, 32, 2)),
    ],
)
def test_without_a_mapping_open_sizes_are_filled_in_order(own, sizes, expected):
    assert shape_of(InputSpec("x", own, "float32"), None, **sizes) == expected


def test_a_size_that_nobody_says_is_asked_for():
    with pytest.raises(SourceError, match="does not say all sizes of its input x") as caught:
        shape_of(InputSpec("x", (None, None, None, 3), "float32"))
    assert caught.value.hint.startswith("--size N")
    with pytest.raises(SourceError, match="does not say the shape"):
        shape_of(InputSpec("x", None, "float32"))


def test_integers_are_zeros_and_ones_and_text_is_refused():
    fed = seeded_inputs(specs_of(InputSpec("ids", (None, 50), "int32")), None, Sizes(), 3, "net.pb")
    assert set(np.unique(fed.arrays["ids"])) == {0, 1}
    assert fed.arrays["ids"].dtype == np.int32
    with pytest.raises(SourceError, match="has dtype string"):
        shape_of(InputSpec("examples", (None,), "string"))


def test_several_inputs_have_values_of_their_own():
    specs = specs_of(InputSpec("a", (None, 7), "float32"), InputSpec("b", (None, 7), "float32"))
    fed = seeded_inputs(specs, None, Sizes(), 3, "net.pb")
    assert not np.array_equal(fed.arrays["a"], fed.arrays["b"])
    assert fed.named() == {"a": "a", "b": "b"}
    for name, facts in fed.facts.items():
        again = np.random.default_rng(facts["seed"]).uniform(*facts["range"], facts["shape"])
        np.testing.assert_array_equal(fed.arrays[name], again.astype(np.float32))


def test_a_single_array_is_the_only_input(tmp_path):
    clip = np.random.default_rng(1).normal(size=(1, 2, 224, 224, 3)).astype(np.float32)
    np.save(tmp_path / "clip.npy", clip)
    np.savez(tmp_path / "clip.npz", anything=clip)
    for given in (clip, tmp_path / "clip.npy", str(tmp_path / "clip.npz"), {"Placeholder": clip}):
        fed = match_inputs(given_inputs(given), specs_of(CLIP), "net.pb")
        np.testing.assert_array_equal(fed.arrays["Placeholder"], clip)
    assert fed.named() == {"input": "Placeholder"}


def test_a_recording_gives_its_inputs(tmp_path):
    np.savez(tmp_path / "r.npz", relu=np.ones(3), **{"input.a": np.zeros((1, 7)), "input.b": np.ones((1, 7))})
    assert sorted(read_arrays(tmp_path / "r.npz")) == ["a", "b"]
    specs = specs_of(InputSpec("a", (None, 7), "float32"), InputSpec("b", (None, 7), "float32"))
    fed = match_inputs(given_inputs(tmp_path / "r.npz"), specs, "net.pb")
    np.testing.assert_array_equal(fed.arrays["b"], np.ones((1, 7)))


def test_a_clip_of_another_layout_is_refused_with_both_shapes(tmp_path):
    np.save(tmp_path / "clip.npy", np.zeros((1, 3, 16, 224, 224), np.float32))
    with pytest.raises(SourceError, match="another shape") as caught:
        match_inputs(given_inputs(tmp_path / "clip.npy"), specs_of(CLIP), "net.pb")
    assert caught.value.where == str(tmp_path / "clip.npy")
    assert caught.value.expected == "Placeholder [?, ?, 224, 224, 3] float32"
    assert caught.value.got == "[1, 3, 16, 224, 224] float32"


def test_names_that_are_not_the_networks_are_refused():
    specs = specs_of(InputSpec("left", (3,), "float32"), InputSpec("right", (3,), "float32"))
    with pytest.raises(SourceError, match="has several inputs") as caught:
        match_inputs(given_inputs(np.ones(3)), specs, "net.pb")
    assert caught.value.hint == "--input left=FILE --input right=FILE"
    with pytest.raises(SourceError, match="no input lfet") as caught:
        match_inputs(given_inputs({"lfet": np.ones(3)}), specs, "net.pb")
    assert caught.value.nearest[0] == "left"
    with pytest.raises(SourceError, match="inputs that were not supplied") as caught:
        match_inputs(given_inputs({"left": np.ones(3)}), specs, "net.pb")
    assert caught.value.hint == "--input right=FILE"


def test_files_that_are_no_arrays_of_numbers_are_refused(tmp_path):
    np.save(tmp_path / "text.npy", np.array(["a"]))
    with pytest.raises(SourceError, match="not an array of numbers"):
        read_arrays(tmp_path / "text.npy")
    (tmp_path / "clip.npy").write_text("not an array at all")
    with pytest.raises(SourceError, match="does not know the format"):
        read_arrays(tmp_path / "clip.npy")
    with pytest.raises(SourceError):
        read_arrays(tmp_path / "nothing.npy")
    np.savez(tmp_path / "two.npz", a=np.ones(3), b=np.ones(3))
    with pytest.raises(SourceError, match="must be a single array"):
        given_inputs({"left": tmp_path / "two.npz"})


def test_a_mapping_without_a_size_says_where(tmp_path):
    (tmp_path / "m.yaml").write_text(
        'version: 1\ninput: {kind: rgb, layout: "b h w c -> b c h w"}\nweights:\n  - {tf: w, pt: w}\n'
    )
    mapping = load_mapping(tmp_path / "m.yaml")
    with pytest.raises(MappingError, match="does not say the size of the input's axis 'h'"):
        shape_of(InputSpec("x", (None, None, None, 3), "float32"), mapping)
    assert shape_of(InputSpec("x", (None, 5, 5, 3), "float32"), mapping) == (1, 5, 5, 3)

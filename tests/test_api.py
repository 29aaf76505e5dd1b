"""The functions of the API: every keyword is spelled out and documented, and files are let go of."""

from __future__ import annotations

import inspect
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import tfpt
from tests.commands.running import run
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.video.prediction import Stream

FUNCTIONS = [name for name in tfpt.__all__ if inspect.isfunction(getattr(tfpt, name))]
WEIGHTS = (
    "load",
    "verify",
    "diff",
    "predict",
    "profile",
    "draw_filters",
    "draw_activations",
    "convert",
    "plan",
)


def documented(function):
    """The names in a docstring's Args; several may share an entry."""
    text = inspect.getdoc(function)
    assert text is not None
    found = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", text, re.DOTALL | re.MULTILINE)
    lines = found[1].splitlines() if found else []
    entries = [line.strip().partition(":")[0] for line in lines if re.match(r"    [a-z_]", line)]
    return {name.strip() for entry in entries for name in entry.split(",")}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_keyword_is_spelt_out_and_documented(name):
    parameters = inspect.signature(getattr(tfpt, name)).parameters
    kinds = {each.kind for each in parameters.values()}
    assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    assert documented(getattr(tfpt, name)) == set(parameters)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_unknown_keyword_is_told_by_the_function_that_was_called(name):
    given = [object()] * sum(
        each.default is inspect.Parameter.empty
        for each in inspect.signature(getattr(tfpt, name)).parameters.values()
    )
    with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected keyword argument 'nonesuch'"):
        getattr(tfpt, name)(*given, nonesuch=1)


@pytest.mark.parametrize("name", WEIGHTS)
def test_whatever_reads_weights_takes_quantized_ones(name):
    assert inspect.signature(getattr(tfpt, name)).parameters["dequantize"].default is False


@pytest.fixture
def linear(tmp_path):
    """A mapping over one layer of 3 by 5, a checkpoint for it, and what PyTorch is to have."""
    mapping = tmp_path / "linear.yaml"
    mapping.write_text(
        'version: 1\nmodel: {factory: "torch.nn:Linear", kwargs: {in_features: 3, out_features: 5}}\nweights:\n'
        '  - {tf: kernel, pt: weight, layout: "i o -> o i"}\n  - {tf: bias, pt: bias}\n'
    )
    values = {"kernel": np.arange(15, dtype=np.float32).reshape(3, 5), "bias": np.float32([1, 2, 3, 5, 7])}
    write_bundle(tmp_path / "m", values)
    return mapping, tmp_path / "m"


def test_loading_dequantizes_as_tensorflow_lite_does(tmp_path, linear):
    pytest.importorskip("tensorflow")
    from tensorflow.lite.python import schema_py_generated as schema

    from tests.formats.tflite.models import add_tensor, build

    numbers = np.random.default_rng(3).integers(-128, 128, (3, 5)).astype(np.int8)

    def change(model):
        model.subgraphs[0].tensors[0].name = b"unused"
        add_tensor(model, b"kernel", [3, 5], "INT8", numbers.tobytes())
        add_tensor(model, b"bias", [5], "FLOAT32", np.float32([1, 2, 3, 5, 7]).tobytes())
        tensor = model.subgraphs[0].tensors[1]
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [0.37], [-7]

    path = build(tmp_path / "q.tflite", change)
    mapping = linear[0]
    mapping.write_text(mapping.read_text() + "source: {ignore: [{tf: unused, why: of no use}]}\n")
    model = tfpt.load(mapping, path, dequantize=True)
    expected = (numbers.astype(np.float32) + np.float32(7)) * np.float32(0.37)
    assert np.array_equal(model.weight.detach().numpy(), expected.T)


class _ReachedError(Exception):
    """Weights were opened as they were to be."""


class TestDequantize:
    """Every command and function that loads weights hands the wish on to the reader."""

    @pytest.fixture(autouse=True)
    def watched(self, monkeypatch):
        def opened(path, *, dequantize=False, **_):
            assert dequantize
            raise _ReachedError

        monkeypatch.setattr("tfpt.formats.joined.open_source", opened)

    @pytest.mark.parametrize(
        "name", ["load", "verify", "profile", "draw_filters", "draw_activations", "predict"]
    )
    def test_of_a_function(self, tmp_path, sampled_rgb, name):
        arguments = {
            "verify": {"recording": tmp_path / "r.npz"},
            "draw_filters": {"out": tmp_path / "f.gif"},
            "draw_activations": {"out": tmp_path / "f.gif"},
        }.get(name, {})
        first = ("i3d_rgb", sampled_rgb)
        if name == "predict":
            np.save(tmp_path / "clip.npy", np.zeros((1, 9, 224, 224, 3), np.float32))
            first = (Stream("i3d_rgb", sampled_rgb), tmp_path / "clip.npy")
        with pytest.raises(_ReachedError):
            getattr(tfpt, name)(*first, dequantize=True, **arguments)

    @pytest.mark.parametrize("name", ["verify", "profile", "filters", "activations", "predict"])
    def test_of_a_command(self, tmp_path, sampled_rgb, name):
        np.save(tmp_path / "clip.npy", np.zeros((1, 9, 224, 224, 3), np.float32))
        weights = ("--mapping", "i3d_rgb", "--weights", sampled_rgb)
        words = {
            "verify": ("verify", sampled_rgb, "--mapping", "i3d_rgb", "--recording", tmp_path / "r.npz"),
            "profile": ("profile", *weights),
            "filters": ("visualize", "filters", *weights, "--out", tmp_path / "f.gif"),
            "activations": ("visualize", "activations", *weights, "--out", tmp_path / "f.gif"),
            "predict": ("predict", tmp_path / "clip.npy", *weights),
        }[name]
        with pytest.raises(AssertionError, match="_ReachedError"):
            run(*words, "--dequantize")


def open_files(folder):
    """How often this process has files of a folder open or mapped."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("there is no /proc here")
    links = [os.path.realpath(f"/proc/self/fd/{entry}") for entry in os.listdir("/proc/self/fd")]
    maps = Path("/proc/self/maps").read_text().splitlines()
    return sum(str(folder) in text for text in (*links, *maps))


class TestFilesAreLetGo:
    """Not by the garbage collector, which may come late, but as soon as the function ends, well or not."""

    @pytest.fixture(autouse=True)
    def uncollected(self, monkeypatch):
        """Keeps every source alive, and looks after it whether it was closed."""
        opened = []
        from tfpt.formats import open_source

        def kept(*arguments, **options):
            source = open_source(*arguments, **options)
            opened.append(source)
            close = source.close

            def counted():
                self.closed[id(source)] += 1
                close()

            object.__setattr__(source, "close", counted)
            return source

        self.opened, self.closed = opened, Counter()
        for place in ("formats.joined", "checking.comparison", "checking.inspection"):
            monkeypatch.setattr(f"tfpt.{place}.open_source", kept)
        yield
        assert opened
        assert all(self.closed[id(source)] for source in opened)

    def test_after_loading(self, tmp_path, linear):
        model = tfpt.load(*linear)
        assert open_files(tmp_path) == 0
        assert model.bias.tolist() == [1, 2, 3, 5, 7]

    def test_after_a_refusal_to_load(self, tmp_path, linear):
        with pytest.raises(tfpt.TfptError):
            tfpt.load(_changed(linear[0], "out_features: 5", "out_features: 7"), linear[1])
        assert open_files(tmp_path) == 0

    def test_after_planning_converting_comparing_and_looking(self, tmp_path, linear):
        mapping, checkpoint = linear
        out = tmp_path / "w.safetensors"
        assert tfpt.plan(mapping, checkpoint).ok
        tfpt.convert(mapping, checkpoint, out)
        assert tfpt.diff(checkpoint, out, mapping=mapping).same
        assert tfpt.diff(checkpoint, checkpoint).same
        assert tfpt.diff(checkpoint, mapping=mapping).same
        tfpt.inspect(checkpoint, stats=True)
        assert open_files(tmp_path) == 0

    def test_after_a_refusal_to_compare_or_to_plan(self, tmp_path, linear):
        mapping, checkpoint = linear
        with pytest.raises(tfpt.TfptError, match="must be PyTorch weights"):
            tfpt.diff(checkpoint, checkpoint, mapping=mapping)
        out = tfpt.convert(mapping, checkpoint, tmp_path / "w.pth").path
        with pytest.raises(tfpt.TfptError, match="only be compared through a mapping"):
            tfpt.diff(checkpoint, out)
        with pytest.raises(tfpt.TfptError):
            tfpt.plan(_changed(mapping, "torch.nn:Linear", "torch.nn:Nonesuch"), checkpoint)
        assert open_files(tmp_path) == 0


def _changed(mapping, old, new):
    text = mapping.read_text()
    assert old in text
    mapping.write_text(text.replace(old, new))
    return mapping


@pytest.mark.parametrize("through", [True, False])
def test_comparing_releases_every_tensor_on_both_sides(linear, through, monkeypatch):
    """Else two files of any size would stay in memory together."""
    mapping, checkpoint = linear
    right = checkpoint
    if through:
        right = tfpt.convert(mapping, checkpoint, mapping.with_name("w.safetensors")).path
    released = Counter()
    from tfpt.formats.pytorch.safetensors import SafetensorsSource
    from tfpt.formats.tensorflow.bundle import BundleSource

    for kind in (BundleSource, SafetensorsSource):
        real = kind.release
        monkeypatch.setattr(
            kind, "release", lambda self, name, real=real: (released.update([name]), real(self, name))[1]
        )
    assert tfpt.diff(checkpoint, right, mapping=mapping if through else None).same
    expected = {"kernel": 1, "bias": 2, "weight": 1} if through else {"kernel": 2, "bias": 2}
    assert released == expected


@pytest.mark.parametrize("option", [{"settings": {"a": 1}}, {"config": {"a": 1}}])
def test_what_is_for_a_mapping_is_refused_without_one(linear, option):
    with pytest.raises(tfpt.TfptError, match=r"requires? a mapping"):
        tfpt.diff(linear[1], linear[1], **option)

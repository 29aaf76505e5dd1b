"""I3D against what DeepMind's graph computed with seeded weights (tests/data/i3d), and as a module by itself."""

from __future__ import annotations

import doctest
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from tfpt.models import i3d
from tfpt.models.i3d import I3D, MIXED
from torch.export import Dim, export

from tfpt.errors import ModelError

DATA = Path(__file__).parents[1] / "data" / "i3d"

LEAVES = {
    "conv3d.weight": "conv_3d/w",
    "conv3d.bias": "conv_3d/b",
    "batch3d.bias": "batch_norm/beta",
    "batch3d.running_mean": "batch_norm/moving_mean",
    "batch3d.running_var": "batch_norm/moving_variance",
}
BRANCHES = {
    "branch_0": "Branch_0/Conv3d_0a_1x1",
    "branch_1.0": "Branch_1/Conv3d_0a_1x1",
    "branch_1.1": "Branch_1/Conv3d_0b_3x3",
    "branch_2.0": "Branch_2/Conv3d_0a_1x1",
    "branch_2.1": "Branch_2/Conv3d_0b_3x3",
    "branch_3.1": "Branch_3/Conv3d_0b_1x1",
}

# Of the largest value of an endpoint. The recordings are float32 themselves: the graph run in float64 is up to 2.5e-6
# away from them, TensorFlow's two float32 kernels (oneDNN and Eigen) up to 2.1e-6 and 2.5e-6, this port 2.8e-6, while
# in float64 port and graph agree to 5e-15 (test_in_double_precision…). The softmax multiplies what the logits have.
TOLERANCE = {"logits": 2e-6, "predictions": 6e-6}
TOLERANCE_ELSEWHERE = 4e-6
TOLERANCE_OF_THE_MEAN = 1e-6


def variable_name(parameter: str, scope: str) -> str:
    """The TensorFlow variable behind a parameter.

    Example:
        >>> variable_name("mixed_5b.branch_2.1.conv3d.weight", "RGB")  # a slip in DeepMind's code: not 0b
        'RGB/inception_i3d/Mixed_5b/Branch_2/Conv3d_0a_3x3/conv_3d/w'
    """
    unit, kind, leaf = parameter.rsplit(".", 2)
    module, _, branch = unit.partition(".")
    if module == "conv3d_0c_1x1":
        place = "Logits/Conv3d_0c_1x1"
    elif unit == "mixed_5b.branch_2.1":
        place = "Mixed_5b/Branch_2/Conv3d_0a_3x3"
    else:
        place = "/".join([module.capitalize(), *([BRANCHES[branch]] if branch else [])])
    return f"{scope}/inception_i3d/{place}/{LEAVES[f'{kind}.{leaf}']}"


def seeded(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """The value of one variable, as in the checkpoint that was recorded."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    leaf = name.rsplit("/", 1)[-1]
    if leaf == "moving_variance":
        values = rng.uniform(0.5, 1.5, shape)
    elif leaf == "w":
        values = rng.normal(0.0, np.sqrt(2.0 / np.prod(shape[:-1])), shape)
    else:
        values = rng.normal(0.0, 0.1, shape)
    return values.astype(np.float32)


def seeded_clip(frames: int, channels: int, seed: int, size: int = 224) -> np.ndarray:
    """The clip that was recorded, (1, frames, size, size, channels)."""
    rng = np.random.default_rng([seed, 1])
    return np.clip(rng.normal(0, 0.5, (1, frames, size, size, channels)), -1, 1).astype(np.float32)


def seeded_variable(parameter: str, shape: tuple[int, ...], scope: str, seed: int) -> np.ndarray:
    """The variable of a parameter of that (torch's) shape, in TensorFlow's layout."""
    if len(shape) == 5:
        shape = (*shape[2:], shape[1], shape[0])
    return seeded(variable_name(parameter, scope), shape, seed)


def seeded_model(in_channels: int, scope: str, seed: int, **options: object) -> I3D:
    model = I3D(400, in_channels, **options).eval()
    state = model.state_dict()
    for name, value in state.items():
        if name.rsplit(".", 2)[-2:] == ["batch3d", "weight"]:
            state[name] = torch.ones_like(value)  # DeepMind's batch norm has no gamma
        elif not name.endswith("num_batches_tracked"):
            variable = seeded_variable(name, tuple(value.shape), scope, seed)
            if variable.ndim == 5:
                variable = variable.transpose(4, 3, 0, 1, 2)
            state[name] = torch.from_numpy(np.ascontiguousarray(variable))
    model.load_state_dict(state)
    return model


def channels_first(clip: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(clip, -1, 1)))


def channels_last(activation: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(activation.movedim(1, -1).numpy())


@pytest.fixture(scope="module")
def small() -> I3D:
    torch.manual_seed(3)
    return I3D(num_classes=5, in_channels=2).eval()


@pytest.fixture(scope="module")
def clip() -> torch.Tensor:
    torch.manual_seed(4)
    return torch.randn(1, 2, 9, 193, 193).clamp(-1, 1)


@pytest.mark.parametrize(
    ("recording", "scope", "channels", "frames", "seed"),
    [
        ("rgb_f16_seed11", "RGB", 3, 16, 11),
        ("rgb_f17_seed11", "RGB", 3, 17, 11),
        ("flow_f16_seed12", "Flow", 2, 16, 12),
    ],
)
def test_every_endpoint_is_what_deepminds_graph_computed(recording, scope, channels, frames, seed):
    model = seeded_model(channels, scope, seed)
    with torch.no_grad():
        found = model.endpoints(channels_first(seeded_clip(frames, channels, seed)))
    with np.load(DATA / f"{recording}.npz") as file:
        recorded = dict(file)
    names = [name for name in recorded if "." not in name]
    assert [name.lower() for name in names] == list(I3D.ENDPOINTS)
    for name in names:
        whole = channels_last(found[name.lower()])
        assert whole.shape == tuple(recorded[f"{name}.shape"]), name
        samples = whole if whole.size <= 2000 else whole.reshape(-1)[:: max(1, whole.size // 997)][:997]
        largest = np.abs(recorded[name]).max()
        error = np.abs(samples.astype(np.float64) - recorded[name]).max() / largest
        assert error <= TOLERANCE.get(name.lower(), TOLERANCE_ELSEWHERE), (name, error)
        mean = np.abs(whole).mean(dtype=np.float64)
        assert mean == pytest.approx(float(recorded[f"{name}.mean_abs"]), rel=TOLERANCE_OF_THE_MEAN), name


@pytest.mark.slow
@pytest.mark.parametrize(("scope", "channels", "frames", "size"), [("RGB", 3, 9, 193), ("Flow", 2, 10, 194)])
def test_in_double_precision_it_equals_tensorflow_to_the_last_digits(scope, channels, frames, size):
    tf = pytest.importorskip("tensorflow")
    model = seeded_model(channels, scope, 7)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}

    def variable(name):
        return seeded_variable(name, shapes[name], scope, 7).astype(np.float64)

    def unit(x, name, stride=1):
        x = tf.nn.conv3d(x, variable(f"{name}.conv3d.weight"), [1, stride, stride, stride, 1], "SAME")
        statistics = [variable(f"{name}.batch3d.{leaf}") for leaf in ("running_mean", "running_var", "bias")]
        return tf.nn.relu(tf.nn.batch_normalization(x, *statistics, None, 1e-3)).numpy()

    def pool(x, kernel, stride):  # tf.nn.max_pool3d has no float64
        for axis, (k, s) in enumerate(zip(kernel, stride, strict=True), 1):
            outputs = -(-x.shape[axis] // s)
            total = max((outputs - 1) * s + k - x.shape[axis], 0)
            pads = [(0, 0)] * 5
            pads[axis] = (total // 2, total - total // 2)
            x = np.pad(x, pads, constant_values=-np.inf)
            x = np.max([np.take(x, np.arange(outputs) * s + tap, axis) for tap in range(k)], axis=0)
        return x

    def mixed(x, name):
        branches = [unit(x, f"{name}.branch_0")]
        branches += [unit(unit(x, f"{name}.branch_{b}.0"), f"{name}.branch_{b}.1") for b in (1, 2)]
        branches += [unit(pool(x, (3, 3, 3), (1, 1, 1)), f"{name}.branch_3.1")]
        return np.concatenate(branches, -1)

    strides = {"conv3d_1a_7x7": 2}
    pools = {
        "maxpool3d_2a_3x3": ((1, 3, 3), (1, 2, 2)),
        "maxpool3d_3a_3x3": ((1, 3, 3), (1, 2, 2)),
        "maxpool3d_4a_3x3": ((3, 3, 3), (2, 2, 2)),
        "maxpool3d_5a_2x2": ((2, 2, 2), (2, 2, 2)),
    }
    x = seeded_clip(frames, channels, 7, size).astype(np.float64)
    with torch.no_grad():
        found = model.double().endpoints(channels_first(x))
    for name in I3D.ENDPOINTS[:-2]:
        if name in pools:
            x = pool(x, *pools[name])
        else:
            x = mixed(x, name) if name in MIXED else unit(x, name, strides.get(name, 1))
        np.testing.assert_allclose(channels_last(found[name]), x, rtol=0, atol=1e-13 * x.max(), err_msg=name)


def test_names_shapes_and_order_are_those_of_the_port_in_use():
    expected = json.loads((DATA / "hassony2_rgb_shapes.json").read_text())
    state = I3D(400, 3).state_dict()
    assert list(state) == list(expected)
    assert len(state) == 344
    for name, (dtype, *shape) in expected.items():
        assert (state[name].dtype, list(state[name].shape)) == (getattr(torch, dtype), shape), name


def test_its_examples_run():
    assert doctest.testmod(i3d).failed == 0


def test_batch_normalisation_is_deepminds():
    norms = [m for m in I3D(5, 3).modules() if isinstance(m, torch.nn.BatchNorm3d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 1e-3)}
    assert len(norms) == 57


def test_every_strided_or_padded_layer_names_its_rule():
    rules = {m.tf_padding for m in I3D(5, 3).modules() if hasattr(m, "tf_padding")}
    assert rules == {"same", "valid"}  # valid: the last pool


def test_a_hook_at_an_endpoint_sees_its_activation(small, clip):
    seen = {}
    handles = [
        small.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: seen.setdefault(name, output)
        )
        for name in I3D.ENDPOINTS
    ]
    with torch.no_grad():
        logits = small(clip)
        for handle in handles:
            handle.remove()
        found = small.endpoints(clip)
    assert list(seen) == list(found) == list(I3D.ENDPOINTS)
    for name, activation in found.items():
        assert torch.equal(activation, seen[name]), name
    assert torch.equal(found["logits"], logits)
    torch.testing.assert_close(found["predictions"].sum(), torch.tensor(1.0))


def test_endpoints_come_in_the_order_asked_for_and_no_further(small, clip):
    small.mixed_3c.register_forward_hook(lambda *_: pytest.fail("computed beyond mixed_3b"))
    try:
        found = small.endpoints(clip[..., :17, :19], ["mixed_3b", "conv3d_1a_7x7"])
    finally:
        small.mixed_3c._forward_hooks.clear()
    assert list(found) == ["mixed_3b", "conv3d_1a_7x7"]
    assert found["mixed_3b"].shape == (1, 256, 5, 3, 3)
    assert small.endpoints(clip, []) == {}


def test_an_unknown_endpoint_is_refused_with_the_nearest(small, clip):
    with pytest.raises(ModelError, match="no such endpoint") as error:
        small.endpoints(clip, ["Mixed_5d"])
    assert "mixed_5b" in error.value.nearest


def test_the_least_clip_is_taken_and_one_less_is_refused(small, clip):
    assert (small.least_frames, small.least_size) == (9, 193)
    assert small(clip).shape == (1, 5)
    for less in (clip[:, :, 1:], clip[..., 1:, :], clip[..., 1:]):
        with pytest.raises(ModelError, match="too small a clip") as error:
            small(less)
        assert error.value.expected == "at least 9 frames of 193 by 193"


@pytest.mark.parametrize(
    ("shape", "dtype", "what"),
    [
        ((1, 3, 16, 224, 224), torch.float32, "other channels"),
        ((1, 16, 224, 224, 2), torch.float32, "other channels"),
        ((2, 16, 224, 224), torch.float32, "not a clip"),
        ((1, 2, 16, 224, 224), torch.uint8, "not a clip"),
    ],
)
def test_what_is_not_its_clip_is_refused(small, shape, dtype, what):
    with pytest.raises(ModelError, match=what) as error:
        small(torch.empty(shape, dtype=dtype))
    assert "(batch, 2, frames, height, width)" in str(error.value)
    assert ("movedim" in str(error.value)) == (shape[-1] == 2)


@pytest.mark.parametrize("padding", ["valid", "SAME"])
def test_another_padding_is_refused(padding):
    with pytest.raises(ModelError, match="no such padding"):
        I3D(5, 3, padding)


def test_a_larger_frame_is_averaged_over_its_positions(small):
    torch.manual_seed(5)
    wide = torch.randn(1, 2, 17, 193, 257)  # 3 by 7 by 9 before the last pool: 2 times, 3 positions
    with torch.no_grad():
        found = small.endpoints(wide, ["mixed_5c", "logits"])
        features = found["mixed_5c"]
        windows = [features[:, :, t : t + 2, :, w : w + 7].mean((2, 3, 4)) for t in (0, 1) for w in (0, 1, 2)]
        head = small.conv3d_0c_1x1.conv3d
        each = [window @ head.weight.flatten(1).T + head.bias for window in windows]
    assert features.shape == (1, 1024, 3, 7, 9)
    torch.testing.assert_close(found["logits"], torch.stack(each).mean(0))


def test_symmetric_padding_shifts_the_windows_and_widens_the_last_pool():
    with torch.device("meta"):
        model, clip = I3D(5, 3, "symmetric"), torch.empty(1, 3, 16, 224, 224)
    found = model.endpoints(clip)
    assert (model.least_frames, model.least_size) == (5, 177)
    assert found["conv3d_1a_7x7"].shape == (1, 64, 8, 112, 112)
    assert found["mixed_5c"].shape == (1, 1024, 3, 8, 8)
    assert found["logits"].shape == (1, 5)
    assert model.conv3d_1a_7x7.conv3d.padding == (3, 3, 3)
    least = torch.empty(1, 3, 5, 177, 177, device="meta")
    assert model(least).shape == (1, 5)
    with pytest.raises(ModelError, match="too small"):
        model(least[..., 1:])


def test_dropout_works_in_training_alone():
    torch.manual_seed(6)
    model = I3D(5, 2, dropout=0.5)
    features = torch.ones(1, 1024, 2, 7, 7)
    with torch.no_grad():
        dropped = model._step("logits", features)
        assert not torch.equal(dropped, model._step("logits", features))
        model.eval()
        assert torch.equal(model._step("logits", features), model._step("logits", features))
    assert I3D(5, 2).dropout.p == 0.0


def test_it_starts_as_sonnet_does():
    model = I3D(5, 3)
    weight = model.conv3d_2c_3x3.conv3d.weight
    deviation = (64 * 27) ** -0.5
    assert weight.abs().max() <= 2 * deviation
    assert weight.std().item() == pytest.approx(0.88 * deviation, rel=0.02)  # a normal cut at two deviations
    assert not model.conv3d_0c_1x1.conv3d.bias.any()


def test_it_exports_with_any_batch_and_any_clip():
    with torch.device("meta"):
        model, clip = I3D(5, 2).eval(), torch.empty(2, 2, 24, 256, 288)
    # Two outputs of the last pool or more along each dimension: torch.export makes a case of its own of one.
    sizes = {2: Dim("frames", min=17), 3: Dim("height", min=225), 4: Dim("width", min=225)}
    program = export(model, (clip,), dynamic_shapes=({0: Dim("batch"), **sizes},)).module()
    for shape in [(3, 2, 17, 225, 226), (1, 2, 33, 256, 300)]:
        assert program(torch.empty(shape, device="meta")).shape == (shape[0], 5)


def test_the_exported_graph_computes_the_same(small, clip):
    with torch.no_grad():
        program = export(small, (clip,)).module()
        torch.testing.assert_close(program(clip), small(clip))


def test_it_compiles_whole_and_learns():
    torch.manual_seed(7)
    model = I3D(5, 2)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    clips = torch.randn(2, 2, 9, 193, 193)
    torch.nn.functional.cross_entropy(compiled(clips), torch.tensor([1, 3])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name

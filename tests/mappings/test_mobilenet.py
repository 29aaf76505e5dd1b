"""MobileNet V1, V2 and DeepLab at other widths, with and without averages; and checkpoints that do not fit."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import tfpt
from tests.mappings.recorded import Recorded, carried_out, recorded
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.planning.plan import Plan

pytest.importorskip("transformers")

Variables = dict[str, np.ndarray]

# slim's networks: the channels that each convolution writes, at width 1.
V1 = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
V2 = [16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320]


def unit(scope: str, shape: tuple[int, ...], *, depthwise: bool = False) -> dict[str, tuple[int, ...]]:
    """The variables of a convolution with batch normalization in slim."""
    channels = shape[2] if depthwise else shape[3]
    norm = {
        f"{scope}/BatchNorm/{part}": (channels,)
        for part in ("gamma", "beta", "moving_mean", "moving_variance")
    }
    return {f"{scope}/{'depthwise_weights' if depthwise else 'weights'}": shape, **norm}


def v1_shapes(width: float, classes: int) -> dict[str, tuple[int, ...]]:
    """The variables of slim's mobilenet_v1."""
    depths = [max(int(depth * width), 8) for depth in V1]
    shapes = unit("MobilenetV1/Conv2d_0", (3, 3, 3, depths[0]))
    for i, (before, depth) in enumerate(itertools.pairwise(depths), 1):
        shapes |= unit(f"MobilenetV1/Conv2d_{i}_depthwise", (3, 3, before, 1), depthwise=True)
        shapes |= unit(f"MobilenetV1/Conv2d_{i}_pointwise", (1, 1, before, depth))
    head = "MobilenetV1/Logits/Conv2d_1c_1x1"
    return shapes | {f"{head}/weights": (1, 1, depths[-1], classes), f"{head}/biases": (classes,)}


def v2_shapes(width: float, classes: int) -> dict[str, tuple[int, ...]]:
    """The variables of slim's mobilenet_v2, with 1280 features at every width up to 1."""
    depths = [divisible(depth * width) for depth in V2]
    first = divisible(32 * width)
    shapes = unit("MobilenetV2/Conv", (3, 3, 3, first))
    for i, depth in enumerate(depths):
        scope = f"MobilenetV2/expanded_conv_{i}" if i else "MobilenetV2/expanded_conv"
        inner = 6 * depths[i - 1] if i else first
        if i:
            shapes |= unit(f"{scope}/expand", (1, 1, depths[i - 1], inner))
        shapes |= unit(f"{scope}/depthwise", (3, 3, inner, 1), depthwise=True)
        shapes |= unit(f"{scope}/project", (1, 1, inner, depth))
    shapes |= unit("MobilenetV2/Conv_1", (1, 1, depths[-1], 1280))
    head = "MobilenetV2/Logits/Conv2d_1c_1x1"
    return shapes | {f"{head}/weights": (1, 1, 1280, classes), f"{head}/biases": (classes,)}


def divisible(depth: float) -> int:
    rounded = max(8, int(depth + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * depth else rounded


def table(name: str) -> Recorded:
    [found] = [case for case in recorded() if case.name == name]
    return found


def filled(shapes: Mapping[str, tuple[int, ...]]) -> Variables:
    random = np.random.default_rng(3)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def planned(name: str, variables: Variables, folder: Path, **config: object) -> Plan:
    write_bundle(folder / "model.ckpt", variables, write_state=False)
    settings = {**table(name).config, **config}
    return tfpt.plan(name, folder / "model.ckpt", config=settings)


CASES = [("mobilenet_v1", v1_shapes), ("mobilenet_v2", v2_shapes)]


@pytest.mark.parametrize(("name", "shapes"), CASES)
def test_the_recorded_checkpoint_has_the_variables_of_slims_network(name, shapes):
    expected = shapes(0.125, 11)
    found = table(name).shapes
    assert expected.items() <= found.items()
    rest = {
        re.sub(r"/(RMSProp(_1)?|ExponentialMovingAverage)$", "", other) for other in found
    } - expected.keys()
    assert rest == {"global_step"}


@pytest.mark.parametrize("averages", [False, True])
@pytest.mark.parametrize(("name", "shapes"), CASES)
@pytest.mark.parametrize(("width", "classes"), [(0.35, 3), (0.5, 1001)])
def test_other_widths_and_classes_convert(name, shapes, width, classes, averages, tmp_path):
    wanted = shapes(width, classes)
    if averages:
        wanted |= {f"{variable}/ExponentialMovingAverage": shape for variable, shape in wanted.items()}
    variables = filled(wanted)
    write_bundle(tmp_path / "model.ckpt", variables, write_state=False)
    config = {
        **table(name).config,
        "depth_multiplier": width,
        "id2label": {str(number): str(number) for number in range(classes)},
        "label2id": {str(number): number for number in range(classes)},
    }
    done = tfpt.convert(name, tmp_path / "model.ckpt", tmp_path / "out.safetensors", config=config)
    written = load_file(done.path)
    for parameter, [(variable, operation)] in table(name).parameters.items():
        if not variable:
            continue
        value = variables[variable if averages else variable.removesuffix("/ExponentialMovingAverage")]
        expected = value[0, 0].T if parameter == "classifier.weight" else carried_out(operation, value)
        np.testing.assert_array_equal(written[parameter], expected, err_msg=parameter)


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v2_deeplab"])
class TestCheckpointsThatDoNotFit:
    def test_a_missing_layer_is_found(self, name, tmp_path):
        layer = (
            "MobilenetV1/Conv2d_7_pointwise/" if name == "mobilenet_v1" else "MobilenetV2/expanded_conv_9/"
        )
        kept = {
            other: value for other, value in table(name).variables().items() if not other.startswith(layer)
        }
        plan = planned(name, kept, tmp_path)
        assert {finding.kind for finding in plan.findings} <= {"absent", "missing"}
        assert plan.findings

    def test_another_width_is_another_shape(self, name, tmp_path):
        plan = planned(name, table(name).variables(), tmp_path, depth_multiplier=0.5)
        assert {finding.kind for finding in plan.findings} == {"shape"}


def test_a_deeplab_checkpoint_may_have_the_last_layer_of_the_body(tmp_path):
    variables = table("mobilenet_v2_deeplab").variables()
    last = filled(unit("MobilenetV2/Conv_1", (1, 1, 40, 1280)))
    write_bundle(tmp_path / "model.ckpt", {**variables, **last}, write_state=False)
    config = table("mobilenet_v2_deeplab").config
    done = tfpt.convert(
        "mobilenet_v2_deeplab", tmp_path / "model.ckpt", tmp_path / "w.safetensors", config=config
    )
    written = load_file(done.path)
    weight = last["MobilenetV2/Conv_1/weights"]
    np.testing.assert_array_equal(
        written["mobilenet_v2.conv_1x1.convolution.weight"], weight.transpose(3, 2, 0, 1)
    )

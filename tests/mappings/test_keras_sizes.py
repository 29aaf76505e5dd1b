"""Variables of keras.applications at several sizes: each mapping fits what Keras builds, and finds what does not fit.

`tests/data/zoo/keras_applications/NAME.tsv` lists the variables of a network as Keras 3.15 builds it,
`NAME.keras2.tsv` as tf_keras 2.21 does, which has other names for some layers.
Values do not matter here: test_keras_applications.py.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import tfpt
from tests.conftest import DATA
from tests.vision import import_vision
from tfpt.language.loader import load_mapping

TABLES = DATA / "zoo/keras_applications"
h5py = pytest.importorskip("h5py")


@dataclass(frozen=True)
class Case:
    """A recorded network and its mapping.

    Attributes:
        network: The table's name: the class of keras.applications.
        mapping: The mapping.
        settings: Its settings for that size.
        config: A configuration of the PyTorch model that does the same.
    """

    network: str
    mapping: str
    settings: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] | None = None

    def __str__(self) -> str:
        return self.network

    @property
    def variables(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the recorded variables."""
        with (TABLES / f"{self.network}.tsv").open() as file:
            return {
                line["variable"]: tuple(json.loads(line["shape"]))
                for line in csv.DictReader(file, delimiter="\t")
            }

    def plan(self, folder: Path, variables: dict[str, tuple[int, ...]], **options: Any) -> Any:
        """The plan for a file with these variables; nothing in it is read."""
        import_vision((load_mapping(self.mapping).model.factory or "").partition(".")[0].partition(":")[0])
        with h5py.File(folder / "m.h5", "w") as file:
            for name, shape in variables.items():
                file.create_dataset(name, shape, "float32")
        return tfpt.plan(self.mapping, folder / "m.h5", **({"settings": self.settings} | options))


EFFICIENTNET = {"model_type": "efficientnet"}
BASE = [
    Case("ConvNeXtTiny", "keras_convnext_tiny"),
    Case("DenseNet121", "keras_densenet121"),
    Case("EfficientNetB0", "keras_efficientnet"),
    Case("InceptionV3", "keras_inception_v3"),
    Case("MobileNetV3Large", "keras_mobilenet_v3"),
    Case("ResNet50V2", "keras_resnet50_v2"),
    Case("VGG16", "keras_vgg16"),
    Case("Xception", "keras_xception"),
]
OLDER = [
    Case("DenseNet121.keras2", "keras_densenet121"),
    Case("MobileNetV3Large.keras2", "keras_mobilenet_v3"),
]
OTHERS = [
    Case(
        "ConvNeXtBase",
        "keras_convnext_tiny",
        {"depths": [3, 3, 27, 3], "hidden_sizes": [128, 256, 512, 1024]},
        {"model_type": "convnext", "depths": [3, 3, 27, 3], "hidden_sizes": [128, 256, 512, 1024]},
    ),
    Case("DenseNet169", "keras_densenet121", {"architecture": "densenet169"}),
    Case(
        "EfficientNetB3",
        "keras_efficientnet",
        {"variant": 3},
        EFFICIENTNET
        | {"width_coefficient": 1.2, "depth_coefficient": 1.4, "hidden_dim": 1536, "image_size": 300},
    ),
    Case(
        "EfficientNetB7",
        "keras_efficientnet",
        {"variant": 7},
        EFFICIENTNET
        | {"width_coefficient": 2.0, "depth_coefficient": 3.1, "hidden_dim": 2560, "image_size": 600},
    ),
    Case(
        "MobileNetV3Small",
        "keras_mobilenet_v3",
        {"architecture": "tf_mobilenetv3_small_100"},
        {"architecture": "tf_mobilenetv3_small_100", "num_classes": 1000},
    ),
    Case("ResNet101", "keras_resnet50", {"depths": [3, 4, 23, 3]}),
    Case("ResNet101V2", "keras_resnet50_v2", {"depths": [3, 4, 23, 3]}),
    Case("VGG19", "keras_vgg16", {"architecture": "vgg19"}),
]


@pytest.mark.parametrize("case", [*BASE, *OLDER, *OTHERS], ids=str)
def test_every_variable_has_its_place(case: Case, tmp_path: Path) -> None:
    plan = case.plan(tmp_path, case.variables)
    assert plan.findings == ()
    assert {note.kind for note in plan.notes} <= {"unconfirmed-layout"}
    assert {name.partition("/")[0] for name in plan.ignored} <= {"normalization"}


@pytest.mark.parametrize("case", [case for case in OTHERS if case.config], ids=str)
def test_a_configuration_of_the_pytorch_model_does_the_same(case: Case, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(case.config))
    by_config = case.plan(tmp_path, case.variables, settings={}, config=tmp_path / "config.json")
    assert by_config.findings == ()
    assert by_config.writes == case.plan(tmp_path, case.variables).writes


@pytest.mark.parametrize("case", OTHERS, ids=str)
def test_another_size_than_the_mapping_is_set_to_is_found(case: Case, tmp_path: Path) -> None:
    assert not case.plan(tmp_path, case.variables, settings={}).ok


@pytest.mark.parametrize("case", BASE, ids=str)
def test_a_missing_variable_is_found(case: Case, tmp_path: Path) -> None:
    kernels = [name for name in case.variables if name.endswith(("kernel", "beta"))]
    for gone in (kernels[0], kernels[len(kernels) // 2], kernels[-1]):
        plan = case.plan(tmp_path, {name: shape for name, shape in case.variables.items() if name != gone})
        assert {finding.kind for finding in plan.findings} == {"absent"}


@pytest.mark.parametrize("case", BASE, ids=str)
def test_a_variable_of_another_network_is_found(case: Case, tmp_path: Path) -> None:
    strays = {f"teacher/{name}": shape for name, shape in list(case.variables.items())[-2:]}
    plan = case.plan(tmp_path, case.variables | strays)
    assert {finding.kind for finding in plan.findings} == {"unused"}


@pytest.mark.parametrize("case", BASE, ids=str)
def test_another_number_of_classes_is_found(case: Case, tmp_path: Path) -> None:
    variables = {
        name: tuple(7 if size == 1000 else size for size in shape) for name, shape in case.variables.items()
    }
    assert {finding.kind for finding in case.plan(tmp_path, variables).findings} == {"shape"}
    assert case.plan(tmp_path, variables, settings={"num_classes": 7}).ok


@pytest.mark.parametrize(
    "case", [case for case in BASE if case.network in ("InceptionV3", "Xception")], ids=str
)
def test_layers_numbered_on_after_those_of_another_network_are_mapped(case: Case, tmp_path: Path) -> None:
    def later(name: str) -> str:
        return re.sub(
            r"^(conv2d|batch_normalization)(?:_(\d+))?/", lambda m: f"{m[1]}_{int(m[2] or 0) + 94}/", name
        )

    variables = {later(name): shape for name, shape in case.variables.items()}
    assert "conv2d_94/kernel" in variables
    assert not case.plan(tmp_path, variables).ok
    assert case.plan(tmp_path, variables, settings={"first": 94}).findings == ()

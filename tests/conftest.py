"""Shared fixtures: the folder of real files, checkpoints to convert, and a small mapping."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    # The workers share the processors: more threads than those take longer, waiting for each other.
    threads = str(max(1, (os.cpu_count() or 1) // int(workers)))
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
    ):
        os.environ.setdefault(name, threads)

import numpy as np

# Slowness on a loaded machine is not a failure.
hypothesis.settings.register_profile(
    "tfpt", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tfpt")

# A shell starts background jobs with SIGINT ignored, nohup ignores SIGHUP: programs that tests start would inherit it.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

# The scripts that made the recorded files need packages that the tests do not.
collect_ignore_glob = ["data/*"]

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def hidden_vision() -> Iterator[None]:
    """No test sees packages that another one asked for: `tests.vision`, if that was imported."""
    yield
    if vision := sys.modules.get("tests.vision"):
        vision.hide()


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's cache, or the list of mappings that the user trusts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFPT_CONFIG_DIR", str(tmp_path_factory.getbasetemp() / "configuration"))
        patch.setenv("TFPT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real TensorFlow files and recorded reference values, beside the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} does not exist: real files are not part of the repository")
    return SHARED


@pytest.fixture(scope="session")
def i3d_shapes() -> dict[str, tuple[str, ...]]:
    """Name → (dtype, sizes…) of the PyTorch port that i3d_rgb targets, recorded from that port."""
    return {
        name: tuple(entry)
        for name, entry in json.loads((DATA / "i3d/hassony2_rgb_shapes.json").read_text()).items()
    }


@pytest.fixture(scope="session")
def write_seeded(
    i3d_shapes: dict[str, tuple[str, ...]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int, int], Path]:
    """Makes TensorFlow save DeepMind's variables, with the values used for tests/data/i3d/*.npz."""
    tf = pytest.importorskip("tensorflow")
    from tests.models.deepmind_i3d import seeded_variable, variable_name

    written: dict[tuple[str, int, int], Path] = {}

    def write(scope: str, channels: int, seed: int) -> Path:
        if (scope, channels, seed) not in written:
            tensors = {}
            for name, (_, *shape) in i3d_shapes.items():
                if name.endswith(("batch3d.weight", "num_batches_tracked")):
                    continue
                if name == "conv3d_1a_7x7.conv3d.weight":
                    shape[1] = channels
                tensors[variable_name(name, scope)] = seeded_variable(name, tuple(shape), scope, seed)
            prefix = tmp_path_factory.mktemp(f"seeded_{scope}") / "model.ckpt"
            tf.raw_ops.SaveV2(
                prefix=str(prefix),
                tensor_names=list(tensors),
                shape_and_slices=[""] * len(tensors),
                tensors=list(tensors.values()),
            )
            written[scope, channels, seed] = prefix
        return written[scope, channels, seed]

    return write


@pytest.fixture(scope="session")
def seeded_rgb(write_seeded: Callable[[str, int, int], Path]) -> Path:
    """A checkpoint of the RGB stream, saved by TensorFlow."""
    return write_seeded("RGB", 3, 11)


@pytest.fixture(scope="session")
def sampled_rgb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that fits i3d_rgb, for tests that ignore the values."""
    import tfpt

    prefix = tmp_path_factory.mktemp("sampled") / "model.ckpt"
    tfpt.sample("i3d_rgb", prefix)
    return prefix


TINY = """\
version: 1
summary: a dense layer and a convolution
source:
  scope: net
  ignore:
    - {tf: "{path...}/Momentum", why: optimizer slot}
weights:
  - {tf: dense/kernel, pt: fc.weight,   layout: "i o -> o i"}
  - {tf: dense/bias,   pt: fc.bias,     layout: "o -> o"}
  - {tf: conv/w,       pt: conv.weight, layout: "h w i o -> o i h w"}
  - {pt: steps, fill: 0, shape: [], dtype: int64}
"""


@dataclass
class Tiny:
    """A mapping of four rows with its manifest, and a checkpoint that fits it.

    Attributes:
        folder: The folder of all the files.
        mapping: The mapping file.
        checkpoint: The checkpoint's prefix.
        variables: The content of the checkpoint.
        parameters: The expected PyTorch parameters, transposed by hand.
    """

    folder: Path
    mapping: Path
    checkpoint: Path
    variables: dict[str, np.ndarray]
    parameters: dict[str, np.ndarray]

    @property
    def data(self) -> Path:
        """The checkpoint's data file."""
        return Path(f"{self.checkpoint}.data-00000-of-00001")

    @property
    def index(self) -> Path:
        """The checkpoint's index."""
        return Path(f"{self.checkpoint}.index")

    def rewrite(self, old: str, new: str) -> None:
        """Replace text that occurs once in the mapping."""
        text = self.mapping.read_text()
        assert text.count(old) == 1, old
        self.mapping.write_text(text.replace(old, new))


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """A small mapping with a manifest and a checkpoint."""
    from tfpt.execution.sinks.bundle import write_bundle

    random = np.random.default_rng(5)
    variables = {
        name: random.normal(size=shape).astype(np.float32)
        for name, shape in {
            "net/dense/kernel": (3, 5),
            "net/dense/bias": (5,),
            "net/conv/w": (2, 3, 5, 7),
            "net/dense/kernel/Momentum": (3, 5),
        }.items()
    }
    folder = tmp_path / "tiny"
    folder.mkdir()
    write_bundle(folder / "model.ckpt", variables, write_state=False)
    parameters = {
        "fc.weight": variables["net/dense/kernel"].T,
        "fc.bias": variables["net/dense/bias"],
        "conv.weight": variables["net/conv/w"].transpose(3, 2, 0, 1),
        "steps": np.zeros((), np.int64),
    }
    (folder / "tiny.yaml").write_text(TINY)
    manifest = {name: {"dtype": str(a.dtype), "shape": list(a.shape)} for name, a in parameters.items()}
    (folder / "tiny.manifest.json").write_text(json.dumps(manifest))
    return Tiny(folder, folder / "tiny.yaml", folder / "model.ckpt", variables, parameters)

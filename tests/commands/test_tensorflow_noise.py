"""Commands that run TensorFlow or Keras print nothing of theirs: no oneDNN, no cuInit, no warnings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        return self.out(torch.relu(self.fc(x)))
"""

MAPPING = """\
version: 1
model: {factory: "mod:Net"}
source: {names: keras}
weights:
  - {tf: "{n}/kernel", pt: "{n}.weight", layout: "i o -> o i"}
  - {tf: "{n}/bias",   pt: "{n}.bias"}
endpoints:
  - {tf: out, pt: out}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with a network in three formats, its model and its mapping."""
    keras = pytest.importorskip("keras")
    folder = tmp_path_factory.mktemp("network")
    (folder / "mod.py").write_text(MODULE)
    (folder / "net.yaml").write_text(MAPPING)
    dense = keras.layers.Dense
    model = keras.Sequential(
        [keras.Input((8,)), dense(4, activation="relu", name="fc"), dense(2, name="out")]
    )
    model.save(folder / "net.keras")
    model.save(folder / "net.h5")
    model.export(folder / "saved", verbose=False)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        "record net.keras --mapping net.yaml --out r.npz",
        "record net.h5 --list",
        "record saved --list",
        "verify --mapping net.yaml --trust net.keras --network net.keras",
        "init net.keras --model mod:Net --trust --out proposed.yaml",
        "inspect saved",
        "check net.yaml --trust --checkpoint net.keras",
        "convert --mapping net.yaml --trust --checkpoint net.h5",
    ],
)
def test_as_a_program_it_prints_nothing_of_tensorflows(project, words):
    # As in a user's shell: the tests themselves set the log level.
    hidden = ("TF_", "GLOG_", "ABSL_")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(hidden)}
    program = [str(Path(sys.executable).with_name("tfpt")), *words.split()]
    done = subprocess.run(program, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode in (0, 1)) == ("", True), done.stdout
    for noise in ("oneDNN", "cuInit", "absl", "I0000", "E0000", "WARNING", "TF_ENABLE"):
        assert noise not in done.stdout


def test_without_tensorflow_a_saved_model_says_what_to_install(project):
    code = (
        "import sys; sys.modules['tensorflow'] = None; from tfpt.commands.main import main;"
        "main(['record', 'saved', '--list'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert 'pip install "tfpt[tensorflow]"' in done.stderr
    assert "Traceback" not in done.stderr

"""`tfpt verify`: what it prints and how it ends."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.commands.running import program, refused, run
from tests.models.deepmind_i3d import seeded_clip
from tests.verification.test_verification import RGB

NET = """\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, bias=False)
        self.norm = nn.BatchNorm2d(5, eps={eps})
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.norm(self.conv(x)))
"""

MAPPING = """\
version: 1
summary: a convolution and a batch norm
model: {{factory: "{module}:Net"}}
modules:
  - {{pt: norm, eps: 1.0e-3}}
weights:
  - {{tf: conv/kernel,     pt: conv.weight,       layout: "h w i o -> o i h w"}}
  - {{tf: norm/gamma,      pt: norm.weight}}
  - {{tf: norm/beta,       pt: norm.bias}}
  - {{tf: norm/mean,       pt: norm.running_mean}}
  - {{tf: norm/variance,   pt: norm.running_var}}
  - {{pt: norm.num_batches_tracked, fill: 0, shape: [], dtype: int64}}
endpoints:
  - {{tf: conv, pt: conv, layout: "b h w c -> b c h w"}}
  - {{tf: relu, pt: act,  layout: "b h w c -> b c h w"}}
input: {{layout: "b h w c -> b c h w"}}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a mapping, a model, a checkpoint, and a recording of what TensorFlow's formulas give in numpy."""
    from tfpt.execution.sinks.bundle import write_bundle

    def make(eps: str = "1e-3"):
        module = f"net_{eps.replace('-', '_').replace('.', '_')}"
        (tmp_path / f"{module}.py").write_text(NET.format(eps=eps))
        (tmp_path / "net.yaml").write_text(MAPPING.format(module=module))
        random = np.random.default_rng(11)
        kernel = random.normal(size=(3, 3, 3, 5)).astype(np.float32)
        gamma, beta, mean = (random.normal(size=5).astype(np.float32) for _ in range(3))
        variance = random.uniform(0.01, 0.1, 5).astype(np.float32)
        held = {"conv/kernel": kernel, "norm/gamma": gamma, "norm/beta": beta}
        write_bundle(tmp_path / "model.ckpt", {**held, "norm/mean": mean, "norm/variance": variance})
        x = random.normal(size=(1, 11, 7, 3)).astype(np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (3, 3), axis=(1, 2))
        conv = np.einsum("bhwcij,ijco->bhwo", windows, kernel)
        relu = np.maximum(gamma * (conv - mean) / np.sqrt(variance + 1e-3) + beta, 0)
        np.savez(tmp_path / "r.npz", input=x, conv=conv.astype("f4"), relu=relu.astype("f4"))
        np.save(tmp_path / "x.npy", x)
        return tmp_path

    monkeypatch.chdir(tmp_path)
    return make


WORDS = ("verify", "--mapping", "net.yaml", "--trust", "model.ckpt", "--recording", "r.npz")


def test_what_agrees_ends_with_0_and_says_so_last(project):
    project()
    found = run(*WORDS)
    assert found.code == 0
    assert found.out.splitlines()[-1].startswith("agrees: all 2 endpoints within 1e-05")
    assert "input [1, 11, 7, 3] from the recording" in found.out
    rows = [line.split() for line in found.out.splitlines() if line.startswith("✓")]
    assert [row[1] for row in rows] == ["conv", "relu"]


def test_what_departs_ends_with_1_and_says_why_last(project):
    project("1e-5")
    found = run(*WORDS)
    assert found.code == 1
    last = found.out.splitlines()[-1]
    assert last.startswith(
        "departs at relu, the 2nd of 2 endpoints: norm has eps 1e-05; with eps 0.001, relu agrees to "
    )
    assert "why relu departs (proven by trial)" in found.out
    assert "net.yaml:5" in found.out
    assert "next      build it with eps=0.001" in found.out
    assert "with this change, every recorded endpoint agrees" in found.out


def test_everything_is_json_too(project):
    project("1e-5")
    found = run(*WORDS, "--json")
    assert found.code == 1
    facts = found.json
    assert (facts["agrees"], facts["first"], facts["tolerance"]) == (False, "relu", 1e-5)
    assert [one["verdict"] for one in facts["endpoints"]] == ["agrees", "departs"]
    (diagnosis,) = facts["explanation"]["diagnoses"]
    assert diagnosis["proven"]
    assert diagnosis["places"] == [
        {"kind": "epsilon", "path": "norm", "has": "has eps 1e-05", "had": "eps 0.001", "row": "net.yaml:5"}
    ]
    assert facts["findings"][0]["kind"] == "behavior"


def test_json_has_no_number_that_is_none(project):
    folder = project()
    held = dict(np.load("r.npz"))
    held["relu"] = np.full_like(held["relu"], np.nan)
    np.savez(folder / "r.npz", **held)
    found = run(*WORDS, "--json")
    assert found.code == 1
    assert json.loads(found.out, parse_constant=lambda name: pytest.fail(name))
    assert found.json["endpoints"][1]["verdict"] == "not finite"


def test_the_tolerance_decides(project):
    project("1e-5")
    assert run(*WORDS, "--tolerance", "0.5").code == 0


def test_without_diagnosis_the_figure_alone_is_told(project):
    project("1e-5")
    found = run(*WORDS, "--no-diagnose")
    assert found.code == 1
    assert "of the recorded norm" in found.out.splitlines()[-1]
    assert "proven" not in found.out
    # What contradicts the mapping stands there all the same.
    assert "does not compute what TensorFlow computed" in found.out


def test_adapted_the_model_agrees(project):
    project("1e-5")
    assert run(*WORDS, "--adapt").code == 0


def test_an_input_from_a_file_takes_the_place_of_one_that_was_not_recorded(project):
    folder = project()
    held = {name: array for name, array in np.load("r.npz").items() if name != "input"}
    np.savez(folder / "r.npz", **held)
    assert "--input F.npy" in refused(*WORDS)
    found = run(*WORDS, "--input", "x.npy")
    assert found.code == 0
    assert "from x.npy" in found.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--recording", "none.npz"), "none.npz"),
        ((), "TensorFlow's side is missing"),
        (("--recording", "r.npz", "--network", "n.pb"), "TensorFlow's side is given twice"),
        (("--recording", "r.npz", "--device", "cuda:97"), "does not find this CUDA device"),
        (("--recording", "r.npz", "--input", "none.npy"), "none.npy"),
        (("--recording", "r.npz", "--seed", "3"), "seed applies to a network that is run"),
        (("--recording", "r.npz", "--html", "report.pdf"), "the report must be an HTML file"),
        (("--recording", "r.npz", "--html", "none/report.html"), "mkdir -p"),
    ],
)
def test_bad_input_ends_with_2(project, words, message):
    project()
    assert message in refused("verify", "--mapping", "net.yaml", "--trust", "model.ckpt", *words)


def test_weights_that_the_mapping_does_not_fit_end_with_1(project):
    from tfpt.execution.sinks.bundle import write_bundle

    folder = project()
    write_bundle(folder / "other.ckpt", {"conv/kernel": np.zeros((3, 3, 3, 5), np.float32)})
    found = run("verify", "--mapping", "net.yaml", "--trust", "other.ckpt", "--recording", "r.npz")
    assert found.code == 1
    assert "norm/gamma" in found.err


def test_a_page_is_written_and_not_written_over(project):
    folder = project("1e-5")
    found = run(*WORDS, "--html", "report.html")
    assert found.code == 1
    assert "wrote report.html" in found.out
    assert "norm" in (folder / "report.html").read_text()
    assert "--force replaces it" in refused(*WORDS, "--html", "report.html")
    assert run(*WORDS, "--html", "report.html", "--force", "--json").json["html"] == "report.html"
    assert not list(folder.glob(".report*"))


def test_many_endpoints_are_shown_around_the_first_that_departs(tmp_path, monkeypatch):
    from rich.console import Console

    from tfpt.report.verifications import print_verification
    from tfpt.verification import Verification
    from tfpt.verification.agreement import ComparedEndpoint, Measure

    def one(number: int) -> ComparedEndpoint:
        rel = 1e-7 if number < 60 else 0.1
        measure = Measure(rel, rel, rel, 1.0, 1.0, 1.0, True, True)
        verdict = "agrees" if number < 60 else "departs" if number == 60 else "follows"
        return ComparedEndpoint(f"layer_{number}", f"m.{number}", (1,), (1,), measure, None, verdict)

    pytorch = {"torch": "2", "device": "cpu", "dtype": "float32", "optimize": False}
    facts = {"input": {"shapes": {}, "origin": ""}, "tensorflow": {}, "pytorch": pytorch}
    result = Verification("m", "w", "r", 1e-5, tuple(map(one, range(97))), facts=facts)
    out = Console(record=True, width=150)
    print_verification(out, result)
    text = out.export_text()
    assert all(f"layer_{number} " in text for number in (0, 2, 57, 60, 63, 94, 96))
    assert "layer_30 " not in text
    assert "… 54 that agree or follow" in text
    print_verification(out, result, everything=True)
    assert "layer_30 " in out.export_text()


def test_i3d_converted_from_its_checkpoint_agrees(seeded_rgb, tmp_path):
    weights, clip = tmp_path / "w.safetensors", tmp_path / "clip.npy"
    assert run("convert", "--mapping", "i3d_rgb", "--checkpoint", seeded_rgb, "--out", weights).code == 0
    np.save(clip, seeded_clip(16, 3, 11))
    words = ("--mapping", "i3d_rgb", "--recording", RGB, "--input", clip, "--tolerance", "2e-6")
    found = run("verify", weights, *words)
    assert found.code == 0, found.out
    assert "agrees: all 18 endpoints within 2e-06" in found.out.splitlines()[-1]


def test_the_program_ends_with_0_1_or_2(project):
    folder = project()
    assert program(*WORDS, folder=folder).code == 0
    assert program(*WORDS, "--tolerance", "1e-12", "--no-diagnose", folder=folder).code == 1
    assert program(*WORDS, "--input", "none.npy", folder=folder).code == 2


def test_help_imports_neither_torch_nor_tensorflow():
    import subprocess
    import sys

    code = (
        "import sys; from tfpt.commands.main import main\n"
        "try: main(['verify', '--help'], standalone_mode=False)\n"
        "finally: print({'torch', 'tensorflow', 'matplotlib'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"

"""A mapping that reads several files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import tfpt
from tests.commands.running import run
from tfpt.errors import SourceError
from tfpt.formats.joined import open_for

MAPPING = """version: 1
source: {files: {net: the network, pca: ""}}
weights:
  - {tf: "net:conv/{x}", pt: "conv.{x}"}
  - {tf: "pca:matrix", pt: pca, layout: "i o -> o i"}
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(5)
    values = {name: random.normal(size=shape).astype(np.float32) for name, shape in
              {"conv.a": (2, 3), "conv.b": (5,), "pca": (7, 11)}.items()}  # fmt: skip
    np.savez("a,b=c.npz", **{"conv/a": values["conv.a"], "conv/b": values["conv.b"]})  # type: ignore[arg-type]
    np.savez("other.npz", matrix=values["pca"].T)
    Path("m.yaml").write_text(MAPPING)
    listed = {name: {"dtype": "float32", "shape": value.shape} for name, value in values.items()}
    Path("m.manifest.json").write_text(json.dumps(listed))
    return values


def assert_written(path: str, values: dict[str, np.ndarray]) -> None:
    written = load_file(path)
    assert written.keys() == values.keys()
    for name, value in values.items():
        np.testing.assert_array_equal(written[name], value)


def test_a_mapping_reads_several_files(files: dict[str, np.ndarray]) -> None:
    tfpt.convert("m.yaml", {"pca": "other.npz", "net": "a,b=c.npz"}, "w.safetensors")
    assert_written("w.safetensors", files)
    words = ("--checkpoint", "net=a,b=c.npz", "--checkpoint", "pca=other.npz")
    done = run("convert", "--mapping", "m.yaml", *words, "--out", "v.safetensors")
    assert done.code == 0, done.out + done.err
    assert_written("v.safetensors", files)
    same = run("diff", "--mapping", "m.yaml", "net=a,b=c.npz,pca=other.npz", "v.safetensors")
    assert same.code == 0, same.out
    plan = tfpt.plan("m.yaml", {"pca": "other.npz", "net": "a,b=c.npz"})
    assert plan.source == "net=a,b=c.npz,pca=other.npz"


def test_none_of_them_can_be_the_output(files: dict[str, np.ndarray]) -> None:
    for out in ("other.npz", "a,b=c.npz"):
        before = Path(out).read_bytes()
        Path("w.safetensors").unlink(missing_ok=True)
        Path("w.safetensors").symlink_to(out)
        words = ("--checkpoint", "net=a,b=c.npz", "--checkpoint", "pca=other.npz", "--force")
        assert run("convert", "--mapping", "m.yaml", *words, "--out", "w.safetensors").code == 2
        assert Path(out).read_bytes() == before


@pytest.mark.parametrize(
    ("words", "got"),
    [
        (("net=x.npz",), "net"),
        (("net=x.npz", "pac=y.npz"), "net"),
        (("other.npz",), "one path"),
        (("nett=x.npz",), "nett"),
    ],
)
def test_a_file_that_is_missing_or_unknown_is_one_error(
    files: dict[str, np.ndarray], words: tuple[str, ...], got: str
) -> None:
    given = [word for each in words for word in ("--checkpoint", each)]
    found = run("convert", "--mapping", "m.yaml", *given, "--out", "w.safetensors")
    assert found.code == 2
    assert "the mapping reads several files" in found.err
    assert "net=PATH (the network), pca=PATH" in found.err
    assert f"got       {got}" in found.err
    assert "--checkpoint net=PATH --checkpoint pca=PATH" in found.err


def test_several_files_for_a_mapping_of_one_are_refused(files: dict[str, np.ndarray]) -> None:
    with pytest.raises(SourceError, match="the mapping reads one file"):
        open_for({}, {"a": "other.npz"})
    with pytest.raises(SourceError) as error:
        open_for({"net": "", "pca": ""}, {"net": "other.npz", "pac": "other.npz"})
    assert error.value.nearest == ("pca",)


def test_tensors_are_found_by_the_name_of_their_file(files: dict[str, np.ndarray]) -> None:
    source = open_for({"net": "", "pca": ""}, "net=a,b=c.npz,pca=other.npz")
    assert [spec.name for spec in source.specs.values()] == ["net:conv/a", "net:conv/b", "pca:matrix"]
    assert len(source.files) == 2
    with pytest.raises(SourceError) as error:
        source.read("matrix")
    assert "pca:matrix" in error.value.nearest
    source.close()

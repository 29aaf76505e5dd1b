"""Bad input: one screen that says what, where, what was expected and what to do; code 2; nothing left behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.commands.running import program, refused, run
from tests.conftest import Tiny


def convert(tiny: Tiny, *words: object) -> tuple[object, ...]:
    return ("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, *words)


def refused_while_writing(tiny: Tiny, out: Path, *words: object) -> str:
    """An error after the plan was printed; the whole fits on a screen, and in the folder is what was there before."""
    before = sorted(out.parent.iterdir())
    found = run(*convert(tiny, "--out", out, *words))
    assert found.code == 2, (found.out, found.err)
    assert found.err.startswith("error: ")
    assert len((found.out + found.err).splitlines()) <= 24
    assert sorted(out.parent.iterdir()) == before
    return found.err


def flip(path: Path, at: int) -> None:
    values = bytearray(path.read_bytes())
    values[at] ^= 0x10
    path.write_bytes(values)


class TestCheckpoints:
    def test_no_such_file(self, tiny):
        message = refused("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.folder / "modle.ckpt")
        assert "there is no TensorFlow checkpoint of this name" in message
        assert str(tiny.folder / "modle.ckpt") in message
        assert f"nearest   {tiny.checkpoint}" in message
        assert "next" in message

    def test_no_such_folder(self, tiny):
        message = refused("inspect", tiny.folder / "nowhere" / "model.ckpt")
        assert f"there is no folder {tiny.folder / 'nowhere'}" in message

    def test_an_index_without_its_data(self, tiny, tmp_path):
        tiny.data.unlink()
        message = refused_while_writing(tiny, tmp_path / "w.safetensors")
        assert "a data file of this checkpoint is missing" in message
        assert str(tiny.data) in message

    def test_data_that_end_early(self, tiny, tmp_path):
        os.truncate(tiny.data, 100)
        message = refused_while_writing(tiny, tmp_path / "w.safetensors")
        assert "the data file ends before the values of tensor 'net/" in message
        assert str(tiny.data) in message
        assert "got       100 bytes" in message

    def test_a_changed_byte_in_the_data(self, tiny, tmp_path):
        flip(tiny.data, 3)
        message = refused_while_writing(tiny, tmp_path / "w.safetensors")
        assert "the values of tensor 'net/dense/kernel' fail their checksum" in message
        assert f"{tiny.data}, byte 0" in message
        assert "expected  crc32c" in message
        assert "next" in message

    def test_a_changed_byte_goes_through_without_verification(self, tiny, tmp_path):
        flip(tiny.data, 3)
        out = tmp_path / "w.safetensors"
        assert run(*convert(tiny, "--out", out, "--no-verify-checksums")).code == 0
        changed = load_file(out)["fc.weight"] != tiny.parameters["fc.weight"]
        assert changed.sum() == 1
        assert changed[0, 0]

    def test_a_changed_byte_in_a_variable_that_is_ignored_does_not_matter(self, tiny, tmp_path):
        flip(tiny.data, tiny.data.stat().st_size - 2)
        assert run(*convert(tiny, "--out", tmp_path / "w.safetensors")).code == 0

    @pytest.mark.parametrize("at", [3, 60, -1, -48])
    def test_a_changed_byte_in_the_index(self, tiny, at):
        flip(tiny.index, at)
        message = refused(*convert(tiny, "--dry-run"))
        assert str(tiny.index) in message

    def test_an_index_cut_short(self, tiny):
        os.truncate(tiny.index, 40)
        assert str(tiny.index) in refused(*convert(tiny, "--dry-run"))

    def test_an_empty_index(self, tiny):
        os.truncate(tiny.index, 0)
        assert str(tiny.index) in refused("inspect", tiny.checkpoint)

    def test_a_folder_of_other_things(self, tmp_path):
        (tmp_path / "notes.txt").write_text("nothing here")
        message = refused("inspect", tmp_path)
        assert "there is no TensorFlow checkpoint in this folder" in message
        assert "notes.txt" in message


class TestMappings:
    def test_an_unknown_name_with_the_nearest(self, tiny):
        message = refused("convert", "--mapping", "i3d_rbg.yaml", "--checkpoint", tiny.checkpoint)
        assert "there is no mapping 'i3d_rbg.yaml'" in message
        assert "nearest   i3d_rgb" in message
        assert "tfpt mappings" in message

    def test_a_folder(self, tiny):
        assert "got       a folder" in refused(
            "convert", "--mapping", tiny.folder, "--checkpoint", tiny.checkpoint
        )

    def test_a_mistake_of_syntax_with_its_place(self, tiny):
        tiny.rewrite('"i o -> o i"}', '"i o -> o i"')
        message = refused(*convert(tiny))
        assert "the file is not YAML" in message
        assert "tiny.yaml:9:" in message

    def test_an_unknown_key_with_its_place_and_the_known_ones(self, tiny):
        tiny.rewrite('layout: "o -> o"', 'layuot: "o -> o"')
        message = refused(*convert(tiny))
        column = tiny.mapping.read_text().splitlines()[8].index("layuot") + 1
        assert "unknown key 'layuot'" in message
        assert f"tiny.yaml:9:{column}\n" in message
        assert "layout" in message.partition("nearest")[2]

    def test_an_unknown_letter_in_a_layout(self, tiny):
        tiny.rewrite('"i o -> o i"', '"i o -> o k"')
        message = refused(*convert(tiny))
        assert "tiny.yaml:8" in message
        assert "k" in message.splitlines()[0]

    def test_a_field_on_one_side_only(self, tiny):
        tiny.rewrite("tf: dense/bias, ", 'tf: "{d}/bias", ')
        message = refused(*convert(tiny))
        assert "tiny.yaml:9" in message
        assert "d" in message.splitlines()[0]

    def test_several_mistakes_at_once(self, tiny):
        tiny.rewrite('layout: "o -> o"', 'layuot: "o -> o"')
        tiny.rewrite("fill: 0", "fil: 0")
        message = refused(*convert(tiny))
        assert "tiny.yaml:9" in message
        assert "tiny.yaml:11" in message

    def test_a_key_that_stands_twice(self, tiny):
        tiny.rewrite("version: 1\n", "version: 1\nversion: 1\n")
        assert "duplicate key 'version'" in refused(*convert(tiny))

    def test_a_python_object(self, tiny):
        tiny.rewrite("fill: 0", "fill: !!python/name:os.getcwd ''")
        message = refused(*convert(tiny))
        assert "not allowed" in message
        assert "tiny.yaml:11" in message

    def test_a_python_call_is_not_carried_out(self, tiny):
        trace = tiny.folder / "trace"
        tiny.rewrite("fill: 0", f"fill: !!python/object/apply:os.mkdir [{trace}]")
        assert "tiny.yaml:11" in refused(*convert(tiny))
        assert not trace.exists()

    def test_a_file_that_is_no_text(self, tiny):
        tiny.mapping.write_bytes(b"\xff\xfe\x00version")
        assert "tiny.yaml" in refused(*convert(tiny))

    def test_an_empty_file(self, tiny):
        tiny.mapping.write_text("")
        assert "'version' is missing" in refused(*convert(tiny))

    def test_a_manifest_that_is_none(self, tiny):
        (tiny.folder / "tiny.manifest.json").write_text('{"fc.weight": {"shape": [5, 3]}}')
        message = refused(*convert(tiny))
        assert "tiny.manifest.json" in message
        assert "--write-manifest" in message

    def test_neither_a_manifest_nor_a_model(self, tiny):
        (tiny.folder / "tiny.manifest.json").unlink()
        message = refused(*convert(tiny))
        assert "tiny.manifest.json beside it" in message
        assert "factory" in message


class TestTrust:
    MODULE = """
from pathlib import Path
from torch import nn
Path(__file__).with_name("imported").touch()

class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 5)
        self.conv = nn.Conv2d(5, 7, (2, 3), bias=False)
        self.register_buffer("steps", __import__("torch").zeros((), dtype=__import__("torch").int64))
"""

    @pytest.fixture
    def stranger(self, tiny, monkeypatch):
        """A mapping whose model is in a package that nobody trusts, and that is there to be imported."""
        name = f"stranger_{os.getpid()}"
        (tiny.folder / f"{name}.py").write_text(self.MODULE)
        (tiny.folder / "tiny.manifest.json").unlink()
        tiny.mapping.write_text(f"{tiny.mapping.read_text()}model: {{factory: '{name}:Tiny'}}\n")
        monkeypatch.syspath_prepend(tiny.folder)
        yield tiny
        sys.modules.pop(name, None)

    def test_a_model_from_elsewhere_is_not_imported(self, stranger):
        message = refused(*convert(stranger, "--dry-run"))
        assert "lies outside the packages that tfpt imports from" in message
        assert "tiny.yaml:12" in message
        assert "--trust" in message
        assert not (stranger.folder / "imported").exists()

    def test_trust_admits_it(self, stranger, tmp_path):
        out = tmp_path / "w.safetensors"
        assert run(*convert(stranger, "--trust", "--out", out)).code == 0
        assert load_file(out).keys() == stranger.parameters.keys()
        assert (stranger.folder / "imported").exists()

    @pytest.mark.parametrize("command", ["check", "sample", "diff"])
    def test_no_other_command_imports_it_either(self, stranger, command):
        words = {
            "check": [stranger.mapping],
            "sample": ["--mapping", stranger.mapping, "--out", stranger.folder / "s.ckpt"],
            "diff": ["--mapping", stranger.mapping, stranger.checkpoint],
        }[command]
        assert "--trust" in refused(command, *words)
        assert not (stranger.folder / "imported").exists()

    @pytest.mark.parametrize(
        ("factory", "says"),
        [
            ("os:system", "outside"),
            ("transformersx:BertModel", "outside"),
            ("torch:load", "outside"),
            ("torch.nn.functional:handle_torch_function", "defined outside"),
            ("torch.nn.modules.module:namedtuple", "defined outside"),
            ("torch.nn:os", "has no callable os"),
            ("torch.nn:modules.module.Module", "cannot be read"),
            ("torch.nn", "cannot be read"),
        ],
    )
    def test_what_a_trusted_package_does_not_define_itself_is_not_called(self, tiny, factory, says):
        (tiny.folder / "tiny.manifest.json").unlink()
        tiny.mapping.write_text(f"{tiny.mapping.read_text()}model: {{factory: '{factory}'}}\n")
        message = refused(*convert(tiny, "--dry-run"))
        assert says in message
        assert "tiny.yaml:12" in message

    def test_a_package_that_is_not_installed_is_named(self, tiny):
        (tiny.folder / "tiny.manifest.json").unlink()
        tiny.mapping.write_text(f"{tiny.mapping.read_text()}model: {{factory: 'timm.nonesuch:Net'}}\n")
        message = refused(*convert(tiny, "--dry-run"))
        assert "cannot be imported" in message
        assert "pip install timm" in message

    def test_arguments_that_the_model_refuses(self, tiny):
        (tiny.folder / "tiny.manifest.json").unlink()
        model = "model: {factory: 'torch.nn:Linear', kwargs: {depth: 3}}"
        tiny.mapping.write_text(f"{tiny.mapping.read_text()}{model}\n")
        message = refused(*convert(tiny, "--dry-run"))
        assert "torch.nn:Linear rejects its arguments" in message
        assert "got       depth=3" in message


class TestOutputs:
    def test_a_folder_that_is_not_there(self, tiny, tmp_path):
        found = run(*convert(tiny, "--out", tmp_path / "new" / "w.safetensors"))
        assert found.code == 2
        assert "the output's folder does not exist" in found.err
        assert f"mkdir -p {tmp_path / 'new'}" in found.err

    def test_a_folder_that_is_a_file(self, tiny):
        found = run(*convert(tiny, "--out", tiny.mapping / "w.safetensors"))
        assert found.code == 2
        assert "the output's folder is a file" in found.err

    @pytest.mark.parametrize("folder", ["/proc/tfpt/", "tiny.yaml/out/"])
    def test_a_folder_that_cannot_be_made(self, tiny, folder, monkeypatch):
        monkeypatch.chdir(tiny.folder)
        found = run(*convert(tiny, "--out", folder))
        assert found.code == 2
        assert "cannot create the output folder" in found.err
        assert folder.rstrip("/") in found.err

    @pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no /proc")
    def test_a_file_system_that_takes_no_files(self, tiny):
        found = run(*convert(tiny, "--out", "/proc/self/w.safetensors"))
        assert found.code == 2
        assert "/proc/self/w.safetensors" in found.err

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_that_is_not_writable(self, tiny, tmp_path):
        out = tmp_path / "closed"
        out.mkdir(mode=0o500)
        assert "not writable" in refused_while_writing(tiny, out / "w.safetensors")

    def test_a_folder_in_the_files_place(self, tiny, tmp_path):
        (tmp_path / "w.pth").mkdir()
        (tmp_path / "w.pth" / "x").touch()
        words = ("--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--out", tmp_path / "w.pth")
        assert run("convert", *words).code == 0  # a folder takes a file named after the mapping
        assert sorted(path.name for path in (tmp_path / "w.pth").iterdir()) == ["tiny.safetensors", "x"]

    @pytest.mark.parametrize("name", ["w.onnx", "w"])
    def test_an_unknown_suffix(self, tiny, tmp_path, name):
        message = refused_while_writing(tiny, tmp_path / name)
        assert ".safetensors, .pth, .pt" in message
        assert name in message

    @pytest.mark.parametrize("suffix", ["safetensors", "pth"])
    def test_a_full_disk(self, tiny, tmp_path, suffix):
        out = tmp_path / "out"
        out.mkdir()
        found = program(*convert(tiny, "--out", out / f"w.{suffix}"), largest_file=700)
        assert found.code == 2
        assert found.err.startswith("error: cannot write the output")
        assert "next" in found.err
        assert list(out.iterdir()) == []

    def test_a_full_disk_for_a_sample(self, tiny, tmp_path):
        out = tmp_path / "out"
        found = program("sample", "--mapping", tiny.mapping, "--out", out / "m.ckpt", largest_file=300)
        assert found.code == 2
        assert found.err.startswith("error: cannot write the output: the file would be larger")
        assert list(out.iterdir()) == []


class TestOptions:
    def test_a_configuration_that_is_not_json(self, tiny):
        message = refused(*convert(tiny, "--config", tiny.mapping))
        assert "the configuration is not JSON" in message
        assert str(tiny.mapping) in message

    def test_a_configuration_that_is_a_list(self, tiny, tmp_path):
        (tmp_path / "config.json").write_text("[1, 2]")
        assert "not a JSON object" in refused(*convert(tiny, "--config", tmp_path / "config.json"))

    def test_a_configuration_that_is_not_there(self, tiny, tmp_path):
        message = refused(*convert(tiny, "--config", tmp_path / "config.json"))
        assert "cannot read the configuration: No such file" in message

    @pytest.mark.parametrize(
        "words",
        [
            ["convert"],
            ["convert", "--mapping", "i3d_rgb", "--checkpoint", "x", "--workers", "0"],
            ["diff"],
            ["diff", "--tolerance", "-1", "x"],
            ["inspect"],
            ["inspect", "--stat", "x", "y"],
            ["sample", "--mapping", "i3d_rgb", "--seed", "-1"],
            ["nonesuch"],
            [],
        ],
    )
    def test_a_command_that_is_used_wrongly_ends_with_2(self, words):
        found = run(*words)
        assert found.code == 2
        assert "Usage: " in found.err

    def test_a_command_that_is_misspelled_is_guessed(self):
        assert "Did you mean 'convert'?" in run("convrt").err

    @pytest.mark.parametrize(
        "words",
        [
            ["convert", "--mapping", "nonesuch", "--checkpoint", "x"],
            ["diff", "nowhere/a", "nowhere/b"],
            ["inspect", "nowhere/a"],
            ["check", "nonesuch"],
            ["sample", "--mapping", "nonesuch"],
        ],
    )
    def test_with_json_an_error_is_json(self, words):
        found = run(*words, "--json")
        assert found.code == 2
        assert found.err == ""
        assert set(found.json) == {"error", "what", "where", "expected", "got", "nearest", "next", "causes"}
        assert found.json["error"] in ("MappingError", "SourceError")
        assert found.json["what"]

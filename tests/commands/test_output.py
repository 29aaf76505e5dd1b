"""What a command prints, and where it cannot: JSON for every reader, pipes that end, outputs that are refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.commands.running import program, refused, run, strict_json
from tfpt.execution.sinks.bundle import write_bundle

TFPT = str(Path(sys.executable).with_name("tfpt"))


def words(tiny, out):
    return ("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--out", out)


class TestJson:
    """Read by a parser that refuses NaN, Infinity and lone surrogates: see `strict_json`."""

    def test_of_values_that_are_no_numbers(self, tmp_path):
        values = {
            "huge": np.float64([-1.7e308, 1.7e308]),
            "nan": np.float32([np.nan, 1]),
            "inf": np.float32([np.inf, -np.inf]),
        }
        write_bundle(tmp_path / "a", values)
        write_bundle(tmp_path / "b", {name: np.zeros_like(each) for name, each in values.items()})
        facts = run("inspect", "--stats", "--json", tmp_path / "a").json
        assert {each["name"] for each in facts["tensors"]} == values.keys()
        apart = {
            each["name"]: each
            for each in run("diff", "--json", tmp_path / "a", tmp_path / "b").json["tensors"]
        }
        assert apart["inf"]["max_abs"] == "inf"
        assert (
            run("diff", "--json", "--tolerance", "inf", tmp_path / "a", tmp_path / "b").json["tolerance"]
            == "inf"
        )

    def test_numbers_that_json_has_not_are_texts_wherever_they_are(self, capsys):
        from tfpt.report.terminal import print_json

        print_json({"a": [float("nan"), {"b": (np.float64("inf"), -np.inf)}], "c": 0.1, "\ud800": "x\udcff"})
        values = strict_json(capsys.readouterr().out)
        assert values == {"a": ["nan", {"b": ["inf", "-inf"]}], "c": 0.1, "\\ud800": "x\\udcff"}

    def test_of_a_name_that_is_no_unicode(self, tmp_path):
        name = os.fsdecode(b"caf\xe9.npz")
        np.savez(tmp_path / "plain.npz", w=np.zeros(3))
        os.rename(tmp_path / "plain.npz", tmp_path / name)
        done = subprocess.run(
            [TFPT, "inspect", "--json", str(tmp_path / name)], capture_output=True, text=True, check=True
        )
        assert strict_json(done.stdout)["path"].endswith("caf\\udce9.npz")
        done = subprocess.run(
            [TFPT, "inspect", "--json", str(tmp_path / f"no{name}")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert strict_json(done.stdout)["where"].endswith("nocaf\\udce9.npz")


class TestPipes:
    @pytest.fixture
    def large(self, tmp_path):
        """A checkpoint whose listing does not fit into a pipe (64 KiB)."""
        write_bundle(tmp_path / "m", {f"layer_{at:05d}/kernel": np.zeros(1, np.int8) for at in range(4001)})
        return tmp_path / "m"

    @pytest.mark.parametrize("arguments", [("--json",), ("--grep", "kernel")])
    def test_that_nobody_reads_to_the_end_end_the_command_quietly(self, large, arguments):
        process = subprocess.Popen(
            [TFPT, "inspect", str(large), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 141

    def test_that_nobody_reads_at_all_do_too(self, tiny, tmp_path):
        reading, writing = os.pipe()
        os.close(reading)
        for command in (("--help",), ("mappings",), ("inspect", tiny.checkpoint)):
            done = subprocess.run(
                [TFPT, *map(str, command)], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
            )
            assert (done.returncode, done.stderr) == (141, ""), command
        os.close(writing)

    def test_that_break_after_a_file_was_written_are_told_of_it(self, tiny, tmp_path):
        reading, writing = os.pipe()
        os.close(reading)
        script = (  # the plan is printed; what comes after the file is not
            "import sys\nfrom tfpt.commands import convert, main\nconvert._show_plans = lambda *_: None\nmain.main()"
        )
        out = tmp_path / "w.safetensors"
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, words(tiny, out))],
            stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        os.close(writing)
        assert done.returncode == 141
        assert done.stderr.splitlines()[-1] == f"written before that: {out}"
        assert out.is_file()

    def test_into_a_full_disk_are_an_error_that_tells_of_the_file_that_is_there(self, tiny, tmp_path):
        if not os.path.exists("/dev/full"):
            pytest.skip("there is no /dev/full here")
        out = tmp_path / "w.safetensors"
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [TFPT, *map(str, words(tiny, out)), "--json"], stdout=full, stderr=subprocess.PIPE, text=True,
                check=False,
            )  # fmt: skip
            assert done.returncode == 2
            assert "Traceback" not in done.stderr
            assert done.stderr.startswith(
                "error: cannot write to standard output: No space left on device; written"
            )
            assert str(out) in done.stderr
            assert out.is_file()
            done = subprocess.run(
                [TFPT, "inspect", str(tiny.checkpoint)],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
            assert done.returncode == 2
            assert "No space left on device" in done.stderr
            assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
    def test_that_are_closed_do_not_get_what_is_for_a_file(self, tiny, tmp_path, closed):
        """A file that is opened takes the lowest free number: what is printed might go into the weights."""
        out = tmp_path / "w.safetensors"
        done = subprocess.run(
            ["sh", "-c", f'"$@" {closed}', "sh", TFPT, *map(str, words(tiny, out))],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        again = tmp_path / "v.safetensors"
        assert run(*words(tiny, again)).code == 0
        assert out.read_bytes() == again.read_bytes()


class TestPlacesThatCannotBeWritten:
    def test_are_refused_with_what_the_system_says(self, tiny, tmp_path):
        (tmp_path / "file").touch()
        (tmp_path / "loop.safetensors").symlink_to("loop.safetensors")
        (tmp_path / "round").symlink_to("round")
        for out, said in {
            "x" * 300 + ".safetensors": "name is too long",
            "x" * 300 + "/w.safetensors": "name is too long|does not exist",
            "file/w.safetensors": "is a file, not a folder",
            "loop.safetensors": "a symbolic link to itself",
            "round/w.safetensors": "a symbolic link to itself",
            "~nobody-of-that-name/w.safetensors": "folder does not exist",
            "no/w.safetensors": "folder does not exist",
        }.items():
            place = out if out.startswith("~") else tmp_path / out
            for more in ((), ("--force",)):
                assert re.search(said, refused(*words(tiny, place), *more)), out
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "file",
            "loop.safetensors",
            "round",
            "tiny",
        ]

    def test_two_loops_are_no_two_conversions_of_one_file(self, tiny, tmp_path):
        (tmp_path / "loop.pth").symlink_to("loop.pth")
        outs = ("--out", tmp_path / "loop.pth", "--out", tmp_path / "w.pth")
        both = ("--mapping", tiny.mapping, "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint)
        assert "symbolic link to itself" in refused("convert", *both, *outs)
        outs = ("--out", tmp_path / "w.pth", "--out", tmp_path / "w.pth" / "v.pth")
        assert "does not exist" in refused("convert", *both, *outs)
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "w"))] == []

    @pytest.mark.parametrize("path", ["a\0b.safetensors", "\ud800.safetensors"])
    def test_are_refused_in_python_too(self, tiny, path):
        import tfpt

        with pytest.raises(tfpt.SinkError, match="not a valid file name"):
            tfpt.convert(tiny.mapping, tiny.checkpoint, path)

    def test_are_refused_by_whatever_writes(self, tmp_path):
        (tmp_path / "loop").symlink_to("loop")
        at = tmp_path / "loop"
        assert "cannot write the checkpoint" in refused(
            "sample", "--mapping", "i3d_rgb", "--out", at / "model.ckpt"
        )
        assert "symbolic link to itself" in refused("profile", "--mapping", "i3d_rgb", "--trace", at)
        out = ("--out", at / "f.gif")
        assert "symbolic link to itself" in refused(
            "visualize", "filters", "--mapping", "i3d_rgb", "--weights", "w", *out
        )

    def test_an_error_of_the_system_that_nobody_expected_is_an_error_all_the_same(self, tiny, monkeypatch):
        def fails(*_, **__):
            raise OSError(5, "Input/output error", str(tiny.checkpoint))

        monkeypatch.setattr("tfpt.checking.inspection.inspect", fails)
        said = refused("inspect", tiny.checkpoint)
        assert said.startswith("error: the system reports an error: Input/output error")
        assert str(tiny.checkpoint) in said
        assert (
            run("inspect", "--json", tiny.checkpoint).json["what"]
            == "the system reports an error: Input/output error"
        )


def test_pictures_and_traces_do_not_replace_what_they_are_made_of(tmp_path, sampled_rgb):
    import tfpt

    weights = tfpt.convert("i3d_rgb", sampled_rgb, tmp_path / "w.safetensors").path
    before = weights.read_bytes()
    said = refused("profile", "--mapping", "i3d_rgb", "--weights", weights, "--trace", weights, "--force")
    assert "would replace one of its inputs" in said
    clip = tmp_path / "c.gif"
    clip.write_bytes(b"GIF89a")
    options = ("--mapping", "i3d_rgb", "--weights", weights, "--clip", clip, "--out", clip, "--force")
    assert "would replace one of its inputs" in refused("visualize", "activations", *options)
    assert (weights.read_bytes(), clip.read_bytes()) == (before, b"GIF89a")


def test_the_exit_codes_are_those_that_the_help_lists():
    text = " ".join(run("--help").out.split())
    assert all(f"{code} " in text for code in (0, 1, 2, 130, 143, 129, 141))


def test_a_command_with_nothing_to_say_on_standard_error_says_nothing(tiny, tmp_path):
    assert program(*words(tiny, tmp_path / "w.safetensors"), "--json").err == ""

"""`tfpt convert`: what it says, what it writes, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from tests.commands.running import program, refused, run
from tests.conftest import Tiny
from tfpt._version import __version__
from tfpt.language.loader import bundled_mappings
from tfpt.planning import Plan


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("mapping", "checkpoint", "variables", "ignored"),
    [
        ("i3d_rgb.yaml", "rgb_imagenet", 230, {}),
        ("i3d_flow", "flow_imagenet", 230, {}),
        ("i3d_rgb_kinetics600", "rgb_scratch_kin600", 346, {"optimizer slot": 116}),
        ("i3d_rgb_piergiaj", "rgb_imagenet", 230, {}),
        ("i3d_flow_piergiaj.yaml", "flow_imagenet", 230, {}),
    ],
)
def test_a_dry_run_on_deepminds_own_index_finds_nothing_wrong(
    shared, mapping, checkpoint, variables, ignored
):
    prefix = shared / "real/i3d" / checkpoint / "model.ckpt"
    found = run("convert", "--dry-run", "--mapping", mapping, "--checkpoint", prefix, "--json")
    assert found.code == 0, found.out
    [plan] = found.json
    summary = {"variables": variables, "used": 230, "ignored": sum(ignored.values()), "parameters": 344}
    assert {key: plan["summary"][key] for key in summary} == summary
    assert plan["findings"] == []
    reasons = list(plan["ignored"].values())
    assert {reason: reasons.count(reason) for reason in set(reasons)} == ignored
    assert all(name.endswith("/Momentum") for name in plan["ignored"])


def test_a_dry_run_says_in_words_what_it_would_do(shared):
    prefix = shared / "real/i3d/rgb_scratch_kin600/model.ckpt"
    found = run("convert", "--dry-run", "--mapping", "i3d_rgb_kinetics600", "--checkpoint", prefix)
    assert found.code == 0
    assert "346 variables: 230 used, 116 ignored (optimizer slot: 116)" in found.out
    assert "344 parameters: 230 translated, 114 filled" in found.out
    assert "no finding" in found.out
    # One line for each row, with an example; a convolution of 1×1 on 64 channels is noted.
    assert "Conv3d_1a_7x7/conv_3d/w → conv3d_1a_7x7.conv3d.weight" in found.out
    assert "unconfirmed-layout" in found.out


def test_with_all_a_dry_run_lists_every_parameter(tiny):
    found = run("convert", "--dry-run", "--all", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint)
    row = next(line for line in found.out.splitlines() if "net/conv/w" in line)
    assert " ".join(row.split()) == (
        "net/conv/w [2, 3, 5, 7] conv.weight [7, 5, 2, 3] float32 layout h w i o -> o i h w"
    )
    assert [name in found.out for name in tiny.parameters] == [True] * 4


def test_a_dry_run_writes_nothing(tiny, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)
    for target in ([], ["--out", out / "new" / ""], ["--out", f"{out}/new/"]):
        found = run(
            "convert", "--dry-run", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, *target
        )
        assert found.code == 0
    assert contents(out) == []


def test_the_file_holds_every_parameter_transposed_as_numpy_would(tiny, tmp_path):
    out = tmp_path / "weights.safetensors"
    found = run("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--out", out)
    assert found.code == 0
    assert f"wrote {out}" in found.out
    written = load_file(out)
    assert written.keys() == tiny.parameters.keys()
    for name, expected in tiny.parameters.items():
        assert written[name].dtype == expected.dtype
        np.testing.assert_array_equal(written[name], expected, err_msg=name)


def test_without_out_the_file_is_called_as_its_mapping(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint).code == 0
    assert Path("tiny.safetensors").is_file()


@pytest.mark.parametrize("name", ["model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001", ""])
def test_a_checkpoint_is_found_by_its_prefix_any_of_its_files_or_its_folder(tiny, tmp_path, name):
    out = tmp_path / "weights.safetensors"
    checkpoint = tiny.folder / name
    assert run("convert", "--mapping", tiny.mapping, "--checkpoint", checkpoint, "--out", out).code == 0


def test_a_file_says_where_it_comes_from(tiny, tmp_path):
    out = tmp_path / "weights.safetensors"
    run("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--out", out)
    plan = run(
        "convert", "--dry-run", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--json"
    ).json[0]
    fingerprint = run("inspect", tiny.checkpoint, "--json").json["fingerprint"]
    with safe_open(out, "numpy") as file:
        assert file.metadata() == {
            "format": "pt",
            "tfpt.mapping": "tiny",
            "tfpt.mapping_digest": plan["digest"],
            "tfpt.source": "model.ckpt",
            "tfpt.source_fingerprint": fingerprint,
            "tfpt.version": __version__,
        }


def test_the_digest_is_another_when_the_mapping_says_something_else(tiny):
    def digest():
        words = ("convert", "--dry-run", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--json")
        return run(*words).json[0]["digest"]

    before = digest()
    tiny.mapping.write_text(f"# a comment is no difference\n{tiny.mapping.read_text()}")
    assert digest() == before
    tiny.rewrite("fill: 0", "fill: 1")
    assert digest() != before


@pytest.mark.parametrize("suffix", ["pth", "pt"])
def test_what_torch_loads_equals_the_safetensors(tiny, tmp_path, suffix):
    words = ("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--out")
    assert run(*words, tmp_path / "w.safetensors").code == 0
    assert run(*words, tmp_path / f"w.{suffix}").code == 0
    state = torch.load(tmp_path / f"w.{suffix}", weights_only=True)
    expected = load_file(tmp_path / "w.safetensors")
    assert list(state) == list(tiny.parameters)
    for name, value in expected.items():
        assert torch.equal(state[name], torch.from_numpy(value)), name
        assert state[name].dtype == torch.from_numpy(value).dtype


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_another_dtype_is_what_torch_makes_of_it_and_integers_stay(tiny, tmp_path, dtype):
    out = tmp_path / "w.pth"
    words = ("--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--out", out, "--dtype", dtype)
    assert run("convert", *words).code == 0
    state = torch.load(out, weights_only=True)
    for name, value in tiny.parameters.items():
        expected = torch.from_numpy(value.copy())
        if name != "steps":
            expected = expected.to(getattr(torch, dtype))
        assert state[name].dtype == expected.dtype, name
        assert torch.equal(state[name], expected), name


def test_bfloat16_in_safetensors_has_the_bits_of_torchs(tiny, tmp_path):
    out = tmp_path / "w.safetensors"
    run(
        "convert",
        "--mapping",
        tiny.mapping,
        "--checkpoint",
        tiny.checkpoint,
        "--out",
        out,
        "--dtype",
        "bfloat16",
    )
    with safe_open(out, "pt") as file:
        kernel = file.get_tensor("fc.weight")
    expected = torch.from_numpy(tiny.parameters["fc.weight"].copy()).to(torch.bfloat16)
    assert torch.equal(kernel, expected)
    assert np.array_equal(
        expected.view(torch.int16).numpy(),
        tiny.parameters["fc.weight"].astype(ml_dtypes.bfloat16).view(np.int16),
    )


@pytest.mark.parametrize("dtype", ["int32", "string", "float33", "complex64", "qint8"])
def test_weights_are_written_in_floating_point_types_only(tiny, tmp_path, dtype):
    words = ("--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--out", tmp_path / "w.safetensors")
    message = refused("convert", *words, "--dtype", dtype)
    assert f"got       {dtype}" in message
    assert "bfloat16" in message
    assert not (tmp_path / "w.safetensors").exists()


def test_one_thread_or_many_write_the_same_bytes(tiny, tmp_path):
    for workers in (1, 3):
        out = tmp_path / f"{workers}.safetensors"
        words = (
            "--mapping",
            tiny.mapping,
            "--checkpoint",
            tiny.checkpoint,
            "--out",
            out,
            "--workers",
            workers,
        )
        assert run("convert", *words).code == 0
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "3.safetensors").read_bytes()


def test_a_file_that_exists_is_replaced_only_with_force(tiny, tmp_path):
    out = tmp_path / "w.safetensors"
    out.write_bytes(b"precious")
    words = ("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--out", out)
    message = refused_after_the_plan(*words)
    assert "exists already" in message
    assert "--force" in message
    assert out.read_bytes() == b"precious"
    assert run(*words, "--force").code == 0
    assert load_file(out).keys() == tiny.parameters.keys()


def refused_after_the_plan(*words: object) -> str:
    """Like `refused`, where the plan has been printed before."""
    found = run(*words)
    assert found.code == 2
    assert found.err.startswith("error: ")
    assert len((found.out + found.err).splitlines()) <= 24
    return found.err


def test_a_set_parameter_changes_the_model(tmp_path):
    checkpoint = tmp_path / "seven.ckpt"
    assert run("sample", "--mapping", "i3d_rgb", "--set", "num_classes=7", "--out", checkpoint).code == 0
    words = (
        "convert",
        "--mapping",
        "i3d_rgb",
        "--checkpoint",
        checkpoint,
        "--out",
        tmp_path / "w.safetensors",
    )
    assert run(*words).code == 1
    assert run(*words, "--set", "num_classes=7").code == 0
    assert load_file(tmp_path / "w.safetensors")["conv3d_0c_1x1.conv3d.bias"].shape == (7,)


@pytest.mark.parametrize("setting", ["num_classes", "=7", "num_classes=[1"])
def test_a_setting_that_is_none_is_a_usage_error(setting):
    found = run("convert", "--mapping", "i3d_rgb", "--checkpoint", "x", "--set", setting)
    assert found.code == 2
    assert "--set" in found.err
    assert setting.partition("=")[0] in found.err


def test_a_parameter_that_the_mapping_does_not_have_is_refused_with_the_nearest(sampled_rgb):
    message = refused("convert", "--mapping", "i3d_rgb", "--checkpoint", sampled_rgb, "--set", "num_clases=7")
    assert "num_clases" in message
    assert "num_classes" in message


class TestSeveralMappings:
    def second(self, tiny: Tiny) -> Path:
        other = tiny.folder / "other.yaml"
        other.write_text(tiny.mapping.read_text())
        (tiny.folder / "other.manifest.json").write_text((tiny.folder / "tiny.manifest.json").read_text())
        return other

    def copy(self, tiny: Tiny) -> Path:
        """The same checkpoint under another name."""
        for path in (tiny.index, tiny.data):
            path.with_name(path.name.replace("model", "second")).write_bytes(path.read_bytes())
        return tiny.folder / "second.ckpt"

    def test_each_takes_its_checkpoint_and_they_share_a_folder(self, tiny, tmp_path):
        out = tmp_path / "out"
        words = ("--mapping", tiny.mapping, "--mapping", self.second(tiny))
        checkpoints = ("--checkpoint", tiny.checkpoint, "--checkpoint", self.copy(tiny))
        found = run("convert", *words, *checkpoints, "--out", out)
        assert found.code == 0
        assert contents(out) == ["other.safetensors", "tiny.safetensors"]

    def test_one_checkpoint_serves_all(self, tiny, tmp_path):
        words = ("--mapping", tiny.mapping, "--mapping", self.second(tiny), "--checkpoint", tiny.checkpoint)
        outs = ("--out", tmp_path / "a.safetensors", "--out", tmp_path / "b.pth")
        assert run("convert", *words, *outs).code == 0
        assert contents(tmp_path) == ["a.safetensors", "b.pth", "tiny"]

    def test_numbers_that_do_not_match_are_a_usage_error(self, tiny):
        second = self.second(tiny)
        words = ["--mapping", tiny.mapping, "--mapping", second, "--mapping", second]
        found = run("convert", *words, "--checkpoint", tiny.checkpoint, "--checkpoint", tiny.checkpoint)
        assert found.code == 2
        assert "3 --mapping and 2 --checkpoint" in found.err
        found = run("convert", *words, "--checkpoint", "x", "--out", "a.pth", "--out", "b.pth")
        assert found.code == 2
        assert "3 --mapping and 2 --out" in found.err

    def test_two_that_would_write_one_file_are_refused(self, tiny, tmp_path):
        words = ("--mapping", tiny.mapping, "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint)
        message = run("convert", *words, "--out", tmp_path / "out").err
        assert "two conversions would write the same file" in message
        assert contents(tmp_path / "out") == []

    def test_findings_of_the_second_keep_the_first_from_being_written(self, tiny, tmp_path):
        second = self.second(tiny)
        second.write_text(second.read_text().replace("dense/bias", "dense/biass"))
        out = tmp_path / "out"
        words = (
            "--mapping",
            tiny.mapping,
            "--mapping",
            second,
            "--checkpoint",
            tiny.checkpoint,
            "--out",
            out,
        )
        found = run("convert", *words)
        assert found.code == 1
        assert "nothing was written" in found.err
        assert not out.exists()

    def test_damage_of_the_second_keeps_the_first_from_being_written(self, tiny, tmp_path):
        second = self.copy(tiny)
        data = second.with_name("second.ckpt.data-00000-of-00001")
        values = bytearray(data.read_bytes())
        values[3] ^= 1
        data.write_bytes(values)
        out = tmp_path / "out"
        words = ("--mapping", tiny.mapping, "--mapping", self.second(tiny), "--out", out)
        found = run("convert", *words, "--checkpoint", tiny.checkpoint, "--checkpoint", second)
        assert found.code == 2
        assert "fail their checksum" in found.err
        assert contents(out) == []

    @pytest.mark.parametrize("suffix", ["safetensors", "pth"])
    def test_a_full_disk_at_the_second_keeps_the_first_from_being_written(self, tiny, tmp_path, suffix):
        out = tmp_path / "out"
        out.mkdir()
        # 220 floats: the tensors alone fit, what a file has around them fits only in the first.
        larger = self.second(tiny)
        rows = "".join(f"  - {{pt: steps_{n}, fill: 0, shape: [], dtype: int64}}\n" for n in range(40))
        larger.write_text(larger.read_text() + rows)
        manifest = larger.with_name("other.manifest.json")
        table = json.loads(manifest.read_text())
        table |= {f"steps_{n}": {"dtype": "int64", "shape": []} for n in range(40)}
        manifest.write_text(json.dumps(table))
        words = ("--mapping", tiny.mapping, "--mapping", larger, "--checkpoint", tiny.checkpoint)
        outs = ("--out", out / f"a.{suffix}", "--out", out / f"b.{suffix}")
        assert program("convert", *words, *outs).code == 0
        sizes = [(out / f"{name}.{suffix}").stat().st_size for name in "ab"]
        assert sizes[0] + 100 < sizes[1]
        for path in out.iterdir():
            path.unlink()
        found = program("convert", *words, *outs, largest_file=sizes[1] - 100)
        assert found.code == 2
        assert "cannot write the output: the file would be larger than" in found.err
        assert f"b.{suffix}" in found.err
        assert contents(out) == []


def test_the_program_ends_with_the_codes_that_its_help_states(tiny, tmp_path):
    words = ("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint)
    assert program(*words, "--out", "w.safetensors", folder=tmp_path).code == 0
    assert program(*words, "--out", "w.safetensors", folder=tmp_path).code == 2
    tiny.rewrite("conv/w", "conv/v")
    found = program(*words, "--out", "v.safetensors", folder=tmp_path)
    assert found.code == 1
    assert contents(tmp_path) == ["tiny", "w.safetensors"]


def test_findings_are_json_too(tiny):
    tiny.rewrite("conv/w", "conv/v")
    found = run("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--json")
    assert found.code == 1
    [plan] = found.json
    assert plan["ok"] is False
    assert plan["out"] is None
    kinds = {finding["kind"]: finding for finding in plan["findings"]}
    assert kinds["absent"]["where"].endswith("tiny.yaml:10")
    assert kinds["absent"]["nearest"] == ["net/conv/w"]
    assert kinds["unused"]["name"] == "net/conv/w"


def test_what_was_written_is_json_too(tiny, tmp_path):
    out = tmp_path / "w.safetensors"
    found = run("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--out", out, "--json")
    [plan] = found.json
    assert plan["out"] == str(out)
    assert out.is_file()
    assert [write["name"] for step in plan["steps"] for write in step["writes"]] == list(tiny.parameters)
    step = next(step for step in plan["steps"] if step["writes"][0]["name"] == "conv.weight")
    assert step["reads"] == [{"name": "net/conv/w", "shape": [2, 3, 5, 7], "dtype": "float32"}]
    assert step["work"] == "layout h w i o -> o i h w"
    assert step["row"].endswith("tiny.yaml:10")


def test_a_finding_tells_everything_that_a_reader_needs(tiny):
    tiny.rewrite("pt: fc.weight, ", "pt: fc.weigth,")
    found = run("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint)
    assert found.code == 1
    assert "the row writes fc.weigth, which the model does not have" in found.out
    assert "net/dense/kernel → fc.weigth" in found.out
    assert "tiny.yaml:8" in found.out
    assert "no row writes the parameter fc.weight" in found.out
    assert "fc.weight  [5, 3]" in found.out
    extra = found.out[found.out.index("extra") :]
    assert "fc.weight  same shape after i o -> o i; named weight for weigth; nothing writes it" in extra
    assert f"next      tfpt inspect {tiny.checkpoint} --beside {tiny.mapping}" in found.out
    assert "nothing was written" in found.err


def test_a_row_that_fits_nowhere_is_one_cause(sampled_rgb, tmp_path):
    bundled = bundled_mappings()["i3d_rgb"]
    for path in (bundled, bundled.with_name("i3d_rgb.manifest.json")):
        (tmp_path / path.name).write_text(path.read_text())
    mapping = tmp_path / "i3d_rgb.yaml"
    mapping.write_text(mapping.read_text().replace("batch_norm/beta", "batch_norm/bete"))
    words = ("convert", "--dry-run", "--mapping", mapping, "--checkpoint", sampled_rgb)
    found = run(*words)
    assert found.code == 1
    headings = [line for line in found.out.splitlines() if line.startswith(("absent", "missing", "unused"))]
    assert [(line.split()[0], line.split()[-1]) for line in headings] == [("absent", "(57)")]
    assert "57 variables that the mapping reads are not in the checkpoint" in found.out
    assert f"next      write beta for bete at {mapping}:27; or paste this" in found.out
    assert len(found.out.splitlines()) < 50
    assert "more (--all" not in run(*words, "--all").out


def test_without_a_model_it_writes_what_the_rows_give_and_says_so(tiny, tmp_path):
    manifest = tiny.folder / "tiny.manifest.json"
    manifest.write_text(manifest.read_text().replace("[5, 3]", "[7, 3]"))  # another size
    out = tmp_path / "out.safetensors"
    convert = ("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--out", out)
    assert run(*convert).code == 1
    found = run(*convert, "--no-model")
    assert found.code == 0, found.out
    assert "note: unchecked" in found.out
    assert "names, shapes and dtypes of the PyTorch side were not checked" in found.out
    written = load_file(out)
    assert set(written) == set(tiny.parameters)
    for name, values in tiny.parameters.items():
        np.testing.assert_array_equal(written[name], values)
    found = run("diff", "--no-model", "--mapping", tiny.mapping, tiny.checkpoint, out)
    assert found.code == 0, found.out
    assert "not checked" in found.out


def test_without_a_model_neither_torch_nor_the_model_is_imported(tiny, tmp_path):
    tiny.mapping.write_text(f"{tiny.mapping.read_text()}model: {{factory: 'timm.nonesuch:Net'}}\n")
    (tiny.folder / "tiny.manifest.json").unlink()
    files = ", ".join(repr(str(path)) for path in (tiny.mapping, tiny.checkpoint, tmp_path / "a.safetensors"))
    code = f"import sys, tfpt; tfpt.convert({files}, use_model=False); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_without_a_model_a_parameter_may_be_set_though_no_model_says_its_shape(tiny, tmp_path):
    tiny.rewrite("  scope: net", '  scope: "${scope}"\n')
    tiny.mapping.write_text(f"{tiny.mapping.read_text()}params: {{scope: other}}\n")
    options = ("--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--set", "scope=net", "--dry-run")
    found = refused("convert", *options)
    assert "--no-model takes the names and shapes that the rows give" in found
    assert run("convert", *options, "--no-model").code == 0


def test_without_a_mapping_there_is_no_model_to_leave_out(tiny):
    assert "--no-model requires a mapping" in refused("diff", "--no-model", tiny.checkpoint, tiny.checkpoint)


def test_a_page_shows_the_plan_with_or_without_findings(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--html", "page.html")
    found = run(*words, "--dry-run")
    assert found.code == 0
    assert "wrote page.html" in found.out
    assert '"verdict":"fits","good":true' in (tmp_path / "page.html").read_text("utf-8")
    assert not (tmp_path / "tiny.safetensors").exists()
    assert "--force replaces it" in refused(*words)
    assert not (tmp_path / "tiny.safetensors").exists()
    assert run(*words, "--force", "--json").json[0]["html"] == "page.html"
    assert (tmp_path / "tiny.safetensors").exists()
    tiny.rewrite('"h w i o -> o i h w"', '"h w i o -> i o h w"')
    found = run(*words, "--force")
    assert (found.code, found.err) == (1, "\nnothing was written\n")
    assert '"verdict":"1 finding","good":false' in (tmp_path / "page.html").read_text("utf-8")


def test_several_mappings_share_a_page(tiny, tmp_path):
    words = ("--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint)
    page = tmp_path / "page.html"
    assert run("convert", *words, *words, "--dry-run", "--html", page).code == 0
    assert page.read_text("utf-8").count('"verdict":"fits"') == 2


def test_a_plan_with_a_page_is_still_a_plan(tiny, tmp_path):
    words = ("--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--html", tmp_path / "page.html")
    [found] = run("convert", *words, "--dry-run", "--json").json
    assert Plan.from_json(found).ok

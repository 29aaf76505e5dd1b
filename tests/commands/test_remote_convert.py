"""Commands on URLs: `convert`, `inspect`, `diff`; what is fetched for them, and what is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.commands.running import program, refused, run
from tests.serving import serving
from tfpt.io import stores

pytest.importorskip("aiohttp")


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    stores.forget()
    monkeypatch.setattr(stores, "DELAYS", (0.01, 0.01, 0.01))


@pytest.fixture
def web(sampled_rgb):
    with serving() as server:
        server.add(*sampled_rgb.parent.glob("model.ckpt.*"))
        yield server


def convert(web, out, *words):
    return run(
        "convert", "--mapping", "i3d_rgb", "--checkpoint", f"{web.url}/m/model.ckpt", "--out", out, *words
    )


def test_a_remote_checkpoint_converts_to_the_same_bytes(web, sampled_rgb, tmp_path):
    assert convert(web, tmp_path / "a.safetensors").code == 0
    words = ("--checkpoint", sampled_rgb, "--out", tmp_path / "b.safetensors")
    assert run("convert", "--mapping", "i3d_rgb", *words).code == 0
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    data = web.gets(".data-00000-of-00001")
    assert all(asked.range and asked.status == 206 for asked in data)
    # 230 variables: the small ones come together, and next to nothing comes twice.
    size = len(web.files["/m/model.ckpt.data-00000-of-00001"])
    assert 3 < len(data) < 230
    assert sum(asked.sent for asked in data) < 1.1 * size


def test_looking_and_planning_read_no_data(web, tmp_path):
    assert "230" in run("inspect", f"{web.url}/m/model.ckpt").out
    assert convert(web, tmp_path / "a.safetensors", "--dry-run").code == 0
    assert run("diff", "--mapping", "i3d_rgb", f"{web.url}/m/model.ckpt").code == 0
    assert web.gets(".data-00000-of-00001") == []


def test_flaws_of_the_line_do_not_show(web, tmp_path):
    # The index is one request, which succeeds at its fourth try; then the values.
    web.faults = [("cut", 2000), 503, ("cut", 0), None, 503, ("cut", 7)]
    assert convert(web, tmp_path / "a.safetensors").code == 0


def test_two_urls_and_a_url_against_a_file_are_compared(web, tiny, tmp_path):
    web.add(tiny.index, tiny.data, folder="/t")
    url = f"{web.url}/t/model.ckpt"
    assert run("diff", url, tiny.checkpoint).code == 0
    out = tmp_path / "a.safetensors"
    assert run("convert", "--mapping", tiny.mapping, "--checkpoint", url, "--out", out).code == 0
    web.add(out)
    assert run("diff", "--mapping", tiny.mapping, url, f"{web.url}/m/a.safetensors").code == 0


def test_any_store_of_fsspecs(sampled_rgb, tmp_path):
    import fsspec

    store = fsspec.filesystem("memory")
    for path in sampled_rgb.parent.glob("model.ckpt.*"):
        store.pipe_file(f"/i3d/{path.name}", path.read_bytes())
    for place in ("memory://i3d/model.ckpt", "memory://i3d/", "memory://i3d/model.ckpt.index"):
        assert run("inspect", place).code == 0
    words = ("--checkpoint", "memory://i3d", "--out", tmp_path / "a.safetensors")
    assert run("convert", "--mapping", "i3d_rgb", *words).code == 0
    message = refused("inspect", "memory://i3d/modle.ckpt")
    assert "memory://i3d/model.ckpt" in message


def test_what_is_not_there_and_what_is_refused(web):
    assert "no TensorFlow checkpoint of this name" in refused("inspect", f"{web.url}/m/other.ckpt")
    web.statuses["/m/secret.ckpt"] = 403
    assert "credentials" in refused("inspect", f"{web.url}/m/secret.ckpt")


def test_the_published_checkpoint_is_fetched_by_the_command(web, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TFPT_CACHE", str(tmp_path / "cache"))
    web.add(tiny.index, tiny.data, folder="/t")
    message = refused("convert", "--mapping", tiny.mapping)
    assert "does not say where its checkpoint was published" in message
    tiny.rewrite("  scope: net\n", f"  scope: net\n  url: {web.url}/t/model.ckpt\n")
    out = tmp_path / "a.safetensors"
    found = program("convert", "--mapping", tiny.mapping, "--out", out)
    assert found.code == 0, found.err
    assert "fetching model.ckpt.data-00000-of-00001" in found.err
    assert out.exists()
    quiet = run("convert", "--dry-run", "--json", "--mapping", tiny.mapping, "--out", out)
    assert (quiet.code, quiet.err) == (0, "")


IMPORTED = """
import sys
import tfpt
from tfpt.commands.main import main
try:
    main(sys.argv[1:], standalone_mode=False)
except SystemExit as end:
    assert not end.code, end.code
print("imported:", *sorted({"fsspec", "aiohttp", "requests", "urllib.request"} & sys.modules.keys()))
"""


def test_local_files_import_no_client(tiny, tmp_path):
    words = (
        "convert",
        "--mapping",
        tiny.mapping,
        "--checkpoint",
        tiny.checkpoint,
        "--out",
        tmp_path / "a.safetensors",
    )
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *map(str, words)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "imported:"

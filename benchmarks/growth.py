"""How cost grows with size: each case at n and at 4n, at a base commit and now, with the exponent of the growth.

    python benchmarks/growth.py [--base COMMIT] [--only WORD] [--limit 60]

A case is work whose cost used to grow faster than its input: CPU time, peak memory, or bytes and requests over HTTP.
The files are written once, by h5py, numpy and tfpt; each measurement runs in a separate process, alternating between
the versions. Without `--base` only the current version is measured. The exponent is log4 of the growth: 1 is linear,
2 is quadratic, 0 is constant.
Needs Linux (VmHWM), git, and the packages of the tests.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Case:
    """Work whose size can be chosen.

    Attributes:
        what: The description for the table.
        unit: What `n` counts.
        n: The small size; the large one is four times as much.
        build: Writes the input into a folder, given n; returns the size in bytes that memory and traffic are compared
            with, or None.
        run: Does the work on that folder, or on the URL that serves it.
        measure: ``cpu`` (seconds), ``memory`` (peak, as a multiple of the size), ``web`` (megabytes and requests), or
            ``h5py`` (CPU time as a multiple of h5py's time to list the same file).
    """

    what: str
    unit: str
    n: int
    build: Callable[[Path, int], int | None]
    run: Callable[[str], Any]
    measure: str = "cpu"


def _inspect(path: str) -> None:
    import tfpt

    tfpt.inspect(path)


def _plan(folder: str) -> None:
    import tfpt

    tfpt.plan(f"{folder}/m.yaml", f"{folder}/m.safetensors")


def _read_all(path: str) -> None:
    import tfpt

    source = tfpt.open_source(path)
    for name in source.specs:
        source.read(name)


def _tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow

    return tensorflow


# -- HDF5 -------------------------------------------------------------------------------------------------


def _attributes(folder: Path, n: int) -> None:
    import h5py

    with h5py.File(folder / "m.h5", "w") as file:
        for i in range(n):
            group = file.create_group(f"layer_{i}")
            group.create_dataset("kernel:0", data=np.full(1 << 18, i, np.float32))
            group.attrs.create("weight_names", ["kernel:0"], dtype=h5py.string_dtype())
        file.attrs.create("layer_names", [f"layer_{i}" for i in range(n)], dtype=h5py.string_dtype())


def _chunks(folder: Path, n: int) -> None:
    import h5py

    with h5py.File(folder / "m.h5", "w") as file:
        file.create_dataset("w", data=np.arange(n * 16, dtype=np.float32), chunks=(16,))


def _datasets(folder: Path, n: int) -> None:
    import h5py

    with h5py.File(folder / "m.h5", "w") as file:
        for i in range(n):
            file.create_dataset(f"block_{i // 100}/layer_{i}/kernel", data=np.float32([i]))


def _list_with_h5py(path: str) -> None:
    import h5py

    found: list[object] = []
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, item: found.append((name, getattr(item, "shape", 0), dict(item.attrs))))


# -- planning ---------------------------------------------------------------------------------------------


def _planned(folder: Path, mapping: str, variables: dict[str, np.ndarray], parameters: list[str]) -> None:
    from safetensors.numpy import save_file

    save_file(variables, folder / "m.safetensors")
    (folder / "m.yaml").write_text(f"version: 1\n{mapping}")
    manifest = {name: {"dtype": "float32", "shape": [1]} for name in parameters}
    (folder / "m.manifest.json").write_text(json.dumps(manifest))


_ONE = np.zeros(1, np.float32)


def _averages(folder: Path, n: int) -> None:
    names = [f"layer_{i}/w" for i in range(n)]
    shadows = [f"{name}/ExponentialMovingAverage" for name in names]
    mapping = """\
source: {ema: {tf: "{path...}/ExponentialMovingAverage", use: prefer}}
weights: [{tf: "layer_{i}/w", pt: "layers.{i:int}.w"}]
"""
    _planned(folder, mapping, dict.fromkeys(names + shadows, _ONE), [f"layers.{i}.w" for i in range(n)])


def _literal(folder: Path, n: int) -> None:
    rows = "\n".join(f"  - {{tf: layer_{i}/w, pt: layers.{i}.w}}" for i in range(n))
    variables = dict.fromkeys([f"layer_{i}/w" for i in range(n)], _ONE)
    _planned(folder, f"weights:\n{rows}\n", variables, [f"layers.{i}.w" for i in range(n)])


def _misnamed(folder: Path, n: int) -> None:
    variables = dict.fromkeys([f"net/block_{i % 97}/unit_{i}/kernel" for i in range(n)], _ONE)
    rows = "\n".join(f"  - {{tf: nets/block_{i}/units_{i}/kernel, pt: w{i}}}" for i in range(20))
    _planned(folder, f"weights:\n{rows}\n", variables, [f"w{i}" for i in range(20)])


def _fields(folder: Path, n: int) -> None:
    name = "-a" * n + "/w"
    row = '{tf: "{a}-{b}-{c}-{d}-{e}-{f}b{g}/w", pt: "{a}.{b}.{c}.{d}.{e}.{f}.{g}"}'
    _planned(folder, f"weights: [{row}]\n", {name: _ONE}, ["w"])


# -- checkpoints ------------------------------------------------------------------------------------------


def _bundle(folder: Path, n: int) -> None:
    from tfpt.execution.sinks.bundle import write_bundle

    write_bundle(folder / "m.ckpt", {f"net/block_{i % 97}/unit_{i}/kernel": _ONE for i in range(n)})


def _miss(folder: str) -> None:
    import tfpt

    source = tfpt.open_source(f"{folder}/m.ckpt")
    for i in range(3):
        with suppress(tfpt.TfptError):
            source.read(f"nets/block_{i}/units_{i}/kernel")


def _copies(folder: Path, n: int) -> None:
    tf = _tensorflow()
    variables, copies = ([tf.Variable([float(i)]) for i in range(n)] for _ in range(2))
    # As in Keras exports: every variable a second time, below this name.
    tf.train.Checkpoint(layers=variables, _all_variables=copies).write(str(folder / "m.ckpt"))


def _version_1(folder: Path, n: int) -> int:
    tf = _tensorflow()
    value = np.random.default_rng(0).normal(size=n << 18).astype(np.float32)
    tf.raw_ops.Save(filename=str(folder / "m.ckpt"), tensor_names=["w"], data=[value])
    return int(value.nbytes)


def _text_graph(folder: Path, n: int) -> int:
    # As text_format writes it: most bytes of a value take four characters.
    value = np.random.default_rng(0).bytes(n << 18)
    escaped = "".join(f"\\{byte:03o}" for byte in value)
    shape = f"tensor_shape {{ dim {{ size: {n << 18} }} }}"
    tensor = f'dtype: DT_UINT8 {shape} tensor_content: "{escaped}"'
    attribute = f'attr {{ key: "value" value {{ tensor {{ {tensor} }} }} }}'
    text = (
        f'node {{ name: "w" op: "Const" attr {{ key: "dtype" value {{ type: DT_UINT8 }} }} {attribute} }}\n'
    )
    (folder / "m.pbtxt").write_text(text)
    return len(text)


# -- hostile files ----------------------------------------------------------------------------------------


def _repeated(folder: Path, n: int) -> None:
    entry = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = ("{" + ",".join(f'"w{i}":{entry}' for i in range(n)) + f',"w{n - 1}":{entry}' + "}").encode()
    (folder / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


def _rejected(path: str) -> None:
    import tfpt

    with suppress(tfpt.TfptError):
        tfpt.inspect(path)


# -- over HTTP --------------------------------------------------------------------------------------------


def _remote_h5(folder: Path, n: int) -> int:
    import h5py

    with h5py.File(folder / "m.h5", "w") as file:
        for i in range(8):
            value = np.random.default_rng(i).normal(size=n << 15).astype(np.float32)
            file.create_dataset(f"layer_{i}/kernel:0", data=value)
            file[f"layer_{i}"].attrs.create("weight_names", ["kernel:0"], dtype=h5py.string_dtype())
    return (folder / "m.h5").stat().st_size


def _remote_safetensors(folder: Path, n: int) -> int:
    from safetensors.numpy import save_file

    arrays = {f"w{i}": np.random.default_rng(i).normal(size=n << 15).astype(np.float32) for i in range(8)}
    save_file(arrays, folder / "m.safetensors")
    return (folder / "m.safetensors").stat().st_size


def _remote_tflite(folder: Path, n: int) -> int:
    tf = _tensorflow()
    layers = [tf.keras.layers.Input((64,)), *(tf.keras.layers.Dense(n << 6) for _ in range(8))]
    content = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Sequential(layers)).convert()
    (folder / "m.tflite").write_bytes(content)
    return len(content)


def _convert(folder: str) -> None:
    import tfpt

    with tempfile.TemporaryDirectory() as out:
        mapping = Path(out) / "m.yaml"
        mapping.write_text('version: 1\nweights: [{tf: "w{i}", pt: "w{i}"}]\n')
        names = {f"w{i}": {"dtype": "float32", "shape": _side(folder)} for i in range(8)}
        (Path(out) / "m.manifest.json").write_text(json.dumps(names))
        tfpt.convert(mapping, f"{folder}/m.safetensors", f"{out}/m.safetensors")


def _side(folder: str) -> list[int]:
    import tfpt

    return list(tfpt.open_source(f"{folder}/m.safetensors").specs["w0"].shape)


CASES = {
    "attributes": Case("HDF5: variable-length attributes", "layers of 1 MB", 30, _attributes,
                       lambda folder: _inspect(f"{folder}/m.h5")),
    "chunks": Case("HDF5: a chunked dataset", "chunks", 5000, _chunks,
                   lambda folder: _read_all(f"{folder}/m.h5")),
    "datasets": Case("HDF5: names, compared with h5py", "datasets", 2500, _datasets,
                     lambda folder: _inspect(f"{folder}/m.h5"), "h5py"),
    "averages": Case("plan: moving averages", "variables", 2000, _averages, _plan),
    "literal": Case("plan: rows without fields", "rows", 500, _literal, _plan),
    "misnamed": Case("plan: nearest names of 20 rows", "names", 25_000, _misnamed, _plan),
    "fields": Case("plan: a template of six fields", "letters in a name", 40, _fields, _plan),
    "miss": Case("checkpoint: nearest names of a missing one", "names", 25_000, _bundle, _miss),
    "copies": Case("object-based checkpoint: exported copies", "variables", 2000, _copies,
                   lambda folder: _inspect(f"{folder}/m.ckpt")),
    "header": Case("safetensors: a header with a duplicate name", "names", 2000, _repeated,
                   lambda folder: _rejected(f"{folder}/m.safetensors")),
    "v1": Case("V1 checkpoint: one tensor", "MB", 32, _version_1,
               lambda folder: _read_all(f"{folder}/m.ckpt"), "memory"),
    "pbtxt": Case("text graph: a constant", "MB", 2, _text_graph,
                  lambda folder: _read_all(f"{folder}/m.pbtxt"), "memory"),
    "web-h5": Case("HTTP: inspect an .h5", "MB", 8, _remote_h5,
                   lambda folder: _inspect(f"{folder}/m.h5"), "web"),
    "web-safetensors": Case("HTTP: inspect safetensors", "MB", 8, _remote_safetensors,
                            lambda folder: _inspect(f"{folder}/m.safetensors"), "web"),
    "web-tflite": Case("HTTP: inspect a .tflite", "units in a layer / 64", 4, _remote_tflite,
                       lambda folder: _inspect(f"{folder}/m.tflite"), "web"),
    "web-convert": Case("HTTP: convert safetensors", "MB", 8, _remote_safetensors, _convert, "web"),
}  # fmt: skip


def child(name: str, place: str) -> None:
    """Do the work of a case and print its cost."""
    case = CASES[name]
    import tfpt

    if case.measure in ("memory", "h5py"):
        import h5py  # noqa: F401  excludes its import from the measurement

        tfpt.inspect  # noqa: B018  and that of the reader
    before = _peak()
    begun = time.process_time()
    case.run(place)
    took = {"cpu": time.process_time() - begun, "peak": _peak() - before}
    if case.measure == "h5py":
        begun = time.process_time()
        _list_with_h5py(f"{place}/m.h5")
        took["h5py"] = time.process_time() - begun
    print(json.dumps(took))


def _peak() -> int:
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) << 10


def measured(case: str, tree: Path, place: Path, size: int | None, limit: float) -> tuple[float, str]:
    """The measured figure of a case, as a number and as text."""
    kind = CASES[case].measure
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    with _served(place) if kind == "web" else _nothing() as web:
        where = f"{web.url}/m" if web is not None else str(place)
        command = [sys.executable, __file__, "--child", case, where]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=limit, cwd=tree
            )
        except subprocess.TimeoutExpired:
            return math.inf, f"> {limit:.0f} s"
        if done.returncode:
            return math.nan, done.stderr.strip().splitlines()[-1][:60]
        took = json.loads(done.stdout.splitlines()[-1])
        if web is not None:
            sent = sum(request.sent for request in web.gets())
            return sent / 1e6, f"{sent / 1e6:.2f} of {(size or 0) / 1e6:.1f} MB, {len(web.log)} requests"
    if kind == "memory":
        return took["peak"], f"{took['peak'] / (size or 1):.1f} × the size"
    if kind == "h5py":
        return took["cpu"], f"{took['cpu']:.2f} s, {took['cpu'] / took['h5py']:.1f} × h5py"
    return took["cpu"], f"{took['cpu']:.2f} s"


@contextmanager
def _served(folder: Path) -> Iterator[Any]:
    sys.path.insert(0, str(ROOT))
    from tests.serving import serving

    with serving() as web:
        web.add(*(path for path in folder.iterdir() if path.is_file()))
        yield web


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


@contextmanager
def checked_out(commit: str | None) -> Iterator[Path | None]:
    """A worktree of the repository at a commit, from which `tfpt` can be imported."""
    if commit is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "base"
        subprocess.run(
            ["git", "-C", ROOT, "worktree", "add", "--detach", "--quiet", tree, commit], check=True
        )
        try:
            # The installed package has these two folders inside tfpt.
            for name in ("models", "mappings"):
                (tree / "tfpt" / name).symlink_to(tree / name)
            yield tree
        finally:
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", tree], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--base", help="a commit to compare with")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--limit", type=float, default=60, help="seconds for one measurement")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    print("| case | n | version | at n | at 4n | exponent |\n|---|---|---|---|---|---|")
    with checked_out(options.base) as base:
        versions = ([("before", base)] if base else []) + [("now", ROOT)]
        for name, case in CASES.items():
            if options.only not in name:
                continue
            with tempfile.TemporaryDirectory() as folder:
                places = [Path(folder) / str(size) for size in (case.n, 4 * case.n)]
                sizes = []
                for place, n in zip(places, (case.n, 4 * case.n), strict=True):
                    place.mkdir()
                    sizes.append(case.build(place, n))
                for label, tree in versions:
                    (few, small), (many, large) = (
                        measured(name, tree, place, size, options.limit)
                        for place, size in zip(places, sizes, strict=True)
                    )
                    grown = math.log(many / few, 4) if 0 < few < many < math.inf else math.nan
                    exponent = f"{grown:.1f}" if few and not math.isnan(grown) else "—"
                    print(
                        f"| {case.what} | {case.n:,} {case.unit} | {label} | {small} | {large} | {exponent} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()

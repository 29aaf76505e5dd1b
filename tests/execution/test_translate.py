"""Plans carried out: the values are numpy's, in bounded memory, and the first error stops the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tfpt.errors import DtypeError, ModelError, SourceError
from tfpt.execution import translate as module
from tfpt.execution.jobs import convert
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.execution.translate import MemorySink, metadata_of, translate, translated, values_of
from tfpt.language.loader import load_mapping
from tfpt.planning import Plan, PlanError, Step, make_plan
from tfpt.tensors import BY_NUMPY, TensorSpec


class ArraySource:
    """A source that holds its arrays, and counts what is asked of it."""

    side: Any = "tf"
    format = "arrays"

    def __init__(self, arrays: dict[str, np.ndarray], broken: str = "") -> None:
        self.location = "somewhere/model.ckpt"
        self.roles: dict[str, Any] = {}
        self.aliases: dict[str, str] = {}
        self.arrays = arrays
        self.broken = broken
        self.specs = {n: TensorSpec(n, a.shape, BY_NUMPY[a.dtype].name) for n, a in arrays.items()}
        self.was_read: list[str] = []
        self.released: list[str] = []

    def read(self, name: str) -> np.ndarray:
        self.was_read.append(name)
        if name == self.broken:
            raise SourceError(f"{name} fails its checksum")
        return self.arrays[name]

    def release(self, name: str) -> None:
        self.released.append(name)

    def fingerprint(self) -> str:
        return "f00d"

    def close(self) -> None:
        pass


Planned = Callable[..., tuple[Plan, ArraySource]]


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    def plan(
        rows: str,
        arrays: dict[str, np.ndarray],
        targets: dict[str, tuple[tuple[int, ...], str]],
        **options: Any,
    ) -> tuple[Plan, ArraySource]:
        path = tmp_path / "m.yaml"
        path.write_text(f"version: 1\n{rows}")
        source = ArraySource(arrays, options.pop("broken", ""))
        specs = {name: TensorSpec(name, *said) for name, said in targets.items()}
        return make_plan(load_mapping(path), source.specs, specs, **options), source

    return plan


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def many(count: int, size: int = 3) -> tuple[dict[str, np.ndarray], dict[str, tuple[tuple[int, ...], str]]]:
    arrays = {f"l_{i}/w": values(size, 5, seed=i) for i in range(count)}
    return arrays, {f"l.{i}.w": ((5, size), "float32") for i in range(count)}


ROWS = 'weights: [{tf: "l_{i}/w", pt: "l.{i:int}.w", layout: "i o -> o i"}]'


@pytest.mark.parametrize("workers", [1, 3, None])
def test_everything_is_written_as_numpy_would_write_it(planned: Planned, workers: int | None) -> None:
    rows = """\
weights:
  - {tf: "l_{i}/w", pt: "l.{i:int}.w", layout: "i o -> o i"}
  - {tf: [q, k], pt: qk, layout: "n i o -> (n o) i", scale: 1/7}
  - {tf: fused, pt: [x, y], layout: "i (n o) -> n o i", axes: {n: 2}}
  - {tf: table, pt: table, layout: "v d -> v d", pad: {axis: v, multiple: 4}, dtype: float16}
  - {tf: table, pt: out, layout: "v d -> d v", tied: true}
  - {pt: one, fill: 1, like: l.0.w}
  - {pt: count, fill: 0, shape: [], dtype: int64}
"""
    arrays, targets = many(7)
    arrays |= {"q": values(2, 3), "k": values(2, 3, seed=1), "fused": values(5, 6), "table": values(7, 3)}
    targets |= {
        "qk": ((6, 2), "float32"),
        "x": ((3, 5), "float32"),
        "y": ((3, 5), "float32"),
        "table": ((8, 3), "float32"),
        "out": ((3, 7), "float32"),
        "one": ((5, 3), "float32"),
        "count": ((), "int64"),
    }
    expected = {f"l.{i}.w": arrays[f"l_{i}/w"].T for i in range(7)} | {
        "qk": np.vstack([arrays["q"].T, arrays["k"].T]) / np.float32(7),
        "x": arrays["fused"][:, :3].T,
        "y": arrays["fused"][:, 3:].T,
        "table": np.vstack([arrays["table"], np.zeros((1, 3), np.float32)]).astype(np.float16),
        "out": arrays["table"].T,
        "one": np.ones((5, 3), np.float32),
        "count": np.zeros((), np.int64),
    }
    plan, source = planned(rows, arrays, targets)
    sink = MemorySink()
    translate(plan, source, sink, workers=workers)
    assert sink.tensors.keys() == expected.keys()
    for name, array in sink.tensors.items():
        np.testing.assert_array_equal(array, expected[name])
        assert array.dtype == expected[name].dtype
        assert array.flags.c_contiguous
        assert plan.writes[name].shape == array.shape
    assert sorted(source.released) == sorted(source.was_read)


def test_pieces_of_several_dtypes_are_cast_each_from_the_work(planned: Planned) -> None:
    array = np.random.default_rng(3).normal(size=(2, 101)).astype(np.float32)
    targets = {"x": ((101,), "float64"), "y": ((101,), "float32")}
    row = 'weights: [{tf: a, pt: [x, y], layout: "n i -> n i", scale: 0.1%s}]'
    written = translated(*planned(row % "", {"a": array}, targets))
    assert [written[name].dtype for name in "xy"] == [np.float64, np.float32]
    product = array.astype(np.float64) * 0.1
    # Rounded to float32 on the way, x would be another.
    assert (product[0] != product[0].astype(np.float32)).mean() > 0.5
    np.testing.assert_array_equal(written["x"], product[0])
    np.testing.assert_array_equal(written["y"], product[1].astype(np.float32))
    everywhere = translated(*planned(row % ", dtype: float64", {"a": array}, targets))
    np.testing.assert_array_equal(everywhere["y"], product[1])


@pytest.mark.parametrize(
    ("array", "asked", "row", "what", "got"),
    [
        (np.float32([1, 1e5, -7e4]), "float16", None, "2 values", "100000.0 among them"),
        (np.float32([1, 1000]), "float8_e4m3fn", None, "1 value", "1000.0"),
        (np.float64([1e300]), None, "float32", "1 value", "1e+300"),
        (np.int64([2**40, 3]), None, "float16", "1 value", "1099511627776"),
        (np.int64([-1, 300, 7]), None, "uint8", "2 values", "300 among them"),
        (np.float32([np.nan, 3]), None, "int32", "1 value", "nan"),
        (np.complex64([1, 2j]), None, "float32", "1 value", "2j"),
        (np.float32([0, 1, 0.5]), None, "bool", "1 value", "0.5"),
    ],
)
def test_values_that_the_dtype_cannot_hold_stop_the_work(
    planned: Planned, array: np.ndarray, asked: str | None, row: str | None, what: str, got: str
) -> None:
    text = f"weights: [{{tf: a, pt: b{f', dtype: {row}' if row else ''}}}]"
    targets = {"b": (array.shape, BY_NUMPY[array.dtype].name)}
    plan, source = planned(text, {"a": array}, targets, dtype=asked)
    assert plan.ok, plan.findings
    with pytest.raises(DtypeError) as caught:
        translate(plan, source, MemorySink())
    error = caught.value
    assert error.what == f"{asked or row} cannot represent {what} of b"
    assert got in str(error.got)
    assert "from a" in str(error.expected)
    assert str(error.where).endswith("m.yaml:2")


@pytest.mark.parametrize(
    ("row", "array", "what", "expected", "got"),
    [
        (
            "tf: a, pt: b, apply: log",
            np.float32([1, -2, 0]),
            "log has no finite result for 2 values of b",
            "values above 0, from a",
            "-2.0 among them",
        ),
        (
            "tf: a, pt: b, apply: [square, reciprocal]",
            np.float32([1, 0]),
            "reciprocal has no finite result for 1 value of b",
            "values other than 0, from a",
            "0.0",
        ),
    ],
)
def test_values_for_which_a_function_is_not_defined_stop_the_work(
    planned: Planned, row: str, array: np.ndarray, what: str, expected: str, got: str
) -> None:
    plan, source = planned(f"weights: [{{{row}}}]", {"a": array}, {"b": (array.shape, "float32")})
    assert plan.ok, plan.findings
    with pytest.raises(DtypeError) as caught:
        translate(plan, source, MemorySink())
    assert (caught.value.what, caught.value.expected, caught.value.got) == (what, expected, got)
    assert str(caught.value.where).endswith("m.yaml:2")
    assert caught.value.hint


def test_nothing_appears_where_a_value_cannot_be_held(tiny: Any, tmp_path: Path) -> None:
    tiny.variables["net/dense/kernel"][1, 2] = 1e5
    write_bundle(tiny.checkpoint, tiny.variables, write_state=False)
    for name in ("w.safetensors", "w.pth"):
        with pytest.raises(DtypeError, match=r"float16 cannot represent 1 value of fc\.weight"):
            convert(tiny.mapping, tiny.checkpoint, tmp_path / name, dtype="float16")
    assert [*tmp_path.rglob("w.*")] == []
    done = convert(tiny.mapping, tiny.checkpoint, tmp_path / "w.safetensors", dtype="bfloat16")
    assert done.path.exists()


def test_what_is_kept_must_fit_the_dtype_as_well(planned: Planned) -> None:
    plan, source = planned("weights: [{pt: t, keep: true}]", {}, {"t": ((2,), "float32")}, dtype="float16")
    with pytest.raises(DtypeError, match="float16 cannot represent 1 value of t"):
        values_of(plan.steps[0], source, {"t": torch.tensor([1e5, 2])})


@pytest.mark.parametrize(
    ("fill", "dtype"),
    [(0.1, "float16"), (0.1, "bfloat16"), (7, "complex64"), (2**63 - 1, "int64"), (True, "bool")],
)
def test_constants_are_torchs(planned: Planned, fill: Any, dtype: str) -> None:
    plan, source = planned(
        f"weights: [{{tf: a, pt: a}}, {{pt: c, fill: {fill}}}]",
        {"a": values(1)},
        {"a": ((1,), "float32"), "c": ((2, 3), dtype)},
    )
    (array,) = values_of(next(step for step in plan.steps if not step.reads), source)
    expected = torch.full((2, 3), fill, dtype=getattr(torch, dtype))
    assert array.tobytes() == expected.view(torch.uint8).numpy().tobytes()


def test_what_is_scaled_counts_with_what_it_takes_in_float64(planned: Planned) -> None:
    rows = "weights: [{tf: a, pt: x}, {tf: b, pt: y, scale: 2}]"
    arrays = {"a": values(5, 7), "b": values(5, 7)}
    plan, _ = planned(rows, arrays, dict.fromkeys("xy", ((5, 7), "float32")))
    assert [step.memory for step in plan.steps] == [4 * 35, 4 * 35 + 8 * 35]


def test_a_plan_with_findings_is_not_begun(planned: Planned) -> None:
    plan, source = planned(ROWS, *many(2))
    broken, _ = planned(ROWS, source.arrays, {"l.0.w": ((7, 3), "float32")})
    assert plan.ok
    with pytest.raises(PlanError):
        translate(broken, source, MemorySink())
    assert source.was_read == []


def test_progress_is_told_once_a_step(planned: Planned) -> None:
    plan, source = planned(ROWS, *many(13))
    told: list[Step] = []
    translate(plan, source, MemorySink(), workers=4, progress=told.append)
    assert sorted(step.writes[0].name for step in told) == sorted(plan.writes)


def test_the_largest_goes_first(planned: Planned) -> None:
    arrays = {f"l_{i}/w": values(size, 5) for i, size in enumerate([2, 7, 3])}
    targets = {f"l.{i}.w": ((5, size), "float32") for i, size in enumerate([2, 7, 3])}
    plan, source = planned(ROWS, arrays, targets)
    translate(plan, source, MemorySink(), workers=1)
    assert source.was_read == ["l_1/w", "l_2/w", "l_0/w"]


def test_the_first_error_comes_out_and_stops_the_rest(planned: Planned) -> None:
    arrays, targets = many(200)
    for i, size in enumerate((13, 11)):
        arrays[f"l_{i}/w"] = values(size, 5)
        targets[f"l.{i}.w"] = ((5, size), "float32")
    plan, source = planned(ROWS, arrays, targets, broken="l_1/w")  # the second largest, so the second
    sink = MemorySink()
    with pytest.raises(SourceError, match="l_1/w fails its checksum"):
        translate(plan, source, sink, workers=1)
    assert list(sink.tensors) == ["l.0.w"]


def test_an_error_of_the_sink_comes_out(planned: Planned) -> None:
    plan, source = planned(ROWS, *many(3))

    class FullSink(MemorySink):
        def write(self, name: str, array: np.ndarray) -> None:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        translate(plan, source, FullSink())


class WatchedSink(MemorySink):
    """Remembers how many writes were under way at once; the first ones wait until so many are."""

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self.changed = threading.Condition()
        self.wanted = wanted
        self.now = self.most = 0

    def write(self, name: str, array: np.ndarray) -> None:
        with self.changed:
            self.now += 1
            self.most = max(self.most, self.now)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.most >= self.wanted, timeout=60)
        time.sleep(0.01)  # for more than are wanted to come in, if nothing holds them back
        with self.changed:
            self.now -= 1
        super().write(name, array)


@pytest.mark.parametrize(("held", "most"), [(1, 1), (2, 2), (0, 1), (100, 4)])
def test_no_more_results_are_under_way_than_the_budget_holds(
    planned: Planned, monkeypatch: pytest.MonkeyPatch, held: int, most: int
) -> None:
    """A budget of `held` tensors; one that is larger than the whole budget goes through alone."""
    arrays, targets = many(12)
    monkeypatch.setattr(module, "MEMORY_BUDGET", held * 60 + 1)
    plan, source = planned(ROWS, arrays, targets)
    sink = WatchedSink(most)
    translate(plan, source, sink, workers=4)
    assert len(sink.tensors) == 12
    assert sink.most == most


def test_workers_run_side_by_side(planned: Planned) -> None:
    plan, source = planned(ROWS, *many(3))
    barrier = threading.Barrier(3, timeout=60)

    class MeetingSink(MemorySink):
        def write(self, name: str, array: np.ndarray) -> None:
            barrier.wait()  # breaks unless three writes are under way at once
            super().write(name, array)

    translate(plan, source, MeetingSink(), workers=3)


# -- what the model itself generates ----------------------------------------------------------------------


class Sinusoids(torch.nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(6, dtype=dtype).reshape(2, 3).T / 8)


@pytest.mark.parametrize("held", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("asked", [None, "float16", "bfloat16"])
def test_what_is_kept_is_the_models_in_the_dtype_that_is_written(
    planned: Planned, held: torch.dtype, asked: str | None
) -> None:
    name = str(held).removeprefix("torch.")
    plan, source = planned("weights: [{pt: table, keep: true}]", {}, {"table": ((3, 2), name)}, dtype=asked)
    (array,) = values_of(plan.steps[0], source, Sinusoids(held).state_dict())
    assert BY_NUMPY[array.dtype].name == (asked or name)
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array.astype(np.float64), np.arange(6.0).reshape(2, 3).T / 8)


def test_what_is_kept_needs_the_model(planned: Planned) -> None:
    plan, source = planned("weights: [{pt: table, keep: true}]", {}, {"table": ((3, 2), "float32")})
    with pytest.raises(ModelError) as caught:
        translate(plan, source, MemorySink())
    assert caught.value.what == "table keeps the model's own value, and there is no model"
    assert str(caught.value.where).endswith("m.yaml:2")
    written = translated(plan, source, Sinusoids(torch.float32).state_dict())
    assert written["table"][2, 1] == 5 / 8


def test_a_file_says_what_it_was_made_of(planned: Planned) -> None:
    plan, source = planned(ROWS, *many(1))
    said = metadata_of(plan, source)
    assert said["format"] == "pt"
    assert (said["tfpt.mapping"], said["tfpt.source"], said["tfpt.source_fingerprint"]) == (
        "m",
        "model.ckpt",
        "f00d",
    )
    assert said["tfpt.mapping_digest"] == plan.digest
    assert all(isinstance(value, str) for value in said.values())

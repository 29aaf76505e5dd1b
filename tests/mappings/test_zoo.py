"""Every bundled mapping of a published model against what the official converter does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import tfpt
from tests.mappings.recorded import Recorded, recorded
from tfpt.execution.sinks.bundle import write_bundle

pytest.importorskip("transformers")


@pytest.mark.parametrize("case", recorded(), ids=lambda case: case.name)
def test_converts_as_the_official_converter_does(case: Recorded, tmp_path: Path) -> None:
    variables = case.variables()
    write_bundle(tmp_path / "model.ckpt", variables, write_state=False)
    done = tfpt.convert(case.name, tmp_path / "model.ckpt", tmp_path / "out.safetensors", config=case.config)
    expected = case.expected(variables)
    written = load_file(tmp_path / "out.safetensors")
    assert set(written) == set(expected)
    for name, value in expected.items():
        if value is not None:
            np.testing.assert_array_equal(written[name], value, err_msg=name)
    assert set(done.plan.ignored) | set(done.plan.shadows) == case.unused
    assert done.plan.notes == () or {note.kind for note in done.plan.notes} <= {"unconfirmed-layout"}

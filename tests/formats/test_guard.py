"""Whatever a reader raises leaves `open_source` as a `SourceError` that names the file and keeps the cause."""

from __future__ import annotations

import numpy as np
import pytest

from tfpt.errors import SourceError
from tfpt.formats import open_source
from tfpt.formats import recognition as formats
from tfpt.formats.numpy import source as numpy_reader


@pytest.fixture
def array(tmp_path):
    np.save(tmp_path / "w.npy", np.arange(6, dtype=np.float32))
    return tmp_path / "w.npy"


@pytest.mark.parametrize(
    "raised",
    [IndexError("list index out of range"), RecursionError("deep"), UnicodeError("bytes"), OSError(5, "I/O")],
)
@pytest.mark.parametrize("method", ["read", "release", "fingerprint"])
def test_an_unexpected_exception_of_a_reader_names_the_file(array, monkeypatch, raised, method):
    source = open_source(array)
    (name,) = source.specs

    def fail(*_):
        raise raised

    monkeypatch.setattr(type(source.reader), method, fail)
    with pytest.raises(SourceError) as caught:
        getattr(source, method)(*([name] if method != "fingerprint" else []))
    assert caught.value.where == str(array)
    assert caught.value.__cause__ is raised
    assert type(raised).__name__ in caught.value.what


def test_so_does_one_that_is_raised_while_the_file_is_opened(array, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(numpy_reader, "open_numpy", fail)
    with pytest.raises(SourceError, match="the file cannot be read: ZeroDivisionError") as caught:
        open_source(array)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    monkeypatch.setattr(formats, "_of_bytes", fail)
    with pytest.raises(SourceError, match="the file cannot be read: ZeroDivisionError"):
        open_source(array)


def test_a_lack_of_memory_is_said_as_such(array, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(numpy_reader, "open_numpy", fail)
    with pytest.raises(SourceError, match="more memory than there is"):
        open_source(array)


def test_an_interruption_is_none_of_its_business(array, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(numpy_reader, "open_numpy", stop)
    with pytest.raises(KeyboardInterrupt):
        open_source(array)

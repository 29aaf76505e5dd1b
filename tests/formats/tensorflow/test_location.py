"""Every way to name a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfpt.errors import SourceError
from tfpt.formats.tensorflow.location import Location, locate


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("model.ckpt-10", "model.ckpt-9"):
        touch(tmp_path / f"{name}.index", tmp_path / f"{name}.data-00000-of-00001", tmp_path / f"{name}.meta")
    os.utime(tmp_path / "model.ckpt-9.index", (1, 1))
    return tmp_path


def state(folder: Path, path: str) -> None:
    (folder / "checkpoint").write_text(
        f'model_checkpoint_path: "{path}"\nall_model_checkpoint_paths: "x"\nnew_field: 1\n'
    )


@pytest.mark.parametrize(
    "suffix", ["", "/", ".index", ".meta", ".data-00000-of-00001", ".data-00003-of-00004"]
)
def test_a_prefix_and_each_of_its_files_name_the_checkpoint(folder: Path, suffix: str) -> None:
    expected = Location(str(folder / "model.ckpt-9"), str(folder / "model.ckpt-9.index"))
    assert locate(f"{folder}/model.ckpt-9{suffix}") == expected
    assert locate(Path(f"{folder}/model.ckpt-9{suffix}")) == expected


def test_a_path_may_start_at_the_home_folder_or_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert Path(locate("~/model.ckpt-9").prefix) == folder / "model.ckpt-9"
    monkeypatch.chdir(folder)
    assert Path(locate("model.ckpt-9.index").prefix) == Path("model.ckpt-9")
    assert Path(locate(".").prefix) == Path("model.ckpt-10")


@pytest.mark.parametrize(
    "path", ["model.ckpt-9", "/gone/elsewhere/model.ckpt-9", "./model.ckpt-9", "C:\\\\runs\\\\model.ckpt-9"]
)
@pytest.mark.parametrize("named", ["", "/", "/checkpoint"])
def test_a_folder_means_what_its_state_file_names(folder: Path, path: str, named: str) -> None:
    state(folder, path)
    assert Path(locate(f"{folder}{named}").prefix).name == "model.ckpt-9"


def test_a_state_file_may_name_a_checkpoint_elsewhere(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    state(other, str(folder / "model.ckpt-9"))
    assert Path(locate(other).prefix) == folder / "model.ckpt-9"


def test_a_folder_without_a_state_file_means_its_newest_index(folder: Path) -> None:
    assert Path(locate(folder).prefix).name == "model.ckpt-10"
    os.utime(folder / "model.ckpt-10.index", (0, 0))
    assert Path(locate(folder).prefix).name == "model.ckpt-9"


def test_a_stale_state_file_is_an_error_where_several_are_there_and_none_where_one_is(folder: Path) -> None:
    state(folder, "model.ckpt-11")
    with pytest.raises(SourceError, match="names a checkpoint that does not exist") as caught:
        locate(folder)
    assert str(folder / "model.ckpt-10") in caught.value.nearest
    (folder / "model.ckpt-9.index").unlink()
    assert Path(locate(folder).prefix).name == "model.ckpt-10"


def test_a_state_file_that_is_no_text_is_an_error(folder: Path) -> None:
    for content in (b"\xff\xfe\x00", b"model_checkpoint_path: 3", b"}{"):
        (folder / "checkpoint").write_bytes(content)
        with pytest.raises(SourceError, match="cannot be read"):
            locate(folder)


def test_a_checkpoint_may_itself_be_called_checkpoint(tmp_path: Path) -> None:
    touch(tmp_path / "checkpoint.index", tmp_path / "checkpoint.data-00000-of-00001")
    for path in (tmp_path, tmp_path / "checkpoint", tmp_path / "checkpoint.index"):
        assert Path(locate(path).prefix) == tmp_path / "checkpoint"


def test_a_saved_model_means_its_variables(tmp_path: Path) -> None:
    touch(tmp_path / "saved_model.pb", tmp_path / "variables" / "variables.index")
    for path in (tmp_path, tmp_path / "variables", tmp_path / "variables" / "variables"):
        assert Path(locate(path).prefix) == tmp_path / "variables" / "variables"


def test_a_saved_model_without_variables_says_so(tmp_path: Path) -> None:
    touch(tmp_path / "saved_model.pb")
    with pytest.raises(SourceError, match="no variables: there"):
        locate(tmp_path)


def test_a_file_without_an_index_is_the_first_format(tmp_path: Path) -> None:
    touch(tmp_path / "model.ckpt", tmp_path / "model.ckpt.meta")
    state(tmp_path, "model.ckpt")
    for path in (tmp_path, tmp_path / "model.ckpt", tmp_path / "model.ckpt.meta"):
        assert locate(path) == Location(str(tmp_path / "model.ckpt"), str(tmp_path / "model.ckpt"))


def test_what_is_not_there_brings_the_nearest_names(folder: Path) -> None:
    with pytest.raises(SourceError) as caught:
        locate(folder / "modl.ckpt-9")
    assert caught.value.nearest[0] == str(folder / "model.ckpt-9")
    assert "modl.ckpt-9.index" in str(caught.value.expected)


def test_data_without_an_index_says_that_the_index_is_missing(folder: Path) -> None:
    (folder / "model.ckpt-9.index").unlink()
    with pytest.raises(SourceError, match="index of this checkpoint is missing"):
        locate(folder / "model.ckpt-9.data-00000-of-00001")
    with pytest.raises(SourceError, match="no TensorFlow checkpoint of this name"):
        locate(folder / "model.ckpt-9")


def test_a_folder_of_other_things_says_so_and_lists_them(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no TensorFlow checkpoint in this folder") as caught:
        locate(tmp_path)
    assert "is empty" in str(caught.value.got)
    touch(*(tmp_path / f"frame{at:02d}.png" for at in range(30)), tmp_path / "aux" / "x")
    with pytest.raises(SourceError) as caught:
        locate(tmp_path)
    assert "aux/, frame00.png" in str(caught.value.got)
    assert "and 19 more" in str(caught.value.got)


@pytest.mark.parametrize("path", ["", "/", "..", "a\x00b", "x" * 5000, "/nowhere/at/all", "~nobody/x"])
def test_odd_paths_are_a_source_error_or_a_checkpoint(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    with pytest.raises(SourceError):
        locate(path)

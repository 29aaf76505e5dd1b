"""Pictures in files, read back by Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tfpt.errors import SinkError, TfptError
from tfpt.video.visualization.board import Board, Tile, columns_for, magnified, reduced
from tfpt.video.visualization.files import gif, outputs
from tfpt.video.visualization.lettering import text_size

NONE = np.zeros((0, 3), np.uint8)


def read(data: bytes) -> tuple[np.ndarray, dict]:
    image = Image.open(io.BytesIO(data))
    found = []
    for index in range(image.n_frames):
        image.seek(index)
        found.append(np.asarray(image.convert("RGB")))
    return np.stack(found), image.info


def test_up_to_256_colors_come_back_as_they_were():
    random = np.random.default_rng(1)
    colors = random.integers(0, 256, (256, 3)).astype(np.uint8)
    images = colors[random.integers(0, 256, (3, 31, 37))]
    found, info = read(gif(list(images), 10, NONE))
    assert (found == images).all()
    assert info["loop"] == 0
    assert info["duration"] == 100


def test_of_more_colors_the_palette_is_shared_close_and_keeps_what_it_must():
    y, x = np.mgrid[:97, :89]
    images = [np.stack([x * 2, y * 2, np.full_like(x, 40 * step)], -1).astype(np.uint8) for step in range(5)]
    kept = np.array([[1, 2, 3], [250, 3, 251]], np.uint8)
    for image in images:
        image[0, 0], image[5, 7] = kept
    found, _ = read(gif(images, 10, kept))
    assert len(np.unique(found.reshape(-1, 3), axis=0)) <= 256
    assert (found[:, 0, 0] == kept[0]).all()
    assert (found[:, 5, 7] == kept[1]).all()
    assert np.abs(found.astype(int) - np.stack(images)).mean() < 12


def test_what_does_not_change_does_not_flicker():
    random = np.random.default_rng(2)
    still = random.integers(0, 256, (41, 43, 3)).astype(np.uint8)
    images = [still.copy() for _ in range(4)]
    for step, image in enumerate(images):
        image[:5] = random.integers(0, 256, (5, 43, 3))
        image[6, 6] = 10 * step
    found, _ = read(gif(images, 10, NONE))
    assert (found[:, 8:] == found[0, 8:]).all()


@pytest.mark.parametrize(
    ("fps", "milliseconds"), [(25, 40), (4, 250), (1000, 20), (0.5, 2000), (30, 30), (1e-9, 655_350)]
)
def test_a_frame_lasts_hundredths_of_a_second_and_at_least_two(fps, milliseconds):
    images = [np.full((3, 5, 3), 50 * step, np.uint8) for step in range(2)]
    assert read(gif(images, fps, NONE))[1]["duration"] == milliseconds


# -- outputs ----------------------------------------------------------------------------------------------


def board(steps: int = 2) -> Board:
    tiles = tuple(Tile(f"tile {index}", np.full((steps, 4, 6, 3), 9 * index, np.uint8)) for index in range(3))
    return Board("title", ("line",), tiles, 2, np.zeros((5, 5, 3), np.uint8), NONE)


def test_nothing_is_left_of_a_drawing_that_fails(tmp_path):
    with (
        pytest.raises(ZeroDivisionError),
        outputs(tmp_path / "a.gif", tmp_path / "b.png", overwrite=False),
    ):
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == []


def test_both_files_appear_or_neither(tmp_path):
    (tmp_path / "b.png").write_text("mine")
    with (
        pytest.raises(SinkError, match="exists already"),
        outputs(tmp_path / "a.gif", tmp_path / "b.png", overwrite=False),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["b.png"]
    with outputs(tmp_path / "a.gif", tmp_path / "b.png", overwrite=True) as files:
        animation, sheet = files.write(animation=board(), sheet=board(1), fps=5)
    assert (animation.kind, animation.frames, animation.fps) == ("animation", 2, 5)
    assert (sheet.kind, sheet.frames, sheet.fps) == ("sheet", 1, None)
    assert Image.open(tmp_path / "b.png").size == (sheet.width, sheet.height)
    assert (tmp_path / "a.gif").stat().st_size == animation.nbytes


@pytest.mark.parametrize(
    ("out", "sheet", "message"),
    [
        (None, None, "no output file is given"),
        ("a.jpg", None, "wrong suffix"),
        ("a", None, "wrong suffix"),
        ("a.gif", "b.gif", "wrong suffix"),
        ("a.png", "a.png", "two pictures"),
    ],
)
def test_places_that_make_no_sense_are_refused(tmp_path, out, sheet, message):
    where = [None if name is None else tmp_path / name for name in (out, sheet)]
    with pytest.raises(TfptError, match=message), outputs(*where, overwrite=False):
        pass


def test_an_ending_may_be_in_capitals(tmp_path):
    with outputs(tmp_path / "A.GIF", None, overwrite=False) as files:
        assert files.animation
        assert not files.sheet
        files.write(animation=board(), sheet=None, fps=5)
    assert Image.open(tmp_path / "A.GIF").n_frames == 2


def test_a_package_that_is_missing_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    with (
        pytest.raises(TfptError, match="Pillow is needed") as refused,
        outputs(tmp_path / "a.gif", None, overwrite=False),
    ):
        pass
    assert refused.value.hint == 'pip install "tfpt[pictures]"'
    assert list(tmp_path.iterdir()) == []


# -- the board --------------------------------------------------------------------------------------------


def test_neither_tiles_nor_labels_nor_the_legend_overlap():
    tiles = tuple(
        Tile(f"a rather long label {index}", np.full((2, 7, 5, 3), 30 * index, np.uint8))
        for index in range(5)
    )
    lead = Tile("lead", np.full((2, 19, 23, 3), 200, np.uint8))
    picture = Board("title", ("line",), tiles, 3, np.full((11, 13, 3), 77, np.uint8), NONE, lead)
    taken = np.zeros(picture.size[::-1], int)
    for place in picture.places:
        width, height = text_size(place.label, 10)
        taken[place.y : place.y + place.height, place.x : place.x + place.width] += 1
        taken[place.y - 2 - height : place.y - 2, place.x : place.x + width] += 1
    assert taken.max() == 1
    assert taken.sum() == sum(p.width * p.height + np.prod(text_size(p.label, 10)) for p in picture.places)
    shown = list(picture.frames())
    assert all(frame.shape == (*picture.size[::-1], 3) for frame in shown)
    legend = (shown[0] == 77).all(-1)
    assert legend.sum() == 11 * 13
    assert not (legend & (taken > 0)).any()


def test_tiles_stand_in_rows_from_the_upper_left_at_their_time():
    picture = board()
    images = np.stack(list(picture.frames()))
    for index, place in enumerate(picture.places):
        tile = images[:, place.y : place.y + 4, place.x : place.x + 6]
        assert (tile == 9 * index).all()
    first, second, third = picture.places
    assert first.y == second.y < third.y
    assert first.x == third.x < second.x


def test_only_over_time_is_there_a_counter():
    (still,) = board(1).frames()
    one, two = board(2).frames()
    assert one.shape[0] > still.shape[0]
    assert (one != two).any()


def test_magnifying_repeats_and_reducing_averages():
    values = np.arange(2 * 5 * 7, dtype=float).reshape(2, 5, 7)
    small = reduced(values, 3)
    assert small.shape == (2, 1, 2)
    assert small[1, 0, 1] == values[1, :3, 3:6].mean()
    assert reduced(values, 7) is values
    image = np.random.default_rng(0).integers(0, 255, (3, 5, 3)).astype(np.uint8)
    assert (magnified(image, 4) == np.kron(image, np.ones((4, 4, 1), np.uint8))).all()


@pytest.mark.parametrize("number", [1, 2, 3, 7, 64, 192, 400])
def test_a_grid_has_room_for_all_tiles_and_is_no_single_line(number):
    columns = columns_for(number, 50, 50)
    assert 1 <= columns <= number
    assert columns**2 <= 4 * number

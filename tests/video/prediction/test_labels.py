"""The names of classes: read from a file, and counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tfpt import load_mapping
from tfpt.errors import MappingError
from tfpt.video.prediction.labels import labels_of, read_labels


def test_names_stand_one_a_line_in_the_order_of_the_logits(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffécrire\r\nbowling (ten pins) \n[x]\n\n\n".encode())
    assert read_labels(path) == ("écrire", "bowling (ten pins)", "[x]")


@pytest.mark.parametrize(
    ("name", "classes"), [("i3d_rgb", 400), ("i3d_flow", 400), ("i3d_rgb_kinetics600", 600)]
)
def test_the_bundled_mappings_name_every_class_once(name, classes):
    labels, note = labels_of(load_mapping(name), classes)
    assert len(set(labels)) == classes
    assert note is None


def test_the_order_is_that_of_the_published_map(shared):
    published = (shared / "real/i3d/labels/label_map.txt").read_text().split("\n")
    assert labels_of(load_mapping("i3d_rgb"), 400)[0] == tuple(line for line in published if line)


@pytest.mark.parametrize(
    ("content", "what"), [(b"", "empty"), (b"a\n\nb\n", "has no name"), (b"a\n\xff\xfe\n", "not text")]
)
def test_a_file_that_names_no_classes_is_refused(tmp_path, content, what):
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(MappingError, match=what) as refused:
        read_labels(path)
    assert str(path) in refused.value.where


def test_a_line_without_a_name_is_pointed_at(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("a\nb\n \nd\n")
    with pytest.raises(MappingError) as refused:
        read_labels(path)
    assert refused.value.where == f"{path}:3"


def test_another_number_of_names_is_refused():
    with pytest.raises(MappingError, match="do not match the network") as refused:
        labels_of(load_mapping("i3d_rgb"), 399)
    assert refused.value.expected == "399 names, one for each logit"
    assert refused.value.got == "400 names"


def test_of_a_network_with_another_head_classes_go_by_number():
    labels, note = labels_of(load_mapping("i3d_rgb", {"num_classes": 101}), 101)
    assert labels is None
    assert "classes are shown by number" in note


def test_a_mapping_without_labels_has_none():
    assert labels_of(replace(load_mapping("i3d_rgb"), labels=None), 7) == (None, None)

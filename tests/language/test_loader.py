"""A mapping is found, merged, validated and compiled; every mistake names its position."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tfpt.errors import MappingError
from tfpt.io.limits import MAPPING_FILES
from tfpt.language.configuration import read_config
from tfpt.language.loader import bundled_mappings, find_mapping, load_mapping
from tfpt.language.mapping import Copy, Fill, Keep, Mapping

Load = Callable[..., Mapping]


def refused(load: Load, text: str, **options: object) -> MappingError:
    with pytest.raises(MappingError) as caught:
        load(text, **options)
    return caught.value


# -- the mappings that come with tfpt -------------------------------------------------------------------

# Counted by hand in the YAML and the library: rows of a layer once per scope that uses it, plus those under weights:.
ROWS = {
    "bert": 10 * 2 + 6,
    "i3d_rgb": 6 * 6 + 2,
    "i3d_flow": 6 * 6 + 2,
    "i3d_rgb_kinetics600": 6 * 6 + 2,
    "i3d_rgb_piergiaj": 6 * 7 + 2,
    "i3d_flow_piergiaj": 6 * 7 + 2,
}


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_bundled_mapping_has_the_rows_that_its_file_lists(name: str) -> None:
    mapping = load_mapping(name)
    assert [len(alternative.rows) for alternative in mapping.alternatives] == [ROWS[name]] * len(
        mapping.alternatives
    )
    assert mapping.summary
    assert mapping.manifest_path.is_file()


@pytest.mark.parametrize("name", sorted(bundled_mappings()))
def test_every_bundled_mapping_loads(name: str) -> None:
    assert load_mapping(name).alternatives[0].rows


def test_the_flow_stream_is_the_rgb_stream_under_another_scope() -> None:
    rgb, flow = load_mapping("i3d_rgb"), load_mapping("i3d_flow")
    assert flow.model.kwargs == {"in_channels": 2, "num_classes": 400}
    for first, second in zip(rgb.alternatives[0].rows, flow.alternatives[0].rows, strict=True):
        assert str(first).replace("RGB/", "Flow/") == str(second)
        assert first.pt == second.pt


def test_a_bundled_mapping_is_found_by_name_with_and_without_its_ending() -> None:
    assert find_mapping("i3d_rgb") == find_mapping("i3d_rgb.yaml") == bundled_mappings()["i3d_rgb"]


def test_a_file_in_the_working_folder_comes_before_a_bundled_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "i3d_rgb.yaml").write_text("version: 1")
    assert find_mapping("i3d_rgb.yaml").resolve() == tmp_path / "i3d_rgb.yaml"


def test_a_mapping_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(MappingError) as caught:
        load_mapping("i3d_rbg")
    assert caught.value.what == "there is no mapping 'i3d_rbg'"
    assert caught.value.nearest[0] == "i3d_rgb"
    with pytest.raises(MappingError) as caught:
        load_mapping(tmp_path)
    assert caught.value.got == "a folder"


# -- extends ------------------------------------------------------------------------------------------


def test_a_chain_of_mappings_is_worked_in_from_the_base_up(load: Load) -> None:
    files = {
        "middle.yaml": "extends: base.yaml\nmodel: {kwargs: {b: 2}}\nweights: [{tf: y, pt: y}]",
        "base.yaml": "version: 1\nsummary: s\nmodel: {kwargs: {a: 1, b: 1}}\nweights: [{tf: x, pt: x}]",
    }
    mapping = load("extends: middle.yaml\nweights: [{tf: z, pt: z}]", files)
    assert mapping.summary == "s"
    assert mapping.model.kwargs == {"a": 1, "b": 2}
    rows = mapping.alternatives[0].rows
    assert [(str(row), row.where) for row in rows] == [
        ("x → x", "base.yaml:4"),
        ("y → y", "middle.yaml:3"),
        ("z → z", "m.yaml:2"),
    ]


def test_a_bundled_mapping_may_be_extended_by_name(load: Load) -> None:
    assert load("extends: i3d_rgb\nsource: {scope: mine}").alternatives[0].scope == "mine"


@pytest.mark.parametrize(
    ("text", "files", "what", "where"),
    [
        ("extends: m.yaml", {}, "a mapping extends itself", "m.yaml:1:10"),
        (
            "version: 1\nextends: a.yaml",
            {"a.yaml": "summary: s\nextends: m.yaml"},
            "a mapping extends itself",
            "a.yaml:2:10",
        ),
        ("extends: i3d_rbg", {}, "there is no mapping 'i3d_rbg' to extend", "m.yaml:1:10"),
        ("extends: [3]", {}, "extends: takes a file, or a list of files", "m.yaml:1:11"),
        ("extends: a.yaml", {"a.yaml": "- 1"}, "a mapping is a table of keys and values", "a.yaml:1:1"),
        (
            "extends: a.yaml",
            {"a.yaml": "version: 1\nweights: [{tf: a}]"},
            "the key 'pt' is missing",
            "a.yaml:2:11",
        ),
    ],
)
def test_a_chain_that_does_not_hold_says_where(
    load: Load, text: str, files: dict[str, str], what: str, where: str
) -> None:
    error = refused(load, text, other=files)
    assert (error.what, error.where) == (what, where)


def chain(count: int) -> tuple[str, dict[str, str]]:
    files = {f"f{i}.yaml": f"extends: f{i + 1}.yaml" for i in range(count - 2)}
    return "extends: f0.yaml", {**files, f"f{count - 2}.yaml": "version: 1\nsummary: s"}


def test_a_chain_of_files_is_followed_so_far_and_no_farther(load: Load) -> None:
    text, files = chain(MAPPING_FILES)
    assert load(text, files).summary == "s"
    for count in (MAPPING_FILES + 1, 1200):
        text, files = chain(count)
        error = refused(load, text, other=files)
        assert error.what == f"more than {MAPPING_FILES} mappings extend one another"
        assert error.where == f"f{MAPPING_FILES - 2}.yaml:1:10"


def test_files_that_extend_one_another_have_room_for_one_mapping_together(load: Load) -> None:
    values = f"endpoints: [0{', 0' * 110_000}]"
    error = refused(load, f"extends: base.yaml\n{values}", other={"base.yaml": f"version: 1\n{values}"})
    assert error.what == "the mapping has more than 200,000 values"
    assert str(error.where).startswith("base.yaml:2:")


@pytest.mark.parametrize(
    ("scopes", "rows", "sources", "length"),
    [(3000, 100, 1, 1), (500, 200, 5, 1), (300, 100, 1, 5000)],
    ids=["scopes of layers", "scopes of the source", "long names"],
)
def test_rows_that_multiply_are_refused(
    load: Load, scopes: int, rows: int, sources: int, length: int
) -> None:
    text = f"""\
version: 1
source: {{scope: [{", ".join(f"s{i}" for i in range(sources))}]}}
layers: {{l: {{weights: [{", ".join(f"{{tf: w{i}, pt: w{i}}}" for i in range(rows))}]}}}}
scopes: [{", ".join(f"{{tf: {'s' * length}{i}, pt: s{i}, layer: l}}" for i in range(scopes))}]
"""
    error = refused(load, text)
    assert error.what.startswith("the mapping has more than 200,000 rows")
    assert str(error.where).startswith("m.yaml:4:")


# -- mistakes and their positions ---------------------------------------------------------------------

ROW = "version: 1\nweights:\n  - {%s}"
ROW_AT = "version: 1\nweights:\n  - »{%s}"  # » marks the position of the mistake


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("»summary: s", "the key 'version' is missing"),
        ("version: »2", "version: Input should be 1"),
        ("version: 1\n»scope: x", "unknown key 'scope'"),
        (ROW % "tf: a, pt: b, »layuot: i", "unknown key 'layuot'"),
        (ROW % "tf: a, pt: b, reorder: {axis: i, as: [0], »order: [0]}", "unknown key 'order'"),
        (ROW_AT % "tf: a", "the key 'pt' is missing"),
        (ROW_AT % "pt: b", "weights: a row has one of tf:, fill: and keep: true"),
        (ROW_AT % "tf: a, pt: b, fill: 1", "weights: a row has one of tf:, fill: and keep: true"),
        (ROW_AT % "tf: a, pt: b, like: c", "weights: like: and shape: go with fill:"),
        (ROW_AT % "fill: 1, pt: b, like: c, shape: [1]", "weights: expected either like: or shape:"),
        (ROW_AT % "fill: 1, pt: b, scale: 2", "weights: scale: needs tf:"),
        (ROW % "tf: »[], pt: b", "weights.tf: Value should have at least 1 item after validation, not 0"),
        (ROW % "fill: »some, pt: b", "weights.fill: expected a number, true or false"),
        (ROW % "tf: a, pt: b, dtype: »float23", "weights.dtype: expected one of float32"),
        (ROW % "tf: a, pt: b, dtype: »[float32]", "weights.dtype: expected one of float32"),
        (ROW % "tf: a, pt: b, dtype: »string", "weights.dtype: expected one of float32"),
        (ROW % "tf: a, pt: b, scale: »x", "weights.scale: expected a number or a fraction such as 1/7"),
        (ROW % "tf: a, pt: b, scale: »1/0", "weights.scale: expected a number or a fraction such as 1/7"),
        (ROW % "tf: a, pt: b, scale: »1e999999999", "weights.scale: expected a number or a fraction"),
        (ROW % "tf: a, pt: b, axes: {i: »0}", "weights.axes.i: Input should be greater than 0"),
        (
            ROW % 'tf: a, pt: b, layout: "o -> o", reorder: »{axis: o, groups: [i, f], as: [f, f]}',
            "weights.reorder: as: must list each of i, f once",
        ),
        (
            ROW % 'tf: a, pt: b, layout: "o -> o", add: »{axis: o, groups: [i, f], values: {g: 1}}',
            "weights.add: values: names 'g', which is not among the groups",
        ),
        (
            ROW % "tf: a, pt: b, add: »{values: {x: 1, y: 2}}",
            "weights.add: axis: and groups: go together, and values: with both",
        ),
        (
            ROW % 'tf: a, pt: b, layout: "v -> v", pad: »{axis: v}',
            "weights.pad: expected either to: or multiple:",
        ),
        (ROW % 'tf: a, pt: b, slice: {i: »"1"}', "weights.slice.i: expected a slice such as"),
        (ROW % 'tf: a, pt: b, slice: {i: »"::0"}', "weights.slice.i: expected a slice such as"),
        (ROW % "tf: a, pt: b, slice: {i: »1}", "weights.slice.i: expected a slice such as"),
        (ROW % "tf: a, pt: b, slice: »1", "weights.slice: Input should be a valid dictionary"),
        (
            ROW % "tf: a, pt: b, reorder: {axis: v, as: »1}",
            "weights.reorder.as: Input should be a valid list",
        ),
        ("version: 1\nsource: {scope: »[]}", "source.scope: Value should have at least 1 item"),
        (
            "version: 1\nsource:\n  ema: {tf: '{p...}/E', use: »maybe}",
            "source.ema.use: Input should be 'prefer', 'ignore' or 'require'",
        ),
        ("version: 1\nlayers: {weights: {weights: [»{}]}}", "the key 'pt' is missing"),
    ],
)
def test_what_the_schema_refuses_stands_at_its_line_and_column(load: Load, text: str, what: str) -> None:
    before, after = text.split("»")
    error = refused(load, before + after)
    assert error.what.startswith(what)
    assert error.where == f"m.yaml:{before.count(chr(10)) + 1}:{len(before.rpartition(chr(10))[2]) + 1}"


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ('tf: a, pt: b, layout: "i o"', "a layout has two sides"),
        ('tf: a, pt: b, layout: "i -> k"', "the axis 'k' is only on the right and has no size"),
        (
            'tf: a, pt: b, layout: "i -> i", slice: {k: "1:"}',
            "slice: names the axis 'k', which the left side of the layout does not have",
        ),
        (
            'tf: a, pt: b, layout: "... i -> ... i", slice: {"...": "1:"}',
            "slice: names the axis '...', which the left side of the layout does not have",
        ),
        (
            'tf: a, pt: b, layout: "i -> i", pad: {axis: k, to: 3}',
            "pad: names the axis 'k', which the right side of the layout does not have",
        ),
        (
            'tf: a, pt: b, slice: {i: "1:"}',
            "slice: names the axis 'i', so the row needs a layout that names its axes",
        ),
        ('tf: a, pt: b, layout: "i -> i", concat: i', "concat: needs several names under tf:"),
        ('tf: a, pt: b, layout: "i -> i", split: i', "split: needs several names under pt:"),
        (
            'tf: a, pt: [b, c], layout: "i -> i", split: {axis: i, sizes: [1, 2, 3]}',
            "split: needs one size for each name under pt:",
        ),
        (
            'tf: a, pt: [b, c], layout: "i o -> (i o)", split: i',
            "split: needs an axis that is not in parentheses",
        ),
        (
            'tf: a, pt: [b, c], layout: "i o -> (i o)"',
            "the right side of the layout must begin with the axis to split on",
        ),
        ('tf: "a/{x}", pt: b', "{x} is on one side of the row only"),
        ('tf: "a/{x}", pt: "b.{y}"', "{x}, {y} is on one side of the row only"),
        ('tf: "a/{i:int}/{j:int}", pt: b', "{i}, {j} is on one side of the row only"),
        ('tf: ["a/{x}", b], pt: "b.{x}"', "the names of one side of a row must have the same fields"),
        (
            'tf: ["a{i:int}", "b{i}"], pt: b',
            "the index {i} already stacks variables, so tf: can only have one name",
        ),
        (
            'tf: a, pt: ["b.{i:int}", "c.{i}"]',
            "the index {i} already splits the variable, so pt: can only have one name",
        ),
        ('tf: "a/{_}", pt: "b.{_}"', "{_} has no value, so no name can be built from it"),
        ('pt: "b.{x}", fill: 1, like: "c.{y}"', "like: has a field that pt: does not have"),
        ('tf: "a/{i:int", pt: b', "{ without a closing }"),
    ],
)
def test_what_the_compiler_refuses_stands_at_its_row(load: Load, row: str, what: str) -> None:
    error = refused(load, ROW % row)
    assert (error.what, error.where) == (what, "m.yaml:3:5")


def test_an_unknown_key_names_the_nearest_and_all_that_are_known(load: Load) -> None:
    error = refused(load, "version: 1\nlayers:\n  layers:\n    pading: same")
    assert error.where == "m.yaml:4:5"
    assert error.nearest == ("padding",)
    assert error.expected == "padding, eps, weights, scopes"
    error = refused(load, "version: 1\nextend: x")
    assert error.nearest[0] == "extends"


def test_a_layer_that_is_not_there_is_named_where_the_scope_asks_for_it(load: Load) -> None:
    error = refused(load, "version: 1\nlayers: {dense: {}}\nscopes:\n  - {tf: a, pt: b, layer: dens}")
    assert (error.what, error.where, error.nearest) == ("there is no layer 'dens'", "m.yaml:4:27", ("dense",))


def test_a_mistake_between_a_layer_and_its_scope_names_both_once(load: Load) -> None:
    text = """\
version: 1
layers:
  l:
    weights:
      - {tf: w, pt: w}
scopes:
  - {tf: "x_{i}", pt: y, layer: l}
  - {tf: "z_{i}", pt: z, layer: l}
"""
    error = refused(load, text)
    assert (error.what, error.where) == ("{i} is on one side of the row only", "m.yaml:5:9")
    assert error.hint == "the row is in the scope at m.yaml:7"
    assert error.causes == ()


def test_a_layer_that_no_scope_uses_is_checked_too(load: Load) -> None:
    error = refused(load, "version: 1\nlayers:\n  l: {weights: [{tf: 'a{', pt: b}]}")
    assert (error.what, error.where) == ("{ without a closing }", "m.yaml:3:17")


def test_several_mistakes_are_told_at_once_in_the_order_of_the_file(load: Load) -> None:
    text = "version: 1\nbogus: 1\nweights:\n  - {tf: a}\n  - {tf: a, pt: b, fill: x, scale: y}"
    error = refused(load, text)
    assert error.what == "4 mistakes in the mapping"
    assert [cause.where for cause in error.causes] == [
        "m.yaml:2:1",
        "m.yaml:4:5",
        "m.yaml:5:26",
        "m.yaml:5:36",
    ]
    text = 'version: 1\nweights:\n  - {tf: "a{", pt: b}\n  - {tf: a, pt: b, layout: "i -> k"}'
    error = refused(load, text)
    assert error.what == "2 mistakes in the mapping"
    assert [cause.where for cause in error.causes] == ["m.yaml:3:5", "m.yaml:4:5"]
    assert "{ without a closing }" in str(error)


MISTAKES = """\
version: 1
layers:
  dense:
    epz: 1
    weights:
      - {tf: kernel, pt: weight, layuot: "i o -> o i", concat: i}
      - {tf: bias, pt: "bias_{n}"}
scopes:
  - {tf: a, pt: b, layer: dense}
  - {tf: a, pt: b, layer: densed}
  - {tf: a, pt: b}
weights:
  - {tf: "x{", pt: b}
  - {tf: c, pt: [], slice: 3}
  - {tf: [c, 4], pt: d, layout: "i -> k"}
  - {tf: c, pt: d, layout: "i -> k"}
endpoints:
  - {tf: "a{i}", pt: b}
  - {tf: a}
input: {range: [1]}
labels: none.txt
"""


def test_a_mistake_of_one_row_hides_no_mistake_of_another(load: Load) -> None:
    error = refused(load, MISTAKES)
    # The schema's mistakes and the compiler's, in the order of the file; none follows from another.
    assert [(int(str(cause.where).split(":")[1]), cause.what) for cause in error.causes] == [
        (4, "unknown key 'epz'"),
        (6, "unknown key 'layuot'"),
        (7, "{n} is on one side of the row only"),
        (10, "there is no layer 'densed'"),
        (11, "scopes: expected either layer: or use:"),
        (13, "{ without a closing }"),
        (14, "weights.pt: Value should have at least 1 item after validation, not 0"),
        (14, "weights.slice: Input should be a valid dictionary"),
        (15, "weights.tf: Input should be a valid string"),
        (16, "the axis 'k' is only on the right and has no size"),
        (18, "both names of an endpoint need the same fields"),
        (19, "the key 'pt' is missing"),
        (20, "input.range: List should have at least 2 items after validation, not 1"),
        (21, "there is no labels file 'none.txt'"),
    ]
    assert error.what == "14 mistakes in the mapping"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("layers: [3]\nscopes:\n  - {tf: a, pt: b, layer: l}", 1),
        ("layer: {l: {}}\nscopes:\n  - {tf: a, pt: b, layer: l}", 1),
        ("layers: {l: 3}\nscopes:\n  - {tf: a, pt: b, layer: l}", 1),
        ("layers: {l: {weights: 3}}\nscopes:\n  - {tf: a, pt: b, layer: l}", 1),
        ("source: {scope: 3}\nweights: [{tf: 'x{', pt: b}]", 2),
        ("source: {ema: {use: prefer}}\nweights: [{tf: 'x{', pt: b}]", 2),
        ("source: 3\nmodel: 4\nweights: [{tf: 'x{', pt: b}, 7]", 3),
        ("model: {kwargs: [1]}\nweights: [{tf: 'x{', pt: b}]", 2),
    ],
)
def test_a_mistake_is_reported_without_its_consequences(load: Load, text: str, count: int) -> None:
    error = refused(load, f"version: 1\n{text}")
    assert (len(error.causes) or 1) == count, error
    assert (len(refused(load, text).causes) or 1) == count + 1  # and no version


def test_a_fraction_of_a_thousand_million_digits_is_not_written_out(load: Load) -> None:
    # Expanded, neither would end.
    assert "expected a number" in refused(load, ROW % "tf: a, pt: b, scale: 1e999999999").what
    assert "expected a number" in refused(load, ROW % "tf: a, pt: b, scale: 1e-999999999").what


HUGE = 10**400
NO_SCALES = [
    "0",
    "0.0",
    "-0.0",
    "0/3",
    ".inf",
    "-.inf",
    ".nan",
    "nan",
    "inf",
    "1e400",
    "1e-400",
    "1/0",
    "true",
]
NO_SCALES += ["1/2/3", "seven", f"{HUGE}", f"{HUGE}/3", f"1/{HUGE}"]


@pytest.mark.parametrize("scale", NO_SCALES)
def test_a_scale_is_a_finite_number_other_than_zero(load: Load, scale: str) -> None:
    error = refused(load, f"version: 1\nweights:\n  - {{tf: a, pt: b, scale: {scale}}}")
    # Whole numbers of more than 256 bits are refused before their meaning is considered.
    expected = "a value cannot be read" if scale == str(HUGE) else "weights.scale: expected a number"
    assert error.what.startswith(expected)
    assert error.where == "m.yaml:3:27"


BEYOND = [
    "scale: 1.0e+400",
    "add: 1.0e+400",
    "add: .inf",
    "add: nan",
    "fill: 1e400",
    "fill: -1e400",
    "fill: 1.0e+400",
]
BEYOND += ['layout: "v -> v", pad: {axis: v, to: 3, value: 1e400}']


@pytest.mark.parametrize("key", BEYOND)
def test_numbers_beyond_float64_are_refused_where_they_stand(load: Load, key: str) -> None:
    row = f"pt: b, {key}" if "fill" in key else f"tf: a, pt: b, {key}"
    error = refused(load, f"version: 1\nweights:\n  - {{{row}}}")
    assert error.where.startswith("m.yaml:3:")
    assert "number" in error.what or error.what == "a value cannot be read"


def test_infinity_and_nan_may_fill_what_has_them(load: Load) -> None:
    text = "version: 1\nweights: [{pt: a, fill: .inf}, {pt: b, fill: -.inf}, {pt: c, fill: nan}]"
    assert [str(row.value) for row in load(text).alternatives[0].rows if isinstance(row, Fill)] == [
        "inf",
        "-inf",
        "nan",
    ]


# -- content of a mapping ------------------------------------------------------------------------------


def test_names_stand_under_the_sources_scope_and_their_layers(load: Load) -> None:
    text = """\
version: 1
source:
  scope: [a/b/, ""]
  ignore: [{tf: "{p...}/m", why: w}, {tf: /step, why: w}]
layers: {l: {weights: [{tf: w, pt: w}, {tf: /shared, pt: s}]}}
scopes:
  - {tf: c, pt: m.c, layer: l}
  - {tf: /d, pt: m.d, layer: l}
weights: [{tf: x, pt: y}, {tf: /z, pt: z}]
"""
    below, root = load(text).alternatives
    assert [str(row) for row in below.rows] == [
        "a/b/c/w → m.c.w",
        "shared → m.c.s",
        "d/w → m.d.w",
        "shared → m.d.s",
        "a/b/x → y",
        "z → z",
    ]
    assert [entry.tf.text for entry in below.ignore] == ["a/b/{p...}/m", "step"]
    assert [row.tf[0].text for row in root.rows if isinstance(row, Copy)] == [
        "c/w",
        "shared",
        "d/w",
        "shared",
        "x",
        "z",
    ]


def test_parameters_reach_templates_and_layouts(load: Load) -> None:
    text = """\
version: 1
params: {layers: {from: depth, default: 12}, groups: 3}
weights:
  - {tf: "up_{${layers}-1-i}/w", pt: "up.{i:int}.w"}
  - {tf: "s_{i//${groups}}/b_{i%${groups}}/w", pt: "b.{i:int}.w"}
  - {tf: a, pt: b, layout: "i o -> o i n", axes: {n: "${groups}"}}
"""
    up, blocks, fused = load(text, config={"depth": 7}).alternatives[0].rows
    assert up.tf[0].match("up_2/w") == {"i": 4}  # 7 - 1 - 4
    assert blocks.tf[0].match("s_2/b_1/w") == {"i": 7}
    assert fused.transform.bind([(2, 5)]).shapes == ((5, 2, 3),)


def test_a_setting_marks_the_mapping_as_adapted_and_changes_its_digest(load: Load) -> None:
    text = "version: 1\nparams: {n: 3}\nmodel: {kwargs: {n: '${n}'}}"
    plain, again, adapted = load(text), load(text), load(text, settings={"n": 5})
    assert (plain.adapted, adapted.adapted) == (False, True)
    assert adapted.model.kwargs == {"n": 5}
    assert plain.digest == again.digest != adapted.digest


def test_behavior_belongs_to_the_modules_that_hold_a_layers_weights(load: Load) -> None:
    text = """\
version: 1
layers:
  unit: {padding: same, weights: [{tf: w, pt: conv.weight}, {tf: b, pt: bn.bias}, {tf: g, pt: bn.weight}]}
scopes:
  - {tf: "Branch_{b:1|2}", pt: "branch_{b}", layer: unit}
modules:
  - {pt: "pool_{id}", padding: valid}
"""
    norm, conv, pool = load(text).behaviors
    assert conv.pt.match("branch_2.conv") is not None
    assert conv.pt.match("branch_3.conv") is None  # the scope lists 1 and 2
    assert norm.pt.text == "branch_{b}.bn"
    assert (conv.padding, pool.padding, str(pool.position)) == ("same", "valid", "m.yaml:7:5")


def test_an_average_needs_one_path_to_what_it_shadows(load: Load) -> None:
    error = refused(load, "version: 1\nsource:\n  ema: {tf: '{x}/EMA', use: prefer}")
    assert (error.what, error.where) == ("ema: tf: needs one path field", "m.yaml:3:8")
    error = refused(load, "version: 1\nsource:\n  ema: {tf: '{x.../EMA', use: prefer}")
    assert (error.what, error.causes) == ("{ without a closing }", ())


# -- the configuration that comes with a checkpoint -----------------------------------------------------


def test_a_configuration_is_a_json_object(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"a": 3}))
    assert read_config(path) == {"a": 3}
    for text, what in (
        ("[1]", "the configuration is not a JSON object"),
        ("{", "the configuration is not JSON"),
    ):
        path.write_text(text)
        with pytest.raises(MappingError) as caught:
            read_config(path)
        assert (caught.value.what, caught.value.where) == (what, str(path))
    with pytest.raises(MappingError, match="cannot read the configuration: No such file"):
        read_config(tmp_path / "none.json")


def test_a_configuration_that_a_mapping_has_no_use_for_is_refused(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text("version: 1\nweights: [{tf: a, pt: a}]\n")
    with pytest.raises(MappingError, match="does not use a configuration"):
        load_mapping(path, config={"hidden_size": 3})


@pytest.mark.parametrize(
    ("endpoint", "what"),
    [
        ("{tf: 'x{', pt: x}", "{ without a closing }"),
        ("{tf: x, pt: x, layout: nonsense}", "a layout has two sides"),
        ("{tf: x, pt: x, layout: 'b ... c -> b c (...)'}", "used in both directions"),
        ("{tf: 'x{a}', pt: x}", "need the same fields"),
        ("{tf: 'x{a}', pt: 'x{a}', op: y}", "must have the fields of its names"),
    ],
)
def test_an_endpoint_is_compiled_like_a_row(tmp_path, endpoint, what):
    path = tmp_path / "m.yaml"
    path.write_text(f"version: 1\nendpoints:\n  - {endpoint}\n")
    with pytest.raises(MappingError, match=what) as caught:
        load_mapping(path)
    assert str(caught.value.where).endswith("m.yaml:3:5")


def test_labels_lie_beside_the_mapping_that_names_them_or_among_the_bundled(tmp_path):
    (tmp_path / "own.txt").write_text("cat\ndog\n")
    (tmp_path / "base.yaml").write_text("version: 1\nlabels: own.txt\n")
    (tmp_path / "m.yaml").write_text("extends: base.yaml\n")
    assert load_mapping(tmp_path / "m.yaml").labels == tmp_path / "own.txt"
    (tmp_path / "m.yaml").write_text("version: 1\nlabels: kinetics600.txt\n")
    assert load_mapping(tmp_path / "m.yaml").labels.read_text().count("\n") == 600
    (tmp_path / "m.yaml").write_text("version: 1\n")
    assert load_mapping(tmp_path / "m.yaml").labels is None


def test_labels_that_are_not_there_are_refused_with_the_nearest(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text("version: 1\nlabels: kinetics40.txt\n")
    with pytest.raises(MappingError, match="no labels file") as caught:
        load_mapping(path)
    assert "kinetics400.txt" in caught.value.nearest
    assert str(caught.value.where).endswith("m.yaml:2:9")


@pytest.mark.parametrize(
    ("name", "count"), [("i3d_rgb", 400), ("i3d_flow", 400), ("i3d_rgb_kinetics600", 600)]
)
def test_the_labels_of_kinetics_are_as_many_as_the_logits(name, count):
    mapping = load_mapping(name)
    labels = mapping.labels.read_text(encoding="utf-8").splitlines()
    assert len(labels) == len(set(labels)) == count == mapping.model.kwargs["num_classes"]
    assert all(label == label.strip() != "" for label in labels)


@pytest.mark.parametrize("name", [name for name in bundled_mappings() if name.startswith("i3d")])
def test_every_stream_says_what_kind_of_clip_it_takes(name):
    mapping = load_mapping(name)
    assert mapping.input.kind == ("flow" if "flow" in name else "rgb")
    assert mapping.input.range == [-1, 1]
    assert mapping.input.fps == 25


def test_the_labels_are_the_published_ones(shared):
    for name, published in (("kinetics400.txt", "label_map.txt"), ("kinetics600.txt", "label_map_600.txt")):
        expected = (shared / "real/i3d/labels" / published).read_text().split("\n")
        found = load_mapping("i3d_rgb").labels.with_name(name).read_text().split("\n")
        assert found == [line.strip() for line in expected]


def test_a_row_is_of_one_of_three_kinds(load: Load) -> None:
    text = """
version: 1
weights:
  - {tf: a, pt: b, tied: true, fallback: true}
  - {pt: c, fill: 0.5, like: b, dtype: float16}
  - {pt: d, fill: false, shape: [2, 3]}
  - {pt: e, keep: true, optional: true, overrides: true}
"""
    copy, like, shaped, keep = load(text).alternatives[0].rows
    assert isinstance(copy, Copy)
    assert (copy.tied, copy.fallback, copy.optional, copy.splits, copy.stacks) == (
        True,
        True,
        False,
        False,
        False,
    )
    assert isinstance(like, Fill)
    assert (like.value, str(like.like), like.shape, like.dtype) == (0.5, "b", None, "float16")
    assert isinstance(shaped, Fill)
    assert (shaped.value, shaped.like, shaped.shape) == (False, None, (2, 3))
    assert isinstance(keep, Keep)
    assert (keep.optional, keep.overrides) == (True, True)
    assert list(map(str, (copy, like, shaped, keep))) == [
        "a → b",
        "fill 0.5 → c",
        "fill False → d",
        "keep → e",
    ]

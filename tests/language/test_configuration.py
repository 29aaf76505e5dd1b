"""A configuration supplies parameters, and missing keys are reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfpt.errors import MappingError
from tfpt.language.configuration import Configuration, _is_slip, read_config
from tfpt.language.mapping import Mapping

Load = Callable[..., Mapping]

TEXT = """\
version: 1
params:
  layers: {from: num_layers, default: 12}
  width: {from: hidden_size, default: 8}
  heads: 4
weights: [{tf: "l_${layers}/w", pt: "l_${width}"}]
"""


def refused(load: Load, config: Any, **options: Any) -> MappingError:
    with pytest.raises(MappingError) as caught:
        load(TEXT, config=config, **options)
    return caught.value


def test_a_key_within_another_table_is_named(load: Load) -> None:
    error = refused(load, {"hidden_size": 3, "config": {"num_layers": 2}})
    assert error.what == "the configuration has no key 'num_layers', but a similar one"
    assert (error.where, error.nearest) == ("m.yaml:3:11", ("config.num_layers",))
    assert "--set layers=VALUE" in str(error.hint)


def test_the_file_is_named(load: Load, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"config": {"num_layers": 2, "hidden_size": 3}}))
    error = refused(load, tmp_path / "config.json")
    assert error.what == "config.json lacks 2 keys of the mapping"
    assert [cause.nearest for cause in error.causes] == [("config.num_layers",), ("config.hidden_size",)]


@pytest.mark.parametrize("key", ["num_layer", "numLayers", "num-layers", "NUM_LAYERS", "num_layesr"])
def test_a_key_spelt_almost_so_is_an_error(load: Load, key: str) -> None:
    error = refused(load, {"hidden_size": 3, key: 2})
    assert error.nearest == (key,)


@pytest.mark.parametrize("key", ["num_heads", "layers", "num_layers_1", "num_labels_x", "vocab_size"])
def test_another_key_is_no_slip_and_the_default_a_note(load: Load, key: str) -> None:
    (default,) = load(TEXT, config={"hidden_size": 3, key: 2}).defaulted
    assert (default.name, default.key, default.value, default.position.row) == (
        "layers",
        "num_layers",
        12,
        "m.yaml:3",
    )


def test_a_key_that_another_parameter_reads_is_not_meant(load: Load) -> None:
    text = (
        "version: 1\nparams: {a: {from: encoder_layers, default: 1}, b: {from: decoder_layers, default: 2}}"
    )
    (default,) = load(text, config={"encoder_layers": 3}).defaulted
    assert default.name == "b"


def test_a_configuration_that_says_nothing_is_an_error(load: Load) -> None:
    error = refused(load, {"vocab_size": 3})
    assert error.what == "the configuration has none of the keys that the mapping reads"
    assert (error.where, error.expected, error.got) == ("m.yaml:3:3", "hidden_size, num_layers", "vocab_size")
    assert refused(load, {}).got == "no keys"


def test_a_setting_needs_no_key(load: Load) -> None:
    assert load(TEXT, config={"hidden_size": 3}, settings={"layers": 5}).defaulted == ()
    assert load(TEXT, config={"x": 3}, settings={"layers": 5, "width": 7}).defaulted == ()


def test_a_model_that_takes_the_configuration_may_be_all_that_does(load: Load) -> None:
    text = f"{TEXT}model: {{factory: 'transformers:BertModel', config: 'transformers:BertConfig'}}"
    assert len(load(text, config={"vocab_size": 3}).defaulted) == 2


def test_dots_lead_into_tables_unless_the_key_has_them(load: Load) -> None:
    text = TEXT.replace("from: num_layers", "from: text.num_layers")
    rows = load(text, config={"text": {"num_layers": 2}, "hidden_size": 3}).alternatives[0].rows
    assert rows[0].tf[0].text == "l_2/w"
    rows = load(text, config={"text.num_layers": 5, "text": {}, "hidden_size": 3}).alternatives[0].rows
    assert rows[0].tf[0].text == "l_5/w"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("block_sizes[0]", 4),
        ("block_sizes[-1]", 3),
        ("encoder.stages[1].depth", 7),
        ("grid[1][0]", 13),
        ("odd[0]", 5),
    ],
)
def test_brackets_lead_into_lists_unless_the_key_has_them(key: str, value: int) -> None:
    found = Configuration(
        {
            "block_sizes": [4, 2, 3],
            "encoder": {"stages": [{}, {"depth": 7}]},
            "grid": [[11], [13, 17]],
            "odd": [1],
            "odd[0]": 5,
        }
    )
    assert found.has(key)
    assert found.get(key) == value


@pytest.mark.parametrize(
    ("config", "got"),
    [
        ({"sizes": [4, 2], "width": 1}, "sizes is a list of 2"),
        ({"sizes": 4, "width": 1}, "sizes is not a list"),
        ({"sizes": [4, 2, None], "width": 1}, "sizes[2] is null"),
        ({"width": 1}, "a configuration with width"),
    ],
)
def test_an_index_beyond_a_list_of_the_configuration_says_so(load: Load, config: Any, got: str) -> None:
    text = 'version: 1\nparams: {n: {from: "sizes[2]"}, w: {from: width}}\nsummary: "n=${n}"'
    with pytest.raises(MappingError) as caught:
        load(text, config=config)
    assert (caught.value.what, caught.value.where) == ("the parameter 'n' has no value", "m.yaml:2:13")
    assert (caught.value.expected, caught.value.got) == ("'sizes[2]' in the model's configuration", got)
    (default,) = load(text.replace('2]"', '2]", default: 9'), config=config).defaulted
    assert (default.key, default.value) == ("sizes[2]", 9)


RENAMED = """version: 1
params: {layers: {from: [num_hidden_layers, n_layer], default: 12}, width: {from: [hidden_size, n_embd]}}
summary: "${layers} ${width}"
"""


@pytest.mark.parametrize(
    ("config", "summary"),
    [
        ({"num_hidden_layers": 3, "hidden_size": 5}, "3 5"),
        ({"n_layer": 3, "n_embd": 5}, "3 5"),
        ({"n_layer": 3, "hidden_size": 5, "n_embd": 7}, "3 5"),
        ({"num_hidden_layers": None, "n_layer": 3, "hidden_size": 5}, "3 5"),
        ({"num_hidden_layers": 0, "n_layer": 3, "hidden_size": 5}, "0 5"),
        ({"hidden_size": 5}, "12 5"),
    ],
)
def test_the_first_of_several_keys_that_has_a_value_counts(load: Load, config: Any, summary: str) -> None:
    assert load(RENAMED, config=config).summary == summary


def test_alternatives_are_named_together(load: Load) -> None:
    (default,) = load(RENAMED, config={"hidden_size": 5}).defaulted
    assert default.key == "num_hidden_layers or n_layer"
    with pytest.raises(MappingError) as caught:
        load(RENAMED, config={"n_layer": 3})
    assert caught.value.expected == "'hidden_size' or 'n_embd' in the model's configuration"
    with pytest.raises(MappingError) as caught:
        load(RENAMED, config={"n_layers": 3, "hidden_size": 5})
    assert (
        caught.value.what == "the configuration has no key 'num_hidden_layers or n_layer', but a similar one"
    )
    assert caught.value.nearest == ("n_layers",)


def test_null_is_the_default_or_an_error_and_never_a_value(load: Load) -> None:
    mapping = load(TEXT, config={"num_layers": None, "hidden_size": 3})
    assert mapping.alternatives[0].rows[0].tf[0].text == "l_12/w"
    (default,) = mapping.defaulted
    assert (default.name, default.key, default.value) == ("layers", "num_layers", 12)
    with pytest.raises(MappingError) as caught:
        load(TEXT.replace(", default: 12", ""), config={"num_layers": None, "hidden_size": 3})
    assert caught.value.what == "the parameter 'layers' has no value"
    assert caught.value.got == "num_layers is null"


def test_a_parameter_without_a_value_names_what_is_near(load: Load) -> None:
    with pytest.raises(MappingError) as caught:
        load(TEXT.replace(", default: 12", ""), config={"hidden_size": 3, "model": {"num_layers": 2}})
    assert caught.value.what == "the parameter 'layers' has no value"
    assert caught.value.nearest == ("model.num_layers",)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a": ' * 100_000, '{"a": ' + "1" * 5000 + "}", '{"a": "b'],
    ids=["lists", "tables", "digits", "cut off"],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(MappingError, match="the configuration is not JSON"):
        read_config(tmp_path / "config.json")


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("there is no file without end here")
    with pytest.raises(MappingError, match="the configuration is too large"):
        read_config("/dev/zero")


def test_tables_without_end_are_not_searched_to_their_end() -> None:
    endless: dict[str, Any] = {f"k{i}": i for i in range(100)}
    endless["again"] = endless
    assert Configuration(endless).close_to("num_layers") == ()


@pytest.mark.parametrize(
    ("wanted", "there", "slip"),
    [
        ("depth", "dpeth", True),  # two letters swapped: one edit
        ("depth", "dept", True),
        ("depth", "dpet", False),
        ("num_layers", "num_layres", True),
        ("num_layers", "nm_layrs", True),  # two edits from eight letters on
        ("numlayer", "nmlayr", True),
        ("numlaye", "nmlay", False),
        ("size", "sise", True),
        ("dim", "din", False),  # too short to judge
        ("layers1", "layers2", False),  # different digits
    ],
)
def test_what_counts_as_a_slip(wanted: str, there: str, slip: bool) -> None:
    assert _is_slip(wanted, there) is slip


def test_a_configuration_may_be_as_large_as_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"a": 1}')
    monkeypatch.setattr("tfpt.io.limits.CONFIGURATION_BYTES", 8)
    assert read_config(file) == {"a": 1}
    monkeypatch.setattr("tfpt.io.limits.CONFIGURATION_BYTES", 7)
    with pytest.raises(MappingError, match="too large"):
        read_config(file)


@pytest.mark.parametrize(("text", "kind"), [("[1]", "list"), ("3", "int"), ("null", "NoneType")])
def test_the_error_says_what_json_it_is_instead(tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(MappingError) as error:
        read_config(tmp_path / "config.json")
    assert error.value.got == kind


def test_the_size_of_a_list_or_a_table_is_a_value() -> None:
    found = Configuration(
        {"id2label": {"0": "cat", "1": "dog"}, "depths": [3, 4, 6], "width": 5, "len(x)": 7}
    )
    assert [found.get(key) for key in ("len(id2label)", "len(depths)", "len(x)")] == [2, 3, 7]
    for key in ("len(width)", "len(missing)", "len()", "len(depths) + 1"):
        assert not found.has(key)
        assert found.get(key) is None
    assert found.close_to("len(depth)") == ("depths",)

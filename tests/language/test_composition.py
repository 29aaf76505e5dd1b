"""Layers inside layers, layers of tfpt's library, several bases, dropped rows, `also` and `when`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.growth import assert_linear, cpu_budget
from tfpt.errors import MappingError
from tfpt.language.library import libraries, library_layers
from tfpt.language.mapping import Copy, Fill, Mapping

Load = Callable[..., Mapping]

HEAD = "version: 1\nlayers:\n"
BLOCK = (
    HEAD
    + """
  dense:
    weights:
      - {tf: kernel, pt: weight, layout: "i o -> o i"}
      - {tf: bias, pt: bias}
  norm:
    eps: 1.0e-5
    weights: [{tf: gamma, pt: weight}, {pt: steps, fill: 0, shape: []}]
  attention:
    scopes:
      - {tf: "{p:q=query|k=key}", pt: "self.{p}", layer: dense}
      - {tf: norm, pt: norm, layer: norm}
  block:
    weights: [{tf: scale, pt: scale}]
    scopes:
      - {tf: attention, pt: attn, layer: attention}
      - {tf: mlp, pt: mlp, layer: dense, optional: true}
scopes:
  - {tf: "encoder/layer_{i}", pt: "encoder.layers.{i:int}", layer: block}
  - {tf: decoder, pt: decoder, layer: block, overrides: true}
"""
)


def refused(load: Load, text: str, **options: object) -> MappingError:
    with pytest.raises(MappingError) as caught:
        load(text, **options)
    return caught.value


def rows(mapping: Mapping) -> list[str]:
    return [str(row) for row in mapping.alternatives[0].rows]


# -- layers inside layers -----------------------------------------------------------------------------------


def test_a_layer_places_others_wherever_it_is_placed(load: Load) -> None:
    inside = [
        "scale → scale",
        "attention/{p:q=query|k=key}/kernel → attn.self.{p}.weight",
        "attention/{p:q=query|k=key}/bias → attn.self.{p}.bias",
        "attention/norm/gamma → attn.norm.weight",
        "fill 0 → attn.norm.steps",
        "mlp/kernel → mlp.weight",
        "mlp/bias → mlp.bias",
    ]

    def below(tf: str, pt: str) -> list[str]:
        return [
            f"{a if a.startswith('fill') else f'{tf}/{a}'} → {pt}.{b}"
            for a, b in (row.split(" → ") for row in inside)
        ]

    assert rows(load(BLOCK)) == [
        *below("encoder/layer_{i}", "encoder.layers.{i:int}"),
        *below("decoder", "decoder"),
    ]


def test_options_of_a_scope_apply_to_everything_inside(load: Load) -> None:
    found = load(BLOCK).alternatives[0].rows
    assert [row.optional for row in found] == 2 * [*5 * [False], True, True]
    assert [row.overrides for row in found] == [*7 * [False], *7 * [True]]


def test_a_row_names_the_scopes_that_it_is_in_outermost_first(load: Load) -> None:
    found = load(BLOCK).alternatives[0].rows[1]
    assert found.where == "m.yaml:6 (in the scopes at line 21, line 18, line 13)"


def test_a_name_relative_to_the_root_is_so_at_every_depth(load: Load) -> None:
    text = (
        HEAD
        + """
  inner: {weights: [{tf: w, pt: w}, {tf: /shared, pt: shared}]}
  outer: {scopes: [{tf: a, pt: a, layer: inner}, {tf: /b, pt: b, layer: inner}]}
source: {scope: net}
scopes: [{tf: x, pt: x, layer: outer}]
"""
    )
    assert rows(load(text)) == [
        "net/x/a/w → x.a.w",
        "shared → x.a.shared",
        "b/w → x.b.w",
        "shared → x.b.shared",
    ]


def test_a_layer_that_contains_itself_is_refused(load: Load) -> None:
    text = (
        HEAD
        + """
  a: {scopes: [{tf: x, pt: x, layer: b}]}
  b: {scopes: [{tf: x, pt: x, layer: a}]}
scopes: [{tf: x, pt: x, layer: a}]
"""
    )
    error = refused(load, text)
    assert (error.what, error.got) == ("the layer 'a' contains itself", "a → b → a")
    assert error.where == "m.yaml:5:16"


def test_layers_nested_too_deep_or_too_often_are_refused_before_they_are_placed(load: Load) -> None:
    layers = [f"  l{n}: {{scopes: [{{tf: x, pt: x, layer: l{n + 1}}}]}}" for n in range(150)]
    text = (
        HEAD
        + "\n".join(layers)
        + "\n  l150: {weights: [{tf: w, pt: w}]}\nscopes: [{tf: x, pt: x, layer: l0}]"
    )
    assert refused(load, text).what == "more than 100 layers inside one another"
    # Each level doubles the rows: 2 to the power of 40. The second form has no rows at all, only scopes.
    for inner in ("weights: [{tf: w, pt: w}]", "weights: []"):
        layers = [
            f"  l{n}: {{scopes: [{', '.join(2 * [f'{{tf: x, pt: x, layer: l{n + 1}}}'])}]}}"
            for n in range(40)
        ]
        text = HEAD + "\n".join(layers) + f"\n  l40: {{{inner}}}\nscopes: [{{tf: x, pt: x, layer: l0}}]"
        with cpu_budget(60):  # a count, not a traversal, which would take days
            assert refused(load, text).what.startswith("the mapping has more than 200,000 rows")


def test_a_layer_that_is_missing_inside_another_is_named_there(load: Load) -> None:
    error = refused(
        load, BLOCK.replace("layer: dense}\n      - {tf: norm", "layer: dens}\n      - {tf: norm")
    )
    assert (error.what, error.nearest[:1]) == ("there is no layer 'dens'", ("dense",))
    assert error.where == "m.yaml:13:58"


def test_a_mistake_in_a_layer_placed_many_times_is_reported_once(load: Load) -> None:
    error = refused(load, BLOCK.replace("{tf: scale, pt: scale}", '{tf: "{a}", pt: scale}'))
    assert error.what == "{a} is on one side of the row only"
    assert not error.causes


def test_compiling_nested_layers_takes_time_in_proportion_to_their_rows(load: Load) -> None:
    def text(n: int) -> str:
        inner = "".join(f"      - {{tf: w{k}, pt: w{k}}}\n" for k in range(20))
        scopes = "".join(f"      - {{tf: s{k}, pt: s{k}, layer: inner}}\n" for k in range(n))
        placed = "scopes: [{tf: x, pt: x, layer: outer}]"
        return f"{HEAD}  inner:\n    weights:\n{inner}  outer:\n    scopes:\n{scopes}{placed}"

    few, many = text(100), text(400)
    assert_linear(lambda: load(few), lambda: load(many))


# -- padding and epsilon ------------------------------------------------------------------------------------


def epsilons(mapping: Mapping) -> dict[str, float | None]:
    return {behavior.pt.text: behavior.eps for behavior in mapping.behaviors}


def test_the_epsilon_of_a_scope_wins_over_that_of_its_layer(load: Load) -> None:
    text = BLOCK.replace("pt: decoder, layer: block", "pt: decoder, eps: 1.0e-3, padding: same, layer: block")
    found = epsilons(load(text))
    assert found["encoder.layers.{i:int}.attn.norm"] == 1e-5
    assert found["decoder.attn.norm"] == 1e-3
    assert {b.padding for b in load(text).behaviors if b.pt.text.startswith("decoder")} == {"same"}


def test_the_outermost_scope_wins_and_a_layer_is_a_default_for_those_inside(load: Load) -> None:
    text = (
        HEAD
        + """
  bare: {weights: [{tf: w, pt: n.w}]}
  own: {eps: 0.5, weights: [{tf: w, pt: n.w}]}
  outer:
    eps: 0.25
    scopes:
      - {tf: a, pt: a, layer: bare}
      - {tf: b, pt: b, layer: own}
      - {tf: c, pt: c, layer: bare, eps: 0.125}
scopes:
  - {tf: x, pt: x, layer: outer}
  - {tf: y, pt: y, layer: outer, eps: 0.75}
"""
    )
    assert epsilons(load(text)) == {
        "x.a.n": 0.25,
        "x.b.n": 0.5,
        "x.c.n": 0.125,
        "y.a.n": 0.75,
        "y.b.n": 0.75,
        "y.c.n": 0.75,
    }


# -- the library --------------------------------------------------------------------------------------------


SIZED = (
    HEAD
    + """
  heads:
    weights: [{tf: kernel, pt: weight, layout: "i h d -> (h d) i", axes: {h: 7}}, {tf: bias, pt: bias}]
  block: {scopes: [{tf: query, pt: query, layer: heads, axes: {h: 5}}]}
scopes:
  - {tf: "layer_{i}", pt: "layers.{i:int}", layer: block, axes: {h: 2}}
  - {tf: pooler, pt: pooler, layer: block}
  - {tf: head, pt: head, layer: heads}
"""
)


def test_the_sizes_of_a_scope_apply_to_the_layouts_inside_that_name_them(load: Load) -> None:
    sizes = {
        str(row.pt[0]): dict(row.transform.layout.sizes)
        for row in load(SIZED).alternatives[0].rows
        if isinstance(row, Copy) and row.transform.layout is not None
    }
    assert sizes == {
        "layers.{i:int}.query.weight": {"h": 2},
        "pooler.query.weight": {"h": 5},
        "head.weight": {"h": 7},
    }


def test_a_size_of_a_scope_that_no_layout_in_it_names_is_refused(load: Load) -> None:
    error = refused(load, SIZED.replace("axes: {h: 2}", "axes: {k: 2}"))
    assert "axes: names 'k', which no layout in the scope has" in str(error)
    assert str(error.where) == "m.yaml:8:5"


def test_a_scope_may_use_a_layer_of_the_library(load: Load) -> None:
    mapping = load('version: 1\nscopes: [{tf: "b{i}", pt: "b.{i:int}", use: keras/dense}]')
    assert rows(mapping) == ["b{i}/kernel → b.{i:int}.weight", "b{i}/bias → b.{i:int}.bias"]
    first = mapping.alternatives[0].rows[0]
    assert first.where.partition(":")[0].endswith("mappings/layers/keras.yaml")
    assert first.where.endswith("(in the scope at m.yaml:2)")


def test_a_layer_of_the_library_that_does_not_exist_is_refused_with_the_nearest(load: Load) -> None:
    for use, nearest in (
        ("keras/dens", "keras/dense"),
        ("kears/conv2d", "keras/conv2d"),
        ("conv2d", "keras/conv2d"),
    ):
        error = refused(load, f"version: 1\nscopes: [{{tf: a, pt: a, use: {use}}}]")
        assert error.what == f"tfpt has no layer {use!r}"
        assert nearest in error.nearest
        assert error.where == "m.yaml:2:30"
    error = refused(load, "version: 1\nlayers: {k/d: {weights: []}}")
    assert error.what.startswith("the name of a layer cannot contain /")
    error = refused(load, "version: 1\nscopes: [{tf: a, pt: a, use: keras/dense, layer: b}]")
    assert "expected either layer: or use:" in error.what


def test_layers_that_no_scope_uses_are_not_added(load: Load) -> None:
    text = "version: 1\nlayers: {a: {scopes: [{tf: x, pt: x, use: slim/batch_norm}]}}"
    text += "\nscopes: [{tf: y, pt: y, layer: a}]"
    assert len(rows(load(text))) == 5
    assert load(text).digest != load(text.replace("slim", "keras")).digest


@pytest.mark.parametrize("name", sorted(library_layers()))
def test_every_layer_of_the_library_compiles(load: Load, name: str) -> None:
    found = (
        load(f'version: 1\nscopes: [{{tf: "l{{i}}", pt: "l.{{i:int}}", use: {name}}}]').alternatives[0].rows
    )
    assert found


def test_no_layer_is_written_twice_in_the_library() -> None:
    layers = [str(node.plain()) for node in library_layers().values()]
    twice = {text for text in layers if layers.count(text) > 1}
    # Layers that differ only in their use: Keras stores layer and group norms alike.
    assert len(twice) <= 1
    assert set(libraries()) >= {"keras", "slim"}


# -- extends and drop ---------------------------------------------------------------------------------------


def test_several_bases_are_merged_in_order_and_a_common_one_once(load: Load) -> None:
    files = {
        "root.yaml": "version: 1\nsummary: root\nweights: [{tf: r, pt: r}]",
        "a.yaml": "extends: root.yaml\nsummary: a\nweights: [{tf: a, pt: a}]",
        "b.yaml": "extends: root.yaml\nmodel: {kwargs: {n: 2}}\nweights: [{tf: b, pt: b}]",
    }
    mapping = load("extends: [a.yaml, b.yaml]\nweights: [{tf: m, pt: m}]", files)
    assert rows(mapping) == ["r → r", "a → a", "b → b", "m → m"]
    assert (mapping.summary, mapping.model.kwargs) == ("a", {"n": 2})


def test_a_file_with_layers_alone_can_be_shared(load: Load) -> None:
    files = {"layers.yaml": "layers: {d: {weights: [{tf: w, pt: w}]}}"}
    text = "version: 1\nextends: layers.yaml\nscopes: [{tf: a, pt: a, layer: d}]"
    assert rows(load(text, files)) == ["a/w → a.w"]


def test_drop_leaves_out_inherited_rows_scopes_and_modules(load: Load) -> None:
    files = {
        "base.yaml": """version: 1
layers: {d: {weights: [{tf: w, pt: w}]}}
scopes: [{tf: a, pt: "a.{i}", layer: d}, {tf: b, pt: b, layer: d}]
weights: [{tf: x, pt: x}, {tf: yz, pt: [y, z]}]
modules: [{pt: pool, padding: same}, {pt: other, padding: same}]
""".replace("tf: a,", 'tf: "a{i}",')
    }
    text = 'extends: base.yaml\ndrop: ["a.{i}", x, pool]\nweights: [{tf: new, pt: x}]'
    mapping = load(text, files)
    assert rows(mapping) == ["b/w → b.w", "yz → y z", "new → x"]
    assert [behavior.pt.text for behavior in mapping.behaviors] == ["other"]
    assert rows(load("extends: base.yaml\ndrop: z", files))[-1] == "x → x"
    error = refused(load, "extends: base.yaml\ndrop: [b, pooling]", other=files)
    assert error.what == "drop: no inherited row, scope or module has pt: pooling"
    assert (error.nearest[0], error.where) == ("pool", "m.yaml:2:11")
    assert refused(load, "version: 1\ndrop: x").what == "drop: needs extends:"


# -- also and when ------------------------------------------------------------------------------------------


def test_also_writes_the_same_value_to_further_names(load: Load) -> None:
    text = """version: 1
weights:
  - {tf: "t{i}", pt: "a.{i:int}.w", also: ["b.{i}.w", "c.{i}"], layout: "v d -> d v"}
  - {pt: mask, also: other, fill: 1, shape: [2]}
"""
    found = load(text).alternatives[0].rows
    assert [str(row) for row in found] == [
        "t{i} → a.{i:int}.w",
        "t{i} → b.{i}.w",
        "t{i} → c.{i}",
        "fill 1 → mask",
        "fill 1 → other",
    ]
    copies = [row for row in found if isinstance(row, Copy)]
    assert [row.tied for row in copies] == [False, True, True]
    assert len({row.transform for row in copies}) == 1
    assert [row.shape for row in found if isinstance(row, Fill)] == [(2,), (2,)]
    error = refused(load, "version: 1\nweights: [{tf: a, pt: [b, c], also: d}]")
    assert "also: goes with one name under pt:" in error.what
    assert refused(load, "version: 1\nweights: [{tf: a, pt: b, also: 'c.{x}'}]").what.startswith(
        "{x} is on one side"
    )


def test_when_switches_rows_and_scopes_off(load: Load) -> None:
    text = """version: 1
params: {tied: true, biased: false}
layers: {d: {weights: [{tf: w, pt: w}, {tf: b, pt: b, when: "${biased}"}]}}
scopes: [{tf: x, pt: x, layer: d}, {tf: y, pt: y, layer: d, when: "${tied}"}]
weights: [{tf: head, pt: head, when: "${tied}"}]
"""
    assert rows(load(text)) == ["x/w → x.w", "y/w → y.w", "head → head"]
    settings = {"tied": False, "biased": True}
    assert rows(load(text, settings=settings)) == ["x/w → x.w", "x/b → x.b"]
    error = refused(load, text, settings={"tied": "yes"})
    assert [(cause.where, cause.got) for cause in error.causes] == [
        ("m.yaml:4:67", "'yes'"),
        ("m.yaml:5:38", "'yes'"),
    ]


def test_a_mistake_in_a_row_that_is_switched_off_is_reported(load: Load) -> None:
    assert refused(load, "version: 1\nweights: [{tf: '{a}', pt: b, when: false}]").what.startswith(
        "{a} is on one"
    )

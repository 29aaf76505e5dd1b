"""The cost of a plan grows with names and rows, not with their product: each construct at two sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.growth import assert_linear
from tfpt.language.loader import load_mapping
from tfpt.planning import Plan, make_plan
from tfpt.tensors import TensorSpec

Names = list[str]
Case = tuple[str, Names, Names]


def rows(*texts: str) -> str:
    return "weights:\n" + "".join(f"  - {{{text}}}\n" for text in texts)


def literal_rows(n: int) -> Case:
    names = [f"l{i}/kernel" for i in range(n)]
    return rows(*(f"tf: l{i}/kernel, pt: l{i}.w" for i in range(n))), names, [f"l{i}.w" for i in range(n)]


def rows_of_absent_variables(n: int) -> Case:
    text, names, parameters = literal_rows(n)
    return text, [f"x{name}" for name in names[1:]] + names[:1], parameters


def one_field(n: int) -> Case:
    text = rows('tf: "l{i}/kernel", pt: "l{i:int}.w"')
    return text, [f"l{i}/kernel" for i in range(n)], [f"l{i}.w" for i in range(n)]


def layers_at_many_scopes(n: int) -> Case:
    inner = ", ".join(f"{{tf: w{k}, pt: w{k}}}" for k in range(10))
    text = f"layers: {{l: {{weights: [{inner}]}}}}\nscopes:\n" + "".join(
        f"  - {{tf: s{i}, pt: s{i}, layer: l}}\n" for i in range(n // 10)
    )
    each = [(i, k) for i in range(n // 10) for k in range(10)]
    return text, [f"s{i}/w{k}" for i, k in each], [f"s{i}.w{k}" for i, k in each]


def scopes_with_fields_behind(n: int) -> Case:
    text = 'layers: {l: {weights: [{tf: "{x}", pt: "{x}"}]}}\nscopes:\n' + "".join(
        f"  - {{tf: s{i}, pt: s{i}, layer: l}}\n" for i in range(n)
    )
    return text, [f"s{i}/w" for i in range(n)], [f"s{i}.w" for i in range(n)]


def components_between_fields(n: int) -> Case:
    text = rows(*(f'tf: "{{p...}}/l{i}/{{x}}", pt: "{{p...}}.l{i}.{{x}}"' for i in range(n)))
    return text, [f"net/l{i}/w" for i in range(n)], [f"net.l{i}.w" for i in range(n)]


def counters_beside_words(n: int) -> Case:
    text = rows('tf: "l{i:counter}{d:a=_x|b=}/w", pt: "l.{i}{d}.w"')
    names = [f"l{f'_{i}' if i else ''}{d}/w" for i in range(n // 2) for d in "ab"]
    return text, names, [f"l.{i}{d}.w" for i in range(n // 2) for d in ("_x", "")]


def alternatives(n: int) -> Case:
    text = rows('tf: "l{i:int}/w", pt: "{_:a|b}.{i}.{_:w|v|u}"')
    return text, [f"l{i}/w" for i in range(n)], [f"b.{i}.{leaf}" for i in range(n // 2) for leaf in "uv"]


def stages(n: int) -> Case:
    sizes = [4] * (n // 4)
    divisor = ",".join(map(str, sizes))
    text = rows(f'tf: "s{{i//[{divisor}]}}/{{i%[{divisor}]}}", pt: "l.{{i}}"')
    names = [f"s{s}/{u}" for s, size in enumerate(sizes) for u in range(size)]
    return text, names, [f"l.{i}" for i in range(n)]


def paths_with_dots(n: int) -> Case:
    text = rows('tf: "{p...}/w", pt: "{p...}.w"')
    return text, [f"a/l.{i}/w" for i in range(n)], [f"a.l.{i}.w" for i in range(n)]


AVERAGE = "ExponentialMovingAverage"


def averages(n: int) -> Case:
    text, names, parameters = one_field(4 * n)
    text = f'source: {{ema: {{tf: "{{path...}}/{AVERAGE}", use: prefer}}}}\n{text}'
    return text, names + [f"{name}/{AVERAGE}" for name in names], parameters


def exceptions_of_averages(n: int) -> Case:
    text, names, parameters = one_field(n)
    ema = f'{{tf: "{{path...}}/{AVERAGE}", use: require, except: [{", ".join(names[::2])}]}}'
    return f"source: {{ema: {ema}}}\n{text}", names + [f"{n}/{AVERAGE}" for n in names[1::2]], parameters


def averages_without_a_word(n: int) -> Case:
    text, names, parameters = one_field(n)
    entries = ", ".join(f"{{tf: z{i}/{AVERAGE}, why: w}}" for i in range(n))
    return f"source: {{ignore: [{entries}]}}\n{text}", names + [f"{n}/{AVERAGE}" for n in names], parameters


def ignored_names(n: int) -> Case:
    entries = ", ".join(f"{{tf: m{i}/Adam, why: slot}}" for i in range(n))
    return (
        f"source: {{ignore: [{entries}]}}\n{rows('tf: a, pt: a')}",
        ["a", *(f"m{i}/Adam" for i in range(n))],
        ["a"],
    )


def ignored_paths(n: int) -> Case:
    entries = ", ".join(f'{{tf: "{{p...}}/m{i}/{{x}}", why: slot}}' for i in range(n))
    return (
        f"source: {{ignore: [{entries}]}}\n{rows('tf: a, pt: a')}",
        ["a", *(f"z/m{i}/s" for i in range(n))],
        ["a"],
    )


def scopes_of_the_source(n: int) -> Case:
    count = n // 20
    scopes = ", ".join(f"s{i}" for i in range(count))
    ema = '{tf: "{path...}/E", use: prefer}'
    text = f"source: {{scope: [{scopes}], ema: {ema}}}\n" + rows('tf: "{x...}/w", pt: "{x...}.w"')
    names = [f"s{count - 1}/l{i}/w" for i in range(n)]
    return text, names + [f"{name}/E" for name in names], [f"l{i}.w" for i in range(n)]


def stacked_names(n: int) -> Case:
    names = [f"l{i}" for i in range(n)]
    return rows(f'tf: [{", ".join(names)}], pt: w, layout: "n c -> n c"'), names, ["w"]


def constants(n: int) -> Case:
    text = """\
layers: {l: {weights: [{tf: w, pt: w}, {pt: one, fill: 1, like: w}]}}
scopes: [{tf: "l{i}", pt: "l{i:int}", layer: l}]
"""
    return text, [f"l{i}/w" for i in range(n)], [f"l{i}.{leaf}" for i in range(n) for leaf in ("w", "one")]


def variables_and_parameters_of_another_model(n: int) -> Case:
    return (
        rows("tf: a, pt: a"),
        ["a", *(f"net/z{i}/w" for i in range(n))],
        ["a", *(f"net.y{i}.w" for i in range(n))],
    )


def parameters_that_are_not_there(n: int) -> Case:
    text = rows('tf: "l{i}/k", pt: "l.{i:int}.w"')
    return text, [f"l{i}/k" for i in range(n)], [f"m.{i}.w" for i in range(n)]


def two_rows_for_each(n: int) -> Case:
    text, names, parameters = literal_rows(n)
    again = "".join(f"  - {{tf: {name}, pt: m{i}}}\n" for i, name in enumerate(names))
    return text + again, names, parameters + [f"m{i}" for i in range(n)]


def all_rows_for_one_variable(n: int) -> Case:
    return rows(*(f"tf: a, pt: p{i}" for i in range(n))), ["a"], [f"p{i}" for i in range(n)]


def all_rows_for_one_parameter(n: int) -> Case:
    return rows(*(f"tf: a{i}, pt: p" for i in range(n))), [f"a{i}" for i in range(n)], ["p"]


def overriding_and_tied_rows(n: int) -> Case:
    text, names, parameters = one_field(n)
    more = (
        f"  - {{tf: {name}, pt: m{i}, {('overrides', 'tied')[i % 2]}: true}}\n"
        for i, name in enumerate(names)
    )
    return text + "".join(more), names, [*parameters[1::2], *(f"m{i}" for i in range(n))]


def fallbacks(n: int) -> Case:
    return (
        rows("tf: a, pt: q", *(f"tf: a, pt: p{i}, fallback: true" for i in range(n))),
        ["a"],
        ["q", *(f"p{i}" for i in range(n))],
    )


CONSTRUCTS = [
    literal_rows,
    rows_of_absent_variables,
    one_field,
    counters_beside_words,
    alternatives,
    stages,
    paths_with_dots,
    layers_at_many_scopes,
    scopes_with_fields_behind,
    components_between_fields,
    averages,
    exceptions_of_averages,
    averages_without_a_word,
    ignored_names,
    ignored_paths,
    scopes_of_the_source,
    stacked_names,
    constants,
    variables_and_parameters_of_another_model,
    parameters_that_are_not_there,
    two_rows_for_each,
    all_rows_for_one_variable,
    all_rows_for_one_parameter,
    overriding_and_tied_rows,
    fallbacks,
]


@pytest.mark.parametrize("construct", CONSTRUCTS, ids=[construct.__name__ for construct in CONSTRUCTS])
def test_a_plan_of_four_times_the_names_takes_four_times_as_long(
    construct: Callable[[int], Case], tmp_path: Path
) -> None:
    def prepared(n: int) -> Callable[[], Plan]:
        text, names, parameters = construct(n)
        path = tmp_path / f"m{n}.yaml"
        path.write_text(f"version: 1\n{text}")
        mapping = load_mapping(path)
        specs = {name: TensorSpec(name, (2,), "float32") for name in names}
        targets = {name: TensorSpec(name, (2,), "float32") for name in parameters}
        return lambda: make_plan(mapping, specs, targets)

    assert_linear(prepared(300), prepared(1200))


def test_names_of_any_characters_are_planned() -> None:
    """Lone surrogates and numbers of thousands of digits come from files that nobody checked."""
    odd = ["\ud800/w", "l" + "9" * 4301 + "/w", "a\0b/w", "é/w", "", "/", "//"]
    mapping = load_mapping("i3d_rgb")
    specs = {name: TensorSpec(name, (2,), "float32") for name in [*odd, "RGB/inception_i3d/Logits/x"]}
    targets = {name.replace("/", "."): TensorSpec(name.replace("/", "."), (2,), "float32") for name in odd}
    assert make_plan(mapping, specs, targets).to_json()["findings"]

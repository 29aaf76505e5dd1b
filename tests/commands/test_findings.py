"""How findings are grouped for people."""

from __future__ import annotations

import io

from rich.console import Console

from tfpt.planning import Finding
from tfpt.report.plans import print_findings


def printed(*findings: Finding, everything: bool = False) -> list[str]:
    out = Console(file=io.StringIO(), width=120, highlight=False)
    print_findings(out, findings, everything=everything)
    return out.file.getvalue().splitlines()


def shape(name: str, line: int, scope: int = 40, hint: str = "") -> Finding:
    where = f"m.yaml:{line} (in the scope at line {scope})"
    return Finding("shape", f"{name} is odd", name, where, f"a → {line}", "[3]", "[5]", ("near",), hint)


def test_findings_of_one_row_stand_under_its_line_and_name_it_once():
    lines = printed(shape("x", 7), shape("y", 7), shape("z", 9))
    assert lines == [
        "",
        "shape  m.yaml:7  (2)",
        "  x is odd",
        "    row       a → 7 (in the scope at line 40)",
        "    expected  [3]",
        "    got       [5]",
        "    nearest   near",
        "  y is odd",
        "    expected  [3]",
        "    got       [5]",
        "    nearest   near",
        "",
        "shape  m.yaml:9",
        "  z is odd",
        "    row       a → 9 (in the scope at line 40)",
        "    expected  [3]",
        "    got       [5]",
        "    nearest   near",
    ]


def test_another_scope_of_the_row_is_named():
    lines = printed(shape("x", 7, 40), shape("y", 7, 41))
    assert [line.strip() for line in lines if "row " in line] == [
        "row       a → 7 (in the scope at line 40)",
        "row       a → 7 (in the scope at line 41)",
    ]


def test_groups_with_one_way_out_say_it_once_after_the_last():
    lines = printed(*(shape("x", line, hint="--config") for line in (1, 2)), shape("y", 3, hint="other"))
    assert [line.strip() for line in lines if "next" in line or "m.yaml" in line] == [
        "shape  m.yaml:1",
        "shape  m.yaml:2",
        "next      --config",
        "shape  m.yaml:3",
        "next      other",
    ]


def test_of_a_large_group_three_are_shown_and_the_rest_is_counted():
    findings = [shape(f"x{n}", 7) for n in range(1200)]
    lines = printed(*findings)
    assert sum("is odd" in line for line in lines) == 3
    assert "  … and 1,197 more (--all shows them)" in lines
    assert "shape  m.yaml:7  (1,200)" in lines
    assert sum("is odd" in line for line in printed(*findings, everything=True)) == 1200


def test_notes_are_marked_and_brackets_are_no_markup():
    note = Finding("dead-row", "the row [bold]x[/] matched nothing", where="m.yaml:1")
    assert printed(note)[1:] == ["note: dead-row  m.yaml:1", "  the row [bold]x[/] matched nothing"]
    assert printed() == []


def test_of_many_rows_with_a_note_five_are_shown_and_errors_are_all():
    notes = [Finding("unconfirmed-layout", f"row {n}", where=f"m.yaml:{n}") for n in range(40)]
    lines = printed(*notes, Finding("dead-row", "x", where="m.yaml:1"))
    assert sum("row " in line and "m.yaml" not in line and "more" not in line for line in lines) == 5
    assert lines[-1] == "note: unconfirmed-layout  at 35 more rows (--all shows them)"
    assert len(printed(*notes, everything=True)) == 3 * 40
    errors = [Finding("shape", f"row {n}", where=f"m.yaml:{n}") for n in range(40)]
    assert len(printed(*errors)) == 3 * 40

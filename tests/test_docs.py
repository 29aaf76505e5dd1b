"""Compares the pages in docs/ with the code, and plays what they tell a reader to type."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import runpy
import shlex
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import takewhile
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import tfpt
from tfpt.language import schema
from tfpt.language.mapping import Mapping
from tfpt.language.templates import pair
from tfpt.operations.layout import Layout
from tfpt.planning.findings import KINDS
from tfpt.targets.model import TRUSTED
from tfpt.tensors import DTYPES

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the rest of the opening line, its text and its position in the document."""

    language: str
    info: str
    text: str
    line: int
    span: tuple[int, int]

    def __str__(self) -> str:
        return f"line {self.line}"


def blocks(document: str) -> list[Block]:
    return [
        Block(
            found[1],
            found[2].strip(),
            found[3],
            document.count("\n", 0, found.start()) + 1,
            found.span(3),
        )
        for found in FENCE.finditer(document)
    ]


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(document: str, title: str) -> str:
    """The text below a heading, up to the next heading of the same or a higher level."""
    heading = re.search(rf"^(#+) {re.escape(title)}$", document, re.MULTILINE)
    assert heading, f"no section {title!r}"
    rest = document[heading.end() :]
    following = re.search(rf"^#{{1,{len(heading[1])}}} ", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest


def table(text: str, first_column: str) -> list[dict[str, str]]:
    """The rows of the table with this first column; `\\|` within a cell is a bar."""
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in takewhile(lambda line: line.startswith("|"), lines[start:])
    ]
    assert len({len(row) for row in rows}) == 1, "the rows of the table have different numbers of cells"
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def code(cell: str) -> list[str]:
    """The texts in backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)


# -- what a reader types --------------------------------------------------------------------------------------


class Terminal:
    """Runs a document's commands in this process and working directory: subprocesses would each import torch."""

    def __init__(self) -> None:
        self.status = 0

    def run(self, line: str) -> str:
        words = shlex.split(line)
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            os.environ[name] = value
            return ""
        if line == "echo $?":
            return f"{self.status}\n"
        if words[:2] == ["head", "-n"]:
            return "".join(Path(words[3]).read_text().splitlines(keepends=True)[: int(words[2])])
        if words[0] == "cat":
            return Path(words[1]).read_text()
        # As in a separate process: the reader's modules are found through PYTHONPATH and the script's folder only.
        folder = [] if words[0] == "tfpt" and not os.environ.get("PYTHONPATH") else [os.getcwd()]
        path = [*folder, *(entry for entry in sys.path if entry not in ("", os.getcwd()))]
        sys.modules.pop("mymodel", None)
        with swapped(sys, "path", path), swapped(sys, "argv", words[1:] or [""]):
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                self.status = self._call(words)
        return out.getvalue()

    def _call(self, words: list[str]) -> int:
        try:
            if words[0] == "tfpt":
                from tfpt.commands.main import main

                main(words[1:], prog_name="tfpt")
            elif words[0] == "python":
                runpy.run_path(words[1], run_name="__main__")
            else:
                raise ValueError(f"unsupported command in a document: {words[0]}")
        except SystemExit as stop:
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr)
                return 1
            return stop.code or 0
        return 0


@contextlib.contextmanager
def swapped(owner: Any, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before, variables = os.getcwd(), dict(os.environ)
    for name in ("PYTHONPATH", "FORCE_COLOR"):
        os.environ.pop(name, None)
    os.chdir(folder)
    try:
        # A module changed within a second of its compilation would be loaded from the bytecode cache.
        with swapped(sys, "dont_write_bytecode", True):
            yield
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(variables)
        sys.modules.pop("mymodel", None)


def edited(text: str, sections: str) -> str:
    """A YAML file with its top-level sections replaced by those given; new ones are appended."""

    def split(source: str) -> dict[str, str]:
        return {
            piece.partition(":")[0]: piece.rstrip("\n") for piece in re.split(r"(?m)^(?=\w)", source) if piece
        }

    return "\n\n".join({**split(text), **split(sections)}.values()).replace("\n\nsummary", "\nsummary") + "\n"


def play(document: str) -> Iterator[tuple[Block, str]]:
    """Run a document from its start in the working directory; yields console blocks with their actual output."""
    terminal = Terminal()
    for block in blocks(document):
        if block.info.startswith("file="):
            path = Path(block.info.removeprefix("file="))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.info.startswith("edit="):
            path = Path(block.info.removeprefix("edit="))
            path.write_text(edited(path.read_text(), block.text))
        elif block.language == "console":
            lines = [line for line in block.text.splitlines() if line.startswith("$ ")]
            yield block, "".join(f"{line}\n{terminal.run(line[2:])}" for line in lines)


def comparable(text: str) -> list[str]:
    """Lines without machine-dependent parts: folders, fingerprints, trailing blanks."""
    text = re.sub(r"fingerprint [0-9a-f]+", "fingerprint …", text.replace(os.getcwd() + "/", ""))
    return [line.rstrip() for line in text.rstrip().splitlines()]


# -- the language --------------------------------------------------------------------------------------

LANGUAGE = read("language.md")


def load(text: str, folder: Path) -> Mapping:
    path = folder / "example.yaml"
    path.write_text(text)
    config = {"num_hidden_layers": 12} if "from: num_hidden_layers" in text else None
    return tfpt.load_mapping(path, config=config)


def completed(values: Any) -> dict[str, Any]:
    """Completes an example to a mapping: rows go under `weights`, scopes get the layers that they name."""
    if isinstance(values, list):
        values = {"scopes": values} if "layer" in values[0] else {"weights": values}
    if "extends" not in values:
        values = {"version": 1, **values}
    named = {entry["layer"] for entry in values.get("scopes", ())}
    stubs = {name: {"weights": [{"tf": "kernel", "pt": "weight"}]} for name in named}
    if named and "extends" not in values:
        values = {**values, "layers": {**stubs, **values.get("layers", {})}}
    return values


EXAMPLES = [
    pytest.param(block, id=f"{name}-{block}")
    for name in ("language.md", "formats/tensorflow.md")
    for block in blocks(read(name))
    if block.language == "yaml"
]


@pytest.mark.parametrize("block", EXAMPLES)
def test_every_yaml_block_compiles(block: Block, tmp_path: Path) -> None:
    values = yaml.safe_load(block.text)
    if isinstance(values, dict) and ("version" in values or "extends" in values):
        load(block.text, tmp_path)
    else:
        load(yaml.safe_dump(completed(values), sort_keys=False), tmp_path)


def test_every_template_example_holds() -> None:
    rows = table(section(LANGUAGE, "Templates"), "field")
    assert len(rows) >= 9
    for row in rows:
        tf, pt = pair(code(row["tf"])[0], code(row["pt"])[0])
        assert code(row["example"])
        for example in code(row["example"]):
            variable, parameter = example.split(" → ")
            values = tf.match(variable)
            assert values is not None, example
            assert pt.render_in(values, {parameter}) == parameter
            assert pt.match(parameter) == values
            if tf.renders:
                # A dot in a component cannot be told from a separator on the way back.
                assert tf.render(values) == variable.replace("layers.0", "layers/0")


def test_every_layout_example_holds() -> None:
    for row in table(section(LANGUAGE, "Layouts"), "layer"):
        pattern, *axes = code(row["layout"])
        sizes = yaml.safe_load("{" + axes[0] + "}")["axes"] if axes else {}
        before, after = (tuple(yaml.safe_load(text)) for text in code(row["shapes"])[0].split(" → "))
        assert Layout.parse(pattern, sizes).bind(before).shape == after, pattern


def test_every_joining_row_has_the_shapes_it_claims(tmp_path: Path) -> None:
    for row in table(section(LANGUAGE, "Joins, splits and stacks"), "what"):
        before, after = (yaml.safe_load(f"[{text}]") for text in code(row["shapes"])[0].split(" → "))
        mapping = load(yaml.safe_dump(completed([yaml.safe_load(code(row["row"])[0])])), tmp_path)
        (compiled,) = mapping.alternatives[0].rows
        bound = compiled.transform.bind([tuple(shape) for shape in before], len(after))
        assert list(bound.shapes) == [tuple(shape) for shape in after], row["row"]


def test_the_findings_are_those_of_the_planner() -> None:
    rows = table(section(LANGUAGE, "Findings"), "kind")
    assert {code(row["kind"])[0]: row["severity"] for row in rows} == {
        kind: "error" if stops else "note" for kind, stops in KINDS.items()
    }


def test_every_key_of_a_row_is_in_its_table_with_its_default() -> None:
    rows = table(section(LANGUAGE, "A row"), "key")
    documented = {code(row["key"])[0]: row["default"] for row in rows}
    fields = {info.alias or name: info for name, info in schema.RowEntry.model_fields.items()}
    assert documented.keys() == fields.keys()
    for name, info in fields.items():
        if info.default in (None, {}):
            assert documented[name] == "—", name
        elif info.default is PydanticUndefined:
            assert documented[name] == "required", name
        else:
            assert yaml.safe_load(code(documented[name])[0]) == info.default, name


def models_of(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for info in annotation.model_fields.values():
            yield from models_of(info.annotation)
    elif get_origin(annotation) in (list, dict, Union, UnionType):
        for argument in get_args(annotation):
            yield from models_of(argument)


def test_every_key_of_the_schema_is_mentioned() -> None:
    documented = " ".join(re.findall(r"`[^`\n]+`", LANGUAGE) + [block.text for block in blocks(LANGUAGE)])
    keys = {
        info.alias or name
        for model in models_of(schema.MappingEntry)
        for name, info in model.model_fields.items()
    }
    assert len(keys) > 50
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b", documented)] == []


def test_choices_and_trusted_packages_are_listed() -> None:
    for word in (
        *get_args(schema.Padding),
        *get_args(schema.EmaEntry.model_fields["use"].annotation),
        *TRUSTED,
    ):
        assert f"`{word}`" in LANGUAGE, word


# -- the formats ---------------------------------------------------------------------------------------


def test_the_dtypes_are_those_of_the_table() -> None:
    rows = table(section(read("formats/tensors.md"), "Dtypes"), "dtype")
    documented = {
        code(row["dtype"])[0]: (row["checkpoint"], row["torch"], row["safetensors"]) for row in rows
    }
    assert documented == {
        name: (
            "no" if held.numpy is None else "yes",
            f"`{held.torch}`" if held.torch else "—",
            f"`{held.safetensors}`" if held.safetensors else "—",
        )
        for name, held in DTYPES.items()
    }


def tfjs(shard: str, content: bytes | None) -> Path:
    """A TensorFlow.js model of eight bytes, with its shard unless `content` is None."""
    weights = [{"name": "w", "shape": [2], "dtype": "float32"}]
    model = {"format": "layers-model", "weightsManifest": [{"paths": [shard], "weights": weights}]}
    Path("tfjs").mkdir()
    Path("tfjs/model.json").write_text(json.dumps(model))
    if content is not None:
        Path("tfjs", shard).write_bytes(content)
    return Path("tfjs/model.json")


def provoke(name: str) -> None:
    """Create the faulty file of one row of the table of rejections in the working directory, and read or write it."""
    import numpy as np

    from tfpt.execution.sinks import open_sink
    from tfpt.execution.sinks.bundle import write_bundle
    from tfpt.tensors import TensorSpec

    data = Path("model.ckpt.data-00000-of-00001")
    write_bundle("model.ckpt", {"w": np.arange(6, dtype=np.float32)})
    match name:
        case "an unsupported format":
            Path("model.onnx").write_bytes(b"\x08\x0a\x12\x07pytorch\x1a\x052.1.0" + bytes(100))
            tfpt.open_source("model.onnx")
        case "a Git LFS pointer in place of the file":
            Path("model.h5").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
            tfpt.open_source("model.h5")
        case "a pickled dict that would run code":
            import os

            class Runs:
                def __reduce__(self):
                    return os.system, ("true",)

            np.save("model.npy", np.array({"w": Runs()}, object), allow_pickle=True)
            tfpt.open_source("model.npy")
        case "a checkpoint that does not exist":
            tfpt.open_source("modle.ckpt")
        case "a corrupt value":
            data.write_bytes(b"\x01" + data.read_bytes()[1:])
            tfpt.open_source("model.ckpt").read("w")
        case "a missing data file":
            data.unlink()
            tfpt.open_source("model.ckpt").read("w")
        case "a graph whose values are in TensorFlow.js files":
            from tfpt.formats.tensorflow.tensorflow_pb2 import GraphDef

            graph = GraphDef()
            for name in ("a/w", "b/w"):
                tensor = graph.node.add(name=name, op="Const").attr["value"].tensor
                tensor.dtype = 1
                tensor.tensor_shape.dim.add(size=3)
                tensor.tensor_shape.dim.add(size=5)
            Path("tensorflowjs_model.pb").write_bytes(graph.SerializeToString())
            tfpt.open_source("tensorflowjs_model.pb")
        case "a PyTorch file that would run code":
            import torch

            torch.save({"w": Fraction(1, 3)}, "code.pth")
            tfpt.open_source("code.pth")
        case "a PyTorch file with several state dicts":
            import torch

            torch.save({"a": {"w": torch.zeros(1)}, "b": {"w": torch.zeros(1)}}, "two.pth")
            tfpt.open_source("two.pth")
        case "a TorchScript program":
            import torch

            torch.jit.save(torch.jit.script(torch.nn.Identity()), "program.pt")
            tfpt.open_source("program.pt")
        case "a TensorFlow.js manifest without any of its shards":
            tfpt.open_source(tfjs("w.bin", None))
        case "truncated TensorFlow.js shards":
            tfpt.open_source(tfjs("w.bin", bytes(5)))
        case "a TensorFlow.js shard outside its folder":
            tfpt.open_source(tfjs("../w.bin", bytes(8)))
        case "a folder with several weights files":
            for file in ("several/a.npz", "several/b.npz"):
                Path(file).parent.mkdir(exist_ok=True)
                np.savez(file, w=np.ones(1))
            tfpt.open_source("several")
        case "an archive with a path outside its folder":
            with tarfile.open("out.tar", "w") as archive:
                archive.addfile(tarfile.TarInfo("../evil"))
            tfpt.open_source("out.tar")
        case "a file compressed with lz4":
            Path("w.lz4").write_bytes(b"\x04\x22\x4d\x18" + bytes(20))
            tfpt.open_source("w.lz4")
        case "an output with an unknown suffix":
            open_sink("w.onnx", [], {})
        case "an output that exists already":
            Path("w.pth").touch()
            open_sink("w.pth", [], {})
        case "an output that is the input":
            from tfpt.io.output_file import refuse_input

            Path("w.pth").touch()
            refuse_input("w.pth", "w.pth")
        case "a dtype that the output format does not have":
            open_sink("w.safetensors", [TensorSpec("w", (1,), "complex128")], {})
        case _:
            raise ValueError(f"unknown case: {name!r}")


REJECTIONS = table(section(read("formats/untrusted.md"), "What is rejected"), "what")


@pytest.mark.parametrize("row", REJECTIONS, ids=lambda row: row["what"])
def test_rejections_have_the_documented_messages(row: dict[str, str], tmp_path: Path) -> None:
    with working_in(tmp_path), pytest.raises(tfpt.TfptError) as rejected:
        provoke(row["what"])
    assert code(row["message"])[0] == rejected.value.what


# -- links ---------------------------------------------------------------------------------------------

PAGES = [path for path in (ROOT / "README.md", *sorted(DOCS.rglob("*.md"))) if path.is_file()]


def anchors(document: str) -> set[str]:
    """The anchors that GitHub generates for headings."""
    text = FENCE.sub("", document)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked.read_text(encoding="utf-8")), target

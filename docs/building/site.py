"""Hooks of mkdocs: the pages are written for a code host, and these few differences are made up for in the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_FENCE = re.compile(r"^(`{3,})(.*?)^\1$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^```(\w+) (file|edit)=(\S+)$", re.MULTILINE)
# A file's name above the block that has it as its title.
_NAMED = re.compile(r"^`[\w.]+`(?:, [^\n]*)?:\n\n(?=```\w+ (?:file|edit)=)", re.MULTILINE)
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")

_COMMAND = re.compile(r"<code>(?:tfpt |-)[^<]*</code>")
_OPTION = re.compile(r"(?<=[ >])-[\w-]*")

_CELL = re.compile(r"<td>.*?</td>", re.DOTALL)
_NAME = re.compile(r"(?<=<code>)[^<]+")
_JOINT = re.compile(r"(?<=\w|\}|\])[/.](?=\w|\{)|\}(?=\w)|\|")


def on_config(config: Any) -> Any:
    """The anchors of headings are those of a code host, so that one link is right on both."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = anchor
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """The text of a page as Python-Markdown needs it."""
    if "\n## " not in markdown:
        page.meta.setdefault("hide", ["toc"])  # which would be empty
    markdown = _FILE.sub(_titled, _NAMED.sub("", markdown))
    folder = Path(page.file.abs_src_path).parent
    return "".join(
        part if part.startswith("```") else _linked(_in_tables(part), folder, Path(config.docs_dir))
        for part in _pieces(markdown)
    )


def on_page_content(html: str, **_: Any) -> str:
    """Options in the text are not broken after a hyphen, names in tables are broken between their components."""
    html = _COMMAND.sub(lambda code: _OPTION.sub(r'<span class="option">\g<0></span>', code[0]), html)
    return _CELL.sub(lambda cell: _NAME.sub(lambda code: _JOINT.sub(r"\g<0><wbr>", code[0]), cell[0]), html)


def anchor(heading: str, _separator: str = "-") -> str:
    """The anchor of a heading.

    Example:
        >>> anchor("The source: scope and ignore", "-")
        'the-source-scope-and-ignore'
    """
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _titled(found: re.Match[str]) -> str:
    """A fence whose title is the file that its text is saved as, or whose sections it replaces."""
    language, kind, name = found.groups()
    return f'```{language} title="{name}{", these sections" if kind == "edit" else ""}"'


def _pieces(markdown: str) -> list[str]:
    """The text in order, fenced blocks apart from the rest."""
    pieces, end = [], 0
    for fence in _FENCE.finditer(markdown):
        pieces += [markdown[end : fence.start()], fence[0]]
        end = fence.end()
    return [*pieces, markdown[end:]]


def _in_tables(text: str) -> str:
    r"""Bars in code in a table: a code host wants `\|`, Python-Markdown shows the backslash."""
    return "\n".join(
        _CODE.sub(lambda code: code[0].replace(r"\|", "|"), line) if line.startswith("|") else line
        for line in text.split("\n")
    )


def _linked(text: str, folder: Path, docs: Path) -> str:
    """Links to files of the repository that the site does not have become plain text."""

    def kept(found: re.Match[str]) -> str:
        label, target = found.groups()
        if re.match(r"[a-z]+:|#", target):
            return found[0]
        inside = (folder / target.partition("#")[0]).resolve().is_relative_to(docs)
        return found[0] if inside else label

    return _LINK.sub(kept, text)

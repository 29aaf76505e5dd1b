"""The configuration that comes with a checkpoint: reading, lookup and suggestions for missing keys."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfpt.errors import MappingError
from tfpt.io import limits
from tfpt.language.tree import read_at_most

# The most levels and keys searched for a key that is missing at the top.
_LEVELS = 8
_KEYS = 10_000
# Characters of a key that are compared.
_LONG = 256

# One step of a key: a name, and the indices of entries in nested lists.
_STEP = re.compile(r"([^.\[\]]+)((?:\[-?[0-9]{1,9}\])*)")
_LENGTH = re.compile(r"len\(([^()]+)\)")


@dataclass(frozen=True)
class Configuration:
    """The values of a configuration, and its name in messages.

    Example:
        >>> found = Configuration({"config": {"num_layers": 12}}, "config.json")
        >>> found.has("num_layers"), found.get("config.num_layers"), found.close_to("num_layers")
        (False, 12, ('config.num_layers',))
    """

    values: Mapping[str, Any]
    named: str = "the configuration"

    def has(self, key: str) -> bool:
        return self._find(key)[0]

    def get(self, key: str) -> Any:
        """The value of a key, None if there is none.

        Dots lead into nested tables and `[0]` into lists, unless the whole name itself is a key. `len(KEY)` is the size
        of a list or table.
        """
        return self._find(key)[1]

    def fault(self, key: str) -> str:
        """Why a key has no value, although it or the list that it leads into is there; empty if it is not."""
        if self.has(key):
            return f"{key} is null" if self.get(key) is None else ""
        holder = key
        while holder.endswith("]"):
            holder = holder.rpartition("[")[0]
            if self.has(holder):
                value = self.get(holder)
                kind = f"a list of {len(value)}" if isinstance(value, list | tuple) else "not a list"
                return f"{holder} is {kind}"
        return ""

    def close_to(self, key: str, taken: Collection[str] = ()) -> tuple[str, ...]:
        """Keys that may be meant: the same name in another table, or a similar one at the top.

        Args:
            key: The key that is missing.
            taken: Keys already used for something else.
        """
        sized = _LENGTH.fullmatch(key)
        key = sized[1] if sized else key
        name = _plain(key.rpartition(".")[2].partition("[")[0])
        found = []
        for path, last in self._paths():
            if path in taken or key.startswith(f"{path}["):  # the list itself, which is too short
                continue
            if _plain(last) == name or ("." not in path and _is_slip(name, _plain(last))):
                found.append(path)
        return tuple(found[:3])

    def check_against(self, known: Collection[str], reader: str, where: str) -> None:
        """Refuse a configuration with no key that its reader knows, such as one nested in another table.

        Raises:
            MappingError: None of its keys is known.
        """
        if not known or not self.values or any(key in known for key in self.values):
            return
        nested = [path for path, last in self._paths() if last in known]
        raise MappingError(
            f"{self.named} has no key of {reader}",
            where=where,
            expected="its keys at the top, as in the config.json of a checkpoint",
            got=", ".join(list(map(str, self.values))[:10]),
            nearest=nested[:3],
        )

    def _find(self, key: str) -> tuple[bool, Any]:
        if key in self.values:
            return True, self.values[key]
        if sized := _LENGTH.fullmatch(key):
            there, value = self._find(sized[1])
            return (
                (True, len(value)) if there and isinstance(value, list | tuple | Mapping) else (False, None)
            )
        table: Any = self.values
        for step in key.split("."):
            found = _STEP.fullmatch(step)
            name, indices = found.groups() if found else (step, "")
            if not isinstance(table, Mapping) or name not in table:
                return False, None
            table = table[name]
            for index in map(int, re.findall(r"-?[0-9]+", indices)):
                if not isinstance(table, list | tuple) or not -len(table) <= index < len(table):
                    return False, None
                table = table[index]
        return True, table

    def _paths(self) -> Iterator[tuple[str, str]]:
        """The dotted name of each key and its last part, outer keys first."""
        level: list[tuple[str, Mapping[str, Any]]] = [("", self.values)]
        seen = 0
        for _ in range(_LEVELS):
            below = []
            for prefix, table in level:
                for key, value in table.items():
                    seen += 1
                    if seen > _KEYS:
                        return
                    yield f"{prefix}{key}", str(key)
                    if isinstance(value, Mapping):
                        below.append((f"{prefix}{key}.", value))
            level = below


def is_key(text: str) -> bool:
    """Whether a text can name a key: `hidden_size`, `text_config.hidden_size`, `block_sizes[0]`.

    Example:
        >>> is_key("a.b[1].c"), is_key("a[b]"), is_key("${a}")
        (True, False, False)
    """
    return "${" not in text and all(_STEP.fullmatch(step) for step in text.split("."))


def read_config(path: str | Path) -> dict[str, Any]:
    """Reads the configuration file of a published checkpoint.

    Raises:
        MappingError: It cannot be read, or is not a JSON object.
    """
    file = Path(path).expanduser()
    try:
        with file.open("rb") as stream:
            text = read_at_most(stream, limits.CONFIGURATION_BYTES + 1)
        if len(text) > limits.CONFIGURATION_BYTES:
            raise MappingError(
                "the configuration is too large",
                where=str(file),
                expected=f"{limits.CONFIGURATION_BYTES:,} bytes at most",
            )
        values = json.loads(text.decode("utf-8"))
    except OSError as error:
        raise MappingError(f"cannot read the configuration: {error.strerror}", where=str(file)) from error
    except (ValueError, RecursionError) as error:
        raise MappingError("the configuration is not JSON", where=str(file), got=str(error)) from error
    if not isinstance(values, dict):
        raise MappingError(
            "the configuration is not a JSON object", where=str(file), got=type(values).__name__
        )
    return values


def _plain(key: str) -> str:
    """A key without case and punctuation: numLayers, num-layers and num_layers are equal."""
    return "".join(letter for letter in key.lower() if letter.isalnum())


def _is_slip(wanted: str, there: str) -> bool:
    """Whether one is probably a typo for the other: an edit or two apart, with the same digits."""
    from rapidfuzz.distance import OSA

    allowed = 2 if len(wanted) >= 8 else 1
    return (
        len(wanted) > 3
        and _digits(wanted) == _digits(there)
        and OSA.distance(wanted[:_LONG], there[:_LONG], score_cutoff=allowed) <= allowed
    )


def _digits(key: str) -> str:
    return "".join(letter for letter in key if letter.isdigit())

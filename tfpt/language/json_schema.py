"""The JSON schema of mapping files, with which editors complete, check and explain keys."""

from __future__ import annotations

from typing import Any

from tfpt.language.row_schema import ONE_OR_MORE
from tfpt.language.schema import MappingEntry


def json_schema() -> dict[str, Any]:
    """The JSON schema of a mapping file, for completion and validation in editors.

    Example:
        >>> sorted(json_schema()["properties"])[:3]
        ['about', 'drop', 'endpoints']
    """
    schema: dict[str, Any] = _with_parameters(MappingEntry.model_json_schema(by_alias=True))
    extends = {
        **ONE_OR_MORE,
        "description": "Mappings to start from: files beside this one, or bundled names.",
    }
    drop = {**ONE_OR_MORE, "description": "Inherited rows, scopes and modules to leave out, by their pt."}
    schema["properties"] = {"extends": extends, "drop": drop, **schema["properties"]}
    # The version may be stated in the mapping that it extends.
    schema["required"] = [key for key in schema.get("required", []) if key != "version"]
    return schema


# What an editor sees where a number or a choice will be: a parameter or an expression.
_PARAMETER = {"type": "string", "pattern": r"\$\{"}


def _with_parameters(schema: Any) -> Any:
    """The schema with `${…}` allowed wherever a value other than free text is expected."""
    if isinstance(schema, list):
        return [_with_parameters(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {key: _with_parameters(value) for key, value in schema.items()}
    if schema.get("type") in ("integer", "number", "boolean", "array") or "enum" in schema:
        kept = {key: inside.pop(key) for key in ("title", "description", "default") if key in inside}
        return {**kept, "anyOf": [inside, _PARAMETER]}
    return inside

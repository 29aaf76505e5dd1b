"""`tfpt schema`: the JSON schema of mapping files, printed or written."""

from __future__ import annotations

import json

from tests.commands.running import refused, run


def test_the_schema_is_a_json_schema_of_a_mapping_file():
    schema = json.loads(run("schema").out)
    assert schema["type"] == "object"
    assert {"extends", "source", "model", "layers", "scopes", "weights"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False


def test_the_schema_is_written_to_a_file_and_the_line_that_names_it_printed(tmp_path):
    path = tmp_path / "mapping.json"
    path.write_text("old")
    found = run("schema", "--write", path)
    assert found.out.splitlines() == [
        f"wrote {path}",
        "  next      # yaml-language-server: $schema=mapping.json",
    ]
    assert path.read_text() == run("schema").out


def test_a_schema_that_cannot_be_written_is_refused(tmp_path):
    message = refused("schema", "--write", tmp_path / "nowhere" / "schema.json")
    assert "the output's folder does not exist" in message

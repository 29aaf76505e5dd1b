"""The mapping language: from YAML to rows with layouts."""

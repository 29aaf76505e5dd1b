"""`model.type`: refuses the configuration of a model of another type, whose weights would fit nowhere."""

from __future__ import annotations

from tfpt.errors import MappingError
from tfpt.language.configuration import Configuration
from tfpt.language.tree import Node

# What precedes the name of a model in the classes of frameworks other than PyTorch.
_FRAMEWORKS = ("TF", "Flax")


def refuse_other_type(root: Node, config: Configuration) -> None:
    """Check that a configuration is of the type that the mapping states. Nothing is imported.

    The configuration says its type in `model_type`. Without that key, the classes under `architectures` must begin with
    the type, as `BertForMaskedLM` does with `bert`; without either, it may be of any type.

    Args:
        root: A whole mapping, before substitution.
        config: The configuration.

    Raises:
        MappingError: It is of another type.

    Example:
        >>> from tfpt.language.tree import parse_document
        >>> tree = parse_document("model: {type: bert}", "m.yaml")
        >>> refuse_other_type(tree, Configuration({"architectures": ["BertForMaskedLM"]}))
        >>> refuse_other_type(tree, Configuration({"model_type": "gpt2"}, "config.json"))
        Traceback (most recent call last):
        tfpt.errors.MappingError: config.json belongs to a model of another type
          where     m.yaml:1:15
          expected  model_type: bert
          got       model_type: gpt2
          next      tfpt mappings lists the mappings of other models
    """
    stated = _stated(root)
    if stated is None:
        return
    types = [node.value for node in (stated.value if isinstance(stated.value, list) else [stated])]
    if not all(isinstance(name, str) for name in types):
        return  # reported by the schema
    model_type, classes = config.values.get("model_type"), config.values.get("architectures")
    if isinstance(model_type, str):
        fits, got = model_type in types, f"model_type: {model_type}"
    elif isinstance(classes, list) and classes and all(isinstance(name, str) for name in classes):
        fits = any(_belongs(name, known) for name in classes for known in types)
        got = f"architectures: {', '.join(classes[:3])}"
    else:
        return
    if not fits:
        raise MappingError(
            f"{config.named} belongs to a model of another type",
            where=str(stated.position),
            expected=f"model_type: {' or '.join(types)}",
            got=got[:200],
            hint="tfpt mappings lists the mappings of other models",
        )


def _stated(root: Node) -> Node | None:
    model = root.value.get("model")
    stated = model.value.get("type") if model is not None and isinstance(model.value, dict) else None
    return stated if isinstance(stated, Node) else None


def _belongs(name: str, model_type: str) -> bool:
    """Whether a class is one of this type: transformers names classes after the type, without punctuation."""
    for framework in _FRAMEWORKS:
        name = name.removeprefix(framework)
    return name.lower().startswith("".join(letter for letter in model_type.lower() if letter.isalnum()))

"""The arguments that a mapping may pass to its model: nothing that downloads, opens files or runs code.

Constructors of trusted packages can do harm. timm's `create_model` loads the pickle at `checkpoint_path`;
transformers 4.57 downloads and runs the code at `attn_implementation: user/kernel`; torchvision downloads `weights`.
So without trust only safe arguments are accepted, and only safe keys of a configuration, at any depth.
"""

from __future__ import annotations

import datetime
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tfpt.errors import UntrustedError

# Arguments of timm, transformers and torchvision that load weights or code unless they are empty.
_FETCHES = re.compile(
    r"(?:^|_)(?:pretrained|checkpoint|auto_map|remote_code|cache_dir|use_kernels|kernel_config|hub)(?:_|$)"
    r"|^weights(?:_backbone)?$"
)
# Similar names that are harmless: sizes that swin v2 was trained at, and memory savings in training.
_HARMLESS = re.compile(r"pretrained_window_sizes?|(?:use|gradient|grad)_checkpoint(?:ing)?")

# Safe implementations of attention and experts. Others are downloaded from a hub: user/kernel, and flash_attention_2
# where its package is not installed (transformers.modeling_utils, FLASH_ATTN_KERNEL_FALLBACK).
_IMPLEMENTATIONS = ("eager", "sdpa", "flex_attention", "batched_mm", "grouped_mm")

# Strings of a configuration that no model's code uses: the names of classes, and its origin.
_FREE = re.compile(
    r"id2label|label2id|task_specific_params|\w*name_or_path|\w+_token|licen[cs]e|finetuning_task"
)
# A path, URL or name in a hub: it has a slash or a scheme, or starts with `.` or `~`.
_PLACE = re.compile(r"\S[/\\]|[/\\]\S|\0|^[~.]|^[A-Za-z][\w+.-]*:")

# Arguments of timm's models that their constructors do not take: those of create_model and of its builders.
_TIMM = """
    model_name num_classes in_chans global_pool drop_rate drop_path_rate drop_block_rate drop_connect_rate
    features_only out_indices output_stride scriptable exportable no_jit img_size strict_img_size dynamic_img_size
    bn_eps bn_momentum bn_tf
"""


def checked_arguments(
    factory: Callable[..., Any], reference: str, arguments: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """The arguments of a model's factory, checked to download, open and run nothing.

    Args:
        factory: A class of layers, or a function that builds models.
        reference: Its name in the mapping.
        arguments: Its keyword arguments.
        where: The location in the mapping, for errors.

    Raises:
        UntrustedError: One of them may do so.

    Example:
        >>> import torch
        >>> checked_arguments(torch.nn.Linear, "torch.nn:Linear", {"in_features": 2, "out_features": 3}, "m.yaml:4")
        {'in_features': 2, 'out_features': 3}
    """
    home = str(getattr(factory, "__module__", ""))
    _check(arguments, reference, where)
    if isinstance(factory, type):
        return dict(arguments)
    if home.partition(".")[0] == "timm":
        _check_timm(arguments, reference, where)
    if home.partition(".")[0] == "torchvision":
        return {**_without_weights(factory, arguments), **arguments}
    return dict(arguments)


def checked_configuration(values: Mapping[str, Any], reference: str, where: str) -> dict[str, Any]:
    """The keys of a configuration, from the mapping and ``--config``, checked at any depth.

    Raises:
        UntrustedError: One of them may download, open or run something.

    Example:
        >>> checked_configuration({"vision_config": {"attn_implementation": "user/kernel"}}, "a:B", "m.yaml:4")
        Traceback (most recent call last):
        ...
        tfpt.errors.UntrustedError: the argument vision_config.attn_implementation of a:B may fetch code or read files
          where     m.yaml:4
          expected  eager, sdpa, flex_attention, batched_mm, grouped_mm
          got       'user/kernel'
          next      leave it out; or --trust, if you know what it names
    """
    _check(values, reference, where)
    return dict(values)


def check_made_configuration(configuration: Any, reference: str, where: str) -> None:
    """Reject a configuration that requests pretrained weights or downloaded code, as some do by default.

    Raises:
        UntrustedError: It does.
    """
    work, seen = [("", configuration)], set()
    while work:
        prefix, each = work.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        for key, value in vars(each).items():
            if hasattr(type(value), "model_type"):
                work.append((f"{prefix}{key}.", value))
            elif key == "use_pretrained_backbone" and value:
                raise _refused(
                    f"{prefix}{key}", reference, where, repr(value), "false", f"kwargs: {{{key}: false}}"
                )
            elif "implementation" in key:
                _check_implementation(f"{prefix}{key.strip('_')}", value, reference, where)


def _check(values: Mapping[str, Any], reference: str, where: str) -> None:
    for path, key, value in _leaves(values, ""):
        if "implementation" in key:
            _check_implementation(path, value, reference, where)
        elif _FETCHES.search(key) and not _HARMLESS.fullmatch(key):
            if value:
                raise _refused(path, reference, where, _short(value), "nothing, null or false")
        elif key == "backbone" and isinstance(value, str) and not _names_timm(values, path):
            # transformers interprets it as the name of a model in a hub, or a local folder.
            raise _refused(path, reference, where, _short(value), "backbone_config: {…}")
        elif isinstance(value, str):
            if _PLACE.search(value) and not any(_FREE.fullmatch(part) for part in path.split(".")):
                raise _refused(path, reference, where, _short(value), "a word, not a path or a repository")
        elif not isinstance(value, int | float | None | datetime.date | list | dict | tuple):
            raise _refused(
                path, reference, where, type(value).__name__, "a number, a word, a list or a table"
            )


def _leaves(value: Any, path: str, key: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every value with its path and nearest key; whole tables and lists where the key alone decides."""
    if isinstance(value, Mapping):
        if path and (_FETCHES.search(key) or "implementation" in key):
            yield path, key, dict(value)
            return
        for name, each in value.items():
            yield from _leaves(each, f"{path}.{name}" if path else str(name), str(name))
    elif isinstance(value, list | tuple) and not (_FETCHES.search(key) or "implementation" in key):
        for each in value:
            yield from _leaves(each, path, key)
    else:
        yield path, key, value


def _check_implementation(path: str, value: Any, reference: str, where: str) -> None:
    words = list(value.values()) if isinstance(value, dict) else [value]
    if not all(each is None or isinstance(each, bool) or each in _IMPLEMENTATIONS for each in words):
        raise _refused(path, reference, where, _short(value), ", ".join(_IMPLEMENTATIONS))


def _names_timm(values: Mapping[str, Any], path: str) -> bool:
    """Whether the ``backbone`` at `path` is the name of one of timm's models, which are built without weights."""
    table: Any = values
    for name in path.split(".")[:-1]:
        table = table[name] if isinstance(table, Mapping) and name in table else {}
    return isinstance(table, Mapping) and bool(
        table.get("use_timm_backbone") or table.get("model_type") == "timm_backbone"
    )


def _check_timm(arguments: Mapping[str, Any], reference: str, where: str) -> None:
    """timm passes on unknown arguments: accept only those of the constructors in the model's own module."""
    import timm

    name = arguments.get("model_name")
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
        raise _refused("model_name", reference, where, _short(name), "the name of a model of timm's")
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        return  # timm reports it, and lists its models
    module = sys.modules[timm.model_entrypoint(architecture).__module__]
    known = set(_TIMM.split())
    for each in vars(module).values():
        if isinstance(each, type) and each.__module__.startswith("timm."):
            for kind in each.__mro__:
                if "__init__" in vars(kind) and kind.__module__.startswith("timm."):
                    known |= set(inspect.signature(vars(kind)["__init__"]).parameters)
    for key, value in arguments.items():
        if key not in known and value:
            raise _refused(key, reference, where, _short(value), f"an argument of {architecture}")


def _without_weights(factory: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The argument that keeps torchvision's detection models from downloading weights for their backbones."""
    if getattr(factory, "__name__", "") == "get_model":
        from torchvision.models import get_model_builder

        try:
            factory = get_model_builder(str(arguments.get("name")))
        except ValueError:  # no such model: get_model reports it
            return {}
    return {name: None for name in ("weights_backbone",) if name in inspect.signature(factory).parameters}


def _refused(
    path: str, reference: str, where: str, got: str, expected: str, instead: str = "leave it out"
) -> UntrustedError:
    return UntrustedError(
        f"the argument {path} of {reference} may fetch code or read files",
        where=where,
        expected=expected,
        got=got,
        hint=f"{instead}; or --trust, if you know what it names",
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"

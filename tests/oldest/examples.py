"""Untrusted mappings that ran code with some version of a library: each is passed to the library itself, and to tfpt.

python -m tests.oldest.examples NAME, in an environment made by `tests/oldest/run.py`.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MARK = "the-code-ran"


class Payload:
    """A pickle that creates a file when it is loaded."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path(MARK).absolute(),))


# A description, the call of the library itself, and the equivalent mapping.
Example = tuple[str, Callable[[], object], dict[str, Any]]


def references() -> Iterator[Example]:
    import fsspec

    command = f"touch {Path(MARK).absolute()}"
    template = f"{{{{ cycler.__init__.__globals__.os.system('{command}') }}}}"
    gen = [{"key": template, "url": "x", "dimensions": {"i": [0]}}]
    references = {"version": 1, "templates": {}, "gen": gen, "refs": {}}
    Path("r.json").write_text(json.dumps(references))
    address = f"local://{Path('r.json').absolute()}"
    for url in (f"reference://::{address}", f"reference://w.npz::{address}"):
        yield (
            url.replace(str(Path().absolute()), "…"),
            lambda url=url: fsspec.core.url_to_fs(url),  # type: ignore[misc]
            {"source": {"url": url}},
        )


def timm() -> Iterator[Example]:
    import timm
    import torch

    torch.save(Payload(), "w.pth")
    for arguments in (
        {"checkpoint_path": "w.pth"},
        {
            "pretrained": True,
            "pretrained_cfg": {"file": "w.pth", "num_classes": 1000, "architecture": "resnet18"},
        },
        {"pretrained": True, "pretrained_cfg_overlay": {"file": "w.pth"}},
    ):
        kwargs = {"model_name": "resnet18", **arguments}
        yield (
            f"timm:create_model({', '.join(arguments)})",
            lambda kwargs=kwargs: timm.create_model(**kwargs),  # type: ignore[misc]
            {"model": {"factory": "timm:create_model", "kwargs": kwargs}},
        )


def backbones() -> Iterator[Example]:
    import torch
    import transformers

    torch.save(Payload(), "w.pth")
    values = {
        "use_timm_backbone": True,
        "backbone": "resnet18",
        "use_pretrained_backbone": False,
        "backbone_kwargs": {"checkpoint_path": "w.pth"},
    }
    yield (
        "transformers:DetrConfig(backbone_kwargs={checkpoint_path})",
        lambda: transformers.DetrModel(transformers.DetrConfig(**values)),
        {
            "model": {
                "factory": "transformers:DetrModel",
                "config": "transformers:DetrConfig",
                "kwargs": values,
            }
        },
    )


def kernels() -> Iterator[Example]:
    import transformers

    # Replaces the package kernels, which would download the repository and import it.
    try:
        from transformers.integrations import hub_kernels

        hub_kernels._kernels_available = True
        hub_kernels.get_kernel = lambda *_, **__: Path(MARK).touch()
    except (ImportError, AttributeError):
        pass  # does not exist before 4.53
    small = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 11}
    for key in ("attn_implementation", "_attn_implementation_internal"):
        values = {**small, key: "user/kernel"}
        yield (
            f"transformers:BertConfig({key}=user/kernel)",
            lambda values=values: transformers.BertModel(transformers.BertConfig(**values)),  # type: ignore[misc]
            {
                "model": {
                    "factory": "transformers:BertModel",
                    "config": "transformers:BertConfig",
                    "kwargs": values,
                }
            },
        )


def runs_in_library(call: Callable[[], object]) -> bool:
    """Whether the code runs when the library is called directly."""
    with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
        call()
    return ran()


def ran() -> bool:
    """Whether the code ran since the last call."""
    exists = Path(MARK).exists()
    Path(MARK).unlink(missing_ok=True)
    return exists


def tfpt_rejects(mapping: dict[str, Any]) -> bool:
    """Whether each command rejects the mapping without running any of its code."""
    from tests.commands.running import run

    Path("m.yaml").write_text(json.dumps({"version": 1, "weights": [], **mapping}))
    commands: list[tuple[str, ...]] = [
        ("check", "m.yaml"),
        ("convert", "--mapping", "m.yaml", "--out", "o.safetensors"),
    ]
    if "url" in mapping.get("source", {}):
        commands.append(("inspect", mapping["source"]["url"]))
    else:
        commands.append(("sample", "--mapping", "m.yaml", "--out", "s.ckpt"))
        commands.append(("profile", "--mapping", "m.yaml"))
        if "config" in mapping["model"]:
            Path("config.json").write_text(json.dumps(mapping["model"].pop("kwargs")))
            Path("n.yaml").write_text(json.dumps({"version": 1, "weights": [], **mapping}))
            commands.append(("check", "n.yaml", "--config", "config.json"))
    rejected = True
    for command in commands:
        found = run(*command)
        rejected = rejected and found.code != 0 and not ran()
    return rejected and not Path("o.safetensors").exists()


def main() -> int:
    warnings.simplefilter("ignore")
    os.environ.update(HF_HUB_OFFLINE="1", USE_TF="0", USE_FLAX="0")
    name = sys.argv[1]
    if name in ("timm", "backbones"):
        import torch

        # torchvision declares these in C++, for one build of torch; the examples do not call them.
        operators = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            operators.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    package = {
        "references": "fsspec",
        "timm": "timm",
        "backbones": "transformers",
        "kernels": "transformers",
    }[name]
    good = True
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["TFPT_CACHE"] = f"{folder}/cache"
        for what, call, mapping in globals()[name]():
            runs, rejected = runs_in_library(call), tfpt_rejects(mapping)
            good = good and rejected
            print(
                f"  {what}: {package} {importlib.metadata.version(package)} "
                f"{'RUNS THE CODE' if runs else 'does not run it'}, "
                f"tfpt {'rejects it' if rejected else 'DOES NOT REJECT IT'}",
                flush=True,
            )
        os.chdir("/")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

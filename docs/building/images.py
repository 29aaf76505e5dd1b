"""Makes the pictures in docs/images: pages in a headless Chromium, and what tfpt draws. From the repository:

    python -m docs.building.images [NAME…]

Needs the extra `test`, TensorFlow included, and Chromium. Pictures have at most 256 colors, so that they are small.
"""

from __future__ import annotations

import io
import os
import runpy
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from demo.real_network import downloaded, unpacked
from tests.commands.running import run
from tests.report.pages.browser import Page, browser
from tests.test_docs import blocks, read

REQUIREMENTS = Path(__file__).resolve().parents[2] / "demo/requirements.txt"
IMAGES = Path(__file__).resolve().parents[1] / "images"


def plan(page: Page) -> Image.Image:
    """The page of a mapping: I3D, with one scope of TensorFlow open."""
    tfpt("sample", "--mapping", "i3d_rgb", "--out", "rgb/model.ckpt", "--seed", 1)
    tfpt("convert", "--mapping", "i3d_rgb", "--checkpoint", "rgb", "--dry-run", "--html", "plan.html")
    page.open(Path("plan.html"), width=1100, height=560)
    page.click(".row", "Mixed_3b")
    return screenshot(page)


def report(page: Page) -> Image.Image:
    """The page of `tfpt verify`: the network of docs/differ.md, which pads evenly."""
    written("differ.md")
    runpy.run_path("network.py")
    tfpt("convert", "--mapping", "net.yaml", "--checkpoint", "model.keras", "--trust")
    words = ("--mapping", "net.yaml", "--trust", "net.safetensors", "--network", "model.keras", "--whole")
    tfpt("verify", *words, "--html", "report.html", code=1)
    page.open(Path("report.html"), width=1000, height=515)
    return screenshot(page)


def shapes(_: Page) -> Image.Image:
    """What the network of the tutorial is trained with."""
    pictures, _ = trained()["pictures"](10, seed=3)
    strip = np.concatenate(
        [np.pad(each, ((0, 0), (0, 4), (0, 0)), constant_values=1) for each in pictures], axis=1
    )
    return Image.fromarray((strip * 255).astype(np.uint8)).resize(
        (strip.shape[1] * 2, 56), Image.Resampling.NEAREST
    )


def filters(_: Page) -> Image.Image:
    """What it has learned: the kernels of its first convolution."""
    trained()
    tfpt(
        "init",
        "shapes.keras",
        "--model",
        "mymodel:Shapes",
        "--trust",
        "--prove",
        "shapes.keras",
        "--overwrite",
    )
    weights = ("--mapping", "shapes.yaml", "--trust", "--weights", "shapes.keras")
    tfpt("visualize", "filters", *weights, "--layer", "conv1", "--sheet", "filters.png")
    return Image.open("filters.png").convert("RGB")


def i3d(_: Page) -> Path:
    """The filters of DeepMind's I3D over time; its weights are downloaded, as for `make demo`."""
    folder = Path()
    if problem := downloaded(REQUIREMENTS, folder):
        sys.exit(problem)
    weights, _ = unpacked(folder)
    words = ("--mapping", "i3d_rgb_jax", "--weights", weights, "--filters", "top 32", "--zoom", 6)
    tfpt("visualize", "filters", *words, "--out", "i3d.gif")
    return Path("i3d.gif")


# Files are taken as they are, images are reduced to a palette.
PICTURES: dict[str, Callable[[Page], Image.Image | Path]] = {
    "plan.png": plan,
    "report.png": report,
    "shapes.png": shapes,
    "filters.png": filters,
    "i3d.gif": i3d,
}


def trained() -> dict[str, Any]:
    """The tutorial's first network, in the working directory, and what its script defines."""
    written("tutorial.md")
    sys.argv[1:] = []
    return runpy.run_path("train.py")


def written(page: str) -> None:
    """The files of a page of the documentation."""
    for block in blocks(read(page)):
        if block.info.startswith("file="):
            Path(block.info.removeprefix("file=")).write_text(block.text)


def tfpt(*words: object, code: int = 0) -> None:
    """Runs a command, which must end with this code."""
    done = run(*words)
    if done.code != code:
        sys.exit(done.out + done.err)


def screenshot(page: Page) -> Image.Image:
    """What is on the screen."""
    return Image.open(io.BytesIO(page.picture())).convert("RGB")


def main(names: list[str]) -> None:
    """Makes these pictures, or all."""
    IMAGES.mkdir(exist_ok=True)
    for name in names or list(PICTURES):
        with tempfile.TemporaryDirectory() as folder, browser(Path(folder, "profile")) as page:
            os.chdir(folder)
            made = PICTURES[name](page)
            if isinstance(made, Path):
                shutil.copyfile(made, IMAGES / name)
            else:
                made.quantize(256, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)
            os.chdir(IMAGES)
        print(name, f"{(IMAGES / name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])

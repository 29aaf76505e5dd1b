"""Runs the examples of `tests/oldest/examples.py` with the oldest packages that setup.cfg allows, and with older ones.

    python tests/oldest/run.py              (make oldest)

Each set of packages gets a temporary environment on top of the current one. torch comes from the current environment
(the oldest version allowed, 2.6, is not tried). For each example it prints what the library does when it is called
directly, and what `tfpt` does with the same values in an untrusted mapping, without --trust. The older versions show
that the rejection does not depend on the library. The exit code is 1 if any code ran.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

# The C++ operators of torchvision belong to one build of torch; its models only need them declared.
VISION = "torchvision==0.28.0"
TRANSFORMERS_4 = ("tokenizers>=0.20,<0.21", "huggingface-hub>=0.23.2,<1")


def floor(package: str) -> str:
    """The oldest version that setup.cfg allows, in pip's notation."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    text = settings["options"]["install_requires"] + "\n".join(settings["options.extras_require"].values())
    found = re.search(rf"^{package}>=([\d.]+)$", text, re.MULTILINE)
    assert found is not None, package
    return found[1]


def sets() -> list[tuple[str, tuple[str, ...]]]:
    """The examples to run, each with its packages."""
    fsspec, timm, transformers = (floor(name) for name in ("fsspec", "timm", "transformers"))
    return [
        ("references", (f"fsspec=={fsspec}",)),
        ("references", ("fsspec==2026.4.0",)),
        ("references", ("fsspec==2024.6.0",)),
        ("timm", (f"timm=={timm}", VISION)),
        ("timm", ("timm==1.0.20", VISION)),
        ("timm", ("timm==0.9.16", VISION)),
        ("backbones", (f"transformers=={transformers}", *TRANSFORMERS_4, f"timm=={timm}", VISION)),
        ("backbones", (f"transformers=={transformers}", *TRANSFORMERS_4, "timm==1.0.20", VISION)),
        ("kernels", (f"transformers=={transformers}", *TRANSFORMERS_4)),
        ("kernels", ("transformers==4.57.1", "tokenizers>=0.22,<=0.23.0", "huggingface-hub>=0.34,<1")),
    ]


def environment(folder: Path, packages: tuple[str, ...]) -> Path:
    """The interpreter of a new environment with these packages, which take precedence over the current ones."""
    venv.create(folder)
    python = folder / "bin/python"
    shared = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    packages_folder = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    # After its own packages; including the .pth files of the others, one of which points to tfpt.
    lines = [f"import site; site.addsitedir({path!r})" for path in shared]
    (packages_folder / "shared.pth").write_text("\n".join(lines) + "\n")
    words = ["--python", python, "install", "--quiet", "--no-deps", "--disable-pip-version-check", *packages]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, stderr=subprocess.DEVNULL)
    return python


def main() -> int:
    ran = 0
    made: dict[tuple[str, ...], Path] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (examples, packages) in enumerate(sets()):
            if packages not in made:
                made[packages] = environment(Path(folder) / str(number), packages)
            print(f"{examples}: {' '.join(package for package in packages if package != VISION)}", flush=True)
            done = subprocess.run(
                [made[packages], "-m", "tests.oldest.examples", examples], cwd=ROOT, check=False
            )
            ran += done.returncode != 0
    print("no code ran without --trust" if not ran else "CODE RAN, or was not rejected")
    return 1 if ran else 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs the examples of `tests/oldest/examples.py` with the oldest packages that setup.cfg allows, and with older ones.

    python tests/oldest/run.py              (make oldest)

Each set of packages gets a throw-away environment, which takes all else from the one that this runs in: torch among
it, since there is one of it at a time here (the oldest allowed, 2.6, is not tried). For each example it prints what the
library does when it is asked directly, and what `tfpt` does with the same in a stranger's mapping, without --trust. The
older versions are there to show that the refusal does not depend on the library. The exit code is 1 where anything ran.
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

# Of torchvision, its operators in C++ belong to one build of torch; the models need them to be declared alone.
VISION = "torchvision==0.28.0"
TRANSFORMERS_4 = ("tokenizers>=0.20,<0.21", "huggingface-hub>=0.23.2,<1")


def floor(package: str) -> str:
    """The oldest version that setup.cfg allows, as pip writes it."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    text = settings["options"]["install_requires"] + "\n".join(settings["options.extras_require"].values())
    found = re.search(rf"^{package}>=([\d.]+)$", text, re.MULTILINE)
    assert found is not None, package
    return found[1]


def sets() -> list[tuple[str, tuple[str, ...]]]:
    """The examples to run, and with which packages."""
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
    """The interpreter of a new environment with these packages, in front of those that are here."""
    venv.create(folder)
    python = folder / "bin/python"
    shared = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    place = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    # Behind its own packages; with the .pth files of the others, which say where tfpt is.
    lines = [f"import site; site.addsitedir({path!r})" for path in shared]
    (place / "shared.pth").write_text("\n".join(lines) + "\n")
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
    print("nothing ran without --trust" if not ran else "SOMETHING RAN, or was not refused")
    return 1 if ran else 0


if __name__ == "__main__":
    sys.exit(main())

"""The wheel of this checkout in an environment of its own: what `pip install` puts there, and nothing else of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("bilp", "tasks", "flows", "recipes", "deployments")
FILES = ("pyproject.toml", "README.md", "LICENSE")


def install(folder: Path) -> Path:
    """The environment, made in `folder` without a network. Packages that are not ours are those of this interpreter."""
    sources, wheels, environment = folder / "sources", folder / "wheels", folder / "venv"
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(REPOSITORY / name, sources)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", wheels, sources], check=True)
    venv.create(environment, with_pip=False)
    (wheel,) = wheels.glob("*.whl")
    python = environment / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True)
    others = [path for path in sys.path if path.endswith("site-packages")]
    (site_packages(environment) / "others.pth").write_text("\n".join(others), encoding="utf-8")
    return environment


def site_packages(environment: Path) -> Path:
    """Where the environment's own packages lie."""
    (found,) = environment.glob("lib/python3*/site-packages")
    return found


def plain(**variables: str) -> dict[str, str]:
    """Variables of a shell in which nothing of ours is set."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "OMP_NUM_THREADS")
    return {name: os.environ[name] for name in kept if name in os.environ} | variables

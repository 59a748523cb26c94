"""What made an artefact: versions, the checkout's commit, and what of the machine rounding depends on.

It belongs into manifests, never into the files of an artefact: equal results are equal bytes whatever made them. What has to
be equal for that is in docs/equal-bytes.md.
"""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("bilp", "numpy", "pyarrow", "torch")
_CPUS = Path("/proc/cpuinfo")


def provenance(device: torch.device | str | None = None) -> dict[str, Any]:
    """Versions of bilp and of what it computes with, commit, platform, CPU and number of threads; no clock, no host.

    `device` is where tensors were computed, if any were: its kind and model are added.
    """
    return {**_software(), "cpu": _cpu(), "threads": torch.get_num_threads(), "device": None if device is None else _model(device)}


@cache
def _software() -> dict[str, Any]:
    return {
        **{name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
        "commit": _commit(Path(__file__).resolve().parent),
    }


@cache
def _cpu() -> str:
    """The model, and the widest vector instructions that PyTorch uses on it."""
    try:
        lines = _CPUS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # no Linux
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{model or 'unknown'}, {torch.backends.cpu.get_cpu_capability()}"


def _model(device: torch.device | str) -> str:
    """Such as 'cpu' and 'cuda: NVIDIA H100 80GB HBM3'; without the number of a GPU, which says nothing about the result."""
    device = torch.device(device)
    return f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit(folder: Path) -> str | None:
    """The checkout's commit, marked if the package's own files differ from it; None outside a checkout."""

    def git(*command: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *command], capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    # An installed package may lie inside the checkout of another project, which does not know its files.
    if not git("ls-files", "."):
        return None
    commit = git("rev-parse", "HEAD")
    return f"{commit}-modified" if commit and git("status", "--porcelain", ".") else commit

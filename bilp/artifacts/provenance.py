"""What made an artifact: versions, the checkout's commit, and what of the machine rounding depends on.

It belongs into manifests, never into the files of an artifact: equal results are equal bytes whatever made them. What has to
be equal for that is in docs/equal-bytes.md. Versions of packages whose entries the settings name stand beside it.
"""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bilp import __version__

if TYPE_CHECKING:
    import torch

_PACKAGES = ("numpy", "pyarrow", "torch")
_CPUS = Path("/proc/cpuinfo")


def provenance(device: torch.device | str | None = None) -> dict[str, Any]:
    """Versions of bilp and of what it computes with, commit and platform; no clock, no host.

    `device` is where tensors were computed, if any were: then kind and model of the device and of the CPU, and the number of the
    CPU's threads, are told as well.
    """
    return {**_software(), **({} if device is None else _machine(device))}


@cache
def _software() -> dict[str, Any]:
    return {
        "bilp": __version__,  # of this checkout, whatever was installed
        **{name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
        "commit": _commit(Path(__file__).resolve().parents[1]),
    }


def _machine(device: torch.device | str) -> dict[str, Any]:
    """The device is 'cpu' or such as 'cuda: NVIDIA H100 80GB HBM3': the number of a GPU says nothing about a result."""
    import torch  # whoever computed tensors has paid for it already

    device = torch.device(device)
    model = f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type
    return {"device": model, "cpu": f"{_cpu()}, {torch.backends.cpu.get_cpu_capability()}", "threads": torch.get_num_threads()}


@cache
def _cpu() -> str:
    """The model of the CPU."""
    try:
        lines = _CPUS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # no Linux
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    return model or "unknown"


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

"""Which device of torch is computed on, and what must be settled before it is used."""

from __future__ import annotations

import os

import torch

from bilp.config.arithmetics import AUTO_DEVICE, DETERMINISTIC, WORKSPACE
from bilp.errors import ConfigError

# Of the kinds of device that torch knows besides the CPU and CUDA (which AMD's are to it, too).
UNFIT = {"mps": "Apple's GPUs lack float64, in which step sizes and distances are kept"}

SLOWER = ":16:8"
"""The other size of cuBLAS's memory with which its products are the same from run to run."""


def usable(chosen: str, named: str = "device") -> str:
    """The device that `chosen` means; auto is a GPU if there is one. Raises ConfigError, which calls the setting `named`, for one that
    cannot be computed on here."""
    if chosen == AUTO_DEVICE:
        chosen = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(chosen).type
        if kind not in ("cpu", "cuda"):
            raise RuntimeError(UNFIT.get(kind, "neither the CPU nor a CUDA device"))
        if kind == "cuda":
            settle_workspace()
        torch.zeros(1, device=chosen).item()
    except (RuntimeError, AssertionError) as error:  # the latter from a PyTorch that was built without CUDA
        why = str(error).partition("\n")[0].partition(". ")[0]
        raise ConfigError(
            f"{named}={chosen} cannot be used here ({why}): set it to auto, cpu, or cuda:N of a GPU of this machine"
        ) from None
    return chosen


def settle_workspace() -> None:
    """Have cuBLAS multiply deterministically, which it reads from the environment when a GPU is first used.

    Raises ConfigError if somebody has set that to something else.
    """
    found = os.environ.setdefault(WORKSPACE, DETERMINISTIC)
    if found not in (DETERMINISTIC, SLOWER):
        raise ConfigError(f"{WORKSPACE}={found} lets a GPU's products differ from run to run: unset it, or set it to {DETERMINISTIC}")

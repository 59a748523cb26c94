"""Which device of torch is computed on."""

from __future__ import annotations

import torch

from bilp.errors import ConfigError

AUTO = "auto"


def usable(chosen: str, named: str = "device") -> str:
    """The device that `chosen` means; auto is a GPU if there is one. Raises ConfigError, which calls the setting `named`, for one that
    cannot be computed on here."""
    if chosen == AUTO:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=chosen).item()
    except (RuntimeError, AssertionError) as error:  # the latter from a PyTorch that was built without CUDA
        why = str(error).partition("\n")[0].partition(". ")[0]
        raise ConfigError(
            f"{named}={chosen} cannot be used here ({why}): set it to auto, cpu, or cuda:N of a GPU of this machine"
        ) from None
    return chosen

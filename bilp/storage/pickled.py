"""The only place of this project that reads pickle: files of PyTorch, without running what is pickled.

What a file declares is checked first (`bilp.storage.saved_tensors`); then `torch.load(weights_only=True)` rebuilds tensors and plain
containers and refuses everything else. Where a file names something of numpy, a class of ours takes its place.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import Any

from bilp.errors import BilpError
from bilp.storage.saved_tensors import check_saved, unreadable

CAUSE = "WeightsUnpickler error:"
"""What torch puts before the cause, after a paragraph of advice."""


def load_pickled(data: bytes, file: str, stand_ins: Mapping[str, type]) -> Any:
    """What a file that `torch.save` wrote holds.

    Args:
        data: Content of the file.
        file: Names it in messages.
        stand_ins: Classes that are made in place of what the file names, by these names; nothing else of another package is.

    Raises DataError for anything but tensors, plain containers and such names.
    """
    import torch  # slow to import, and who reads no such file does not need it

    try:
        check_saved(data, file, stand_ins)
        with torch.serialization.safe_globals([(kind, name) for name, kind in stand_ins.items()]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damage makes up protocols, and TorchScript is refused below
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except BilpError:
        raise
    except Exception as error:  # damaged bytes raise whatever they run into: IndexError, struct.error, AssertionError, ...
        raise unreadable(file, _reason(error)) from error


def _reason(error: Exception) -> str:
    """What is wrong, without the advice to load the file in the way that runs what it names."""
    lines = str(error).splitlines()
    found = next((line.partition(CAUSE)[2] for line in lines if CAUSE in line), next(iter(lines), ""))
    return found.strip() or type(error).__name__

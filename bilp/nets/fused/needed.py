"""What fused layers need of a machine with a GPU."""

from __future__ import annotations

import importlib.util
import os
import shutil

from bilp.errors import ConfigError

COMPILERS = ("gcc", "clang")
"""What Triton looks for to compile the launch of a kernel, unless CC names something."""


def require_triton() -> None:
    """Raise ConfigError where Triton, or the compiler of C that it needs, is missing."""
    if importlib.util.find_spec("triton") is None:
        raise ConfigError("gpu=fused needs Triton, which comes with PyTorch for CUDA on Linux: pip install triton, or set gpu to papers")
    if not os.environ.get("CC") and not any(map(shutil.which, COMPILERS)):
        raise ConfigError(
            f"gpu=fused needs a C compiler ({' or '.join(COMPILERS)}), and finds none: install one, or let CC name it, or set gpu to papers"
        )

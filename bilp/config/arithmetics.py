"""The registry of arithmetics: with what precision a GPU multiplies, and which one is meant where no setting says so.

A further arithmetic is one entry here, and whatever `bilp.nets.arithmetic` reads of it. A CPU knows none of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bilp.registry import Registry

FLOAT32, PAPERS = "float32", "papers"
"""What is computed where no GPU is, and where rounding must not be seen; what the published programs ran, PyTorch's own defaults."""


@dataclass(frozen=True)
class Arithmetic:
    """How a GPU multiplies."""

    name: str
    convolutions: bool
    """Whether convolutions round their factors to TensorFloat-32 (10 bits of mantissa)."""
    products: bool
    """Whether matrix products do."""
    channels_last: bool = False
    """Whether kernels of convolutions, and so their maps, lie with channels last."""
    fused: bool = False
    """Whether norm, ReLU and pooling are one kernel (`bilp.nets.fused`)."""
    hidden: bool = False
    """Whether it is offered to nobody, and kept for results that were begun with it."""


OWN = (
    Arithmetic(FLOAT32, convolutions=False, products=False),
    Arithmetic(PAPERS, convolutions=True, products=False),
    Arithmetic("tf32", convolutions=True, products=True),
    Arithmetic("fused", convolutions=True, products=False, channels_last=True, fused=True),
    # Every norm takes its maps in the other order, so that each block changes the order twice, and nothing is gained.
    Arithmetic("tf32_channels_last", convolutions=True, products=True, channels_last=True, hidden=True),
)

ARITHMETICS: Registry[Arithmetic] = Registry("arithmetic", Arithmetic, OWN, hidden=lambda arithmetic: arithmetic.hidden)

REVISION = 1
"""Raised whenever operations of a GPU are rounded in another way than before: part of the settings, and so of the keys, of what a GPU
computes. On a CPU nothing is allowed to change."""
VARIABLE = "BILP_ARITHMETIC"
"""Names the arithmetic of settings that name none: for a process that plans what is computed elsewhere."""
WORKSPACE, DETERMINISTIC = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
"""The variable that cuBLAS reads when a GPU is first used, and the value with which its products are the same from run to run."""
AUTO_DEVICE = "auto"
"""Value of BILP_DEVICE: a GPU if there is one."""
ON_GPU = "device (a GPU)"
"""What decides where a GPU computes."""
DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Without any of these, of NVIDIA, AMD and Windows below Linux, nobody needs to import torch to know that there is no GPU."""


def usual_arithmetic(device: str | None = None) -> tuple[str, str]:
    """The arithmetic of settings that name none, and what decides so; the latter is empty where nothing but the model's default does.

    It is what BILP_ARITHMETIC names, or else `papers` if what is computed on is a GPU: `device`, or by default that of BILP_DEVICE. On
    a CPU, and in a process that only plans what workers compute, it is float32, as in all results that were stored before
    there was any other default. Raises ConfigError for a name that no entry has.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return ARITHMETICS.known(named).name, VARIABLE
    return (PAPERS, ON_GPU) if _is_gpu(device or os.environ.get("BILP_DEVICE") or AUTO_DEVICE) else (FLOAT32, "")


def usual_revision(device: str | None = None) -> tuple[int, str]:
    """The revision of rounding in settings that name none, and what decides so: REVISION where a GPU computes, and 0 elsewhere.

    A GPU computes if what is computed on is one (as for `usual_arithmetic`), or if this process plans what workers compute and
    BILP_ARITHMETIC says how their GPUs do.
    """
    planned = os.environ.get(VARIABLE) and os.environ.get("BILP_EXECUTION", "local") != "local" and device is None
    if planned or _is_gpu(device or os.environ.get("BILP_DEVICE") or AUTO_DEVICE):
        return REVISION, VARIABLE if planned else ON_GPU
    return 0, ""


def _is_gpu(device: str) -> bool:
    if device != AUTO_DEVICE:
        return device.partition(":")[0] == "cuda"
    here = os.environ.get("BILP_EXECUTION", "local") == "local"
    return here and any(Path(driver).exists() for driver in DRIVERS) and _torch_sees_gpu(os.environ.get("CUDA_VISIBLE_DEVICES"))


@cache
def _torch_sees_gpu(visible: str | None) -> bool:
    """Whether torch can compute on one of the GPUs that CUDA_VISIBLE_DEVICES, its only argument, leaves."""
    import torch

    asked = "PYTORCH_NVML_BASED_CUDA_CHECK"  # without it, torch would begin to use the GPU, and no forked process could any more
    before = os.environ.get(asked)
    os.environ[asked] = "1"
    try:
        return torch.cuda.is_available()
    finally:
        if before is None:
            del os.environ[asked]
        else:
            os.environ[asked] = before

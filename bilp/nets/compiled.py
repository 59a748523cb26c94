"""A network whose features are computed by code that was compiled for this processor, which joins norm, activation and pooling.

It takes a compiler of C++ and ten to thirty seconds, once per process; TORCHINDUCTOR_CACHE_DIR names a folder in which compiled code
is kept for the next one. Only batches of the one size that CPUs are given in (`BATCH`), without any derivative, take the compiled
way; everything else is the network's own. Where there is no compiler, or compiling fails, everything is.
"""

from __future__ import annotations

import copy
import functools
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bilp.config.shapes import Shape
from bilp.errors import ConfigError
from bilp.nets.network import Network
from bilp.nets.pooling import AveragePool
from bilp.nets.shared import SharedNetwork

BATCH = 32
"""Images of a compiled pass: those of a micro-batch on a CPU."""
COMPILERS = ("g++", "clang++")
CACHE = "TORCHINDUCTOR_CACHE_DIR"
"""The variable that PyTorch's compiler reads: where it writes, and loads, what it compiled."""

Features = Callable[..., Sequence[Tensor]]
"""Of the values of parameters and buffers, and then of images `[BATCH, ...]`, to `[BATCH, F]`, the only result."""

logger = logging.getLogger(__name__)


class CompiledFeatures(SharedNetwork):
    """The network with compiled features."""

    def __init__(self, network: Network, features: Features) -> None:
        super().__init__(network)
        self._features = features
        self._values = values_of(network.body)

    def embed(self, images: Tensor) -> Tensor:
        if len(images) != BATCH or torch.is_grad_enabled() or images.device.type != "cpu":
            return super().embed(images)
        return self._features(*self._values, images)[0]


def compiled(network: Network, shape: Shape, device: torch.device) -> Network:
    """The network with compiled features if there is a compiler of C++, else the network itself. `device` is a CPU (`require_cpu`)."""
    if not os.environ.get("CXX") and not any(map(shutil.which, COMPILERS)):
        logger.warning("features are not compiled: there is no compiler of C++ (%s)", " or ".join(COMPILERS))
        return network
    try:
        return CompiledFeatures(network, features_of(network.body, shape))
    except RuntimeError as error:  # of PyTorch's compiler, whatever it is: headers that are missing, a compiler that fails
        logger.warning("features are not compiled: %s", str(error).partition("\n")[0])
        return network


def require_cpu(device: torch.device) -> None:
    """Raise ConfigError for any other device: results there would have a key that says compiled, and would not be."""
    if device.type != "cpu":
        raise ConfigError(f"real_pass=compiled is for CPUs, and this is device {device}: set distill.real_pass to float32")


@torch.no_grad()
def features_of(body: nn.Module, shape: Shape) -> Features:
    """Compile the body, in eval mode, for batches of float32 samples of this shape. Raises RuntimeError where that fails."""
    from torch import _inductor  # imports half of PyTorch
    from torch.fx.experimental.proxy_tensor import make_fx

    twin = copy.deepcopy(body).eval()
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is AveragePool:  # its product with a matrix cannot be joined with anything
                setattr(parent, name, nn.AvgPool2d(child.kernel_size, child.stride))
    values, names = values_of(twin), [name for name, _ in _named(twin)]

    def features(*given: Tensor) -> tuple[Tensor]:
        return (functional_call(twin, dict(zip(names, given[:-1], strict=True)), (given[-1],)),)

    example = (*(torch.zeros_like(value) for value in values), torch.zeros(BATCH, *shape))
    _cache_of_its_own()
    with _inductor.config.patch(compile_threads=1):  # no processes beside this one
        made: Features = _inductor.compile(make_fx(features)(*example), list(example))
        made(*example)
    return made


@functools.cache
def _cache_of_its_own() -> tempfile.TemporaryDirectory[str] | None:
    """Compiled code lies where nobody else can write, and as long as this process lives, unless a folder is named for it.

    By itself PyTorch takes a folder of a known name that all users of a machine share, and runs what lies there.
    """
    if os.environ.get(CACHE):
        return None
    folder = tempfile.TemporaryDirectory(prefix="bilp-compiled-", ignore_cleanup_errors=True)
    os.environ[CACHE] = folder.name
    return folder


def values_of(module: nn.Module) -> list[Tensor]:
    """Its parameters and buffers."""
    return [value for _, value in _named(module)]


def _named(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]

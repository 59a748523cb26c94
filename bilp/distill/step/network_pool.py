"""IDM's pool of networks, which outlives iterations and is therefore part of the state (Zhao et al. 2023, section 3.3).

In `state.method`: `networks` `[n, P]` float32, one row of P values per network, the oldest first; `momenta` `[n, Q]`, the
momentum of its SGD, Q parameters; `right` and `seen` int64 `[n]`, images classified correctly and met in its training (since
the last multiple of `accuracy_window` iterations, if that is given); `born`, how many networks there ever were. That is up to
8 P bytes per network in every checkpoint: 2.6 MB for the ConvNet of CIFAR-10, so 256 MB for a full pool of 100.

What is known without the device, `seen` and `born`, lies on the CPU, so that no iteration waits for it; the rest where networks are.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bilp.artifacts.tensors import Form, require_tensors
from bilp.config import DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.step.real_training import sgd
from bilp.errors import DamagedArtifact
from bilp.nets import Network, build, initialize
from bilp.nets.flat_values import flattened, parts_of, values_of
from bilp.seeds import generator

# What lies on the CPU.
COUNTED = ("seen", "born")


class NetworkPool:
    """The pool in `tensors`, which it changes; `network` is the one module that its rows are loaded into."""

    def __init__(self, config: DistillConfig, network: Network, tensors: dict[str, Tensor]) -> None:
        """An empty `tensors` is filled with the networks of the beginning."""
        self._config, self._network, self._tensors = config, network, tensors
        tensors.update({name: tensors[name].cpu() for name in COUNTED if name in tensors})
        if not tensors:
            device = next(network.parameters()).device
            values = sum(tensor.numel() for tensor in values_of(network))
            tensors["networks"] = torch.empty(0, values, device=device)
            parameters = sum(tensor.numel() for tensor in network.parameters())
            tensors["momenta"] = torch.empty(0, parameters, device=device)
            tensors["right"] = torch.empty(0, dtype=torch.int64, device=device)
            tensors["seen"] = torch.empty(0, dtype=torch.int64)
            tensors["born"] = torch.zeros((), dtype=torch.int64)
            for _ in range(config.idm.networks):
                self._add()

    def __len__(self) -> int:
        return len(self._tensors["networks"])

    def renew(self, iteration: int) -> None:
        """Every `new_every` iterations, from 0 on, a fresh network enters; beyond `most_networks` the oldest leaves. Every
        `accuracy_window` iterations all accuracies start anew, as IDM's program does at its evaluations (IDM_cifar10.py:228)."""
        settings = self._config.idm
        if iteration > 0 and settings.accuracy_window and iteration % settings.accuracy_window == 0:
            for name in ("right", "seen"):
                self._tensors[name] = torch.zeros_like(self._tensors[name])
        if iteration % settings.new_every == 0:
            self._add()

    def load(self, which: int) -> None:
        """Row `which` becomes the network."""
        values = values_of(self._network)
        with torch.no_grad():
            torch._foreach_copy_(values, parts_of(self._tensors["networks"][which], values))

    def optimizer(self, which: int) -> torch.optim.SGD:
        """The optimizer of network `which`, which `load` has made the network, with the momentum that it had when it was stored."""
        config = self._config
        result = sgd(self._network, config.network_learning_rate, config.idm.network_momentum, config.idm.network_weight_decay)
        if config.idm.network_momentum:
            parameters = list(self._network.parameters())
            momenta = [torch.empty_like(parameter) for parameter in parameters]
            torch._foreach_copy_(momenta, parts_of(self._tensors["momenta"][which], parameters))
            for parameter, momentum in zip(parameters, momenta, strict=True):
                # Zeros of a network that never was trained act as no momentum does.
                result.state[parameter]["momentum_buffer"] = momentum
        return result

    def store(self, which: int, optimizer: torch.optim.SGD, right: Tensor | int, seen: int) -> None:
        """The network, trained by `optimizer` on `seen` more images of which it classified `right` correctly, becomes row `which`."""
        self._tensors["networks"][which] = flattened(values_of(self._network))
        if self._config.idm.network_momentum:
            buffers = [optimizer.state[parameter]["momentum_buffer"] for parameter in self._network.parameters()]
            self._tensors["momenta"][which] = flattened(buffers)
        self._tensors["right"][which] += right
        self._tensors["seen"][which] += seen

    def trained(self, which: int) -> bool:
        """Whether a network has been trained so far (see `renew`)."""
        return bool(self._tensors["seen"][which])

    def accuracy(self, which: int) -> Tensor:
        """Share of images that a network classified correctly in its training so far, in percent, float64 `[]`; 0 if it had none."""
        return 100.0 * self._tensors["right"][which].double() / max(1, int(self._tensors["seen"][which]))

    def _add(self) -> None:
        tensors, keep = self._tensors, -self._config.idm.most_networks
        initialize(self._network, generator(self._config.seed, "pool_network", int(tensors["born"])))
        tensors["networks"] = torch.cat([tensors["networks"], flattened(values_of(self._network)).unsqueeze(0)])[keep:]
        for name in ("momenta", "right", "seen"):
            tensors[name] = torch.cat([tensors[name], tensors[name].new_zeros(1, *tensors[name].shape[1:])])[keep:]
        tensors["born"] = tensors["born"] + 1


def pool_forms(config: DistillConfig, parameters: int, values: int, iterations: int, images: tuple[int, ...]) -> dict[str, Form]:
    """Types and shapes of a pool after some iterations (see `bilp.costs.run_files.Carries`).

    Args:
        config: Settings of the distillation.
        parameters: Of the network.
        values: These and its running statistics.
        iterations: That are done.
        images: Shape of the synthetic images, on which it does not depend.
    """
    born = config.idm.networks + -(-iterations // config.idm.new_every)
    return _forms(min(born, config.idm.most_networks), values, parameters)


def _forms(count: int, values: int, parameters: int) -> dict[str, Form]:
    return {
        "networks": (torch.float32, (count, values)),
        "momenta": (torch.float32, (count, parameters)),
        "right": (torch.int64, (count,)),
        "seen": (torch.int64, (count,)),
        "born": (torch.int64, ()),
    }


def require_pool(tensors: Mapping[str, Tensor], config: DistillConfig, pool: RealPool, where: str) -> None:
    """Raise DamagedArtifact, naming `where`, unless `tensors` are a pool of networks as the run has them."""
    network = build(config.network, pool.dataset.shape, pool.classes)
    count = len(tensors["right"]) if "right" in tensors and tensors["right"].ndim else 0
    values, parameters = (sum(tensor.numel() for tensor in part) for part in (values_of(network), network.parameters()))
    require_tensors(tensors, _forms(count, values, parameters), where)
    right, seen, born = tensors["right"], tensors["seen"], int(tensors["born"])
    if not (0 < count <= config.idm.most_networks and count <= born and bool(((right >= 0) & (right <= seen)).all())):
        raise DamagedArtifact(
            f"{where} holds a pool of {count} networks of {born} (at most {config.idm.most_networks}), or counts of images that "
            "cannot be: run the round again"
        )

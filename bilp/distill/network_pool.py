"""IDM's pool of networks, which outlives iterations and is therefore part of the state (Zhao et al. 2023, section 3.3).

In `state.method`: `networks` `[n, P]` float32, one row of P values per network, the oldest first; `right` and `seen`
int64 `[n]`, images classified correctly and met in all of its training; `born`, how many networks there ever were.
That is 4 P bytes per network in every checkpoint: 1.3 MB for the ConvNet of CIFAR-10, so 128 MB for a full pool of 100.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bilp.config import DistillConfig
from bilp.nets import Network, initialise
from bilp.seeds import generator


class NetworkPool:
    """The pool in `tensors`, which it changes; `network` is the one module that its rows are loaded into."""

    def __init__(self, config: DistillConfig, network: Network, tensors: dict[str, Tensor]) -> None:
        """An empty `tensors` is filled with the networks of the beginning."""
        self._config, self._network, self._tensors = config, network, tensors
        self._device = next(network.parameters()).device
        if not tensors:
            values = sum(tensor.numel() for tensor in _values(network))
            tensors["networks"] = torch.empty(0, values, device=self._device)
            tensors["right"] = torch.empty(0, dtype=torch.int64, device=self._device)
            tensors["seen"] = torch.empty(0, dtype=torch.int64, device=self._device)
            tensors["born"] = torch.zeros((), dtype=torch.int64, device=self._device)
            for _ in range(config.idm.networks):
                self._add()

    def __len__(self) -> int:
        return len(self._tensors["networks"])

    def renew(self, iteration: int) -> None:
        """Every `new_every` iterations a fresh network enters; beyond `most_networks` the oldest leaves."""
        if iteration > 0 and iteration % self._config.idm.new_every == 0:
            self._add()

    def load(self, which: int) -> None:
        """Row `which` becomes the network."""
        row = self._tensors["networks"][which]
        values = _values(self._network)
        with torch.no_grad():
            for tensor, part in zip(values, row.split([tensor.numel() for tensor in values]), strict=True):
                tensor.copy_(part.view(tensor.shape))

    def store(self, which: int, right: int, seen: int) -> None:
        """The network, trained on `seen` more images of which it classified `right` correctly, becomes row `which`."""
        self._tensors["networks"][which] = _flat(self._network)
        self._tensors["right"][which] += right
        self._tensors["seen"][which] += seen

    def accuracy(self, which: int) -> float:
        """Share of images that a network classified correctly in all of its training so far, in percent; 0 if it had none."""
        seen = int(self._tensors["seen"][which])
        return 100.0 * int(self._tensors["right"][which]) / seen if seen else 0.0

    def _add(self) -> None:
        tensors, keep = self._tensors, -self._config.idm.most_networks
        initialise(self._network, generator(self._config.seed, "pool_network", int(tensors["born"])))
        tensors["networks"] = torch.cat([tensors["networks"], _flat(self._network).unsqueeze(0)])[keep:]
        for name in ("right", "seen"):
            tensors[name] = torch.cat([tensors[name], tensors[name].new_zeros(1)])[keep:]
        tensors["born"] = tensors["born"] + 1


def _values(network: Network) -> list[Tensor]:
    """Parameters and the running statistics of batch norm."""
    return [*network.parameters(), *(buffer for buffer in network.buffers() if buffer.is_floating_point())]


def _flat(network: Network) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in _values(network)])

"""Networks that are trained to a random degree: their weights lie between those that a pretrained network began and ended with."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from bilp.distill.step.setting import Setting
from bilp.nets import Network, build
from bilp.seeds import generator

# Weights of pretrained networks that stay in memory; with more, those of further networks are read whenever they are drawn.
HELD_BYTES = 2**30


class NetworksBetween:
    """Draws the network of a setting; without pretrained networks, one with random weights."""

    def __init__(self, setting: Setting) -> None:
        """Nothing is read before it is drawn."""
        self._setting = setting
        self._trained = None if setting.inputs.pretrained is None else copy.deepcopy(setting.network).eval()
        self._held: dict[int, tuple[list[Tensor], list[Tensor]]] = {}

    def draw(self, *path: str | int) -> Network | None:
        """The network becomes l x initial + (1 - l) x trained weights of one of the pretrained networks, both drawn uniformly from the
        stream called `path`. The trained network itself, another module, as long as nothing else is drawn; None if there is none.
        """
        setting, trained = self._setting, self._trained
        if setting.inputs.pretrained is None or trained is None:
            setting.draw_network(*path)
            return None
        stream = generator(setting.config.seed, "between", *path)
        which = int(torch.randint(len(setting.inputs.pretrained), (1,), generator=stream))
        share = float(torch.rand((), generator=stream, dtype=torch.float64))
        setting.network.train()
        initial, values = self._weights(which, trained)
        parameters = [parameter.detach() for parameter in setting.network.parameters()]
        with torch.no_grad():
            torch._foreach_copy_(list(trained.state_dict().values()), values)
            torch._foreach_copy_(parameters, [parameter.detach() for parameter in trained.parameters()])
            torch._foreach_lerp_(parameters, initial, share)
        return trained

    def _weights(self, which: int, network: Network) -> tuple[list[Tensor], list[Tensor]]:
        """Initial parameters of network `which`, and the tensors of its trained state; `network` is overwritten."""
        if which in self._held:
            return self._held[which]
        setting, pretrained = self._setting, self._setting.inputs.pretrained
        assert pretrained is not None
        pretrained.load(which, network)
        fresh = build(setting.config.network, setting.pool.dataset.shape, setting.pool.classes)
        pretrained.pretraining.initialize(fresh, which)
        like = list(network.parameters())
        initial = [first.detach().to(now) for first, now in zip(fresh.parameters(), like, strict=True)]
        found = initial, [value.detach().clone() for value in network.state_dict().values()]
        each = sum(tensor.numel() * tensor.element_size() for tensors in found for tensor in tensors)
        if (len(self._held) + 1) * each <= HELD_BYTES:
            self._held[which] = found
        return found

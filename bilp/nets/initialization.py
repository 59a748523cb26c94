"""Fresh parameters from a named random stream, in PyTorch's default distributions or those of a network's own program.

Distillation draws a new network every iteration. Filling a reused module is much cheaper than building one, and a
generator instead of the global random state makes the network a function of the seed alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bilp.nets.network import Network

Draw = Callable[[Tensor, torch.Generator], Tensor]
"""Fills a tensor in place."""
Distribution = Callable[[Tensor], tuple[Draw, Draw]]
"""From the weights of a layer to what these, and its biases, are drawn from."""


class Initialization:
    """How the parameters of a network are drawn, asked once, so that many draws cost no look at its layers.

    Weights of convolutions and linear layers come from Kaiming's uniform distribution with a = sqrt(5), biases from
    U(-1/sqrt(fan_in), 1/sqrt(fan_in)) (both have this bound); normalizations get scale 1 and bias 0. They equal what the layers'
    constructors would have drawn from the same state. Where `network.initial_weights` is fan_out, weights of convolutions come from
    N(0, 2 / (k^2 out)) instead (He et al. 2015). A distribution that is given takes the place of all these.
    """

    def __init__(self, network: nn.Module, distribution: Distribution | None = None) -> None:
        """Raises TypeError for a layer that it does not know."""
        fan_out = isinstance(network, Network) and network.initial_weights == "fan_out"
        self._drawn: list[tuple[Tensor, Draw]] = []
        self._norms: list[nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d] = []
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
                draw = _uniform(1.0 / math.sqrt(module.weight[0].numel()))
                own = _normal(math.sqrt(2.0 / module.weight[:, 0].numel())) if fan_out and not isinstance(module, nn.Linear) else draw
                if distribution is not None:
                    own, draw = distribution(module.weight)
                self._drawn += [(module.weight, own)] if module.bias is None else [(module.weight, own), (module.bias, draw)]
            elif isinstance(module, nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d):
                self._norms.append(module)
            elif next(module.parameters(recurse=False), None) is not None:
                raise TypeError(f"cannot initialize {type(module).__name__}: add its default distribution to bilp.nets.initialization")
        self._sizes = [tensor.numel() for tensor, _ in self._drawn]

    @property
    def count(self) -> int:
        """How many numbers a draw has."""
        return sum(self._sizes)

    def draw(self, generator: torch.Generator, into: Tensor | None = None) -> Tensor:
        """All numbers one after the other, float32 `[count]` on the generator's device; `into` a tensor there, if one is given."""
        values = torch.empty(self.count, dtype=torch.float32, device=generator.device) if into is None else into
        for part, (_, draw) in zip(values.split(self._sizes), self._drawn, strict=True):
            draw(part, generator)
        return values

    @torch.no_grad()
    def fill(self, values: Tensor) -> None:
        """The network's parameters become these, and batch norm's running statistics new; all in place."""
        for module in self._norms:
            module.reset_parameters()  # constants; no random number is drawn
        for part, (tensor, _) in zip(values.split(self._sizes), self._drawn, strict=True):
            tensor.copy_(part.view(tensor.shape))


@torch.no_grad()
def initialize(network: nn.Module, generator: torch.Generator, distribution: Distribution | None = None) -> None:
    """Redraw every parameter in place as `Initialization` does, and reset batch norm's running statistics.

    The numbers are drawn on the generator's device and then copied, all in one transfer, so a network has the same parameters on any
    device if the generator lives on the CPU. Train or eval mode and requires_grad are left alone. Raises TypeError for a layer that it
    does not know.
    """
    initialization = Initialization(network, distribution)
    device = next((parameter.device for parameter in network.parameters()), generator.device)
    initialization.fill(initialization.draw(generator).to(device))


def lecun(weight: Tensor) -> tuple[Draw, Draw]:
    """Weights from N(0, 1 / fan_in), cut off at two deviations of the uncut one, and biases 0: what flax draws by default."""
    return _cut_normal(1.0 / math.sqrt(weight[0].numel())), _zeros


def gaussian_process(weight: Tensor) -> tuple[Draw, Draw]:
    """Weights from N(0, 2 / fan_in) and biases from N(0, 0.1^2): finite networks of a Gaussian process of ReLU layers (Lee et al. 2018)."""
    return _normal(math.sqrt(2.0 / weight[0].numel())), _normal(BIAS_DEVIATION)


BIAS_DEVIATION = 0.1
CUT = 2.0
"""Deviations at which `lecun` cuts a normal distribution off."""
DEVIATION_LEFT = 0.87962566103423978
"""The deviation of a standard normal distribution that is cut off there."""


def _cut_normal(spread: float) -> Draw:
    """Cut off at `CUT` deviations and scaled so that its deviation is `spread`."""
    bound = math.erf(CUT / math.sqrt(2.0))
    scale = spread / DEVIATION_LEFT * math.sqrt(2.0)
    return lambda values, generator: values.uniform_(-bound, bound, generator=generator).erfinv_().mul_(scale)


def _zeros(values: Tensor, generator: torch.Generator) -> Tensor:
    return values.zero_()


def _uniform(bound: float) -> Draw:
    return lambda values, generator: values.uniform_(-bound, bound, generator=generator)


def _normal(spread: float) -> Draw:
    return lambda values, generator: values.normal_(0.0, spread, generator=generator)

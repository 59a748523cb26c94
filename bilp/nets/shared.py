"""A network of the very same modules as another, which calls them in another way."""

from __future__ import annotations

from torch import nn

from bilp.nets.network import Network


class SharedNetwork(Network):
    """Parameters, buffers and modes are those of the other network, also when they change there."""

    def __init__(self, network: Network) -> None:
        nn.Module.__init__(self)
        self.body, self.classifier, self.dropout = network.body, network.classifier, network.dropout
        self.initial_weights = network.initial_weights

"""The network zoo of the distillation papers: build one for any image shape, and draw its parameters."""

from bilp.nets.build import build, label
from bilp.nets.initialization import initialize
from bilp.nets.network import Network, parameter_count

__all__ = ["Network", "build", "initialize", "label", "parameter_count"]

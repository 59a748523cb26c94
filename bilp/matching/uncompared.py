"""No matching: what methods have that choose real samples by a rule and compare nothing with synthetic images."""

from __future__ import annotations

from torch import Tensor

from bilp.config import Frozen
from bilp.errors import ConfigError
from bilp.matching.base import Matching
from bilp.matching.jacobian import Vectors
from bilp.nets import Network


class Uncompared(Matching):
    """Refuses every question about a real sample."""

    def __init__(self, name: str) -> None:
        """`name` is that of the method."""
        self.name = name

    def vector(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """See Matching. Raises ConfigError."""
        raise self._refused()

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        """See Matching. Raises ConfigError."""
        raise self._refused()

    def _refused(self) -> ConfigError:
        return ConfigError(f"method {self.name} chooses real images and compares nothing with them: ask for no effect of a sample")


def nothing(name: str, **settings: Frozen) -> Matching:
    """For a method that compares nothing."""
    return Uncompared(name)

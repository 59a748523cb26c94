"""What a matching overrides against the base class's defaults by autograd, and a matching that overrides nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from test_per_sample import FAST, GENERIC, SIDE, batch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bilp.config import METHODS, NetworkConfig
from bilp.matching import GradientMatching, KernelMatching, Matching, Vectors, matching_for
from bilp.matching.layer_statistics import StatisticsMatching
from bilp.matching.trajectory import TrajectoryMatching
from bilp.matching.uncompared import Uncompared
from bilp.nets import Network, build, initialize
from bilp.nets.resnet import RESNET10_AP, resnet
from bilp.seeds import generator

CLASSES = 4
BUDGET = 2**26
REGISTERED = {type(matching): matching for matching in map(matching_for, reversed(list(METHODS)))}  # the first of each class
MATCHINGS = {
    matching.name: matching
    for matching in (*REGISTERED.values(), KernelMatching("idc_l1", "l1"))
    if not isinstance(matching, TrajectoryMatching | Uncompared)
}
CONFIGS = {
    "instance": NetworkConfig(width=4, depth=2),
    "group_swish_max": NetworkConfig(width=4, depth=2, norm="group", activation="swish", pooling="max"),
    "layer": NetworkConfig(width=4, depth=1, norm="layer", activation="leaky_relu"),
    "batch": NetworkConfig(width=4, depth=2, norm="batch"),
    "mlp": NetworkConfig(name="mlp"),
    "lenet": NetworkConfig(name="lenet"),
    "video": NetworkConfig(name="video_convnet_mean", width=4, depth=1),
}
FAMILIES = (*CONFIGS, "resnet")
SHAPES = {"video": (3, 3, SIDE, SIDE)} | dict.fromkeys(("lenet", "resnet"), (3, 16, 16))


def network_of(family: str, shape: tuple[int, ...]) -> Network:
    if family == "resnet":  # a narrow one
        return resnet(replace(RESNET10_AP, widths=(4, 4, 4, 8)), "batch", shape, CLASSES)  # type: ignore[arg-type]
    return build(CONFIGS[family], shape, CLASSES)  # type: ignore[arg-type]


class Problem:
    """A network and images of two classes, M of each, in double precision."""

    def __init__(self, family: str, each: int) -> None:
        shape = SHAPES.get(family, (3, SIDE, SIDE))
        self.network = network_of(family, shape)
        stream = generator(91, "defaults", family, each)
        initialize(self.network, stream)
        self.network = self.network.double()
        self.images = torch.randn(2 * each, *shape, generator=stream, dtype=torch.float64)
        self.labels = torch.tensor([1, 2]).repeat_interleave(each)
        self.tangents = torch.randn(2, *self.images.shape, generator=stream, dtype=torch.float64)
        self.stream = stream

    @property
    def seen(self) -> tuple[Network, Tensor, Tensor]:
        """What every pass is given."""
        return self.network, self.images, self.labels

    @property
    def weights(self) -> Tensor:
        """One for each image, no two alike."""
        return torch.arange(1.0, len(self.images) + 1, dtype=torch.float64)

    @property
    def shares(self) -> Tensor:
        """How much of its class's mean each image is; the last of the first class is nothing, unless it is alone."""
        weights = self.weights.view(2, -1)
        if weights.shape[1] > 1:
            weights[0, -1] = 0.0
        return (weights / weights.sum(dim=1, keepdim=True)).flatten()

    def like(self, vectors: Vectors, *leading: int) -> Vectors:
        """Random vectors with other leading axes."""
        return tuple(torch.randn(*leading, *block.shape, generator=self.stream, dtype=torch.float64) for block in vectors)


Ask = Callable[[type[Matching], Matching, Problem], Sequence[Tensor]]


def _pulled(kind: type[Matching], matching: Matching, problem: Problem) -> Sequence[Tensor]:
    psi = Matching.real_mean(matching, *problem.seen)
    cotangents = problem.like(psi, 3, 2)
    pull = kind.pullback(matching, *problem.seen, 3, BUDGET, 2)
    return [torch.cat([pull(tuple(c[i : i + pull.lanes] for c in cotangents)) for i in range(0, 3, pull.lanes)])]


def _compared(kind: type[Matching], matching: Matching, problem: Problem) -> Sequence[Tensor]:
    means = [tuple(block * factor for block in Matching.real_mean(matching, *problem.seen)) for factor in (0.7, 1.3)]
    return kind.distances_and_gradient(matching, *problem.seen, means)


def _many(kind: type[Matching], matching: Matching, problem: Problem) -> Sequence[Tensor]:
    psi = Matching.real_mean(matching, *problem.seen)
    return (*kind.cotangent(matching, problem.like(psi), psi), *kind.cotangent(matching, problem.like(psi, 3), psi))


def _moved(kind: type[Matching], matching: Matching, problem: Problem) -> Sequence[Tensor]:
    psi = Matching.real_mean(matching, *problem.seen)
    return kind.directional(matching, problem.like(psi), psi, problem.like(psi, 3))


def _of_classes(matching: Matching, problem: Problem, *means: int) -> tuple[Vectors, Vectors]:
    """Random mu, with leading axes `means`, and psi of three classes."""
    psi = Matching.real_mean(matching, *problem.seen)
    return problem.like(psi, *means, 3), problem.like(psi, 3)


ASKED: dict[str, Ask] = {
    "real": lambda kind, matching, problem: kind.real(matching, *problem.seen),
    "real_mean": lambda kind, matching, problem: kind.real_mean(matching, *problem.seen),
    "weighted_mean": lambda kind, matching, problem: kind.weighted_mean(matching, *problem.seen, problem.weights),
    "means_by_class": lambda kind, matching, problem: (
        *kind.means_by_class(matching, *problem.seen, 2),
        *kind.means_by_class(matching, *problem.seen, 2, problem.shares),
    ),
    "synthetic": lambda kind, matching, problem: kind.synthetic(matching, *problem.seen),
    "synthetic_by_class": lambda kind, matching, problem: kind.synthetic_by_class(matching, *problem.seen, 2),
    "distances_and_gradient": _compared,
    "pullback": _pulled,
    "pushforward": lambda kind, matching, problem: kind.pushforward(matching, *problem.seen, problem.tangents),
    "cotangent": _many,
    "distances_by_class": lambda kind, matching, problem: [kind.distances_by_class(matching, *_of_classes(matching, problem))],
    "cotangents_by_class": lambda kind, matching, problem: (
        *kind.cotangents_by_class(matching, *_of_classes(matching, problem)),
        *kind.cotangents_by_class(matching, *_of_classes(matching, problem, 2)),
    ),
    "directional": _moved,
}
NOT_COMPARED = {"vector", "distance", "values", "check", "freeze_statistics", "draw"}  # the definitions, and what forms no vector


def overrides(matching: Matching) -> list[str]:
    return [name for name in ASKED if getattr(type(matching), name) is not getattr(Matching, name)]


def assert_same(matching: Matching, problem: Problem, name: str) -> None:
    problem.stream = generator(91, name)
    found = ASKED[name](type(matching), matching, problem)
    problem.stream = generator(91, name)
    wanted = ASKED[name](Matching, matching, problem)
    assert len(found) == len(wanted), name
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape, name
        assert one.requires_grad == (name == "synthetic"), name
        scale = float(other.detach().abs().max())
        torch.testing.assert_close(one.detach(), other.detach(), rtol=1e-6, atol=1e-9 * scale + 1e-15, msg=lambda text: f"{name}: {text}")


def test_every_member_that_can_be_overridden_is_compared() -> None:
    members = {name for name, member in vars(Matching).items() if callable(member) and not name.startswith("_")}
    assert members == set(ASKED) | NOT_COMPARED


@pytest.mark.parametrize("name", MATCHINGS)
@pytest.mark.parametrize(
    ("family", "each"),
    [("instance", 1), *(pytest.param(family, 2, marks=[pytest.mark.slow] * (family in ("densenet", "resnet"))) for family in FAMILIES)],
)
def test_overrides_are_the_defaults_but_faster(family: str, each: int, name: str) -> None:
    matching, problem = MATCHINGS[name], Problem(family, each)
    if family == "mlp" and isinstance(matching, KernelMatching):
        pytest.skip("an mlp has no kernels")
    if isinstance(matching, StatisticsMatching) and not any(isinstance(module, _BatchNorm) for module in problem.network.modules()):
        pytest.skip("statistics are those of batch norm")
    matching.freeze_statistics(problem.network, problem.images)
    for member in overrides(matching):
        assert_same(matching, problem, member)


@pytest.mark.parametrize("make", [*FAST.values(), *GENERIC.values()], ids=[*FAST, *GENERIC])
def test_overrides_of_gradient_matching_for_every_layer(make: Callable[[], nn.Module]) -> None:
    problem = Problem("instance", 1)
    problem.network = make().double()  # type: ignore[assignment]
    problem.images, problem.labels = batch(2)[0].double(), batch(2)[1]
    problem.tangents = problem.tangents[:, :, :, :SIDE, :SIDE]
    matching = GradientMatching("dc")
    for member in overrides(matching):
        assert_same(matching, problem, member)

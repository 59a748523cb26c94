"""Matchings that say their vector and their distance and nothing else: effects and the loop of DM and DC run with them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_defaults import SIDE, Problem, overrides
from torch import Tensor
from torch.nn import functional

from bilp.causal import ClassBatch, EffectSettings, Estimator, ite, measure_classes
from bilp.config import IngestConfig, MethodName, PipelineConfig, ReselectConfig
from bilp.data import ingest, open_dataset
from bilp.data.pool import RealPool
from bilp.distill.loops.dm_dc import distill
from bilp.distill.step.divergence import Guard
from bilp.distill.step.initial import initial_state
from bilp.distill.step.setting import Setting
from bilp.matching import Matching, Vectors
from bilp.nets import Network
from bilp.pruning.adaptive import AdaptivePruner


class ToyMatching(Matching):
    """phi = probabilities and squared features; D = squared distance of the first, smooth absolute one of the second."""

    name = "toy"

    def vector(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        return network(images).softmax(dim=1), network.embed(images).square().unflatten(1, (2, -1))

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        (wanted, maps), (found, own) = mu, psi
        return (found - wanted).square().sum() + ((own - maps).square() + 0.01).sqrt().sum()


class ToyGradientMatching(Matching):
    """phi = the gradient of the last layer's bias, which is a function of the network's output, by torch.func."""

    name = "toy_gradient"

    def vector(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        def loss(bias: Tensor, logits: Tensor, label: Tensor) -> Tensor:
            return functional.cross_entropy(logits + bias, label)

        logits = network(images)
        bias = torch.zeros_like(logits[0])
        return (torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(bias, logits, labels),)

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        return 1.0 - functional.cosine_similarity(mu[0], psi[0], dim=0)


TOYS = pytest.mark.parametrize("matching", [ToyMatching(), ToyGradientMatching()], ids=["toy", "toy_gradient"])


@TOYS
@pytest.mark.parametrize("family", ["instance", "batch", "mlp"])
def test_effects_of_a_matching_without_overrides(matching: Matching, family: str) -> None:
    assert overrides(matching) == []
    problem = Problem(family, 6)
    matching.freeze_statistics(problem.network, problem.images)
    batches = [
        ClassBatch((problem.images[rows], problem.labels[rows]), (problem.images[rows][:2] * 0.5, problem.labels[rows][:2]))
        for rows in (slice(6), slice(6, 12))
    ]
    exact = [ite(matching, problem.network, own, EffectSettings("oracle")) for own in batches]
    assert all(bool((norms > 0).all()) for norms in exact)
    every: tuple[Estimator, ...] = ("cotangent", "sketch", "auto")
    for estimator in every:
        settings = EffectSettings(estimator, directions=2 * 3 * SIDE * SIDE)  # a whole basis, by which the sketch is exact
        for measured, wanted in zip(measure_classes(matching, problem.network, batches, settings), exact, strict=True):
            torch.testing.assert_close(measured.norms, wanted, rtol=1e-5, atol=1e-7 * float(wanted.max()))


@TOYS
def test_the_first_order_of_a_matching_without_overrides(matching: Matching) -> None:
    """Against a difference quotient of the cotangent, which is the gradient of the distance."""
    problem = Problem("instance", 3)
    mu, psi = matching.real_mean(*problem.seen), matching.real_mean(problem.network, problem.images * 0.5, problem.labels)
    along, step = problem.like(mu, 2), 1e-6
    ahead, behind = (matching.cotangent(tuple(m + s * step * d for m, d in zip(mu, along, strict=True)), psi) for s in (1, -1))
    for found, up, down in zip(matching.directional(mu, psi, along), ahead, behind, strict=True):
        torch.testing.assert_close(found, (up - down) / (2 * step), rtol=1e-5, atol=1e-8)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> RealPool:
    """Twelve digits of every class."""
    dataset = open_dataset(ingest(IngestConfig(), str(tmp_path_factory.mktemp("toy"))))
    return RealPool(dataset, torch.cat([ids[:12] for ids in dataset.train.by_class()]))


@TOYS
@pytest.mark.parametrize("method", ["dm", "dc"])
def test_the_loop_distills_with_a_matching_without_overrides(pool: RealPool, matching: Matching, method: MethodName) -> None:
    shape = {"batch_real": 8, "network": {"width": 8, "depth": 2}, "outer_loops": 2 if method == "dc" else 1, "inner_epochs": 1}
    run = PipelineConfig.model_validate({"method": method, "ipc": 1, "distill": {"learning_rate": 1.0, "iterations": 3, **shape}})
    reselect = ReselectConfig(beta=0.3, interval=1)
    setting = replace(Setting.assemble(run.distill, reselect, pool, "cpu"), matching=matching)
    state, pruner = initial_state(run.distill, pool), AdaptivePruner(pool.dataset.train.labels, pool.classes, reselect)
    before = state.images.clone()
    records = distill(setting, state, 3, pruner, Guard(1.0, pool.dataset.class_names, float("nan"), ""))
    assert [record.iteration for record in records] == [0, 1, 2]
    assert int(pruner.state()["last_score"].isfinite().sum()) > 0  # effects were measured on the way
    assert sum(record.dropped_share for record in records) > 0  # and decided who stays
    assert bool((state.images - before).flatten(1).norm(dim=1).gt(0).all())

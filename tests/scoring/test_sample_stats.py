"""What is recorded of a batch, against definitions written out and against autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from bilp.config import NetworkConfig
from bilp.errors import DataError
from bilp.nets import Network, build, initialize
from bilp.scoring import sample_stats as module
from bilp.scoring.sample_stats import evaluate_samples
from bilp.seeds import generator

SHAPE, CLASSES = (1, 8, 8), 5
KINDS = {
    "convnet": NetworkConfig(width=8, depth=2),
    "convnet_bn": NetworkConfig(width=8, depth=2, norm="batch", activation="swish"),
    "mlp": NetworkConfig(name="mlp"),
}


def network_and_batch(config: NetworkConfig) -> tuple[Network, torch.Tensor, torch.Tensor]:
    network = build(config, SHAPE, CLASSES)
    initialize(network, generator(31, "network"))
    images = torch.randn(9, *SHAPE, generator=generator(31, "images"))
    network(images)  # running statistics
    return network.eval(), images, torch.randint(CLASSES, (9,), generator=generator(31, "labels"))


@pytest.mark.parametrize("config", KINDS.values(), ids=KINDS.keys())
def test_values_are_those_of_the_definitions(config: NetworkConfig) -> None:
    network, images, labels = network_and_batch(config)
    seen = evaluate_samples(network, images, labels)
    assert seen.gradient_norms is None
    for i in range(len(images)):
        logits = network(images[i : i + 1])[0].detach().double().tolist()
        powers = [math.exp(z) for z in logits]
        p = [power / sum(powers) for power in powers]
        y = int(labels[i])
        assert float(seen.losses[i]) == pytest.approx(-math.log(p[y]), rel=1e-5)
        error = math.sqrt(sum((p[c] - (c == y)) ** 2 for c in range(CLASSES)))
        assert float(seen.el2n[i]) == pytest.approx(error, rel=1e-5)
        others = max(z for c, z in enumerate(logits) if c != y)
        assert float(seen.margins[i]) == pytest.approx(logits[y] - others, rel=1e-5, abs=1e-6)
        assert bool(seen.correct[i]) == (logits[y] > others)


@pytest.mark.parametrize("kind", ["last_layer", "all"])
@pytest.mark.parametrize("config", KINDS.values(), ids=KINDS.keys())
def test_gradient_norms_are_those_of_autograd(config: NetworkConfig, kind: module.GradientNorm, monkeypatch: pytest.MonkeyPatch) -> None:
    network, images, labels = network_and_batch(config)
    last = list(network.classifier.parameters())  # weight and bias
    parameters = last if kind == "last_layer" else [p for p in network.parameters() if p.dim() >= 2]
    monkeypatch.setattr(module, "GRADIENT_BYTES", 4 * 4 * sum(p.numel() for p in network.parameters()))  # four samples at a time
    norms = evaluate_samples(network, images, labels, kind).gradient_norms
    assert norms is not None and norms.shape == (9,) and not norms.requires_grad
    for i in range(len(images)):
        gradients = torch.autograd.grad(cross_entropy(network(images[i : i + 1]), labels[i : i + 1]), parameters)
        assert float(norms[i]) == pytest.approx(math.sqrt(sum(float(g.square().sum()) for g in gradients)), rel=1e-4)


def test_the_error_norm_of_a_sure_sample_does_not_drown_in_rounding() -> None:
    network, images, labels = network_and_batch(KINDS["mlp"])
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.bias.copy_(torch.tensor([30.0, 0.0, 0.0, 0.0, 0.0]))
    seen = evaluate_samples(network, images, torch.zeros_like(labels))
    missing = 4 * math.exp(-30) / (1 + 4 * math.exp(-30))
    assert float(seen.el2n[0]) == pytest.approx(math.sqrt(missing**2 + 4 * (missing / 4) ** 2), rel=1e-4)


def test_a_single_class_is_refused() -> None:
    network = build(KINDS["mlp"], SHAPE, 1)
    initialize(network, generator(31, "one"))
    with pytest.raises(DataError, match="only one: add another class"):
        evaluate_samples(network.eval(), torch.zeros(2, *SHAPE), torch.zeros(2, dtype=torch.int64))

"""Initialization: PyTorch's distributions, from the given generator and from nothing else."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from bilp.config import DistillConfig, EvaluateConfig, ExpertsConfig, NetworkConfig, ReselectConfig, ScoreConfig, TeacherConfig
from bilp.config.network import NETWORKS
from bilp.distill.run import run_key
from bilp.distill.step.pretrained import Pretraining
from bilp.evaluate.results import Publication
from bilp.experts.files import training_key as expert_training
from bilp.nets import build, initialize
from bilp.scoring.trial_record import training_key as scored
from bilp.seeds import generator

CONFIGS = [
    NetworkConfig(width=16),
    NetworkConfig(width=16, norm="batch"),
    NetworkConfig(width=16, norm="layer"),
    NetworkConfig(name="alexnet"),
    NetworkConfig(name="resnet18"),
    NetworkConfig(name="convnet_frepo", width=16),
    NetworkConfig(name="video_convnet_mean", width=16),
    NetworkConfig(name="convnet3d"),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.name}-{config.norm}")
def test_equals_what_the_constructors_of_torch_draw(config: NetworkConfig) -> None:
    network = build(config, (4, 3, 43, 43) if config.entry.video else (3, 32, 32), 10)
    reference = copy.deepcopy(network)
    initialize(network, torch.Generator().manual_seed(11))
    with torch.random.fork_rng():
        torch.manual_seed(11)
        for module in reference.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear | nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d):
                module.reset_parameters()
    for (name, drawn), expected in zip(network.state_dict().items(), reference.state_dict().values(), strict=True):
        torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-8, msg=name)


def test_bounds_and_moments() -> None:
    network = build(NetworkConfig(), (3, 32, 32), 10)
    initialize(network, generator(5, "init"))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            bound = 1 / math.sqrt(module.in_channels * 9)
            assert module.weight.abs().max() <= bound
            assert module.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
            assert module.bias is not None
            assert 0.8 * bound < module.bias.abs().max() <= bound


@pytest.mark.parametrize("name", ["resnet10", "resnet10_ap"])
def test_the_networks_of_idc_start_as_in_its_program(name: str) -> None:
    """Convolutions from N(0, 2 / (k^2 out)), its models/resnet.py:189 and resnet_ap.py:220; the classifier as PyTorch does."""
    network = build(NetworkConfig(name=name), (3, 96, 96), 10)
    initialize(network, generator(7, name))
    spreads = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            expected = math.sqrt(2.0 / (module.kernel_size[0] * module.kernel_size[1] * module.out_channels))
            spreads.append(module.weight.std().item() / expected)
            assert module.weight.abs().max() > 2.5 * expected, "a uniform distribution ends at 1.7 of its spread"
    assert spreads == pytest.approx([1.0] * len(spreads), rel=0.06)
    bound = 1 / math.sqrt(network.classifier.in_features)
    assert 0.9 * bound < network.classifier.weight.abs().max() <= bound
    again = build(NetworkConfig(name=name), (3, 96, 96), 10)
    initialize(again, generator(7, name))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


def test_a_network_whose_results_changed_has_a_revision_in_every_key() -> None:
    """The keys of all other networks are those from before; see also tests/distill/test_pretrained.py."""
    old, new = NetworkConfig(name="resnet18"), NetworkConfig(name="resnet10")
    assert [name for name in NETWORKS if NetworkConfig(name=name).revision] == ["resnet10", "resnet10_ap"]

    def keys(network: NetworkConfig, revised: bool) -> list[str]:
        with pytest.MonkeyPatch.context() as patch:
            if not revised:
                patch.setattr(NetworkConfig, "revision", 0)
            distill = DistillConfig.model_construct(method="idc", network=network)
            evaluate = EvaluateConfig(networks=(network,))
            soft = EvaluateConfig(labels="soft", teacher=TeacherConfig(network=network))
            return [
                scored("d", ScoreConfig(network=network)),
                expert_training("d", None, ExpertsConfig(), network),
                Pretraining("r", "d", None, distill).training,
                run_key({"dataset": "d"}, DistillConfig.model_construct(network=network), ReselectConfig(beta=0.0)),
                Publication("r", evaluate, 1, "unpruned", 0, "d", {}).key,
                "/".join(Publication("r", evaluate, 1, "unpruned", 0, "d", {}).parts_of(network)._place(network, [0])),
                Publication("r", soft, 1, "unpruned", 0, "d", {}).key,
                Publication("r", soft, 1, "unpruned", 0, "d", {}).parts_of(NetworkConfig()).folder,
            ]

    assert keys(old, True) == keys(old, False)
    assert all(a != b for a, b in zip(keys(new, True), keys(new, False), strict=True))


def test_same_stream_same_network_and_the_global_state_is_untouched() -> None:
    first, second, other = (build(NetworkConfig(width=8), (1, 8, 8), 10) for _ in range(3))
    before = torch.random.get_rng_state()
    initialize(first, generator(6, "init"))
    initialize(second, generator(6, "init"))
    initialize(other, generator(6, "init", 1))
    assert torch.equal(before, torch.random.get_rng_state())
    pairs = list(zip(first.parameters(), second.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not torch.equal(pairs[0][0], pairs[0][2])


def test_a_used_network_becomes_a_fresh_one_in_place() -> None:
    network = build(NetworkConfig(width=8, norm="batch"), (1, 8, 8), 10)
    fresh = build(NetworkConfig(width=8, norm="batch"), (1, 8, 8), 10)
    storage = [parameter.data_ptr() for parameter in network.parameters()]
    initialize(network, generator(7, "a"))
    network(torch.randn(6, 1, 8, 8, generator=generator(7, "x")))  # moves the running statistics
    initialize(network, generator(7, "b"))
    initialize(fresh, generator(7, "b"))
    assert [parameter.data_ptr() for parameter in network.parameters()] == storage
    for name, value in network.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name]), name


def test_parameters_of_other_types_take_the_same_numbers() -> None:
    single = build(NetworkConfig(width=8), (1, 8, 8), 10)
    double = build(NetworkConfig(width=8), (1, 8, 8), 10).double()
    initialize(single, generator(8, "init"))
    initialize(double, generator(8, "init"))
    for a, b in zip(single.parameters(), double.parameters(), strict=True):
        assert torch.equal(a.double(), b)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_parameters_on_a_gpu_take_the_numbers_of_the_cpu() -> None:
    here = build(NetworkConfig(width=8), (1, 8, 8), 10)
    there = build(NetworkConfig(width=8), (1, 8, 8), 10).cuda()
    initialize(here, generator(9, "init"))
    initialize(there, generator(9, "init"))
    for a, b in zip(here.parameters(), there.parameters(), strict=True):
        assert torch.equal(a, b.cpu())


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(TypeError, match="PReLU"):
        initialize(nn.Sequential(nn.Linear(2, 2), nn.PReLU()), generator(0))

"""What `gpu=fused` makes of a network on the pretended device: fewer launches, the same features, and iterations of the methods."""

from __future__ import annotations

import copy

import pytest
import torch
from pretend_cuda import pretend_cuda
from tiers import first_tier

from benchmarks.gpu.iterations import SHORT, advance, beginning, config_for
from bilp.config import METHODS, NetworkConfig
from bilp.config.methods import optimizing
from bilp.config.nested import merge
from bilp.nets import build, initialize
from bilp.nets.arithmetic import place
from bilp.nets.fused import FusedBody
from bilp.seeds import generator


def test_a_gpu_alone_has_fused_networks_and_each_block_is_two_launches() -> None:
    network = build(NetworkConfig(width=8), (3, 16, 16), 3)
    initialize(network, generator(5, "network"))
    images = torch.randn(2, 3, 16, 16, generator=generator(5, "images"))
    expected = network.embed(images)
    place(network, "fused", "cpu")
    assert not isinstance(network.body, FusedBody)
    found = {}
    with pretend_cuda() as counts, torch.no_grad():
        for kind in ("papers", "fused"):
            away = copy.deepcopy(network)
            place(away, kind, "cuda")
            entering = images.to("cuda")
            counts.clear()
            torch.testing.assert_close(away.embed(entering).cpu(), expected, rtol=1e-4, atol=1e-5)
            found[kind] = (counts.launches, counts.kernels)
    assert found == {"papers": (12, 21), "fused": (7, 7)}, "three convolutions, three blocks, and the maps in the order of features"


NOTHING_TO_FUSE = {"sre2l", "cda", "lpld", "fadrm", "frepo", "rfad"}
"""Methods under networks whose blocks have no instance norm before ReLU and pooling."""
# AdamW makes whole steps of gradients that are no more than rounding.
PLAIN_STEPS = {"ncfm": {"characteristic": {"optimizer": "sgd"}}}


@pytest.mark.parametrize("method", first_tier([name for name in optimizing() if not METHODS[name].needs_experts], "dm"))
def test_an_iteration_agrees_with_the_cpu(method: str) -> None:
    images = []
    launches = {}
    short = merge(SHORT.get(method, {}), PLAIN_STEPS.get(method, {}))
    for kind in ("papers", "fused"):
        with pretend_cuda() as counts:
            config = config_for(method, 1, 8, 8, {**short, "gpu": kind})
            setting, state = beginning(config, torch.device("cuda"))
            start = state.images.detach().cpu()
            counts.clear()
            advance(setting, state)
            launches[kind] = counts.launches
            images.append(state.images.detach().cpu())
    moved = (images[0] - start).norm()
    assert float(moved) > 0
    assert float((images[1] - images[0]).norm() / moved) < 1e-3
    if method not in NOTHING_TO_FUSE:
        assert launches["fused"] < launches["papers"], launches

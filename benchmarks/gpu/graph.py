"""A whole iteration of DM as one CUDA graph: uint8 data set on the device, numbers of rows and augmentation as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.gpu.device import Machine, said, tf32
from benchmarks.gpu.forward import network
from benchmarks.gpu.iterations import CLASSES, SHAPE
from bilp.config.augmentations import ALL_FAMILIES
from bilp.images.apply_rows import apply_rows
from bilp.images.augment import draw, host_rows
from bilp.seeds import generator


def graph(machine: Machine) -> dict[str, Any]:
    """Milliseconds per iteration, launched one by one and as a graph."""
    row: dict[str, Any] = {}
    iteration = prepared(machine)
    for on in (False, True):
        with tf32(on):
            row[f"eager, tf32 {on}"] = machine.milliseconds(iteration, 5, 3)
            if machine.device.type == "cuda":
                row[f"graph, tf32 {on}"] = machine.milliseconds(captured(iteration).replay)
    return said("dm ipc 1", row)


def prepared(machine: Machine) -> Callable[[], None]:
    """An iteration that asks the host nothing: everything that changes lies in tensors on the device."""
    device, ipc, batch = machine.device, 1, machine.pick(8, 256)
    net = network(machine)
    store = torch.randint(0, 256, (CLASSES * machine.pick(20, 5000), *SHAPE), dtype=torch.uint8, device=device)
    ids = torch.randint(0, len(store), (CLASSES * batch,), device=device)
    rows = host_rows([draw(ALL_FAMILIES, SHAPE[1:], generator(0, "augment", c)) for c in range(CLASSES)], SHAPE[1:]).to(device)
    images = torch.randn(CLASSES * ipc, *SHAPE, device=device)
    velocity, losses = torch.zeros_like(images), torch.zeros(CLASSES, device=device)

    def iteration() -> None:
        with torch.no_grad():
            real = store[ids].float().mul_(1 / 64).sub_(2)
            mean = net.embed(apply_rows(real, rows)).view(CLASSES, batch, -1).mean(1)
        leaf = images.detach().requires_grad_()
        features = net.embed(apply_rows(leaf, rows)).view(CLASSES, ipc, -1).mean(1)
        distances = (mean - features).square().sum(1)
        (gradient,) = torch.autograd.grad(distances.sum(), leaf)
        with torch.no_grad():
            losses.copy_(distances)
            velocity.mul_(0.5).add_(gradient)
            images.sub_(velocity)

    return iteration


def captured(iteration: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """The iteration as a graph, after three on a stream of their own, as PyTorch wants it."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            iteration()
    torch.cuda.current_stream().wait_stream(side)
    found = torch.cuda.CUDAGraph()
    with torch.cuda.graph(found):
        iteration()
    return found

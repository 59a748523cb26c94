"""Watch a network's matched layers during one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional

from bilp.matching.frame_rule import FramesLayer
from bilp.matching.jacobian import Vectors
from bilp.matching.layer_rules import Layer, layer_of
from bilp.matching.second_order import normalize_groups
from bilp.nets.clips import FrameMean


class NoRule(Exception):
    """The layers' rules do not cover this network; the generic path does. Never leaves bilp.matching."""


@dataclass(frozen=True)
class Call:
    """One use of a matched layer."""

    layer: Layer
    node: Tensor
    edge: GradientEdge
    """Of the output, as it was before anything changed it in place."""
    version: int
    """Of the node's values; another one later means that they were overwritten."""
    rows: int = 1
    """Rows of the node that belong to one sample, one after the other: the frames of a video, else 1."""


def matched_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Parameters with two or more dimensions, in the network's order; the others contribute nothing to the distance."""
    return [parameter for parameter in network.parameters() if parameter.dim() >= 2]


def record(network: nn.Module, images: Tensor, labels: Tensor, *, twice: bool, weights: Tensor | None = None) -> tuple[Tensor, list[Call]]:
    """Summed cross-entropy of images that require a gradient, and the calls of all matched layers on the way.

    With `twice` the pass uses operations that are cheap to differentiate twice. Each image counts as `weights` `[B]` say, or
    all of them fully. Raises NoRule.
    """
    calls: list[Call] = []
    with torch.enable_grad(), _hooks(network, calls, len(images), twice):
        logits = network(images)
        if weights is None:
            loss = functional.cross_entropy(logits, labels, reduction="sum")
        else:
            loss = (functional.cross_entropy(logits, labels, reduction="none") * weights.to(logits)).sum()
    missing = {id(p) for p in matched_parameters(network)} - {id(p) for call in calls for p in call.layer.parameters}
    if missing:
        names = [name for name, parameter in network.named_parameters() if id(parameter) in missing]
        raise NoRule(f"parameters {', '.join(names)} were not used by their own module")
    return loss, calls


def output_gradients(loss: Tensor, calls: Sequence[Call], *, create_graph: bool) -> list[tuple[Call, Tensor]]:
    """Each call with the gradient of `loss` with respect to its output; calls that the loss does not depend on are left out.

    Raises NoRule if a layer's input was overwritten after it was used.
    """
    gradients = torch.autograd.grad(loss, [call.edge for call in calls], create_graph=create_graph, allow_unused=True)
    if any(call.node._version != call.version for call in calls):
        raise NoRule("an input of a layer was overwritten in place after the layer had used it")
    return [(call, gradient) for call, gradient in zip(calls, gradients, strict=True) if gradient is not None]


def calls_of(recorded: Sequence[tuple[Call, Tensor]], parameters: Sequence[nn.Parameter]) -> list[tuple[Call, Tensor]]:
    """Those whose layer has at least one of `parameters`."""
    chosen = {id(parameter) for parameter in parameters}
    return [(call, gradient) for call, gradient in recorded if any(id(p) in chosen for p in call.layer.parameters)]


def cotangents_of(call: Call, known: Mapping[int, Tensor]) -> Vectors:
    """The cotangent `[k, K, rows, columns]` of each parameter of a call's layer, zero where `known`, by id, has none."""
    k, classes = next(iter(known.values())).shape[:2]
    return tuple(known[id(p)] if id(p) in known else p.new_zeros(k, classes, len(p), p[0].numel()) for p in call.layer.parameters)


def _layers(network: nn.Module) -> list[tuple[nn.Module, Layer]]:
    found = []
    for name, module in network.named_modules():
        own = [parameter for parameter in module.parameters(recurse=False) if parameter.dim() >= 2]
        if not own:
            continue
        layer = layer_of(module)
        if layer is None or {id(p) for p in own} != {id(p) for p in layer.parameters}:
            raise NoRule(f"layer {name!r} ({type(module).__name__}) has no rule")
        found.append((module, layer))
    return found


@contextmanager
def _hooks(network: nn.Module, calls: list[Call], batch: int, twice: bool) -> Iterator[None]:
    rows = 1  # per sample, where the pass is

    def enter(module: nn.Module, given: tuple[Any, ...]) -> None:
        nonlocal rows
        if not given or given[0].shape[:1] != (batch,) or rows != 1:
            raise NoRule("frames of videos were not given one video per sample")
        rows = given[0].shape[1]

    def leave(module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        nonlocal rows
        rows = 1

    def watch(module: nn.Module, layer: Layer, given: tuple[Any, ...], output: Tensor | None) -> Tensor:
        """Keep what a layer was given and its output: the module's own, or else the one that is cheap to differentiate twice."""
        if not given or given[0].shape[:1] != (batch * rows,):
            raise NoRule(f"a {type(module).__name__} was called without one leading row per sample")
        node = layer.node(given[0])
        output = layer.output(node) if output is None else output
        rule = layer if rows == 1 else FramesLayer(layer, rows)
        calls.append(Call(rule, node, get_gradient_edge(output), node._version, rows))
        return output

    def watching(layer: Layer) -> Any:
        return lambda module, given, output: watch(module, layer, given, output)

    def instead(module: nn.Module, layer: Layer) -> Any:
        return lambda *given, **named: watch(module, layer, given, None)

    layers = _layers(network)
    handles = [] if twice else [module.register_forward_hook(watching(layer)) for module, layer in layers]
    forwards = {module: instead(module, layer) for module, layer in layers} if twice else {}
    if twice:
        forwards |= {module: partial(normalize_groups, layer=module) for module in network.modules() if type(module) is nn.GroupNorm}
    for module in network.modules():
        if type(module) is FrameMean:
            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        with _in_place_of_forward(forwards):
            yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _in_place_of_forward(forwards: Mapping[nn.Module, Callable[..., Tensor]]) -> Iterator[None]:
    """Modules compute something else inside, and nothing in vain, as they would if a hook put another output in place of theirs."""
    own = {module: vars(module)["forward"] for module in forwards if "forward" in vars(module)}
    try:
        for module, forward in forwards.items():
            module.forward = forward
        yield
    finally:
        for module in forwards:
            vars(module).pop("forward", None)
        for module, forward in own.items():
            module.forward = forward

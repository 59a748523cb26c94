"""Every method's images move along the slope of its loss: the gradient that a whole iteration finds, by finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_distillation import Store, guard_for, small_config
from tiny_experts import EXPERTS, experts, trajectory_config
from torch import Tensor

from bilp.config import METHODS, DistillConfig, NetworkConfig, PruneConfig, ReselectConfig
from bilp.config.methods import optimizing
from bilp.config.methods.datm import DifficultyConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.registry import loop_for
from bilp.distill.step.setting import RunInputs, Setting
from bilp.distill.step.state import DistillState
from bilp.experts.buffer import ExpertBuffer
from bilp.progress import silent
from bilp.pruning.prune import prune
from bilp.seeds import generator

Few = Callable[[int], RealPool]
# Smooth, so that slopes of gradients have no jumps.
SMOOTH = NetworkConfig(width=8, depth=2, activation="swish")
# Nothing moves, and the momentum buffer after one step is the gradient itself.
STILL: dict[str, Any] = {"learning_rate": 1e-30, "momentum": 1.0, "ipc": 2, "iterations": 1, "rounds": 1}


def config_of(method: str) -> DistillConfig:
    """One image step."""
    # One step, as TESLA's gradient leaves out what leads from one to the next; more steps: tests/matching/test_trajectory.py.
    if method == "haba":
        changes = STILL | {"network": SMOOTH, "hallucinators": {"count": 1, "kernel": 1, "learning_rate": 1e-30}}
        return trajectory_config(method, {"steps": 1, "step_rate": 0.0, "step_size": 1.0}, **changes)
    if METHODS[method].needs_experts:
        labels = {"difficulty": DifficultyConfig(threshold=1e9, label_rate=0.0)}
        return trajectory_config(method, {"steps": 1, "step_rate": 0.0, "step_size": 1.0}, network=SMOOTH, **STILL, **labels)
    changes = STILL | {"network": SMOOTH, "batch_real": 6, "outer_loops": 1}
    if method in ("idc", "dream"):
        changes |= {"augment": ("color", "crop", "cutout"), "decode": {"factor": 2, "kind": "multi"}}
    if method == "idm":
        changes |= {"decode": {"factor": 2}, "idm": {"networks": 2, "train_steps": 1}}
    if method == "ncfm":
        changes |= {"augment": ("color", "crop", "cutout"), "decode": {"factor": 2}}
        changes |= {"characteristic": {"frequencies": 32, "optimizer": "sgd"}}
    if method == "cafe":
        changes |= {"augment": ("color", "crop"), "alignment": {"most_steps": 1, "discrimination": 0.1, "measured_per_class": 2}}
    if method == "lgm":
        changes |= {"augment": ("color", "crop"), "linear": {"copies": 2, "pyramid": False, "head_deviation": 0.5}}
    if method == "linba":  # twenty memories, each of which is an image
        changes |= {"init": "noise", "memories": {"count": 20, "shrink": 1, "steps": 3, "per_class": 1, "step_size": 0.1, "clip": 0.0}}
    if method == "frepo":
        changes |= {"augment": (), "regression": {"networks": 1, "learn_labels": False}}
    if method == "rfad":
        changes |= {"augment": (), "random_features": {"networks": 2, "transform_rate": 0.0}}
    return small_config(method, **changes)


def as_they_are(method: str, images: Tensor) -> dict[str, Tensor]:
    """What images are made of that are one and the same with the first of these tensors, where a method makes them of something."""
    if method == "linba":
        return {"memories": images.clone(), "coefficients": torch.eye(len(images))}
    if method == "haba":
        kernels = {name: torch.ones(1, 1, 1, 1, 1) for name in ("encoder", "decoder")}
        biases = {f"{name}_bias": torch.zeros(1, 1) for name in kernels}
        middle = torch.ones(1, 1, *images.shape[-2:])
        return {"bases": images.clone(), **kernels, **biases, "inner_scale": middle, "inner_shift": torch.zeros_like(middle)}
    return {}


# Methods that ask a teacher: tests/distill/test_inversion.py.
@pytest.mark.parametrize("method", [name for name in optimizing() if not METHODS[name].needs_teacher])
def test_the_gradient_of_an_iteration_is_the_slope_of_its_loss(few: Few, store: Store, method: str) -> None:
    config, pool, buffer = config_of(method), few(8), None
    if METHODS[method].needs_experts:
        selection = prune(store.uri, None, PruneConfig(criterion="random", keep=0.05), store.root)
        buffer = ExpertBuffer(experts(store, selection, EXPERTS.model_copy(update={"count": 1}), SMOOTH))
    setting = Setting.assemble(config, ReselectConfig(beta=0.0), pool, "cpu", RunInputs(buffer))
    labels = torch.arange(pool.classes).repeat_interleave(config.ipc)
    # Well inside the range of pixels, to which IDC and DREAM clamp.
    start = 0.2 * torch.randn(len(labels), *pool.dataset.shape, generator=generator(5, "start"))

    def look(images: Tensor) -> tuple[float, Tensor]:
        """Loss summed over classes, and its gradient."""
        state = DistillState.start(images.clone(), labels)
        factors = as_they_are(method, images)
        state.method = factors | {f"{name}_momentum": torch.zeros_like(value) for name, value in factors.items()}
        state.method |= {name: torch.tensor(1.0, dtype=torch.float64) for name in ("step_size", "step_momentum") if method == "haba"}
        (record,) = loop_for(config.method)(setting, state, 1, None, guard_for(setting), silent)
        assert torch.equal(state.images, images)
        if factors:
            return record.loss, state.method[f"{next(iter(factors))}_momentum"]
        if method == "lgm":  # Adam's mean after one step is a tenth of the gradient
            return record.loss, 10 * state.method["mean.0"]
        if method in ("frepo", "rfad"):  # likewise of LAMB and AdaBelief
            return record.loss, 10 * state.method["mean.images"]
        return record.loss * (1 if buffer is not None else pool.classes), state.momentum

    if method == "idm":  # a network of the pool has an accuracy, and its term a weight, once it was trained
        state = DistillState.start(start.clone(), labels)
        loop_for(config.method)(setting, state, 1, None, guard_for(setting), silent)
        pool_of_networks = state.method

        def look(images: Tensor) -> tuple[float, Tensor]:
            state = DistillState.start(images.clone(), labels)
            state.iteration, state.method = 1, {name: value.clone() for name, value in pool_of_networks.items()}
            (record,) = loop_for(config.method)(setting, state, 2, None, guard_for(setting), silent)
            return record.loss * pool.classes, state.momentum

    if "difficulty" in METHODS[method].settings:  # the first labels follow from the images, which the derivative takes for constants
        begun = DistillState.start(start.clone(), labels)
        loop_for(config.method)(setting, begun, 1, None, guard_for(setting), silent)

        def look(images: Tensor) -> tuple[float, Tensor]:
            state = DistillState.start(images.clone(), labels)
            state.method = {name: value.clone() for name, value in begun.method.items()}
            (record,) = loop_for(config.method)(setting, state, 1, None, guard_for(setting), silent)
            return record.loss, state.momentum

    _, gradient = look(start)
    if method in ("idc", "dream"):
        gradient = gradient * pool.dataset.std[0] ** 2  # they step pixels
    if method == "ncfm":
        gradient = gradient * pool.dataset.std[0]
    length = float(gradient.norm())
    assert length > 0
    direction = gradient / length  # float32: only the steepest direction stands out of the rounding
    reach = 0.02
    (ahead, _), (behind, _) = look(start + reach * direction), look(start - reach * direction)
    assert length == pytest.approx((ahead - behind) / (2 * reach), rel=2e-2)

"""The arithmetic of GPUs as far as it can be told without one: switches, keys, and networks whose channels come last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiers import first_tier
from tiny_distillation import Store, assemble, guard_for, small_config
from tiny_experts import EXPERTS, experts, trajectory_config

from bilp.config import METHODS, DistillConfig, NetworkConfig, PipelineConfig, PruneConfig, ReselectConfig
from bilp.config.explain import explain
from bilp.config.methods import optimizing
from bilp.data.pool import RealPool
from bilp.distill import distill_round, finish_run, load_synthetic, open_run, start_run
from bilp.distill.loops.registry import loop_for, networks_for
from bilp.distill.step.initial import initial_state
from bilp.distill.step.reselection import reselect
from bilp.distill.step.setting import RunInputs, Setting
from bilp.distill.step.state import DistillState
from bilp.experts.buffer import ExpertBuffer
from bilp.nets import build
from bilp.nets.arithmetic import arithmetic, place
from bilp.progress import silent
from bilp.pruning.adaptive import AdaptivePruner
from bilp.pruning.prune import prune

Few = Callable[[int], RealPool]


def switches() -> tuple[bool, bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.are_deterministic_algorithms_enabled()


def test_nothing_of_it_concerns_a_cpu() -> None:
    before = switches()
    with arithmetic("tf32_channels_last", "cpu"):
        assert switches() == before
    network = build(NetworkConfig(width=8), (3, 8, 8), 4)
    strides = [parameter.stride() for parameter in network.parameters()]
    place(network, "tf32_channels_last", "cpu")
    assert [parameter.stride() for parameter in network.parameters()] == strides


def test_one_dial_sets_every_stage_and_says_so() -> None:
    config = PipelineConfig.model_validate({"gpu": "tf32", "evaluate": {"gpu": "float32"}})
    assert (config.score.gpu, config.experts.gpu, config.distill.gpu, config.evaluate.teacher.gpu) == ("tf32",) * 4
    assert config.evaluate.gpu == "float32", "what is given goes first"
    assert {row.path: row.origin for row in explain({"gpu": "tf32"})}["distill.gpu"] == "dial gpu"


def test_it_is_part_of_the_key_and_changes_no_byte_on_a_cpu(store: Store) -> None:
    sets, keys = [], set()
    for kind in ("float32", "tf32_channels_last"):
        config = small_config("dc", iterations=2, rounds=1, gpu=kind)
        run = start_run(store.uri, None, config, ReselectConfig(beta=0.0), store.root)
        keys.add(open_run(run).key)
        distill_round(run, 1)
        sets.append(load_synthetic(finish_run(run))[0])
    assert len(keys) == 2
    assert torch.equal(*sets)


def config_of(method: str) -> DistillConfig:
    if METHODS[method].needs_experts:
        return trajectory_config(method, ipc=2, **({"hallucinators": {"count": 2}} if method == "haba" else {}))
    changes: dict[str, Any] = {"ipc": 2, "network": NetworkConfig(width=8, depth=2), "batch_real": 6}
    if method in ("idc", "dream"):
        changes |= {"augment": ("color", "crop", "cutout"), "learning_rate": 1e-3, "decode": {"factor": 2}, "idc": {"train_samples": 32}}
    if method == "idm":
        changes |= {"idm": {"networks": 2, "train_steps": 2}}
    if method == "ncfm":
        changes |= {"augment": ("color", "crop", "cutout"), "characteristic": {"frequencies": 32, "optimizer": "sgd"}}
    if method == "linba":
        changes |= {"init": "noise", "memories": {"count": 4, "steps": 3, "step_size": 0.1}}
    if METHODS[method].augmentation == "none":
        changes |= {"augment": ()}
    if method == "cafe":
        changes |= {"augment": (), "init": "noise", "alignment": {"watched": 2, "most_steps": 2, "most_epochs": 1, "measured_per_class": 4}}
    return small_config(method, **changes)


# Hallucinators of random weights amplify rounding: at these settings haba leaves the finite numbers at once.
TEACHERLESS = [name for name in optimizing() if not METHODS[name].needs_teacher and name != "haba"]


@pytest.mark.parametrize("method", first_tier(TEACHERLESS, "dm", "dc"))
def test_channels_last_is_a_matter_of_rounding_for_every_method(few: Few, store: Store, method: str) -> None:
    """What `place` does to a network on a GPU, done to one on the CPU: every operation on the way must take such maps."""
    config, pool, buffer = config_of(method), few(8), None
    if METHODS[method].needs_experts:
        selection = prune(store.uri, None, PruneConfig(criterion="random", keep=0.1), store.root)
        buffer = ExpertBuffer(experts(store, selection, EXPERTS.model_copy(update={"count": 1})))
    adaptive = ReselectConfig(beta=0.2, interval=2) if buffer is None else ReselectConfig(beta=0.0)
    found: list[tuple[DistillState, list[float]]] = []
    for last in (False, True):
        setting = Setting.assemble(config, adaptive, pool, "cpu", RunInputs(buffer))
        if last:
            setting.network.to(memory_format=torch.channels_last)
            assert any(not parameter.is_contiguous() for parameter in setting.network.parameters())
        state = initial_state(config, pool)
        pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, adaptive) if buffer is None else None
        if pruner is not None:
            reselect(setting, state, 1, pruner, guard_for(assemble(small_config("dm"), pool)), silent, networks_for(config.method))
        records = loop_for(config.method)(setting, state, 1, pruner, guard_for(assemble(small_config("dm"), pool)), silent)
        found.append((state, [record.loss for record in records]))
    (one, losses), (other, again) = found
    assert again == pytest.approx(losses, rel=1e-3)
    assert (one.images - other.images).norm() < 1e-2 * (one.images - initial_state(config, pool).images).norm()

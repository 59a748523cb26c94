"""What the formulas of the methods say of an iteration, beside the operations that are counted while one is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from counted_operations import Operations
from torch.autograd.graph import saved_tensors_hooks
from torchvision import models

from bilp.config import DistillConfig, ExpertsConfig, IngestConfig, NetworkConfig, PipelineConfig, ReselectConfig, ScoreName, TeacherConfig
from bilp.config.arms import Chosen, PlannedRun
from bilp.config.methods import METHODS
from bilp.config.nested import merge
from bilp.costs.data_counts import data_counts
from bilp.costs.evaluation_units import block_works
from bilp.costs.gpu_profiles import CPU, GPU_PROFILES
from bilp.costs.iteration import Iteration
from bilp.costs.method_work import GRAPH_MAPS, GRAPH_PARAMETERS
from bilp.costs.network_cost import network_cost
from bilp.costs.run_units import iteration_of, measured_works, round_of, vector_cost
from bilp.costs.speed import Speed
from bilp.costs.work import Work
from bilp.data import Dataset, ingest, open_dataset
from bilp.data.pool import RealPool
from bilp.distill.loops.mtt import draw_steps, draw_trajectory
from bilp.distill.loops.registry import loop_for, networks_for
from bilp.distill.outside import encoder_of
from bilp.distill.step.divergence import Guard
from bilp.distill.step.frozen_encoder import Supplied
from bilp.distill.step.held_out_loss import halves, held_out_gradients
from bilp.distill.step.initial import initial_state
from bilp.distill.step.sample_scores import score_pools
from bilp.distill.step.setting import RunInputs, Setting
from bilp.evaluate import train_teacher
from bilp.evaluate.own import own_settings
from bilp.evaluate.train_all import Plan, train_all
from bilp.experts.buffer import ExpertBuffer
from bilp.experts.train_experts import collect_experts, train_expert
from bilp.matching.trajectory_flat import (
    GRAPH_BYTES,
    Compare,
    FlatGradient,
    FlatTraining,
    compare_exactly,
    compare_in_constant_memory,
)
from bilp.nets import build, initialize
from bilp.progress import silent
from bilp.pruning.difficulty import Difficulty
from bilp.registry import resolve
from bilp.seeds import generator
from bilp.teachers.stored_teacher import StoredTeacher
from bilp.training.train import ImageSet

pytestmark = pytest.mark.slow

NETWORK = NetworkConfig(width=48, depth=2, pooling="max")  # pooling by averages is a product of matrices on a CPU
FIRST = 0.08
"""Share of the operations of a forward pass that its first layer has, at most: nobody differentiates by its input in a training."""
CLASSES = range(10)


@dataclass(frozen=True)
class World:
    """The digits, an expert and a teacher."""

    dataset: Dataset
    experts: ExpertBuffer
    teacher: StoredTeacher
    normed: StoredTeacher
    """One with batch norm."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = str(tmp_path_factory.mktemp("work"))
    uri, config = ingest(IngestConfig(), root), ExpertsConfig(count=1, epochs=1, batch_size=512)
    train_expert(uri, None, config, NETWORK, 0, root)
    teacher = StoredTeacher(train_teacher(uri, TeacherConfig(network=NETWORK, epochs=1), 0, root))
    batch_norm = NETWORK.model_copy(update={"norm": "batch"})
    normed = StoredTeacher(train_teacher(uri, TeacherConfig(network=batch_norm, epochs=1), 0, root))
    return World(open_dataset(uri), ExpertBuffer(collect_experts(uri, None, config, NETWORK, root)), teacher, normed)


def settings(method: str, **changes: Any) -> DistillConfig:
    base = {"method": method, "iterations": 40, "rounds": 2, "batch_real": 16, "network": NETWORK.model_dump(), "augment": []}
    given = merge(merge(base, {"learning_rate": 0.01, "init": "real"}), changes)
    return DistillConfig.model_validate(merge(DistillConfig.model_construct().model_dump(), given))


def assembled(config: DistillConfig, world: World, reselect: ReselectConfig) -> Setting:
    method = METHODS[config.method]
    experts, teacher = world.experts if method.needs_experts else None, world.teacher if method.needs_teacher else None
    teacher = world.normed if method.inverts_teacher else teacher
    return Setting.assemble(config, reselect, RealPool(world.dataset), "cpu", RunInputs(experts, teacher=teacher, difficulty=even(world)))


def even(world: World) -> Difficulty:
    return Difficulty(torch.zeros(len(world.dataset.train), dtype=torch.float64), high_is_hard=True)


def works(config: DistillConfig, world: World) -> list[Work]:
    counts = np.array([len(ids) for ids in world.dataset.train.by_class()])
    network = network_cost(NETWORK, world.dataset.shape, world.dataset.classes)
    found: list[Work] = resolve(METHODS[config.method].work)(Iteration(config, counts, CLASSES, network, on_gpu=False))
    return found


def counted(config: DistillConfig, world: World, first: int) -> float:
    """Forward passes that as many operations make as two iterations from `first` on, each."""
    setting = assembled(config, world, ReselectConfig(beta=0.0))
    state = initial_state(config, setting.pool, CLASSES, difficulty=even(world))
    guard = Guard(0.01, world.dataset.class_names, float("nan"), "")
    loop = loop_for(config.method)
    if first:
        loop(setting, state, first, None, guard, silent)
    with Operations() as operations:
        loop(setting, state, first + 2, None, guard, silent)
    return float(operations.total / network_cost(NETWORK, world.dataset.shape, world.dataset.classes).flops / 2)


KERNELS = {"outer_loops": 3, "batch_train": 200, "idc": {"train_samples": 300, "early_epochs": 1}}
CASES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "dm": ("dm", 0, {"ipc": 3, "batch_real": 4}),
    "dc": ("dc", 0, {"ipc": 4, "batch_real": 4, "outer_loops": 3, "inner_epochs": 1}),
    "idc without training": ("idc", 0, {"ipc": 4, "batch_real": 4, "outer_loops": 2, "idc": {"train_samples": 0}}),
    "idc": ("idc", 0, KERNELS | {"ipc": 2}),
    "idc of bounded parts": ("idc", 0, KERNELS | {"ipc": 2, "decode": {"factor": 2, "bound": 5}}),
    "dream": ("dream", 0, KERNELS | {"ipc": 1, "dream": {"interval": 2, "most_steps": 2}}),
    "idm": ("idm", 2, {"ipc": 2, "decode": {"factor": 2}, "batch_train": 500, "idm": {"train_steps": 4}}),
    "idm without classification": ("idm", 2, {"ipc": 2, "idm": {"train_steps": 2, "classification": 0.0}}),
    "cafe": ("cafe", 0, {"ipc": 2, "alignment": {"watched": 3, "most_steps": 2, "most_epochs": 2, "measured_per_class": 9}}),
    "mtt": ("mtt", 0, {"ipc": 3, "trajectory": {"steps": 4, "expert_epochs": 1, "max_start": 0, "batch": 20}}),
    "ncfm": ("ncfm", 0, {"ipc": 2, "batch_real": 8, "outer_loops": 2, "characteristic": {"frequencies": 512}}),
    "rded": ("rded", 0, {"patches": {"pool": 20}}),
    "lgm": ("lgm", 1, {"ipc": 3, "linear": {"pyramid": False, "copies": 2}}),
    "lpld": ("lpld", 1, {"ipc": 3}),
    "fadrm": ("fadrm", 1, {"ipc": 3, "residual": {"blocks": 2, "crops": 0}}),
    "sre2l": ("sre2l", 0, {"ipc": 3}),
    "linba": ("linba", 0, {"ipc": 6, "batch_real": 8, "init": "noise", "memories": {"steps": 4, "per_class": 4}}),
    "haba": (
        "haba",
        0,
        {"ipc": 4, "hallucinators": {"count": 2, "learning_rate": 1e-6}, "trajectory": {"steps": 4, "expert_epochs": 1, "max_start": 0}},
    ),
    "frepo": ("frepo", 0, {"ipc": 3, "regression": {"networks": 2, "most_updates": 100}}),
    "rfad": ("rfad", 0, {"ipc": 3, "random_features": {"networks": 2, "transform_rate": 0.0}}),
    "rfad with one network": ("rfad", 0, {"ipc": 3, "random_features": {"networks": 1, "transform_rate": 0.0}}),
    "selmatch": ("selmatch", 0, {"ipc": 3, "trajectory": {"steps": 2, "expert_epochs": 1, "max_start": 0, "batch": 20}}),
    "ccfs": ("ccfs", 0, {"ipc": 4, "iterations": 2, "coarse_to_fine": {"share": 0.5, "epochs": 3, "batch_size": 64}}),
    "datm": ("datm", 1, {"ipc": 3, "trajectory": {"steps": 4, "expert_epochs": 1, "max_start": 0, "batch": 20}}),
    "tesla": ("tesla", 0, {"ipc": 3, "trajectory": {"steps": 3, "expert_epochs": 1, "max_start": 0}}),
}


@pytest.mark.parametrize("name", CASES)
def test_an_iteration_takes_the_operations_that_its_formula_says(name: str, world: World) -> None:
    method, first, changes = CASES[name]
    config = settings(method, **changes)
    planned = sum(work.cost for work in works(config, world))
    # What a formula counts too much is the first layer's share of trainings, what it leaves out are products beside the network.
    assert (1 - FIRST) * planned < counted(config, world, first) < 1.03 * planned


def test_every_method_has_a_formula() -> None:
    assert {METHODS[name].name for name in METHODS if METHODS[name].work} == set(METHODS)
    assert {CASES[name][0] for name in CASES} | {"dsa", "ca2d", "cda", "pad"} == set(METHODS)  # those of dc, rded, sre2l, datm


def test_an_encoder_that_is_supplied_takes_the_operations_that_its_formulas_say(world: World, tmp_path: Path) -> None:
    """Copies of synthetic images in each iteration, and the real samples once."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        safetensors.torch.save_file(models.get_model("resnet18", weights=None).state_dict(), tmp_path / "weights.safetensors")
    linear = {"encoder": "resnet18", "weights": str(tmp_path / "weights.safetensors"), "side": 16, "pyramid": False, "copies": 2}
    config = settings("lgm", ipc=3, linear=linear, idc={"pretrained": {"networks": 0}})
    speed = Speed(GPU_PROFILES["h100"], data_counts(IngestConfig(), listed=True))
    network = speed.distilled_with(config, NETWORK)
    assert network.parameters > 10**7, "the ConvNet of the settings takes no part"
    run = PlannedRun("unpruned", 0, Chosen("all"), config, ReselectConfig(beta=0.0))
    counts = np.array([len(ids) for ids in world.dataset.train.by_class()])
    once, each = (sum(work.cost for work in of(run, counts, CLASSES, network, speed)) for of in (round_of, iteration_of))
    supplied = Supplied(encoder_of(config, world.dataset))
    setting = Setting.assemble(config, run.reselect, RealPool(world.dataset), "cpu", RunInputs(supplied=supplied))
    state, guard = initial_state(config, setting.pool, CLASSES), Guard(0.01, world.dataset.class_names, float("nan"), "")
    with Operations() as operations:
        loop_for("lgm")(setting, state, 2, None, guard, silent)
    planned = once + 2 * each
    assert 0.97 * planned < operations.total / network.flops < 1.03 * planned


TAUGHT: dict[str, tuple[dict[str, Any], int]] = {
    "slkd": ({"method": "dm", "evaluate": {"protocol": "slkd"}}, 64),
    "sl": ({"method": "dm", "evaluate": {"protocol": "sl"}}, 400),
    "rded": ({"method": "rded"}, 64),
}
"""Settings, and the width of the teacher: one that looks once at each image is so wide that it counts."""


@pytest.mark.parametrize("name", TAUGHT)
def test_a_taught_evaluation_takes_the_operations_that_are_counted(name: str, world: World) -> None:
    given, width = TAUGHT[name]
    teacher = NetworkConfig.model_validate({**NETWORK.model_dump(), "width": width})
    usual = {"networks": [NETWORK.model_dump()], "seeds": 2, "epochs": 20, "batch_size": 16, "teacher": {"network": teacher.model_dump()}}
    config = PipelineConfig.model_validate(merge(given, {"dataset": "digits", "evaluate": usual})).evaluate
    ids = torch.cat([of[:4] for of in world.dataset.train.by_class()])
    images, labels = world.dataset.train.batch(ids), world.dataset.train.labels[ids]
    sets = [ImageSet.of_tensors(images, labels) for _ in range(config.seeds)]
    asked = build(teacher, world.dataset.shape, world.dataset.classes).eval().requires_grad_(False)
    initialize(asked, generator(0, "teacher"))
    with Operations() as operations:
        train_all(Plan(config, config.epochs, "set", teacher=asked), world.dataset, lambda seed: sets[seed])
    speed = Speed(CPU, data_counts(IngestConfig(), listed=True))
    works = block_works(own_settings(config, NETWORK), NETWORK, len(images), len(world.dataset.test), config.seeds, speed)
    (taught,) = (work.cost for work in works if work.what == "taught")
    planned = sum(work.cost for work in works)
    assert taught > 0.12 * planned, "so much that it would be missed"
    assert (1 - FIRST) * planned < operations.total / speed.network(NETWORK).flops < 1.03 * planned


MEASURED: dict[str, dict[str, Any]] = {
    "dm": {},
    "dc": {},
    "idc": {"idc": {"train_samples": 0}},
    "idm": {},
    "cafe": {},
    "linba": {"init": "noise", "memories": {"steps": 2, "per_class": 1}},
    "lpld": {},
}


@pytest.mark.parametrize(("method", "score"), [*((name, "ite") for name in MEASURED), ("linba", "signed")])
@pytest.mark.parametrize("ipc", [1, 6])
def test_an_effect_takes_the_operations_that_its_formula_says(method: str, score: ScoreName, ipc: int, world: World) -> None:
    config, samples = settings(method, ipc=ipc, batch_real=48, **MEASURED[method]), 48
    fewer = {"directions": 12} if method == "linba" else {}  # along each of which it goes through all its steps
    reselect = ReselectConfig(beta=0.2, candidates_per_class=None, networks=1, score=score, **fewer)
    setting = assembled(config, world, reselect)
    state = initial_state(config, setting.pool, CLASSES)
    networks_for(method)(setting, state, 1, 0)
    if METHODS[method].measuring_steps is not None:
        for c in CLASSES:  # what real samples say, once in a process
            setting.class_statistics.mean(c, setting.pool.by_class[c])
    with Operations() as operations:
        list(score_pools(setting, state.images, [(c, setting.pool.by_class[c][:samples], None) for c in CLASSES], "round", 1, 0))
    run = PlannedRun("adaptive", 0, Chosen("all"), config.model_copy(update={"rounds": 1}), reselect)
    data = data_counts(IngestConfig(), listed=True)
    speed = Speed(GPU_PROFILES["h100"], data)
    (planned,) = measured_works(run, np.full(len(CLASSES), samples), vector_cost(works(config, world)), speed.network(NETWORK), speed)
    assert planned.samples == samples * len(CLASSES)
    with Operations() as aside:  # what signed effects are judged by, which no sample adds to
        if score == "signed":
            held_out_gradients(setting, state.images, halves(setting), "round", 1, 0)
    found = (operations.total - aside.total) / network_cost(NETWORK, world.dataset.shape, world.dataset.classes).flops
    assert (1 - FIRST) * planned.cost < found < 1.25 * planned.cost  # sizing the groups takes passes of its own


@pytest.mark.parametrize(("method", "compare"), [("mtt", compare_exactly), ("tesla", compare_in_constant_memory)])
@pytest.mark.parametrize("graph_bytes", [0, GRAPH_BYTES])
def test_a_gpu_keeps_the_graphs_that_its_formula_says(method: str, compare: Compare, graph_bytes: int, world: World) -> None:
    config = settings(method, ipc=2, trajectory={"steps": 3, "expert_epochs": 1, "max_start": 0, "batch": 15})
    setting = assembled(config, world, ReselectConfig(beta=0.0))
    state = initial_state(config, setting.pool, CLASSES)
    trajectory, steps = draw_trajectory(setting, world.experts, 0), draw_steps(setting, len(state.images), 0)
    gradient = FlatGradient(setting.network, compare, graph_bytes)
    gradient(trajectory, state.images, state.labels, torch.tensor(0.01), steps)  # which looks how large a graph is
    with Operations() as operations:
        gradient(trajectory, state.images, state.labels, torch.tensor(0.01), steps)
    network = network_cost(NETWORK, world.dataset.shape, world.dataset.classes)
    given = Iteration(config, np.full(10, 100), CLASSES, network, on_gpu=True)
    planned = {work.what: work.cost for work in resolve(METHODS[method].work)(given)}
    assert planned.keys() == {"synthetic"}  # all of these graphs fit
    repeated = 0.0 if graph_bytes else 3.0 * 35
    found = operations.total / network.flops
    assert (1 - FIRST) * (planned["synthetic"] + repeated) < found < 1.02 * (planned["synthetic"] + repeated)


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_a_graph_is_at_most_as_large_as_a_formula_takes_it_to_be(pooling: str) -> None:
    config, images = NetworkConfig.model_validate({**NETWORK.model_dump(), "pooling": pooling}), torch.randn(20, 1, 8, 8)
    network = network_cost(config, (1, 8, 8), 10)
    training, weights = FlatTraining(build(config, (1, 8, 8), 10)), torch.randn(network.parameters) / 10
    kept: list[int] = []

    def keep(value: torch.Tensor) -> torch.Tensor:
        kept.append(value.numel())
        return value.detach()

    with saved_tensors_hooks(keep, lambda value: value):
        training.step(weights, images, torch.arange(20) % 10, keep=True)
    taken = GRAPH_MAPS * network.maps * 20 + GRAPH_PARAMETERS * network.parameters
    assert taken / 2 < sum(kept) <= taken

"""The kinds of work of a plan whose real steps can be timed: scoring, experts, iterations and effects of each arm, evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import torch
from pydantic import BaseModel
from torch import nn

from bilp.config import METHODS, DistillConfig, NetworkConfig, PipelineConfig, ReselectConfig
from bilp.config.arms import PlannedRun, asks_teacher, evaluation_of, needs_experts, planned_runs
from bilp.costs.evaluation_units import block_works, kind_of
from bilp.costs.generated import Generated
from bilp.costs.network_cost import NetworkCost
from bilp.costs.run_units import DISTILL, RESELECT, iteration_of, measured_works, vector_cost
from bilp.costs.scoring_units import has_scores, scoring_works
from bilp.costs.speed import Speed
from bilp.costs.timed_steps import Probe
from bilp.costs.work import TRAINING, Work
from bilp.distill.loops.registry import loop_for, networks_for
from bilp.distill.outside import encoder_of
from bilp.distill.step.divergence import Guard
from bilp.distill.step.frozen_encoder import Supplied
from bilp.distill.step.initial import initial_state
from bilp.distill.step.sample_scores import score_pools
from bilp.distill.step.setting import RunInputs, Setting
from bilp.evaluate.linear_probe import Encoder, load_encoder
from bilp.evaluate.own import own_settings
from bilp.evaluate.stacked_training import networks_at_once
from bilp.evaluate.teacher import train_teacher
from bilp.evaluate.train_all import Plan, train_all
from bilp.experts.buffer import ExpertBuffer
from bilp.experts.expert import train_epochs
from bilp.experts.train_experts import collect_experts, train_expert
from bilp.nets import Network, build, initialize, label
from bilp.nets.arithmetic import place
from bilp.progress import silent
from bilp.pruning.adaptive import AdaptivePruner
from bilp.pruning.difficulty import Difficulty
from bilp.scoring.trial import score_trial
from bilp.seeds import generator
from bilp.teachers.stored_teacher import StoredTeacher
from bilp.training.train import ImageSet
from bilp.training.training_schedule import Schedule

FEW_LOOPS = 2
"""Image steps of an iteration, and what lies between two of them."""
SLOW = 1e-6
"""Step size of the images, which nobody looks at."""
LONGEST = 10_000
"""Trials, of which each has streams of its own."""


def probes(config: PipelineConfig, data: Generated, speed: Speed, device: torch.device) -> Iterator[Probe]:
    """One for each kind of work of the plan, in the order of the pipeline; `speed` is that of the generated data."""
    if has_scores(config):
        yield _scoring(config, data, speed, device)
    if needs_experts(config):
        yield _expert(config, data, speed, device)
    for run in {run.arm: run for run in planned_runs(config)}.values():
        if METHODS[run.distill.method].work:
            yield from _run(config, run, data, speed, device)
    teacher = (config.evaluate.teacher.network,) if asks_teacher(config) else ()  # whose training is measured as one like it
    for network in dict.fromkeys((*evaluation_of(config).networks, *teacher)):
        yield _evaluation(config, network, data, speed, device)


def _scoring(config: PipelineConfig, data: Generated, speed: Speed, device: torch.device) -> Probe:
    samples, score = len(data.dataset.train), config.score
    trial = iter(range(LONGEST))

    def run(steps: int) -> Sequence[Work]:
        epochs = _epochs(steps, score.batch_size, samples)
        early = {"early_from": min(score.early_from, epochs), "early_to": min(score.early_to, epochs)}
        whole = {"trials": LONGEST, "epochs": epochs, "init_epochs": min(score.init_epochs, epochs), "converge_epochs": 1, **early}
        shortened = score.model_copy(update={**whole, "keep_networks": False, "extend": None})
        score_trial(data.uri, shortened, next(trial), data.root, str(device))
        return scoring_works(shortened, samples)

    return Probe("score", f"a batch of scoring ({score.batch_size} samples)", speed.network(score.network), score.gpu, run)


def _expert(config: PipelineConfig, data: Generated, speed: Speed, device: torch.device) -> Probe:
    experts, network, number = config.experts, config.distill.network, iter(range(LONGEST))

    def run(steps: int) -> Sequence[Work]:
        epochs = _epochs(steps, experts.batch_size, len(data.samples))
        shortened = experts.model_copy(update={"epochs": epochs})
        for _ in train_epochs(data.dataset, data.samples, shortened, network, next(number), str(device)):
            pass
        return [Work("trained", epochs * len(data.samples), TRAINING)]

    return Probe("experts", f"a batch of an expert ({experts.batch_size} samples)", speed.network(network), experts.gpu, run)


def _run(config: PipelineConfig, run: PlannedRun, data: Generated, speed: Speed, device: torch.device) -> Iterator[Probe]:
    """Iterations of an arm, and its effects if it measures some."""
    method = METHODS[run.distill.method]
    outer = {
        "outer_loops": min(run.distill.outer_loops, FEW_LOOPS),
        "init": "noise",
        "learning_rate": SLOW,
        "real_part": {"share": 0.0, "window": None},
    }
    distill: DistillConfig = _updated(run.distill, {**method.brief, **outer, "shards": 1})
    usual = ReselectConfig()
    numbers = {name: getattr(usual, name) for name in run.reselect.words}  # which a pipeline finds, and no time depends on
    reselect = run.reselect.model_copy(update={"interval": 0, **numbers})
    short = PlannedRun(run.arm, run.experiment, run.chosen, distill, reselect)
    experts = _experts(config, data, device) if needs_experts(config) else None
    counts = torch.bincount(data.dataset.train.labels, minlength=data.dataset.classes).numpy()
    teacher = _stored_teacher(config, data, device) if short.asks_teacher else None
    supplied = Supplied(encoder_of(distill, data.dataset)) if distill.linear.weights is not None else None
    even = Difficulty(torch.zeros(len(data.dataset.train), dtype=torch.float64), high_is_hard=True)  # which no time depends on
    inputs = RunInputs(experts, teacher=teacher, supplied=supplied, difficulty=even)
    setting = Setting.assemble(distill, reselect, data.pool, device, inputs, data.few)
    network = speed.distilled_with(distill, config.evaluate.teacher.network)
    step = iteration_of(short, counts, data.few, network, speed)

    def iterations(steps: int) -> Sequence[Work]:
        state = initial_state(distill, setting.pool, data.few, experts, difficulty=even).to(device)
        pruner = AdaptivePruner(data.dataset.train.labels, data.dataset.classes, reselect) if reselect.active else None
        guard = Guard(SLOW, data.dataset.class_names, float("nan"), "", data.few)
        loop_for(distill.method)(setting, state, steps, pruner, guard, silent)
        return [work.times(steps) for work in step]

    classes = f"{len(data.few)} of {data.dataset.classes} classes"
    shorter = f", {distill.outer_loops} of {run.distill.outer_loops} image steps" if distill.outer_loops < run.distill.outer_loops else ""
    yield Probe(f"{DISTILL} {run.arm}", f"an iteration of {run.arm} ({classes}{shorter})", network, distill.gpu, iterations)
    if reselect.active:
        yield _effects(short, setting, data, vector_cost(step), network, speed)


def _effects(run: PlannedRun, setting: Setting, data: Generated, vector: float, network: NetworkCost, speed: Speed) -> Probe:
    state = initial_state(run.distill, setting.pool, data.few).to(setting.device)
    most = min(run.distill.batch_real, run.reselect.candidates_per_class or data.each, data.each)
    pools = [(c, ids[:most], None) for c, ids in zip(data.few, data.dataset.train.by_class(), strict=False)]
    one = run.reselect.model_copy(update={"candidates_per_class": None, "networks": 1})
    whole = PlannedRun(run.arm, run.experiment, run.chosen, run.distill.model_copy(update={"rounds": 1}), one)
    counts = torch.full((len(data.few),), most).numpy()

    def groups(steps: int) -> Sequence[Work]:
        networks_for(run.distill.method)(setting, state, 1, 0)
        for number in range(steps):
            for _ in score_pools(setting, state.images, pools, "plan", number):
                pass
        return [work.times(steps) for work in measured_works(whole, counts, vector, network, speed)]

    title = f"effects of {run.arm} ({most} samples of each of {len(data.few)} classes)"
    return Probe(f"{RESELECT} {run.arm}", title, network, run.distill.gpu, groups)


def _evaluation(config: PipelineConfig, network: NetworkConfig, data: Generated, speed: Speed, device: torch.device) -> Probe:
    """Trainings of a network on stored images, as many beside each other as on this device, and tests."""
    evaluate = evaluation_of(config)
    evaluate = evaluate.model_copy(update={"networks": (network,)})
    evaluate = evaluate.of_real()  # there are labels of no set
    own = own_settings(evaluate, network)
    ids = data.dataset.train.by_class()
    chosen = torch.cat([of[: config.distill.decode.count(config.ipc)] for of in ids[: len(data.few)]])
    images = ImageSet.of_tensors(data.dataset.train.batch(chosen, device), data.dataset.train.labels[chosen], str(device))
    schedule = Schedule.of_config(own, own.epochs)
    seeds = min(own.seeds, networks_at_once(own.at_once, network, data.dataset, len(images), schedule, str(device)))
    teacher = _teacher(config, data, device) if own.taught else None
    encoders = cache(partial(_encoder, config, data, device)) if own.linear_probe else None

    def run(steps: int) -> Sequence[Work]:
        epochs = _epochs(steps, own.batch_size, len(images))
        shortened = evaluate.model_copy(update={"epochs": epochs, "batch_norm_epochs": None, "seeds": seeds})
        plan = Plan(shortened, epochs, "plan", str(device), teacher=teacher, encoders=encoders)
        train_all(plan, data.dataset, lambda _: images)
        made = own_settings(shortened, network)
        return block_works(made, network, len(images), len(data.dataset.test), seeds, speed)

    title = f"a batch of evaluation ({seeds} x {min(own.batch_size, len(images))} images, {label(network)})"
    return Probe(kind_of(network), title, speed.network(network), own.gpu, run)


def _teacher(config: PipelineConfig, data: Generated, device: torch.device) -> nn.Module:
    """A network like the teacher, untrained."""
    settings = config.evaluate.teacher
    return _untrained(settings.network, settings.gpu, config.seed, data, device)


def _encoder(config: PipelineConfig, data: Generated, device: torch.device, network: NetworkConfig) -> Encoder:
    """The encoder of a linear probe: the user's, or an untrained one."""
    if config.evaluate.encoder.name is not None:
        return load_encoder(config.evaluate.encoder, data.dataset, str(device))
    return Encoder(_untrained(network, config.evaluate.teacher.gpu, config.seed, data, device), "plan")


def _untrained(settings: NetworkConfig, gpu: str, seed: int, data: Generated, device: torch.device) -> Network:
    network = build(settings, data.dataset.shape, data.dataset.classes)
    initialize(network, generator(seed, "plan", "teacher"))
    place(network, gpu, device)
    return network.eval().requires_grad_(False)


def _stored_teacher(config: PipelineConfig, data: Generated, device: torch.device) -> StoredTeacher:
    """The teacher after one epoch on the generated samples, or from its file, in the generated data's own storage."""
    shortened = config.evaluate.teacher.model_copy(update={"epochs": 1})
    return StoredTeacher(train_teacher(data.uri, shortened, config.evaluate.seed, data.root, str(device)))


def _experts(config: PipelineConfig, data: Generated, device: torch.device) -> ExpertBuffer:
    """One expert of one epoch on the generated samples, in the generated data's own storage."""
    shortened = config.experts.model_copy(update={"count": 1, "epochs": 1})
    given = (data.uri, None, shortened, config.distill.network)
    train_expert(*given, 0, data.root, str(device))
    return ExpertBuffer(collect_experts(*given, data.root))


def _epochs(steps: int, batch: int, samples: int) -> int:
    """Epochs that take at least so many mini-batches."""
    return max(1, -(-steps // -(-samples // batch)))


def _updated(settings: Any, values: Mapping[str, Any]) -> Any:
    """Settings with other values, of settings within them, too."""
    changed = {
        name: _updated(getattr(settings, name), value) if isinstance(getattr(settings, name), BaseModel) else value
        for name, value in values.items()
    }
    return settings.model_copy(update=changed)

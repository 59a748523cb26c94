"""Every stage as a pipeline calls it: the settings and inputs that it is handed, what of these is not in its key, and why not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from pydantic import BaseModel

from bilp.config import (
    Baseline,
    DistillConfig,
    EvaluateConfig,
    ExpertsConfig,
    IngestConfig,
    NetworkConfig,
    PipelineConfig,
    PruneConfig,
    ReselectConfig,
    ScoreConfig,
    TeacherConfig,
    TrajectoryConfig,
)
from bilp.data import ingest, open_dataset, read_source
from bilp.data.whitened import whiten
from bilp.decode_config import DecodeConfig, IdcConfig, PretrainedConfig
from bilp.distill import distill_round, finish_run, merge_round, pretrain_network, reselect_round, start_run
from bilp.evaluate import VARIANTS, evaluate_baseline, evaluate_synthetic, robustness, train_teacher
from bilp.exchange.import_set import import_set
from bilp.exchange.options import ImportOptions
from bilp.experts.stage import collect_experts, train_expert
from bilp.fields import Frozen
from bilp.manifest import MANIFEST
from bilp.pruning.stage import prune
from bilp.published import publish_reproduction
from bilp.report import report
from bilp.scoring.summary import summarise
from bilp.scoring.trial import score_trial

KEY = "[0-9a-f]{16}"
NARROW = NetworkConfig(width=4, depth=2)
SCORE = ScoreConfig(trials=2, epochs=2, init_epochs=2, network=NARROW)
DISTILL = DistillConfig(iterations=4, rounds=2, batch_real=8, network=NARROW)
RESELECT = ReselectConfig(candidates_per_class=8)
EXPERTS = ExpertsConfig(count=2, epochs=2)
EVALUATE = EvaluateConfig(networks=(NARROW,), seeds=2, epochs=1, full_epochs=1, teacher=TeacherConfig(network=NARROW, epochs=1))
TRAJECTORY = TrajectoryConfig(steps=2, expert_epochs=1, max_start=1)
SEVERAL = DISTILL.model_copy(
    update={"method": "idc", "idc": IdcConfig(pretrained=PretrainedConfig(networks=1, epochs=1)), "decode": DecodeConfig(factor=2)}
)
RECIPE = "published/dc/mnist-ipc1"


class Trial(Frozen):
    config: ScoreConfig
    trial: int = 0


class Expert(Frozen):
    config: ExpertsConfig
    network: NetworkConfig = NARROW
    expert: int = 0


class Buffer(Frozen):
    config: ExpertsConfig
    network: NetworkConfig = NARROW


class Network(Frozen):
    distill: DistillConfig
    reselect: ReselectConfig = ReselectConfig(beta=0.0)
    number: int = 0


class Run(Frozen):
    distill: DistillConfig
    reselect: ReselectConfig = RESELECT


class Round(Frozen):
    distill: DistillConfig
    reselect: ReselectConfig = RESELECT
    round: int = 1


class Shard(Round):
    shard: int = 0


class Whitening(Frozen):
    epsilon: float = 0.1


class Teacher(Frozen):
    config: TeacherConfig
    seed: int = 0


class Set(Frozen):
    config: EvaluateConfig
    arm: str = "unpruned"
    experiment: int = 0


class Real(Frozen):
    config: EvaluateConfig
    baseline: Baseline
    ipc: int = 2


class Nothing(Frozen):
    pass


class Page(Frozen):
    config: PipelineConfig


class Cell(Frozen):
    config: PipelineConfig
    recipe: str = RECIPE
    device: str = "cpu"


Settings = Any
Call = Callable[[str, Settings, Mapping[str, Any]], object]
"""Carries a stage out: root, settings, and inputs by name."""


@dataclass(frozen=True)
class Case:
    """A way to call a stage. `left_out` has a reason for each setting that is not in the key; of those, the stage reads
    `read_anyway`, and of the others nothing at all. `others` are other values of the inputs, `same` other forms of equal ones."""

    settings: BaseModel
    inputs: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)
    same: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    read_anyway: frozenset[str] = frozenset()
    given: Mapping[str, Any] = field(default_factory=dict)
    before: Call | None = None
    """What has to be there before the stage can compute."""
    computed: bool = True
    """Whether it is worth computing this case while it is watched."""


@dataclass(frozen=True)
class Stage:
    """`keys` are the names under which content keys are made for it, `versions` the modules whose VERSION is in them."""

    title: str
    keys: tuple[str, ...]
    place: str
    pattern: str
    call: Call
    cases: Callable[[World], Mapping[str, Case]]
    versions: tuple[str, ...]


@dataclass(frozen=True)
class World:
    """What the stages before left in a storage, twice where another input is needed."""

    root: str
    dataset: str
    other_dataset: str
    renamed_dataset: str
    """The same data set under another name."""
    scores: str
    other_scores: str
    selection: str
    other_selection: str
    experts: str
    other_experts: str
    synthetic: str
    other_synthetic: str
    learned: str
    run: str
    evaluations: tuple[str, ...]
    other_evaluations: tuple[str, ...]
    record: str
    """What the source of the data set said of itself."""
    folder: Path
    """Files of the user's own."""


def make_world(root: str, folder: Path) -> World:
    dataset = ingest(IngestConfig(source="digits"), root)
    for seed in (0, 1):
        for trial in range(2):
            score_trial(dataset, SCORE.model_copy(update={"seed": seed}), trial, root)
    scores, other_scores = (summarise(dataset, SCORE.model_copy(update={"seed": seed}), root) for seed in (0, 1))
    selections = [prune(dataset, scores, PruneConfig(keep=keep), root) for keep in (0.5, 0.6)]
    buffers = []
    for seed in (0, 1):
        for expert in range(2):
            train_expert(dataset, None, EXPERTS.model_copy(update={"seed": seed}), NARROW, expert, root)
        buffers.append(collect_experts(dataset, None, EXPERTS.model_copy(update={"seed": seed}), NARROW, root))
    runs, synthetic = [], []
    for seed in (0, 1):
        runs.append(start_run(dataset, selections[0], DISTILL.model_copy(update={"seed": seed}), RESELECT, root))
        synthetic.append(go_through(runs[-1], 2))
    imitating = DISTILL.model_copy(update={"method": "mtt", "iterations": 1, "rounds": 1, "trajectory": TRAJECTORY})
    learned = go_through(start_run(dataset, None, imitating, ReselectConfig(beta=0.0), root, buffers[0]), 1)
    evaluations = [
        (
            evaluate_baseline(dataset, "full", 1, EVALUATE.model_copy(update={"seed": seed}), root),
            evaluate_baseline(dataset, "random", 1, EVALUATE.model_copy(update={"seed": seed}), root),
            evaluate_synthetic(dataset, synthetic[0], "unpruned", 0, EVALUATE.model_copy(update={"seed": seed}), root),
        )
        for seed in (0, 1)
    ]
    write_files(folder, len(open_dataset(dataset).train))
    places = (
        dataset,
        with_another_fingerprint(dataset),
        renamed(dataset),
        scores,
        other_scores,
        *selections,
        *buffers,
        *synthetic,
        learned,
        runs[0],
    )
    return World(root, *places, evaluations[0], evaluations[1], read_source(IngestConfig(source="digits"), root), folder)


def go_through(run: str, rounds: int) -> str:
    for number in range(1, rounds + 1):
        reselect_round(run, number)
        distill_round(run, number)
    return finish_run(run)


def with_another_fingerprint(dataset: str) -> str:
    """The same artefact as that of a data set which differs in something that is part of the fingerprint."""
    place = Path(dataset)
    copy = place.with_name(place.name[::-1])
    shutil.copytree(place, copy)
    content = json.loads((copy / MANIFEST).read_bytes())
    content["key"] = content["facts"]["fingerprint"] = copy.name
    (copy / MANIFEST).write_text(json.dumps(content))
    return str(copy)


def renamed(dataset: str) -> str:
    """The same pixels, as they would lie there if their source had another name."""
    place = Path(dataset)
    copy = place.parent.with_name("renamed") / place.name
    shutil.copytree(place, copy)
    content = json.loads((copy / MANIFEST).read_bytes())
    content["facts"]["name"] = "renamed"
    (copy / MANIFEST).write_text(json.dumps(content))
    return str(copy)


def write_files(folder: Path, samples: int) -> None:
    """Image folders, score lists and published sets: each under two names, and another one of each kind."""
    folder.mkdir()
    for name, value in (("list", 0.0), ("copy", 0.0), ("other", 1.0)):
        (folder / f"{name}.json").write_text(json.dumps([value] + [float(k) for k in range(samples - 1)]))
        images = torch.full((20, 1, 8, 8), value)
        torch.save({"data": [[images, torch.arange(20) % 10], [images + 2, torch.arange(20) % 10]]}, folder / f"{name}.pt")
    for name in ("pictures", "others"):
        for split in ("train", "test"):
            for kind in ("cat", "dog"):
                place = folder / name / split / kind
                place.mkdir(parents=True)
                for k in range(2):
                    Image.new("L", (8, 8), 20 * k + (100 if kind == "cat" else 0)).save(place / f"{k}.png")


WINDOWS = {
    "config.init_epochs": "which epochs are averaged is in the key of the summary",
    "config.converge_epochs": "as init_epochs",
}
EARLY = {
    "config.early_from": "as init_epochs, unless gradient norms are recorded, which is done inside of the window alone",
    "config.early_to": "as early_from",
}
TRIALS = {"config.trials": "how many trials there are changes none of them"}
SUBSETS = {"config.subset_share": "of measure monte_carlo alone", "config.held_out": "of measure monte_carlo alone"}
NORMS = {"config.gradient_norm": "of measure trajectory alone"}


def scoring(world: World) -> dict[str, Case]:
    data = {"inputs": {"dataset": world.dataset}, "others": {"dataset": world.other_dataset}}
    read = frozenset({"config.trials"})
    return {
        "trajectory": Case(
            Trial(config=SCORE),
            **data,
            left_out=TRIALS | WINDOWS | EARLY | SUBSETS,
            read_anyway=read | {"config.early_from", "config.early_to"},
        ),
        "gradient norms": Case(
            Trial(config=SCORE.model_copy(update={"gradient_norm": "last_layer"})),
            **data,
            left_out=TRIALS | WINDOWS | SUBSETS,
            read_anyway=read,
        ),
        "herding": Case(
            Trial(config=SCORE.model_copy(update={"measure": "herding"})),
            **data,
            left_out=TRIALS | WINDOWS | EARLY | SUBSETS | NORMS,
            read_anyway=read,
        ),
        "monte_carlo": Case(
            Trial(config=SCORE.model_copy(update={"measure": "monte_carlo", "subset_share": 0.5})),
            **data,
            left_out=TRIALS | WINDOWS | EARLY | NORMS,
            read_anyway=read,
        ),
    }


def summaries(world: World) -> dict[str, Case]:
    def trials(root: str, settings: Trial, inputs: Mapping[str, Any]) -> None:
        for number in range(settings.config.trials):
            score_trial(inputs["dataset"], settings.config, number, root)

    data = {"inputs": {"dataset": world.dataset}, "others": {"dataset": world.other_dataset}, "before": trials}
    alone = {"trial": "a summary is of all trials"}
    herding = SCORE.model_copy(update={"measure": "herding"})
    return {
        "trajectory": Case(Trial(config=SCORE), **data, left_out=SUBSETS | alone),
        "herding": Case(
            Trial(config=herding),
            **data,
            left_out=WINDOWS | EARLY | NORMS | SUBSETS | alone,
            read_anyway=frozenset({"config.gradient_norm"}),  # to say which criteria there are, none of which needs it here
        ),
    }


def prunings(world: World) -> dict[str, Case]:
    data = {"dataset": world.dataset, "scores": world.scores}
    # Another dataset has no scores here, so where the criterion reads some, the dataset counts through them.
    scores = {"scores": world.other_scores}
    ranked = {"seed": "of criterion random alone"}
    drawn = Case(PruneConfig(criterion="random"), data, {"dataset": world.other_dataset}, {"scores": None})
    listed = PruneConfig(criterion="external", score_list=str(world.folder / "list.json"))
    copied = {"score_list": "the list's content counts, not where it lies", **ranked}
    return {
        "loss_init": Case(PruneConfig(), data, scores, left_out=ranked),
        "whole set": Case(PruneConfig(per_class=False, floor_per_class=3), data, scores, left_out=ranked),
        "random": drawn,
        "external": Case(
            listed,
            data,
            {"dataset": world.other_dataset},
            {"scores": None},
            left_out=copied,
            read_anyway=frozenset({"score_list"}),
            given={"score_list": str(world.folder / "copy.json")},
        ),
        "another list": Case(listed, data, left_out=ranked, given={"score_list": str(world.folder / "other.json")}),
    }


def learners(world: World) -> dict[str, Case]:
    every = Case(
        Expert(config=EXPERTS),
        {"dataset": world.dataset, "selection": None},
        {"dataset": world.other_dataset, "selection": world.selection},
        left_out={"config.count": "how many experts there are changes none of them"},
        read_anyway=frozenset({"config.count"}),
    )
    return {"experts": every}


def buffers(world: World) -> dict[str, Case]:
    def trained(root: str, settings: Buffer, inputs: Mapping[str, Any]) -> None:
        for number in range(settings.config.count):
            train_expert(inputs["dataset"], inputs["selection"], settings.config, settings.network, number, root)

    inputs = {"dataset": world.dataset, "selection": None}
    others = {"dataset": world.other_dataset, "selection": world.selection}
    return {"buffer": Case(Buffer(config=EXPERTS), inputs, others, before=trained)}


VALIDATED = ("method", "ipc", "init", "iterations", "rounds", "shards", "idc.pretrained.networks", "decode.*", "idm.*")
DISTILLING = "shapes the distillation that goes on with the network, not its training"


def networks(world: World) -> dict[str, Case]:
    trained = {"augment", "gpu", "seed"}
    left = [name for name, value in SEVERAL if not isinstance(value, BaseModel) and name not in trained]
    left += ["decode.*", "dream.*", "idm.*", "trajectory.*", "alignment.*"]
    left += [f"idc.{name}" for name in ("metric", "train_samples", "early_epochs", "network_weight_decay")]
    reasons = {f"distill.{name}": DISTILLING for name in left} | {"reselect.*": DISTILLING}
    case = Case(
        Network(distill=SEVERAL),
        {"dataset": world.dataset, "selection": None},
        {"dataset": world.other_dataset, "selection": world.selection},
        left_out=reasons | {"distill.idc.pretrained.networks": "how many networks there are changes none of them"},
        # The record of the run that asks for the network is validated as a whole.
        read_anyway=frozenset(f"distill.{name}" for name in VALIDATED) | {"reselect.*"},
    )
    return {"idc": case}


def runs(world: World) -> dict[str, Case]:
    data = {
        "inputs": {"dataset": world.dataset, "selection": None, "experts": None},
        "others": {"dataset": world.other_dataset, "selection": world.selection},
    }
    never = "without adaptive pruning (beta = 0) nothing is reselected"
    off = {f"reselect.{name}": never for name in ReselectConfig.model_fields if name != "beta"}
    # It is made anew, and validated, with beta = 0 and nothing else.
    validated = frozenset({"reselect.estimator"})
    imitating = DISTILL.model_copy(update={"method": "mtt", "iterations": 2, "rounds": 1, "trajectory": TRAJECTORY})
    return {
        "dm": Case(Run(distill=DISTILL), **data),
        "without adaptive pruning": Case(
            Run(distill=DISTILL, reselect=ReselectConfig(beta=0.0)), **data, left_out=off, read_anyway=validated
        ),
        "idc": Case(Run(distill=SEVERAL), **data),
        "mtt": Case(
            Run(distill=imitating, reselect=ReselectConfig(beta=0.0)),
            {"dataset": world.dataset, "selection": None, "experts": world.experts},
            {"experts": world.other_experts},
            left_out=off,
            read_anyway=validated,
        ),
    }


def rounds(world: World) -> dict[str, Case]:
    return of_a_run(world, Round(distill=DISTILL), Round(distill=SEVERAL), begin)


def shards(world: World) -> dict[str, Case]:
    divided = [Shard(distill=distill.model_copy(update={"shards": 2})) for distill in (DISTILL, SEVERAL)]
    return of_a_run(world, *divided, begin)


def of_a_run(world: World, dm: BaseModel, idc: BaseModel, before: Call) -> dict[str, Case]:
    inputs = {"dataset": world.dataset, "selection": None}
    others = {"dataset": world.other_dataset, "selection": world.selection}
    return {"dm": Case(dm, inputs, others, before=before), "idc": Case(idc, inputs, others, computed=False)}


def begin(root: str, settings: Round, inputs: Mapping[str, Any]) -> str:
    """Register the run, and reselect for the first round."""
    run = start_run(inputs["dataset"], inputs["selection"], settings.distill, settings.reselect, root)
    reselect_round(run, 1, shard=settings.shard if isinstance(settings, Shard) else None)
    return run


def reselections(world: World) -> dict[str, Case]:
    return of_a_run(world, Round(distill=DISTILL), Round(distill=SEVERAL), registered)


def registered(root: str, settings: Any, inputs: Mapping[str, Any]) -> str:
    return start_run(inputs["dataset"], inputs["selection"], settings.distill, settings.reselect, root)


def finished(root: str, settings: Round, inputs: Mapping[str, Any]) -> None:
    run = registered(root, settings, inputs)
    for number in range(1, settings.distill.rounds + 1):
        reselect_round(run, number)
        distill_round(run, number)


def sets(world: World) -> dict[str, Case]:
    return of_a_run(world, Run(distill=DISTILL), Run(distill=SEVERAL), finished)


def teachers(world: World) -> dict[str, Case]:
    return {"teacher": Case(Teacher(config=EVALUATE.teacher), {"dataset": world.dataset}, {"dataset": world.other_dataset})}


TOLD = "stands for settings that are recorded themselves"
OTHERS = "decides what else is evaluated, not how"
NOT_BATCH_NORM = "of the ConvNet with batch norm alone, which is none of the networks"
EVERY = {"config.protocol": TOLD, "config.pool": TOLD, "config.baselines": OTHERS, "config.robustness": OTHERS}
TAUGHT = {"config.temperature": "of soft labels alone", "config.teacher.*": "of soft labels, herding and k-center alone"}
RATE = {"config.learned_rate": "chooses the step size, which is recorded itself"}
SYNTHETIC = EVERY | RATE | {"config.full_epochs": "of baseline full alone"}
REAL = EVERY | RATE | {"config.full_epochs": "of baseline full alone"}
OTHER_NORM = {"config.batch_norm_augment_each": NOT_BATCH_NORM, "config.batch_norm_epochs": NOT_BATCH_NORM}


def evaluations(world: World) -> dict[str, Case]:
    data = {
        "inputs": {"dataset": world.dataset, "synthetic": world.synthetic},
        "others": {"dataset": world.other_dataset, "synthetic": world.other_synthetic},
        "read_anyway": frozenset({"config.learned_rate"}),
    }
    soft = EVALUATE.model_copy(update={"labels": "soft"})
    batch_norm = EVALUATE.model_copy(update={"networks": (NARROW.model_copy(update={"norm": "batch"}),)})
    learning = {"inputs": {"dataset": world.dataset, "synthetic": world.learned}}
    return {
        "hard labels": Case(Set(config=EVALUATE), **data, left_out=SYNTHETIC | TAUGHT | OTHER_NORM),
        "soft labels": Case(Set(config=soft), **data, left_out=SYNTHETIC | OTHER_NORM),
        "batch norm": Case(Set(config=batch_norm), **data, left_out=SYNTHETIC | TAUGHT, given={"config.batch_norm_epochs": 7}),
        "learned step size": Case(
            Set(config=EVALUATE),
            **learning,
            left_out={name: why for name, why in SYNTHETIC.items() if name not in RATE}
            | TAUGHT
            | OTHER_NORM
            | {"config.learning_rate": "the step size that was learned takes its place"},
            read_anyway=frozenset({"config.learning_rate"}),
        ),
    }


def baselines(world: World) -> dict[str, Case]:
    data = {"inputs": {"dataset": world.dataset}, "others": {"dataset": world.other_dataset}}
    full = {name: why for name, why in REAL.items() if name != "config.full_epochs"}
    whole = {"ipc": "all images are taken, whatever it says", "config.epochs": "full_epochs takes its place"}
    covering = {name: why for name, why in TAUGHT.items() if name != "config.teacher.*"}
    return {
        "full": Case(
            Real(config=EVALUATE, baseline="full"),
            **data,
            left_out=full | TAUGHT | OTHER_NORM | whole,
            read_anyway=frozenset({"config.epochs"}),
        ),
        "random": Case(Real(config=EVALUATE, baseline="random"), **data, left_out=REAL | TAUGHT | OTHER_NORM),
        "herding": Case(Real(config=EVALUATE, baseline="herding"), **data, left_out=REAL | covering | OTHER_NORM),
    }


def trainings(world: World) -> dict[str, Case]:
    data = {
        "inputs": {"dataset": world.dataset, "synthetic": world.synthetic},
        "others": {"dataset": world.other_dataset, "synthetic": world.other_synthetic},
    }
    many = {
        "arm": "whose set it is belongs to the table",
        "experiment": "as arm",
        "config.seeds": "how many trainings there are changes none of them; the place has the number",
    }
    left = SYNTHETIC | TAUGHT | OTHER_NORM | many
    read = frozenset({"config.seeds", "config.learned_rate"})
    return {"hard labels": Case(Set(config=EVALUATE.model_copy(update={"networks_at_once": 1})), **data, left_out=left, read_anyway=read)}


def scores_of_robustness(world: World) -> dict[str, Case]:
    both = {"inputs": {"evaluations": world.evaluations}, "others": {"evaluations": world.other_evaluations}}
    return {"evaluations": Case(Nothing(), **both)}


SMALL = PipelineConfig.model_validate({"dataset": "digits", "arms": ["unpruned"], "report": {"samples_per_class": 2}})
LISTED = PipelineConfig.model_validate(
    {
        "method": "idc",
        "arms": ["unpruned"],
        "prune": {"criterion": "external", "score_list": "list.json"},
        "distill": {"idc": {"pretrained": {"networks": 1}}, "decode": {"factor": 2}},
    }
)
OWN: dict[str, Any] = {"config.prune.score_list": "other.json", "config.ingest.uri": "pictures"}
FOLDER = PipelineConfig.model_validate(
    {"dataset": "folder", "ingest": {"uri": "others"}, "arms": ["unpruned"], "prune": {"per_class": False}},
)


def pages(world: World) -> dict[str, Case]:
    nothing = {"dataset": world.dataset, "scores": None, "selection": None, "runs": {}, "evaluations": (), "origins": None, "record": None}
    shown = nothing | {"runs": {"unpruned": [world.run]}, "evaluations": world.evaluations}
    others = {"dataset": world.other_dataset, "scores": world.scores, "selection": world.selection, "origins": {"ipc": "given"}}
    others["record"] = world.record
    cases = {name: Case(Page(config=config), nothing, given=OWN, computed=False) for name, config in PIPELINES.items()}
    inputs = Case(Page(config=SMALL), shown, others | {"evaluations": world.other_evaluations, "runs": {"bilp": [world.run]}})
    return cases | {"inputs": inputs}


def reproductions(world: World) -> dict[str, Case]:
    inputs, others = {"evaluations": world.evaluations}, {"evaluations": world.other_evaluations}
    given = OWN | {"recipe": "published/dc/mnist-ipc10", "device": "cuda:0"}
    return {name: Case(Cell(config=config), inputs, others, given=given) for name, config in PIPELINES.items()}


PIPELINES = {"dm": SMALL, "idc": LISTED, "own images": FOLDER}


def imports(world: World) -> dict[str, Case]:
    def options(name: str, **more: Any) -> ImportOptions:
        return ImportOptions(file=str(world.folder / f"{name}.pt"), **more)

    copied = {"file": "the tensors count, not where they lie", "labels": "of the layout of MTT alone, where the tensors count"}
    data = {"inputs": {"dataset": world.dataset}, "others": {"dataset": world.other_dataset}}
    return {
        "a copy": Case(
            options("list"),
            **data,
            left_out=copied,
            read_anyway=frozenset({"file", "labels"}),
            given={"file": options("copy").file, "pixels": "unit"},
        ),
        "another file": Case(
            options("list"),
            **data,
            left_out={"labels": copied["labels"]},
            read_anyway=frozenset({"labels"}),
            given={"file": options("other").file, "pixels": "unit"},
        ),
    }


def sources(world: World) -> dict[str, Case]:
    folder = IngestConfig(source="folder", uri=str(world.folder / "pictures"))
    left = {
        "whitening": "a whitened data set has a key of its own",
        "whitening_epsilon": "as whitening",
    }
    given = {"uri": str(world.folder / "others"), "source": "parquet"}
    return {"folder": Case(folder, left_out=left, read_anyway=frozenset({"whitening"}), given=given)}


def fits(world: World) -> dict[str, Case]:
    return {"zca": Case(Whitening(), {"dataset": world.dataset}, {"dataset": world.other_dataset})}


def _trial(root: str, settings: Trial, inputs: Mapping[str, Any]) -> str:
    return score_trial(inputs["dataset"], settings.config, settings.trial, root)


def _expert(root: str, settings: Expert, inputs: Mapping[str, Any]) -> str:
    return train_expert(inputs["dataset"], inputs["selection"], settings.config, settings.network, settings.expert, root)


def _buffer(root: str, settings: Buffer, inputs: Mapping[str, Any]) -> str:
    return collect_experts(inputs["dataset"], inputs["selection"], settings.config, settings.network, root)


def _run(root: str, settings: Run, inputs: Mapping[str, Any]) -> str:
    return start_run(inputs["dataset"], inputs["selection"], settings.distill, settings.reselect, root, inputs["experts"])


def _network(root: str, settings: Network, inputs: Mapping[str, Any]) -> str:
    return pretrain_network(registered(root, settings, inputs), settings.number)


def _reselection(root: str, settings: Round, inputs: Mapping[str, Any]) -> str:
    return reselect_round(registered(root, settings, inputs), settings.round)


def _round(root: str, settings: Round, inputs: Mapping[str, Any]) -> str:
    return distill_round(registered(root, settings, inputs), settings.round)


def _shard(root: str, settings: Shard, inputs: Mapping[str, Any]) -> str:
    return distill_round(registered(root, settings, inputs), settings.round, shard=settings.shard)


def _merge(root: str, settings: Round, inputs: Mapping[str, Any]) -> str:
    return merge_round(registered(root, settings, inputs), settings.round)


def _finish(root: str, settings: Run, inputs: Mapping[str, Any]) -> str:
    return finish_run(registered(root, settings, inputs))


def _set(root: str, settings: Set, inputs: Mapping[str, Any]) -> str:
    return evaluate_synthetic(inputs["dataset"], inputs["synthetic"], settings.arm, settings.experiment, settings.config, root)


def _robustness(root: str, settings: Nothing, inputs: Mapping[str, Any]) -> str:
    return robustness(dict.fromkeys(VARIANTS, inputs["evaluations"]), root)


def _page(root: str, settings: Page, inputs: Mapping[str, Any]) -> str:
    places = (inputs["dataset"], inputs["scores"], inputs["selection"], inputs["runs"], inputs["evaluations"])
    return report(settings.config, *places, root, inputs["origins"], inputs["record"])


def _cell(root: str, settings: Cell, inputs: Mapping[str, Any]) -> str:
    return publish_reproduction(settings.recipe, settings.config, inputs["evaluations"], settings.device, root)


def _call(function: Callable[..., object], *names: str) -> Call:
    """Of a stage that takes some inputs, then fields of its settings (or all of them), then the root."""

    def call(root: str, settings: Any, inputs: Mapping[str, Any]) -> object:
        given = [inputs[name] if name in inputs else settings if name == "settings" else getattr(settings, name) for name in names]
        return function(*given, root)

    return cast(Call, call)


FILE = f"/{MANIFEST}".replace(".", r"\.")
STAGES = (
    Stage("source", ("ingest",), "datasets/NAME/sources/KEY", rf"datasets/.*/sources/{KEY}{FILE}",
          lambda root, settings, inputs: ingest(settings, root), sources, ("bilp.data.ingest",)),
    Stage("whitened data set", ("whiten",), "datasets/NAME/FINGERPRINT/whitened/KEY", rf".*/whitened/{KEY}{FILE}",
          lambda root, settings, inputs: whiten(inputs["dataset"], settings.epsilon), fits, ("bilp.data.whitened",)),
    Stage("scoring trial", ("score", "score_trial"), "scores/FINGERPRINT/KEY/trials/NUMBER", rf"scores/.*/trials/\d+{FILE}",
          _trial, scoring, ("bilp.scoring.record",)),
    Stage("summary of scores", ("summarise",), "scores/FINGERPRINT/KEY/summary/KEY", rf"scores/.*/summary/{KEY}{FILE}",
          _call(summarise, "dataset", "config"), summaries, ("bilp.scoring.record",)),
    Stage("selection", ("prune",), "selections/KEY", rf"selections/{KEY}{FILE}",
          _call(prune, "dataset", "scores", "settings"), prunings, ("bilp.pruning.stage",)),
    Stage("expert", ("experts", "expert"), "experts/FINGERPRINT/KEY/trainings/NUMBER", rf"experts/.*/trainings/\d+{FILE}",
          _expert, learners, ("bilp.experts.record",)),
    Stage("buffer of experts", ("expert_buffer",), "experts/FINGERPRINT/KEY/buffers/KEY", rf"experts/.*/buffers/{KEY}{FILE}",
          _buffer, buffers, ("bilp.experts.record",)),
    Stage("pretrained network", ("pretraining", "pretrained_network"), "pretrained/FINGERPRINT/KEY/NUMBER", rf"pretrained/.*/\d+{FILE}",
          _network, networks, ("bilp.distill.pretrained",)),
    Stage("run", ("distill",), "runs/KEY", rf"runs/{KEY}/_run\.json", _run, runs, ("bilp.distill.run",)),
    Stage("reselection", ("reselect",), "runs/KEY/rounds/NUMBER/reselect", rf"runs/{KEY}/rounds/\d+/reselect{FILE}",
          _reselection, reselections, ("bilp.distill.run",)),
    Stage("round", ("round",), "runs/KEY/rounds/NUMBER", rf"runs/{KEY}/rounds/\d+{FILE}", _round, rounds, ("bilp.distill.run",)),
    Stage("round of a shard", (), "runs/KEY/shards/NUMBER/rounds/NUMBER", rf"runs/{KEY}/shards/\d+/rounds/\d+{FILE}",
          _shard, shards, ("bilp.distill.run",)),
    Stage("synthetic set", ("synthetic",), "runs/KEY/synthetic", rf"runs/{KEY}/synthetic{FILE}", _finish, sets, ("bilp.distill.run",)),
    Stage("teacher", ("teacher",), "teachers/KEY", rf"teachers/{KEY}{FILE}",
          _call(train_teacher, "dataset", "config", "seed"), teachers, ("bilp.evaluate.teacher",)),
    Stage("evaluation of a synthetic set", ("evaluate",), "evaluations/KEY", rf"evaluations/{KEY}{FILE}",
          _set, evaluations, ("bilp.evaluate.publication", "bilp.evaluate.parts")),
    Stage("evaluation of real images", (), "evaluations/KEY", rf"evaluations/{KEY}{FILE}",
          _call(evaluate_baseline, "dataset", "baseline", "ipc", "config"),
          baselines, ("bilp.evaluate.publication", "bilp.evaluate.parts")),
    Stage("training of an evaluation", ("train", "network"), "trainings/KEY/NETWORK-KEY/NUMBER.json", r"trainings/.*\.json",
          _set, trainings, ("bilp.evaluate.parts",)),
    Stage("scores of robustness", ("robustness",), "robustness/KEY", rf"robustness/{KEY}{FILE}",
          _robustness, scores_of_robustness, ("bilp.evaluate.robustness",)),
    Stage("page", ("report",), "reports/KEY", rf"reports/{KEY}{FILE}", _page, pages, ("bilp.report.page",)),
    Stage("reproduction", ("reproduction",), "reproductions/KEY", rf"reproductions/{KEY}{FILE}",
          _cell, reproductions, ("bilp.published",)),
    Stage("imported set", ("import",), "imported/KEY/synthetic", rf"imported/{KEY}/synthetic{FILE}",
          _call(import_set, "dataset", "settings"), imports, ("bilp.exchange.import_set",)),
)  # fmt: skip

# Made by the same function, but no key of anything that is stored.
NO_STAGES = {
    "trainings": "checksum of the trainings kept in one file",
    "unit": "names a unit of work to the Prefect server, within one storage: its arguments are URIs",
}

# Versions that must reach a stage's key although its own module is another one.
UPSTREAM = {
    ("evaluation of a synthetic set", "soft labels"): "bilp.evaluate.teacher",
    ("evaluation of real images", "herding"): "bilp.evaluate.teacher",
    ("run", "idc"): "bilp.distill.pretrained",
}

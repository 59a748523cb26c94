"""Ways to call the stages that score, prune and distill, and what of their settings is not in their keys, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from key_settings import (
    Buffer,
    Call,
    Case,
    Expert,
    Network,
    Nothing,
    Round,
    Run,
    Shard,
    Teacher,
    Trial,
)
from key_world import BETWEEN, DISTILL, ENCODER, EVALUATE, EXPERTS, SCORE, SEVERAL, SIDE, TRAJECTORY, World
from pydantic import BaseModel

from bilp.atlas.publishing import publish_summary
from bilp.config import (
    METHODS,
    CurriculumConfig,
    DistillConfig,
    LinearConfig,
    PruneConfig,
    ReselectConfig,
)
from bilp.config.methods.spec import StartsFromPretrained
from bilp.config.real_part import RealPartConfig
from bilp.config.suspects import SuspectsConfig
from bilp.distill import distill_round, reselect_round, start_run
from bilp.experts.train_experts import train_expert
from bilp.scoring.trial import score_trial

COUNT = {"config.count": "how many experts there are changes none of them"}
TOGETHER = {"config.curriculum.dropped": (0.1, 0.3), "config.curriculum.dropped_from": (41, 62)}
"""As many shares as epochs."""
OF_CURRICULUM = ("start", "full_from", "dropped", "dropped_from", "score.*")
NO_CURRICULUM = {f"config.curriculum.{name}": "without a criterion there is no curriculum" for name in OF_CURRICULUM}
WINDOWS = {
    "config.init_epochs": "which epochs are averaged is in the key of the summary",
    "config.converge_epochs": "as init_epochs",
}
EARLY = {
    "config.early_from": "as init_epochs, unless gradient norms are recorded, which is done inside of the window alone",
    "config.early_to": "as early_from",
}
EVERY = (DISTILL, SEVERAL, BETWEEN)
"""Settings of runs of dm, idc and ncfm."""
KEPT_ROUNDS = {"distill.keep_rounds": "which rounds keep their state changes nothing of it"}
TEACHER = {"distill.teacher_samples": "the teacher is a parent, and its key covers what it learned, which is compared with this"}
TRIALS = {"config.trials": "how many trials there are changes none of them"}
GROWING = {
    "config.keep_networks": "what is kept beside a trial changes nothing of it",
    "config.extend": "an extension of scores has a key of its own, which covers the summary that is extended",
}
SUBSETS = {"config.subset_share": "of measure monte_carlo alone", "config.held_out": "of measure monte_carlo alone"}
NORMS = {"config.gradient_norm": "of measure trajectory alone"}


def scoring(world: World) -> dict[str, Case]:
    data = {"inputs": {"dataset": world.dataset}, "others": {"dataset": world.other_dataset}}
    read = frozenset({"config.trials"})
    return {
        "trajectory": Case(
            Trial(config=SCORE),
            **data,
            left_out=TRIALS | WINDOWS | EARLY | SUBSETS | GROWING,
            read_anyway=read | {"config.early_from", "config.early_to", "config.keep_networks"},
        ),
        "gradient norms": Case(
            Trial(config=SCORE.model_copy(update={"gradient_norm": "last_layer"})),
            **data,
            left_out=TRIALS | WINDOWS | SUBSETS | GROWING,
            read_anyway=read | {"config.keep_networks"},
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


def predicting(world: World) -> dict[str, Case]:
    """Trials of the measures that record every epoch."""
    cases, read = scoring(world), {}
    for name in ("trajectory", "gradient norms"):
        read[name] = replace(cases[name], read_anyway=cases[name].read_anyway - {"config.keep_networks"})
    return read


def suspecting(world: World) -> dict[str, Case]:
    inputs = {
        "dataset": world.dataset,
        "scores": world.scores,
        "record": world.record,
        "selection": world.selection,
        "run": world.run,
    }
    others = {"dataset": world.other_dataset, "scores": world.other_scores, "record": None, "selection": world.other_selection, "run": None}
    return {"all there is": Case(SuspectsConfig(), inputs, others)}


def keeping(world: World) -> dict[str, Case]:
    """Networks are kept of trajectories alone."""
    left_out = TRIALS | WINDOWS | EARLY | SUBSETS | GROWING | {"config.keep_networks": "without it there are none"}
    return {"trajectory": Case(Trial(config=SCORE), **_every(world), left_out=left_out, computed=False)}


def extensions(world: World) -> dict[str, Case]:
    """What an extension takes from settings is in the key of the summary that it extends."""
    inputs = {"dataset": world.dataset, "onto": world.extendable[0]}
    others = {"dataset": world.other_dataset, "onto": world.extendable[1]}
    return {"summary": Case(Nothing(), inputs, others, computed=False)}


def _every(world: World) -> dict[str, Any]:
    return {"inputs": {"dataset": world.dataset}, "others": {"dataset": world.other_dataset}}


def summaries(world: World) -> dict[str, Case]:
    def trials(root: str, settings: Trial, inputs: Mapping[str, Any]) -> None:
        for number in range(settings.config.trials):
            score_trial(inputs["dataset"], settings.config, number, root)

    data = {"inputs": {"dataset": world.dataset}, "others": {"dataset": world.other_dataset}, "before": trials}
    alone = {"trial": "a summary is of all trials"}
    herding = SCORE.model_copy(update={"measure": "herding"})
    return {
        "trajectory": Case(Trial(config=SCORE), **data, left_out=SUBSETS | GROWING | alone),
        "herding": Case(
            Trial(config=herding),
            **data,
            left_out=WINDOWS | EARLY | NORMS | SUBSETS | alone,
        ),
    }


def prunings(world: World) -> dict[str, Case]:
    data = {"dataset": world.dataset, "scores": world.scores}
    # Another dataset has no scores here, so where the criterion reads some, the dataset counts through them.
    scores = {"scores": world.other_scores}
    ranked = {"seed": "of criterion random alone"}
    drawn = Case(PruneConfig(criterion="random"), data, {"dataset": world.other_dataset}, {"scores": None})
    listed = PruneConfig(criterion="external", score_list=str(world.folder / "list.json"))
    atlas = PruneConfig(scores=publish_summary(world.scores, world.folder / "atlas"))
    another = publish_summary(world.other_scores, world.folder / "atlas")
    taken = {"scores": "the checksum of the entry's table counts, not where it lies", **ranked}
    elsewhere = publish_summary(world.scores, world.folder / "another")
    copied = {"score_list": "the list's content counts, not where it lies", **ranked}
    return {
        "loss_init": Case(PruneConfig(), data, scores, left_out=ranked),
        "whole set": Case(PruneConfig(per_class=False, floor_per_class=3), data, scores, left_out=ranked),
        "auto": Case(PruneConfig(keep="auto"), data, scores, left_out=ranked),
        "both ends": Case(PruneConfig(drop="both"), data, scores, left_out=ranked),
        "strata": Case(PruneConfig(rule="strata"), data, scores),
        "facility location": Case(PruneConfig(rule="facility_location"), data, scores, left_out=ranked),
        "graph": Case(PruneConfig(rule="graph"), data, scores, left_out=ranked),
        "low component": Case(PruneConfig(rule="low_component", keep="auto"), data, scores, left_out=ranked),
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
        "atlas": Case(
            atlas,
            {"dataset": world.dataset},
            left_out=taken,
            read_anyway=frozenset({"scores"}),
            given={"scores": elsewhere},
        ),
        "another entry": Case(atlas, {"dataset": world.dataset}, left_out=ranked, given={"scores": another}),
        "another list": Case(listed, data, left_out=ranked, given={"score_list": str(world.folder / "other.json")}),
    }


def learners(world: World) -> dict[str, Case]:
    curriculum = "config.curriculum."
    every = Case(
        Expert(config=EXPERTS),
        {"dataset": world.dataset, "selection": None},
        {"dataset": world.other_dataset, "selection": world.selection},
        left_out=COUNT | NO_CURRICULUM,
        read_anyway=frozenset({"config.count"}),
        given=TOGETHER,
    )
    following = EXPERTS.model_copy(update={"curriculum": CurriculumConfig(criterion="el2n", score=SCORE)})
    taught = replace(
        every,
        settings=Expert(config=following),
        left_out=COUNT,
        single=frozenset(f"{curriculum}score.{name}" for name in ("measure", "extend", "keep_networks")),
    )
    return {"experts": every, "curriculum": taught}


def buffers(world: World) -> dict[str, Case]:
    def trained(root: str, settings: Buffer, inputs: Mapping[str, Any]) -> None:
        for number in range(settings.config.count):
            train_expert(inputs["dataset"], inputs["selection"], settings.config, settings.network, number, root)

    inputs = {"dataset": world.dataset, "selection": None}
    others = {"dataset": world.other_dataset, "selection": world.selection}
    return {"buffer": Case(Buffer(config=EXPERTS), inputs, others, before=trained, left_out=NO_CURRICULUM, given=TOGETHER)}


VALIDATED = (
    "keep_rounds",
    "method",
    "ipc",
    "init",
    "iterations",
    "rounds",
    "shards",
    "real_pass",
    "idc.pretrained.networks",
    "decode.*",
    "idm.*",
    "characteristic.*",
    "linear.*",
    "real_part.*",
    "coarse_to_fine.*",
)
SUPPLIED = frozenset(f"distill.linear.{name}" for name in ("encoder", "weights", "features"))
"""Settings that belong together, which are changed where a run is registered; its key is in those of all that follows."""
NO_START = {"distill.coarse_to_fine.start": "no method but ccfs begins with a set, whose key is in that of the run"}
READ_OF_RUNS = KEPT_ROUNDS | NO_START
OF_RUNS = READ_OF_RUNS | TEACHER
DISTILLING = "shapes the distillation that starts from the network, not its training"


def networks(world: World) -> dict[str, Case]:
    shared, alone = {"distill.real_pass"}, {"distill.real_pass", "distill.method"}
    return {
        "idc": networks_of(world, SEVERAL, shared),
        "ncfm": networks_of(world, BETWEEN, alone),  # no other method takes its settings
    }


def networks_of(world: World, distill: DistillConfig, single: Set[str]) -> Case:
    """Networks that are trained beforehand; `single` as of a case."""
    trained = {"augment", "gpu", "gpu_revision", "seed"}
    own = METHODS[distill.method].pretrained
    left = [name for name, value in distill if not isinstance(value, BaseModel) and name not in trained]
    models = [name for name, value in distill if isinstance(value, BaseModel) and type(value).model_fields]
    left += [f"{name}.*" for name in models if name not in (own, "network")]
    left += [f"{own}.{name}" for name in type(getattr(distill, own)).model_fields if name not in StartsFromPretrained.__dict__]
    reasons = {f"distill.{name}": DISTILLING for name in left} | {"reselect.*": DISTILLING}
    return Case(
        Network(distill=distill),
        {"dataset": world.dataset, "selection": None},
        {"dataset": world.other_dataset, "selection": world.selection},
        left_out=reasons | {f"distill.{own}.pretrained.networks": "how many networks there are changes none of them"},
        # The record of the run that asks for the network is validated as a whole.
        read_anyway=frozenset(f"distill.{name}" for name in VALIDATED) | {"reselect.*"},
        single=frozenset(single) | SUPPLIED | {"distill.real_part.share", "distill.real_part.window"},
    )


def runs(world: World) -> dict[str, Case]:
    data = {
        "inputs": {"dataset": world.dataset, "selection": None, "experts": None, "teacher": None},
        "others": {"dataset": world.other_dataset, "selection": world.selection},
    }
    never = "without adaptive pruning (beta = 0) nothing is reselected"
    groups = {name for name, field in ReselectConfig.model_fields.items() if isinstance(field.default, BaseModel)}
    off = {f"reselect.{name}{'.*' * (name in groups)}": never for name in ReselectConfig.model_fields if name != "beta"}
    # It is made anew, and validated, with beta = 0 and nothing else.
    validated = frozenset({"reselect.estimator"})
    asking = DISTILL.model_copy(update={"method": "rded", "augment": ()})
    imitating = DISTILL.model_copy(update={"method": "mtt", "iterations": 2, "rounds": 1, "trajectory": TRAJECTORY})
    adding = DISTILL.model_copy(update={"method": "ccfs", "ipc": 2, "augment": ()})
    part = RealPartConfig(share=0.25, window=0.5)
    windowed = imitating.model_copy(update={"method": "selmatch", "ipc": 4, "real_part": part})
    return {
        "dm": Case(
            Run(distill=DISTILL),
            **data,
            left_out=OF_RUNS,
            read_anyway=frozenset(READ_OF_RUNS),
            single=frozenset({"distill.real_part.share"}),  # no part of one image of a class, and no effects beside one
        ),
        "without adaptive pruning": Case(
            Run(distill=DISTILL, reselect=ReselectConfig(beta=0.0)),
            **data,
            left_out=off | OF_RUNS,
            read_anyway=validated | READ_OF_RUNS.keys(),
        ),
        "idc": Case(Run(distill=SEVERAL), **data, left_out=OF_RUNS, read_anyway=frozenset(READ_OF_RUNS)),
        "ncfm": Case(Run(distill=BETWEEN), **data, left_out=OF_RUNS, read_anyway=frozenset(READ_OF_RUNS)),
        "supplied": Case(
            Run(distill=supplied(world)),
            **data,
            left_out=OF_RUNS,
            read_anyway=frozenset(READ_OF_RUNS),
            given={f"distill.linear.{name}": str(world.folder / f"other {name}") for name in ("weights", "features")}
            | {"distill.linear.encoder": "resnet18"},
            about="distill.linear.*",
        ),
        "mtt": Case(
            Run(distill=imitating, reselect=ReselectConfig(beta=0.0)),
            {"dataset": world.dataset, "selection": None, "experts": world.experts, "teacher": None},
            {"experts": world.other_experts},
            left_out=off,
            read_anyway=validated,
        ),
        "selmatch": Case(
            Run(distill=windowed, reselect=ReselectConfig(beta=0.0)),
            {"dataset": world.dataset, "selection": None, "experts": world.experts, "teacher": None, "ranking": world.selection},
            {"experts": world.other_experts, "ranking": world.other_selection},
            left_out=off,
            read_anyway=validated,
        ),
        "ccfs": Case(
            Run(distill=adding, reselect=ReselectConfig(beta=0.0)),
            {"dataset": world.dataset, "selection": None, "experts": None, "teacher": world.teacher, "ranking": world.selection},
            {"teacher": world.other_teacher, "ranking": world.other_selection, "selection": world.selection},
            left_out=off | KEPT_ROUNDS | TEACHER,
            read_anyway=validated | KEPT_ROUNDS.keys() | TEACHER.keys(),
            given={"distill.coarse_to_fine.start": world.synthetic},
        ),
        "rded": Case(
            Run(distill=asking, reselect=ReselectConfig(beta=0.0)),
            {"dataset": world.dataset, "selection": None, "experts": None, "teacher": world.teacher},
            {"teacher": world.other_teacher, "selection": world.selection},
            left_out=off | OF_RUNS,
            read_anyway=validated | OF_RUNS.keys(),
        ),
    }


def supplied(world: World) -> DistillConfig:
    """Settings with an encoder of the user's own."""
    weights, features = (str(world.folder / name) for name in ("weights", "features"))
    linear = LinearConfig(encoder=ENCODER, weights=weights, features=features, side=SIDE)
    return DistillConfig.model_validate(DISTILL.model_dump() | {"method": "lgm", "linear": linear.model_dump()})


def rounds(world: World) -> dict[str, Case]:
    return of_a_run(world, [Round(distill=distill) for distill in EVERY], begin)


def shards(world: World) -> dict[str, Case]:
    return of_a_run(world, [Shard(distill=distill.model_copy(update={"shards": 2})) for distill in EVERY], begin)


def of_a_run(world: World, each: Sequence[BaseModel], before: Call) -> dict[str, Case]:
    """Cases with the settings of `EVERY`."""
    dm, idc, ncfm = each
    inputs = {"dataset": world.dataset, "selection": None}
    others = {"dataset": world.other_dataset, "selection": world.selection}
    return {
        "dm": Case(
            dm,
            inputs,
            others,
            before=before,
            left_out=OF_RUNS,
            read_anyway=frozenset(READ_OF_RUNS),
            single=SUPPLIED | {"distill.real_part.share"},
        ),
        "idc": Case(idc, inputs, others, computed=False, left_out=OF_RUNS),
        "ncfm": Case(ncfm, inputs, others, computed=False, left_out=OF_RUNS),
    }


def begin(root: str, settings: Round, inputs: Mapping[str, Any]) -> str:
    """Register the run, and reselect for the first round."""
    run = start_run(inputs["dataset"], inputs["selection"], settings.distill, settings.reselect, root)
    reselect_round(run, 1, shard=settings.shard if isinstance(settings, Shard) else None)
    return run


def reselections(world: World) -> dict[str, Case]:
    return of_a_run(world, [Round(distill=distill) for distill in EVERY], registered)


def registered(root: str, settings: Any, inputs: Mapping[str, Any]) -> str:
    return start_run(inputs["dataset"], inputs["selection"], settings.distill, settings.reselect, root)


def finished(root: str, settings: Round, inputs: Mapping[str, Any]) -> None:
    run = registered(root, settings, inputs)
    for number in range(1, settings.distill.rounds + 1):
        reselect_round(run, number)
        distill_round(run, number)


def sets(world: World) -> dict[str, Case]:
    return of_a_run(world, [Run(distill=distill) for distill in EVERY], finished)


def teachers(world: World) -> dict[str, Case]:
    settings, others = Teacher(config=EVALUATE.teacher), {"selection": world.other_selection, "dataset": world.other_dataset}
    return {
        "teacher": Case(settings, {"dataset": world.dataset}, {"dataset": world.other_dataset}),
        "of the selection": Case(settings, {"dataset": world.dataset, "selection": world.selection}, others),
    }

"""Every stage as a pipeline calls it, where it looks for its artifact, and whose versions are in its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from key_cases import (
    buffers,
    extensions,
    keeping,
    learners,
    networks,
    predicting,
    prunings,
    registered,
    reselections,
    rounds,
    runs,
    scoring,
    sets,
    shards,
    summaries,
    suspecting,
    teachers,
)
from key_evaluations import (
    baselines,
    draws,
    evaluations,
    fits,
    imports,
    larger_sets,
    pages,
    reproductions,
    scores_of_robustness,
    sources,
    trainings,
    truths,
)
from key_settings import (
    Buffer,
    Call,
    Cell,
    Draw,
    Expert,
    Network,
    Nothing,
    Page,
    Real,
    Round,
    Run,
    Set,
    Shard,
    Stage,
    Trial,
)

from bilp.artifacts.manifest_file import MANIFEST
from bilp.config import ScoreConfig
from bilp.config.given import model_of
from bilp.config.suspects import SuspectsConfig
from bilp.data import ingest
from bilp.data.source_record import open_record
from bilp.data.whitened import whiten
from bilp.distill import distill_round, finish_run, pretrain_network, reselect_round, start_run
from bilp.evaluate import VARIANTS, evaluate_baseline, evaluate_synthetic, train_teacher
from bilp.evaluate.reproduction import publish_reproduction
from bilp.evaluate.robustness import robustness
from bilp.exchange.import_set import import_set
from bilp.experts.train_experts import collect_experts, train_expert
from bilp.pruning.chosen import random_samples
from bilp.pruning.prune import prune
from bilp.report import report
from bilp.resizing.resize_stage import resize
from bilp.scoring.extension import extend_scores, settings_of
from bilp.scoring.summary import open_summary, summarize
from bilp.scoring.trial import record_predictions, score_trial
from bilp.suspects.stage import find_suspects
from bilp.truth.oracle import oracle_selection

KEY = "[0-9a-f]{16}"


def _trial(root: str, settings: Trial, inputs: Mapping[str, Any]) -> str:
    return score_trial(inputs["dataset"], settings.config, settings.trial, root)


def _oracle(root: str, settings: Nothing, inputs: Mapping[str, Any]) -> str:
    return oracle_selection(open_record(inputs["record"]).dataset_uri, inputs["record"], root)


def _predictions(root: str, settings: Trial, inputs: Mapping[str, Any]) -> str:
    return record_predictions(inputs["dataset"], settings.config, settings.trial, root)


def _suspects(root: str, settings: SuspectsConfig, inputs: Mapping[str, Any]) -> str:
    places = (inputs["record"], inputs["selection"], inputs["run"])
    return find_suspects(inputs["dataset"], inputs["scores"], settings, root, *places)


def _networks(root: str, settings: Trial, inputs: Mapping[str, Any]) -> str:
    config = model_of(ScoreConfig, settings.config.model_dump() | {"keep_networks": True})  # refused for measures without epochs
    return score_trial(inputs["dataset"], config, settings.trial, root)


def _extension(root: str, settings: Nothing, inputs: Mapping[str, Any]) -> object:
    config = settings_of(open_summary(inputs["onto"])).model_copy(update={"extend": inputs["onto"]})
    return extend_scores(inputs["dataset"], config, root)


def _expert(root: str, settings: Expert, inputs: Mapping[str, Any]) -> str:
    return train_expert(inputs["dataset"], inputs["selection"], settings.config, settings.network, settings.expert, root)


def _buffer(root: str, settings: Buffer, inputs: Mapping[str, Any]) -> str:
    return collect_experts(inputs["dataset"], inputs["selection"], settings.config, settings.network, root)


def _run(root: str, settings: Run, inputs: Mapping[str, Any]) -> str:
    places = (root, inputs["experts"], inputs["teacher"], inputs.get("ranking"))
    return start_run(inputs["dataset"], inputs["selection"], settings.distill, settings.reselect, *places)


def _network(root: str, settings: Network, inputs: Mapping[str, Any]) -> str:
    return pretrain_network(registered(root, settings, inputs), settings.number)


def _reselection(root: str, settings: Round, inputs: Mapping[str, Any]) -> str:
    return reselect_round(registered(root, settings, inputs), settings.round)


def _round(root: str, settings: Round, inputs: Mapping[str, Any]) -> str:
    return distill_round(registered(root, settings, inputs), settings.round)


def _shard(root: str, settings: Shard, inputs: Mapping[str, Any]) -> str:
    return distill_round(registered(root, settings, inputs), settings.round, shard=settings.shard)


def _finish(root: str, settings: Run, inputs: Mapping[str, Any]) -> str:
    return finish_run(registered(root, settings, inputs))


def _set(root: str, settings: Set, inputs: Mapping[str, Any]) -> str:
    return evaluate_synthetic(inputs["dataset"], inputs["synthetic"], settings.arm, settings.experiment, settings.config, root)


def _real(root: str, settings: Real, inputs: Mapping[str, Any]) -> str:
    where, selection = (inputs["dataset"], settings.baseline, settings.ipc, settings.config, root), inputs.get("selection")
    return evaluate_baseline(*where, selection_uri=selection)


def _draw(root: str, settings: Draw, inputs: Mapping[str, Any]) -> str:
    return random_samples(inputs["dataset"], settings.kept, settings.seed, root)


def _robustness(root: str, settings: Nothing, inputs: Mapping[str, Any]) -> str:
    return robustness(dict.fromkeys(VARIANTS, inputs["evaluations"]), root)


def _page(root: str, settings: Page, inputs: Mapping[str, Any]) -> str:
    places = (inputs["dataset"], inputs["scores"], inputs["selection"], inputs["runs"], inputs["evaluations"])
    return report(settings.config, *places, root, inputs["origins"], inputs["record"])


def _cell(root: str, settings: Cell, inputs: Mapping[str, Any]) -> str:
    return publish_reproduction(settings.recipe, settings.config, inputs["evaluations"], settings.device, root)


def _teacher(root: str, settings: Any, inputs: Mapping[str, Any]) -> str:
    return train_teacher(inputs["dataset"], settings.config, settings.seed, root, selection_uri=inputs.get("selection"))


def _call(function: Callable[..., object], *names: str) -> Call:
    """Of a stage that takes some inputs, then fields of its settings (or all of them), then the root."""

    def call(root: str, settings: Any, inputs: Mapping[str, Any]) -> object:
        given = [inputs[name] if name in inputs else settings if name == "settings" else getattr(settings, name) for name in names]
        return function(*given, root)

    return cast(Call, call)


FILE = f"/{MANIFEST}".replace(".", r"\.")
STAGES = (
    Stage("source", ("ingest",), "datasets/NAME/sources/KEY", rf"datasets/.*/sources/{KEY}{FILE}",
          lambda root, settings, inputs: ingest(settings, root), sources, ("bilp.data.ingestion",)),
    Stage("whitened data set", ("whiten",), "datasets/NAME/FINGERPRINT/whitened/KEY", rf".*/whitened/{KEY}{FILE}",
          lambda root, settings, inputs: whiten(inputs["dataset"], settings.epsilon), fits, ("bilp.data.whitened",)),
    Stage("scoring trial", ("score", "score_trial"), "scores/FINGERPRINT/KEY/trials/NUMBER", rf"scores/.*/trials/\d+{FILE}",
          _trial, scoring, ("bilp.scoring.trial_record",)),
    Stage("predictions of a trial", ("score", "predictions"), "scores/FINGERPRINT/KEY/predictions/NUMBER",
          rf"scores/.*/predictions/\d+{FILE}", _predictions, predicting, ("bilp.scoring.trial_record",)),
    Stage("kept networks", ("trial_networks",), "scores/FINGERPRINT/KEY/networks/NUMBER", rf"scores/.*/networks/\d+{FILE}",
          _networks, keeping, ("bilp.scoring.trial_record",)),
    Stage("extended scores", ("extend",), "scores/FINGERPRINT/KEY/growth", rf"scores/.*/growth{FILE}",
          _extension, extensions, ("bilp.scoring.extension",)),
    Stage("summary of scores", ("summarise",), "scores/FINGERPRINT/KEY/summary/KEY", rf"scores/.*/summary/{KEY}{FILE}",
          _call(summarize, "dataset", "config"), summaries, ("bilp.scoring.trial_record", "bilp.scoring.summary")),
    Stage("selection", ("prune",), "selections/KEY", rf"selections/{KEY}{FILE}",
          _call(prune, "dataset", "scores", "settings"), prunings, ("bilp.pruning.prune",)),
    Stage("random selection", ("random selection",), "selections/KEY", rf"selections/{KEY}{FILE}", _draw, draws, ("bilp.pruning.chosen",)),
    Stage("selection by true labels", ("oracle",), "selections/KEY", rf"selections/{KEY}{FILE}",
          _oracle, truths, ("bilp.truth.oracle",)),
    Stage("expert", ("experts", "expert"), "experts/FINGERPRINT/KEY/trainings/NUMBER", rf"experts/.*/trainings/\d+{FILE}",
          _expert, learners, ("bilp.experts.files",)),
    Stage("buffer of experts", ("expert_buffer",), "experts/FINGERPRINT/KEY/buffers/KEY", rf"experts/.*/buffers/{KEY}{FILE}",
          _buffer, buffers, ("bilp.experts.files",)),
    Stage("pretrained network", ("pretraining", "pretrained_network"), "pretrained/FINGERPRINT/KEY/NUMBER", rf"pretrained/.*/\d+{FILE}",
          _network, networks, ("bilp.distill.step.pretrained",)),
    Stage("run", ("distill",), "runs/KEY", rf"runs/{KEY}/_run\.json", _run, runs, ("bilp.distill.run",)),
    Stage("reselection", ("reselect",), "runs/KEY/rounds/NUMBER/reselect", rf"runs/{KEY}/rounds/\d+/reselect{FILE}",
          _reselection, reselections, ("bilp.distill.run",)),
    Stage("round", ("round", "round_state"), "runs/KEY/rounds/NUMBER", rf"runs/{KEY}/rounds/\d+{FILE}",
          _round, rounds, ("bilp.distill.run",)),
    Stage("round of a shard", (), "runs/KEY/shards/NUMBER/rounds/NUMBER", rf"runs/{KEY}/shards/\d+/rounds/\d+{FILE}",
          _shard, shards, ("bilp.distill.run",)),
    Stage("synthetic set", ("synthetic",), "runs/KEY/synthetic", rf"runs/{KEY}/synthetic{FILE}", _finish, sets, ("bilp.distill.run",)),
    Stage("teacher", ("teacher",), "teachers/KEY", rf"teachers/{KEY}{FILE}",
          _teacher, teachers, ("bilp.evaluate.teacher",)),
    Stage("evaluation of a synthetic set", ("evaluate",), "evaluations/KEY", rf"evaluations/{KEY}{FILE}",
          _set, evaluations, ("bilp.evaluate.results", "bilp.evaluate.training_cache")),
    Stage("evaluation of real images", (), "evaluations/KEY", rf"evaluations/{KEY}{FILE}",
          _real, baselines, ("bilp.evaluate.results", "bilp.evaluate.training_cache")),
    Stage("training of an evaluation", ("train", "network"), "trainings/KEY/NETWORK-KEY/NUMBER.json", r"trainings/.*\.json",
          _set, trainings, ("bilp.evaluate.training_cache",)),
    Stage("scores of robustness", ("robustness",), "robustness/KEY", rf"robustness/{KEY}{FILE}",
          _robustness, scores_of_robustness, ("bilp.evaluate.robustness",)),
    Stage("list of suspects", ("suspects",), "suspects/KEY", rf"suspects/{KEY}{FILE}",
          _suspects, suspecting, ("bilp.suspects.stage",)),
    Stage("page", ("report",), "reports/KEY", rf"reports/{KEY}{FILE}", _page, pages, ("bilp.report.page",)),
    Stage("reproduction", ("reproduction",), "reproductions/KEY", rf"reproductions/{KEY}{FILE}",
          _cell, reproductions, ("bilp.evaluate.reproduction",)),
    Stage("imported set", ("import",), "imported/KEY/synthetic", rf"imported/{KEY}/synthetic{FILE}",
          _call(import_set, "dataset", "settings"), imports, ("bilp.exchange.import_set",)),
    Stage("resized set", ("resize",), "resized/KEY/synthetic", rf"resized/{KEY}/synthetic{FILE}",
          _call(resize, "synthetic", "settings"), larger_sets, ("bilp.resizing.resize_stage",)),
)  # fmt: skip

# Made by the same function, but no key of anything that is stored.
NO_STAGES = {
    "arrivals": "names the page about what is new in a version, which may be written anew at any time",
    "comparison": "names the page that puts these reports side by side, which is written anew each time",
    "test_features": "names features of test images that a process keeps in memory",
    "trainings": "checksum of the trainings kept in one file",
    "study": "names a study by the settings of its cells and arms; what it shows are results with keys of their own",
    "study_part": "names a block of a study likewise: the settings of its pipelines, whose results have keys of their own",
    "study_question": "digest of what a block was computed from, source and program included: whether it is asked for again",
    "study_state": "digest of what the page of a study was made of, by which it is written anew",
    "unit": "names a unit of work to the Prefect server, within one storage: its arguments are URIs",
}

# Keys of plans, which are made of what other stages record of their settings: their own rooms test that whatever decides is in them.
OF_PLANS = {
    "ingest_plan": (
        "bilp.data.ingest_plan",
        "tests/data/test_ingest_parts.py",
        "datasets/NAME/plans/KEY",
        "none",
        "the source's signature; of IngestConfig, what decides which images there are and how they are decoded",
    ),
    "ingest_part": (
        "bilp.data.ingest_part",
        "tests/data/test_ingest_parts.py",
        "datasets/NAME/parts/KEY/NUMBER",
        "plan",
        "the number of the part; KEY is that of the plan",
    ),
    "search": (
        "bilp.search.found",
        "tests/search/test_candidates.py",
        "searches/KEY",
        "dataset",
        "candidates, rungs, distillations and held-out images of SearchConfig; of the stages, what proxies read",
    ),
    "critical": (
        "bilp.critical.shares",
        "tests/critical/test_share_plan.py",
        "critical/KEY",
        "dataset",
        "CriticalOptions and the shares that follow; of the stages, what its runs read",
    ),
}

# Versions that must reach a stage's key although its own module is another one.
UPSTREAM = {
    ("evaluation of a synthetic set", "soft labels"): "bilp.evaluate.teacher",
    ("evaluation of a synthetic set", "linear probe"): "bilp.evaluate.teacher",
    ("expert", "curriculum"): "bilp.scoring.summary",
    ("evaluation of real images", "herding"): "bilp.evaluate.teacher",
    ("run", "idc"): "bilp.distill.step.pretrained",
    ("run", "ncfm"): "bilp.distill.step.pretrained",
}

"""A storage with an artifact of every kind, made in seconds by the stages themselves, and ways to damage one as somebody can who may
write the storage: checksums and sizes are right afterwards.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.run_layout import reselect_uri, round_uri, state_uri
from bilp.config import (
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
from bilp.config.alterations import DuplicatesAddedConfig
from bilp.config.decode import DecodeConfig
from bilp.config.label_noise import LabelNoiseConfig
from bilp.config.methods.idc import IdcConfig
from bilp.config.methods.pretrained import PretrainedConfig
from bilp.config.resize import ResizeConfig
from bilp.critical.plan import CriticalOptions, planned
from bilp.critical.share_tests import compared, critical
from bilp.critical.shares import Measured, publish_critical
from bilp.critical.shares import key_of as key_of_shares
from bilp.data import ingest, open_dataset, read_source
from bilp.data.ingest_part import ingest_part
from bilp.data.ingest_plan import PLANS, publish_plan
from bilp.data.sources import open_source
from bilp.data.truth_file import truth_uri
from bilp.distill import distill_round, finish_run, pretrain_network, reselect_round, start_run
from bilp.evaluate import VARIANTS, evaluate_baseline, evaluate_synthetic, train_teacher
from bilp.evaluate.reproduction import publish_reproduction
from bilp.evaluate.robustness import robustness
from bilp.experts.train_experts import collect_experts, train_expert
from bilp.pruning.prune import prune
from bilp.report import report
from bilp.resizing.resize_stage import resize
from bilp.scoring.extension import extend_scores, extended_summary
from bilp.scoring.kept_networks import networks_uri
from bilp.scoring.predictions import beside
from bilp.scoring.summary import summarize
from bilp.scoring.trial import score_trial
from bilp.search.candidates import plan
from bilp.search.found import Tried, key_of, publish_search
from bilp.storage.verification import digest
from bilp.studies.definition import study_of
from bilp.studies.pipeline_outcome import Outcome
from bilp.studies.study_artifact import publish_study
from bilp.studies.study_plan import planned as study_plan
from bilp.studies.study_progress import Progress
from bilp.suspects.stage import find_suspects

NARROW = NetworkConfig(width=2, depth=1)
NOISY = IngestConfig(label_noise=LabelNoiseConfig(kind="symmetric", share=0.2), duplicates_added=DuplicatesAddedConfig(share=0.01, times=1))
SCORE = ScoreConfig(trials=2, epochs=2, init_epochs=1, network=NARROW)
KEEPING = SCORE.model_copy(update={"keep_networks": True})
MEASURE = ScoreConfig(measure="herding", trials=1, epochs=1, init_epochs=1, early_to=1, network=NARROW)
DISTILL = DistillConfig(iterations=4, rounds=2, batch_real=8, network=NARROW)
RESELECT = ReselectConfig(candidates_per_class=6)
EXPERTS = ExpertsConfig(count=1, epochs=2)
IMITATING = DISTILL.model_copy(update={"method": "mtt", "trajectory": TrajectoryConfig(steps=1, expert_epochs=1, max_start=1)})
POOLED = DISTILL.model_copy(update={"method": "idm", "rounds": 2, "iterations": 2})
STARTED = DISTILL.model_copy(
    update={"method": "idc", "rounds": 1, "iterations": 1, "idc": IdcConfig(pretrained=PretrainedConfig(networks=1, epochs=1))}
).model_copy(update={"decode": DecodeConfig(factor=2)})
EVALUATE = EvaluateConfig(networks=(NARROW,), seeds=2, epochs=1, full_epochs=1, teacher=TeacherConfig(network=NARROW, epochs=1))


@dataclass(frozen=True)
class World:
    """Where everything lies."""

    root: str
    artifacts: Mapping[str, str]
    """URI of an artifact of every kind, and of second ones of some kinds, by a name that begins with the kind."""
    runs: Mapping[str, str]
    """URIs of runs by method."""


def make_world(root: str) -> World:
    """Everything below `root`."""
    record, dataset = read_source(IngestConfig(), root), ingest(IngestConfig(), root)
    noisy = read_source(NOISY, root)
    trials = [score_trial(dataset, KEEPING, number, root) for number in range(2)]
    scores = summarize(dataset, SCORE, root)
    grown = extend_scores(ingest(IngestConfig(split_seed=1), root), KEEPING.model_copy(update={"extend": scores}), root)
    selection, other = (prune(dataset, scores, PruneConfig(keep=keep), root) for keep in (0.5, 0.6))
    expert = train_expert(dataset, None, EXPERTS, NARROW, 0, root)
    buffer = collect_experts(dataset, None, EXPERTS, NARROW, root)
    none = ReselectConfig(beta=0.0)
    runs = {
        "dm": start_run(dataset, selection, DISTILL, RESELECT, root),
        "mtt": start_run(dataset, None, IMITATING, none, root, buffer),
        "idm": start_run(dataset, None, POOLED, none, root),
        "idc": start_run(dataset, None, STARTED, none, root),
    }
    pretrained = pretrain_network(runs["idc"], 0)
    halfway = start_run(dataset, None, DISTILL.model_copy(update={"seed": 1, "keep_rounds": 1}), none, root)
    distill_round(halfway, 1)
    synthetic = {method: go_through(run, method) for method, run in runs.items()}
    baselines = [evaluate_baseline(dataset, which, 1, EVALUATE, root) for which in ("full", "random")]
    evaluation = evaluate_synthetic(dataset, synthetic["dm"], "unpruned", 0, EVALUATE, root)
    larger = go_through(start_run(dataset, None, DISTILL.model_copy(update={"ipc": 2}), none, root), "dm")
    page = report(PipelineConfig(), dataset, scores, selection, {"bilp": [runs["dm"]]}, [*baselines, evaluation], root, None, record)
    robust = robustness({variant: [*baselines, evaluation] for variant in VARIANTS}, root)
    recipe = "published/dc/mnist-ipc1"
    artifacts = {
        "dataset": dataset,
        "dataset whitened": ingest(IngestConfig(whitening="zca"), root),
        "source": record,
        "source noisy": noisy,
        "truth": truth_uri(noisy),
        "score_trial": trials[0],
        "trial_networks": networks_uri(trials[0]),
        "score_growth": grown.uri,
        "score_summary extended": str(extended_summary(grown, SCORE)),
        "score_trial measured": score_trial(dataset, MEASURE, 0, root),
        "predictions": beside(trials[0]),
        "suspects": find_suspects(dataset, scores, {}, root, record, selection, runs["dm"]),
        "score_summary": scores,
        "score_summary measured": summarize(dataset, MEASURE, root),
        "selection": selection,
        "selection other": other,
        "expert": expert,
        "expert_buffer": buffer,
        "pretrained_network": pretrained,
        "reselect": reselect_uri(runs["dm"], 1),
        "reselect second": reselect_uri(runs["dm"], 2),
        "round": round_uri(runs["dm"], 1),
        "round of mtt": round_uri(runs["mtt"], 1),
        "round of idm": round_uri(runs["idm"], 1),
        "round_state": state_uri(halfway, 1),
        "synthetic": synthetic["dm"],
        "synthetic of mtt": synthetic["mtt"],
        "synthetic resized": resize(larger, ResizeConfig(ipc=1, rule="random"), root),
        "teacher": train_teacher(dataset, EVALUATE.teacher, EVALUATE.seed, root),
        "evaluation": evaluation,
        "evaluation of real images": baselines[1],
        "robustness": robust,
        "report": page.rpartition("/")[0],
        **divided(root),
        **study(root, record, dataset, scores, selection, runs["dm"], evaluation),
        "reproduction": publish_reproduction(recipe, PipelineConfig(recipe=recipe), [evaluation], "cpu", root),
        "search": searched(dataset, root),
        "critical": critical_shares(dataset, evaluation, root),
    }
    return World(root, artifacts, runs)


def divided(root: str) -> dict[str, str]:
    """A plan to ingest the digits in four parts, and the first of them."""
    source, home = open_source(IngestConfig()), f"{root}/datasets/digits"
    planned = publish_plan(f"{home}/{PLANS}/{'0' * 16}", "0" * 16, "digits", source.read(), 500, {})
    return {"ingest_plan": planned.artifact.uri, "ingest_part": ingest_part(IngestConfig(), planned.artifact.uri, 0)}


def searched(dataset_uri: str, root: str) -> str:
    """A search as it is published, of two candidates in one rung."""
    config = PipelineConfig.model_validate({"dataset": "digits", "keep": "search", "search": {"keep": [1.0, 0.5]}})
    found, mark = plan(config), open_dataset(dataset_uri).fingerprint
    tried = [Tried(1, 1, 20, 0.5, 0.125, 0.0625, False), Tried(1, 0, 20, 0.375, 0.0, 0.0, False)]
    return publish_search(root, key_of(found, config, mark), found, config, tried, 1, dataset_uri, mark, 1.5)


def critical_shares(dataset_uri: str, evaluation_uri: str, root: str) -> str:
    """Critical shares as they are published, of one criterion and one share."""
    dataset, options = open_dataset(dataset_uri), CriticalOptions(criteria=("random",), distillations=2, fewest=40)
    measured = planned({"dataset": "digits"}, options, np.bincount(dataset.train.labels.numpy()))
    tests = {share: compared(share, np.array([0.0, 0.25]), 0.005) for share in measured.shares}
    outcome = critical(list(tests.values()), 0.005, options.level)
    intervals, samples = dict.fromkeys((1.0, *measured.shares), (0.5, 0.125)), dict.fromkeys((1.0, *measured.shares), 700)
    rows = [Measured("random", outcome, tests, intervals, samples)]
    return publish_critical(root, key_of_shares(measured, dataset), measured, rows, dataset, [evaluation_uri])


def study(root: str, *made: Any) -> dict[str, str]:
    """A study of one block whose pipeline published what was made before, and its part."""
    record, dataset, scores, selection, run, evaluation = made
    outcome = Outcome(dataset, record, scores, selection, {"unpruned": [run]}, [evaluation])
    plan = study_plan(study_of({"name": "tiny", "settings": {"dataset": "digits"}, "arms": {"unpruned": {}}, "seeds": 1}, "study"), "study")
    progress = Progress(plan, root)
    part = progress.compute(plan.blocks[0], lambda group: outcome)
    return {"study": publish_study(progress).rpartition("/")[0], "study_part": part.uri}


def go_through(run: str, method: str) -> str:
    """Every round of a run, and its synthetic set."""
    for number in range(1, {"idc": 1}.get(method, 2) + 1):
        reselect_round(run, number)
        distill_round(run, number)
    return finish_run(run)


class Snapshot:
    """What lies below a folder, to be put back there as often as it was changed."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._states = self._files()
        self._content = {path: Path(path).read_bytes() for path in self._states}

    def restore(self) -> None:
        """Take away what is new, and write what has gone or may have changed since this was made or restored."""
        there = self._files()
        for path in there.keys() - self._content.keys():
            Path(path).unlink()
        for path, content in self._content.items():
            if there.get(path) != self._states[path]:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                Path(path).write_bytes(content)
                self._states[path] = _state(path)

    def _files(self) -> dict[str, tuple[int, int]]:
        """Every file with its state."""
        paths = (os.path.join(folder, name) for folder, _, names in os.walk(self._folder) for name in names)  # noqa: PTH118 - of strings
        return {path: _state(path) for path in paths}


def _state(path: str) -> tuple[int, int]:
    facts = os.stat(path)  # noqa: PTH116 - hundreds of files after each of hundreds of tests
    return facts.st_size, facts.st_mtime_ns


def edit(uri: str, change: Callable[[dict[str, Any]], object], name: str = MANIFEST) -> None:
    """Change the content of a JSON file of an artifact or a run, in place."""
    path = Path(uri) / name
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def state(uri: str, **facts: Any) -> None:
    """Let the manifest state other facts; an ellipsis takes one out."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["facts"] = {name: value for name, value in {**manifest["facts"], **facts}.items() if value is not ...}

    edit(uri, change)


def put(uri: str, name: str, content: bytes) -> None:
    """Replace a file of an artifact, with the checksum and size in its manifest."""
    (Path(uri) / name).write_bytes(content)
    edit(uri, lambda manifest: manifest["files"].update({name: {"sha256": digest(content), "size": len(content)}}))


def content_of(uri: str, name: str) -> bytes:
    """A file of an artifact."""
    kind = json.loads((Path(uri) / MANIFEST).read_bytes())["kind"]
    return open_artifact(uri, kind).read(name)

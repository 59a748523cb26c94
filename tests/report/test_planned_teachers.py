"""Teachers on the page: what each is called by the samples that it learned, and its own training in the plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bilp.artifacts.artifact import content_key
from bilp.artifacts.publication import publish
from bilp.config import IngestConfig, PipelineConfig
from bilp.config.arms import planned_runs, teacher_learns
from bilp.costs.data_counts import data_counts
from bilp.costs.gpu_profiles import CPU
from bilp.costs.run_plan import plan_of
from bilp.costs.speed import Speed
from bilp.data import ingest, open_dataset
from bilp.pruning.static import kept_counts
from bilp.report.collect import Sources, open_sources
from bilp.report.planned import planner
from bilp.storage import objects

ARMS = ("unpruned", "static", "random_pruning", "oracle")
EPOCHS = 7


def config(**changes: Any) -> PipelineConfig:
    evaluate = {"baselines": [], "teacher": {"epochs": EPOCHS, **changes.pop("teacher", {})}, **changes.pop("evaluate", {})}
    return PipelineConfig.model_validate(
        {"dataset": "digits", "method": "sre2l", "keep": 0.5, "arms": ARMS, "experiments": 2, "evaluate": evaluate, **changes}
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return ingest(IngestConfig(), str(tmp_path_factory.mktemp("teachers")))


def put(root: str, kind: str, key: str, parents: dict[str, str], facts: dict[str, Any]) -> str:
    """Publish an artifact of one file; its URI."""
    uri = objects.join(root, *(("runs", key, kind) if kind == "synthetic" else (f"{kind}s", key)))
    return publish(uri, kind, key, {"losses.parquet": b"none"}, config={}, parents=parents, facts=facts).uri


def sources_of(config: PipelineConfig, dataset: str, root: Path) -> Sources:
    """What a page of this pipeline rests on, as far as teachers go: their manifests and those of the sets that asked them."""
    data, runs = open_dataset(dataset), dict[str, list[str]]()
    known = {"dataset": data.fingerprint, "class_names": list(data.class_names), "shape": list(data.shape)}
    for run in planned_runs(config):
        learned = teacher_learns(config, run.chosen)
        pruned = {} if learned.entry.chooser is None else {"selection": content_key("selection", 1, learned=vars(learned))}
        facts = {**known, "network": "convnet", "accuracy": 0.5, **pruned}
        teacher = put(str(root), "teacher", content_key("teacher", 1, learned=vars(learned)), {"dataset": dataset}, facts)
        facts = {**known, "mean": list(data.mean), "std": list(data.std), "ipc": config.ipc, "method": config.method}
        key = content_key("run", 1, arm=run.arm, experiment=run.experiment)
        synthetic = put(str(root), "synthetic", key, {"dataset": dataset, "teacher": teacher}, facts)
        runs.setdefault(run.arm, []).append(synthetic.removesuffix("/synthetic"))
    return open_sources(dataset, None, None, runs, [])


def passes(config: PipelineConfig, sources: Sources) -> dict[str, int | None]:
    """By what each teacher is called; None where nothing is planned."""
    lookup, teachers = planner(config, sources.artifacts), [each for each in sources.artifacts if each.role.startswith("teacher ")]
    found = {each.stage: None if (planned := lookup(each, [each.artifact])) is None else planned.passes for each in teachers}
    assert len(found) == len(teachers), "each has a name of its own"
    return found


def total(config: PipelineConfig, names: Sequence[str]) -> int:
    """Of the units with these names, as the whole plan has them."""
    data = data_counts(config.ingest, listed=True)
    return sum(unit.passes for unit in plan_of(config, data, Speed(CPU, data), 1).stages["evaluate"] if unit.name in names)


def test_each_teacher_has_a_name_and_a_planned_training_of_its_own(dataset: str, tmp_path: Path) -> None:
    asked, counts = config(), data_counts(IngestConfig(), listed=True).train
    whole, kept = EPOCHS * int(counts.sum()), EPOCHS * int(kept_counts(0.5, counts).sum())
    found = passes(asked, sources_of(asked, dataset, tmp_path))
    assert found == {
        "Teacher of all real images": whole,
        "Teacher of the selection": kept,
        "Teacher of a random selection, experiment 1": kept,
        "Teacher of a random selection, experiment 2": kept,
        "Teacher of rightly labeled samples": whole,  # how many these are is not known beforehand
    }
    assert sum(each or 0 for each in found.values()) == total(asked, ["teacher"])


def test_a_teacher_from_a_file_is_trained_in_no_plan(dataset: str, tmp_path: Path) -> None:
    asked = config(teacher={"checksum": "0" * 64})
    assert passes(asked, sources_of(asked, dataset, tmp_path)) == {"Teacher of all real images": None}
    assert total(asked, ["teacher"]) == 0 < total(asked, ["unpruned"])


def test_a_teacher_of_evaluations_alone_is_none_of_a_run_s(dataset: str, tmp_path: Path) -> None:
    asked = config(arms=("static",), experiments=1, evaluate={"labels": "soft"})
    kept = EPOCHS * int(kept_counts(0.5, data_counts(IngestConfig(), listed=True).train).sum())
    assert passes(asked, sources_of(asked, dataset, tmp_path)) == {"Teacher of the selection": kept}
    assert total(asked, ["teacher"]) > 2 * kept - EPOCHS * 10

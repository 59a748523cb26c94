"""The whole pipeline through Prefect, on real digits: what it leaves, what it does not do twice, on disk and on S3."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from tiny_pipeline import TINY, Finished, files, outcomes, synthetic_sets

from bilp.artifacts.artifact import open_artifact
from bilp.config import PipelineConfig
from bilp.config.nested import leaves
from bilp.data import read_source
from bilp.distill import load_synthetic
from bilp.errors import ConfigError, StorageError
from bilp.evaluate import summary
from bilp.storage.objects import children, exists, join, read
from flows.distill import distill_arms
from flows.evaluate import evaluate
from flows.ingest import ingest
from flows.local.flow import flow
from flows.pipeline import pipeline
from flows.prune import prune, score_and_prune
from flows.report import report
from flows.score import score
from flows.suspects import suspects_of_run
from tasks.addresses import synthetic_set

CONFIG = PipelineConfig.model_validate(TINY)


def test_first_run_does_everything_once(finished: Finished) -> None:
    expected = ["ingest digits", "score trial 0", "score trial 1", "summarize 2 trials", "prune by loss_init"]
    expected += ["register unpruned", "register bilp"]
    for arm in ("unpruned", "bilp"):
        for number in range(1, 5):
            expected += [f"reselect {arm} round {number}/4"] if arm == "bilp" else []
            expected.append(f"distill {arm} round {number}/4")
        expected.append(f"finish {arm}")
    expected += ["evaluate baseline full", "evaluate baseline random", "evaluate unpruned 0", "evaluate bilp 0", "find suspects", "report"]
    assert finished.outcomes == dict.fromkeys(expected, "done")
    assert list(finished.outcomes) == expected


def test_the_page_and_every_artifact_are_there(finished: Finished) -> None:
    uri = finished.report
    assert read(uri).startswith(b"<!DOCTYPE html>")
    page = open_artifact(uri.rpartition("/")[0], "report")
    places = {place.split("/")[0] for place in page.manifest.parents.values()}
    assert places == {"datasets", "scores", "selections", "runs", "evaluations", "suspects"}
    rows = summary([parent for role, parent in page.parents.items() if role.startswith("evaluation ")])
    assert {row.arm: row.n for row in rows} == {"full": 2, "random": 2, "unpruned": 2, "bilp": 2}
    assert all(0 <= row.mean <= 1 for row in rows)


def test_the_page_says_given_of_what_was_given_and_of_nothing_else(finished: Finished) -> None:
    page = read(finished.report).decode()
    rows = re.findall(
        r'<th scope="row"><code>([\w.]+)</code></th><td data-label="Value">.*?</td><td data-label="From">(.*?)</td>', page, re.DOTALL
    )
    assert len(rows) > 150
    assert {path for path, origin in rows if origin == "given"} == {path for path, _ in leaves(TINY)}


def test_second_run_computes_and_writes_nothing(finished: Finished) -> None:
    root, uri = finished.root, finished.report
    before = files(root)
    with outcomes() as second:
        assert pipeline(TINY, root) == uri, "a mapping is as good as a configuration"  # type: ignore[arg-type]
    assert second == finished.again
    assert files(root) == before


@pytest.mark.slow
def test_each_stage_alone_gives_what_the_pipeline_gave(finished: Finished) -> None:
    root, uri = finished.root, finished.report
    with outcomes() as alone:
        dataset, record = ingest(CONFIG.ingest, root), read_source(CONFIG.ingest, root)
        scores = score(dataset, CONFIG.score, root)
        selection = prune(dataset, scores, CONFIG.prune, root)
        assert score_and_prune(CONFIG, dataset, root) == (scores, selection)
        runs = distill_arms(CONFIG, dataset, selection, root)
        evaluations = evaluate(dataset, runs, CONFIG.ipc, CONFIG.evaluate, root)
        suspects = flow(name="list-suspects")(suspects_of_run)(dataset, record, scores, selection, runs, root)
        assert report(CONFIG, dataset, scores, selection, runs, evaluations, root, record_uri=record, suspects_uri=suspects) == uri
    assert alone == finished.again
    images, labels = load_synthetic(synthetic_set(runs["bilp"][0]))
    assert images.shape == (10, 1, 8, 8)
    assert labels.tolist() == list(range(10))


@pytest.mark.slow
def test_another_seed_shares_the_dataset_only(copied: Finished) -> None:
    root, uri = copied.root, copied.report
    with outcomes() as other:
        assert pipeline(PipelineConfig.model_validate(TINY | {"seed": 1, "arms": ["bilp"]}), root) != uri
    assert {label for label, outcome in other.items() if outcome == "there already"} == {"ingest digits"}


@pytest.mark.slow
def test_a_lost_artifact_is_computed_again_and_nothing_else(copied: Finished) -> None:
    root, uri = copied.root, copied.report
    before = synthetic_sets(root)
    (run,) = [path for path in Path(root).glob("runs/*") if not list(path.glob("rounds/*/reselect"))][:1]
    (run / "synthetic" / "_manifest.json").unlink()
    (run / "rounds" / "0004" / "_manifest.json").unlink()
    with outcomes() as again:
        assert pipeline(CONFIG, root) == uri
    assert {label for label, outcome in again.items() if outcome == "done"} == {"distill unpruned round 4/4", "finish unpruned"}
    assert "distill unpruned round 1/4" in again
    assert "distill bilp round 1/4" not in again
    assert synthetic_sets(root) == before


@pytest.mark.slow
def test_nothing_is_scored_that_no_arm_needs(tmp_path: Path) -> None:
    root = str(tmp_path / "store")
    with outcomes() as ran:
        pipeline(PipelineConfig.model_validate(TINY | {"arms": ["unpruned"], "evaluate": {**TINY["evaluate"], "baselines": []}}), root)
    assert not [label for label in ran if label.startswith(("score", "summarize", "prune", "reselect"))]
    assert children(root) == ["datasets", "evaluations", "reports", "runs", "trainings"]


def test_random_pruning_needs_no_scores(copied: Finished) -> None:
    root = copied.root
    config = PipelineConfig.model_validate(TINY | {"prune": {"criterion": "random"}})
    with outcomes() as ran:
        scores, selection = score_and_prune(config, ingest(config.ingest, root), root)
    assert scores is None
    assert exists(join(selection, "selection.parquet"))
    assert set(ran) == {"ingest digits", "prune by random"}


def test_the_run_that_was_started_shows_a_plan_its_progress_and_its_result(finished: Finished) -> None:
    with get_client(sync_client=True) as client:
        keys = ArtifactFilterKey(any_=["plan", "progress", "result"])
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=keys))
        results = [artifact for artifact in found if artifact.key == "result" and finished.report in str(artifact.data).replace("\\", "")]
        result = min(results, key=lambda artifact: str(artifact.created))  # a run of another test found everything there
        own = {artifact.key: artifact for artifact in found if artifact.flow_run_id == result.flow_run_id}
        assert result.flow_run_id is not None and len(own) == 3
        run = client.read_flow_run(result.flow_run_id)
    rows = summary([uri for role, uri in _parents(finished).items() if role.startswith("evaluation ")])
    text = str(result.data)
    assert text.count("| ConvNet") == 0 and all(f"{100 * row.mean:.1f}\u00a0% ±\u00a0".replace(" ±", "\u00a0±") in text for row in rows)
    assert "(data:image/png;base64," in text and len(text) < 200_000
    assert "](file:" not in text and "](/reports" not in text, "a private server shows no reports"
    assert "| score\\.trials | 2 | given |" in str(own["plan"].data).replace("score.trials", "score\\.trials")
    assert (own["progress"].data, own["progress"].description) == (100.0, "all 5 stages are done")
    assert run.name.startswith("digits dm ipc 1 score.trials=2")
    assert set(run.tags) == {"dataset:digits", "method:dm", "ipc:1"}
    assert run.parent_task_run_id is None


def test_inputs_of_tasks_are_of_the_kinds_that_the_ui_can_list(finished: Finished) -> None:
    with get_client(sync_client=True) as client:
        inputs = [given for task in client.read_task_runs() for names in task.task_inputs.values() for given in names]
    assert inputs and {given.input_type for given in inputs} == {"task_run"}


def _parents(finished: Finished) -> dict[str, str]:
    return open_artifact(finished.report.rpartition("/")[0], "report").parents


def test_the_ui_shows_accuracy_and_pictures_of_each_stage(finished: Finished) -> None:
    keys = ["accuracy", "dropped-per-round", "kept-per-class", "synthetic-set"]
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=keys)))
    by_key = {key: [artifact for artifact in found if artifact.key == key] for key in keys}  # of every run in this process
    shown = {key: [str(artifact.data) for artifact in artifacts] for key, artifacts in by_key.items()}
    assert any("bilp" in text for text in shown["accuracy"])
    assert all("(data:image/png;base64," in text and len(text) < 200_000 for text in shown["synthetic-set"])
    assert all("highest score kept" in text for text in shown["kept-per-class"])
    own = [str(artifact.data) for artifact in by_key["dropped-per-round"] if finished.root in str(artifact.description)]
    assert own and all('"dropped (%)"' in text and '"round": 4' in text for text in own)
    assert all(shown.values())


def test_storage_that_cannot_be_written_is_refused_before_work_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with outcomes() as ran, pytest.raises(StorageError, match="file"):
        pipeline(CONFIG, str(tmp_path / "file" / "store"))
    assert ran == {}


@pytest.mark.parametrize("stage", ["score", "distill"])
def test_a_network_that_cannot_take_the_images_is_refused_before_anything_is_trained(tmp_path: Path, stage: str) -> None:
    config = PipelineConfig.model_validate(TINY | {stage: {**TINY[stage], "network": {"name": "video_convnet_mean"}}})
    with outcomes() as ran, pytest.raises(ConfigError, match="takes videos .* not images of 1x8x8"):
        pipeline(config, str(tmp_path))
    assert list(ran) == ["ingest digits"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distill": TINY["distill"] | {"shards": 11}, "method": "dm"}, "11 shards cannot share 10 classes"),
        ({"ipc": 60, "keep": 0.3}, "minimum_per_class = 60 .* the smallest keep that would do is 0.429"),
        pytest.param({"keep": 0.005}, "minimum_per_class = 2", marks=pytest.mark.slow),
        ({"ipc": 150, "arms": ["unpruned"]}, "needs 150 real samples"),
        pytest.param({"ipc": 150, "prune": {"per_class": False}}, "needs 150 real samples", marks=pytest.mark.slow),
    ],
)
def test_what_the_samples_do_not_suffice_for_is_refused_before_anything_is_scored(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    config = PipelineConfig.model_validate(TINY | changes)
    with outcomes() as ran, pytest.raises(ConfigError, match=message):
        pipeline(config, str(tmp_path))
    assert list(ran) == ["ingest digits"]


@pytest.mark.slow
@pytest.mark.s3
def test_on_s3_the_same_run_gives_the_same_images(finished: Finished, s3_root: str) -> None:
    root, first = finished.root, finished.outcomes
    with outcomes() as ran:
        uri = pipeline(CONFIG, s3_root)
    assert ran == dict.fromkeys(first, "done")
    assert uri.startswith(s3_root)
    assert read(uri).startswith(b"<!DOCTYPE html>")
    on_disk = synthetic_sets(root)
    for key in children(join(s3_root, "runs")):
        assert read(join(s3_root, "runs", key, "synthetic", "synthetic.safetensors")) == on_disk[key]
    with outcomes() as again:
        assert pipeline(CONFIG, s3_root) == uri
    assert again == finished.again

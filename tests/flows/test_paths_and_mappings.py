"""Public functions take paths and mappings where they take text and models: the same results are found, and nothing is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_pipeline import TINY, Finished, files

import bilp
from bilp.config import IngestConfig, PipelineConfig
from bilp.data import ingest, open_dataset
from bilp.distill import distill_round, finish_run, load_synthetic, open_run, reselect_round, start_run
from bilp.errors import BilpError, ConfigError, IncompatibleArtifact, MissingArtifact, StorageError
from bilp.evaluate import evaluate_baseline, evaluate_synthetic, summary
from bilp.exchange import ImportOptions, export_set
from bilp.experts.train_experts import train_expert
from bilp.pruning.prune import load_selection, prune
from bilp.report import report
from bilp.scoring.summary import load_summary, summarize
from bilp.scoring.trial import score_trial

pytestmark = pytest.mark.slow

CONFIG = PipelineConfig.model_validate(TINY)


def given(model: Any) -> dict[str, Any]:
    values: dict[str, Any] = model.model_dump(mode="json")
    return values


def test_every_stage_finds_its_results_by_paths_and_mappings(finished: Finished) -> None:
    root, before = Path(finished.root), files(finished.root)
    dataset = Path(ingest({"source": "digits"}, root))
    assert open_dataset(dataset).classes == 10
    trials = [score_trial(dataset, given(CONFIG.score), trial, root) for trial in range(CONFIG.score.trials)]
    scores = Path(summarize(dataset, given(CONFIG.score), root))
    assert load_summary(scores).num_rows == len(open_dataset(dataset).train.labels)
    selection = Path(prune(dataset, scores, given(CONFIG.prune), root))
    assert len(load_selection(selection)) > 0
    run = Path(start_run(dataset, selection, given(CONFIG.distill), given(CONFIG.reselect), root))
    assert open_run(run).key == run.name
    reselected, distilled, synthetic = reselect_round(run, 1), distill_round(run, 1), Path(finish_run(run))
    baseline = evaluate_baseline(dataset, "full", 1, given(CONFIG.evaluate), root)
    evaluation = evaluate_synthetic(dataset, synthetic, "bilp", 0, given(CONFIG.evaluate), root)
    assert [row.arm for row in summary([Path(baseline), Path(evaluation)])] == ["full", "bilp"]
    assert len(load_synthetic(synthetic)[1]) == len(bilp.load_distilled(run)) == 10
    found = [dataset, *trials, scores, selection, run, reselected, distilled, synthetic, baseline, evaluation]
    assert all(str(uri).startswith(finished.root) for uri in found)
    assert files(finished.root) == before, "nothing was computed again"


def test_the_page_and_an_export_go_where_a_path_says(finished: Finished, tmp_path: Path) -> None:
    dataset, run = Path(ingest({"source": "digits"}, finished.root)), next(Path(finished.root).glob("runs/*"))
    page = report(TINY, dataset, None, None, {"bilp": [run]}, [], tmp_path / "pages")
    assert Path(page).is_file()
    assert Path(page).is_relative_to(tmp_path / "pages")
    assert all(Path(file).is_file() for file in export_set(run, "folder", tmp_path / "out"))


def test_models_hold_paths_as_text(tmp_path: Path) -> None:
    assert IngestConfig(source="folder", uri=tmp_path).uri == str(tmp_path)  # type: ignore[arg-type]
    assert ImportOptions(file=tmp_path / "a.pt").file == f"{tmp_path}/a.pt"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "kind", "reason"),
    [
        (("digits", "{root}"), ConfigError, "'digits' is no IngestConfig: give IngestConfig"),
        (({"source": "digit"}, "{root}"), ConfigError, "IngestConfig: source: "),
        (({"source": "digits", "resolutoin": 3}, "{root}"), ConfigError, "resolutoin"),
        (({"source": "digits"}, 3), StorageError, "a value of type int is neither a path nor a URI"),
        (({"source": "digits"}, ""), StorageError, "an empty path names no place"),
    ],
)
def test_what_is_neither_is_refused_in_one_line(arguments: tuple[Any, Any], kind: type[BilpError], reason: str, tmp_path: Path) -> None:
    config, root = arguments
    with pytest.raises(kind, match=reason) as caught:
        ingest(config, root.format(root=tmp_path) if isinstance(root, str) else root)
    assert "\n" not in str(caught.value)


def test_settings_of_an_expert_are_mappings_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expert 7 does not exist"):
        train_expert(tmp_path, None, {"count": 2}, {"name": "mlp"}, 7, tmp_path)


@pytest.mark.parametrize("kind", ["dataset", "evaluation", "selection", "summary"])
def test_another_artifact_than_a_synthetic_set_is_named_and_nobody_is_told_to_delete_it(kind: str, finished: Finished) -> None:
    root = Path(finished.root)
    places = {"dataset": "datasets/digits/*", "evaluation": "evaluations/*", "selection": "selections/*", "summary": "scores/*/*/summary/*"}
    uri = next(path for path in root.glob(places[kind]) if (path / "_manifest.json").is_file())
    for attempt in (lambda: bilp.load_distilled(uri), lambda: export_set(uri, "folder", root / "out")):
        with pytest.raises(IncompatibleArtifact, match=r"is of kind .*, not a synthetic set: give the run that distilled one") as caught:
            attempt()
        assert "delete" not in str(caught.value)


def test_a_run_that_is_not_finished_is_told_from_nothing(finished: Finished, tmp_path: Path) -> None:
    dataset = ingest({"source": "digits"}, tmp_path)
    run = start_run(dataset, None, CONFIG.distill, {"beta": 0.0}, tmp_path)
    with pytest.raises(MissingArtifact, match="is not finished, so it has no synthetic set yet"):
        bilp.load_distilled(run)
    with pytest.raises(ConfigError, match=r"is no key: .* or a path such as"):
        bilp.load_distilled(tmp_path.name)

"""The list of suspects of digits some of whose labels are wrong: who is found, what the files hold, and what is not known."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

import bilp
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SuspectsFacts
from bilp.artifacts.run_layout import ITE_TABLE, RESELECT, reselect_uri
from bilp.artifacts.tables import ITE
from bilp.config import PruneConfig
from bilp.config.suspects import SuspectsConfig
from bilp.data.alterations.corrections_file import COLUMNS
from bilp.errors import ConfigError, MissingArtifact
from bilp.pruning.prune import load_selection, prune
from bilp.report.suspects import suspects
from bilp.scoring.predictions import beside, read_predictions
from bilp.suspects.fates import adaptive_run
from bilp.suspects.handing_out import hand_out
from bilp.suspects.stage import CORRECTIONS, FILE, KIND, LIST, PAGE, SHEET, find_suspects, has_predictions
from bilp.suspects.suspect_rows import Ranking, rank_in_class
from bilp.suspects.suspects_table import SUSPECTS

SCORE = {"trials": 1, "epochs": 4, "init_epochs": 2, "network": {"width": 8, "depth": 1}, "batch_size": 32, "learning_rate": 0.05}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bilp.Dataset:
    return bilp.ingest("digits", root=tmp_path_factory.mktemp("suspected"), label_noise={"kind": "symmetric", "share": 0.2})


@pytest.fixture(scope="module")
def found(data: bilp.Dataset) -> bilp.Suspects:
    return bilp.suspects(data, **SCORE)


@pytest.fixture(scope="module")
def facts(found: bilp.Suspects) -> SuspectsFacts:
    return open_artifact(found.uri, KIND).stated(SuspectsFacts)


def test_what_a_selection_keeps_keeps_its_label(found: bilp.Suspects, data: bilp.Dataset) -> None:
    """With --relabel, corrections decide by themselves of samples that static pruning leaves out, and of no others."""
    scores, root = open_artifact(found.uri, KIND).parents["scores"], str(data.root)
    selection = prune(data.uri, scores, PruneConfig(criterion="aum", drop="low", keep=0.85), root)
    kept = set(load_selection(selection).tolist())
    predictions = open_artifact(beside(open_artifact(scores, "score_summary").parents["trial 0"]), "predictions")
    last = read_predictions(predictions, data.opened.classes).predicted[-1]  # the one epoch of loss_converge
    decided = []
    for chosen in (None, selection):
        artifact = open_artifact(find_suspects(data.uri, scores, SuspectsConfig(relabel=0.3), root, data.record_uri, chosen), KIND)
        rows = list(csv.DictReader(io.StringIO(artifact.read(CORRECTIONS).decode())))
        numbers = found.table.set_index("path")["sample_id"]
        relabeled = {int(numbers[row["path"]]): row["new_label"] for row in rows if row["action"] == "relabel"}
        assert relabeled == {k: data.opened.class_names[last[k]] for k in relabeled if last[k] != data.opened.train.labels[k]}
        decided.append(set(relabeled))
    whole, part = decided
    assert part == whole - kept
    assert 0 < len(part) < len(whole)


def test_wrong_labels_come_first(found: bilp.Suspects, facts: SuspectsFacts) -> None:
    assert facts.errors == round(0.2 * facts.samples)
    quality = {each.score: each for each in facts.quality}
    assert quality["aum"].auroc > 0.95
    assert quality["aum"].precision_at_errors > 0.8
    assert 0.5 * facts.errors < facts.estimated_errors < 1.3 * facts.errors
    assert found.table["is_label_issue"].sum() == facts.estimated_errors == found.estimated_errors


def test_quality_is_that_of_the_table(found: bilp.Suspects, facts: SuspectsFacts, data: bilp.Dataset) -> None:
    """Against scikit-learn, from the published columns and the labels that the digits have."""
    from bilp.truth.table import open_truth

    assert data.record_uri is not None
    truth = open_truth(data.record_uri)
    assert truth is not None
    wrong = truth.wrong[found.table["sample_id"]]
    stated = {each.score: each.auroc for each in facts.quality}
    for name, column, sign in (("aum", "aum", -1), ("self_confidence", "self_confidence", -1), ("loss_init", "loss_init", 1)):
        assert roc_auc_score(wrong, sign * found.table[column].astype(float)) == pytest.approx(stated[name], abs=1e-6)


def test_the_same_list_is_found_again(found: bilp.Suspects, data: bilp.Dataset) -> None:
    manifest = Path(found.uri) / "_manifest.json"
    before = manifest.read_bytes()
    assert bilp.suspects(data, **SCORE).uri == found.uri
    assert manifest.read_bytes() == before
    assert bilp.suspects(data, by="self_confidence", **SCORE).uri != found.uri


def test_csv_is_the_table_in_the_order_of_suspicion(found: bilp.Suspects) -> None:
    artifact = open_artifact(found.uri, KIND)
    rows = list(csv.DictReader(io.StringIO(artifact.read(LIST).decode())))
    ranked = artifact.table(FILE, SUSPECTS).sort_by("rank").to_pylist()
    assert [row["sample_id"] for row in rows] == [str(row["sample_id"]) for row in ranked]
    assert float(rows[0]["aum"]) == pytest.approx(ranked[0]["aum"], rel=1e-6)
    assert rows[0]["effect"] == rows[0]["kept_by_score"] == ""
    assert rows[0]["is_label_issue"] == "true"
    assert all(ranked[k]["aum"] <= ranked[k + 1]["aum"] for k in range(len(ranked) - 1))


@pytest.mark.slow
def test_template_of_corrections_is_taken_back(found: bilp.Suspects, data: bilp.Dataset, tmp_path: Path) -> None:
    """Decided rows are applied; whoever was reviewed ranks last, is no issue, and is in no template again."""
    text = open_artifact(found.uri, KIND).read(CORRECTIONS).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert tuple(rows[0]) == COLUMNS and len(rows) >= 100 and {row["action"] for row in rows} == {""}
    predicted = found.table["predicted_label"].tolist()
    rows[0] |= {"action": "relabel", "new_label": predicted[0]}
    rows[1] |= {"action": "drop"}
    rows[2] |= {"action": "keep"}
    with (tmp_path / "corrections.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    noise = {"kind": "symmetric", "share": 0.2}
    corrected = bilp.ingest("digits", root=data.root, label_noise=noise, corrections=str(tmp_path / "corrections.csv"))
    assert len(corrected.opened.train) == len(data.opened.train) - 1
    again = bilp.suspects(corrected, **SCORE)
    table = again.table
    assert table["reviewed"].tolist() == [False] * (len(table) - 2) + [True] * 2
    assert set(table["path"][-2:]) == {rows[0]["path"], rows[2]["path"]}
    assert not table["is_label_issue"][-2:].any()
    template = list(csv.DictReader(io.StringIO(open_artifact(again.uri, KIND).read(CORRECTIONS).decode())))
    assert not {rows[0]["path"], rows[2]["path"]} & {row["path"] for row in template}
    files = again.save(tmp_path / "again", str(tmp_path / "corrections.csv"))
    following = list(csv.DictReader(io.StringIO(Path(files.corrections).read_text(encoding="utf-8-sig"))))
    assert following == rows[:3] + template
    record = bilp.ingest("digits", root=data.root, label_noise=noise, corrections=files.corrections)
    assert record.opened.fingerprint == corrected.opened.fingerprint, "the new file decides what the old one did"


def test_sheet_and_page_show_the_worst(found: bilp.Suspects) -> None:
    artifact = open_artifact(found.uri, KIND)
    with Image.open(io.BytesIO(artifact.read(SHEET))) as sheet:
        assert sheet.format == "PNG" and sheet.width > 1000 and sheet.height > 1000
    page = artifact.read(PAGE).decode()
    assert page.count("<li>") == 100
    assert found.table["path"][0] in page and found.table["path"][150] not in page
    assert "Area under the margin" in page or "area under the margin" in page


def test_notebooks_show_pictures(found: bilp.Suspects) -> None:
    assert repr(found).startswith(f"about {found.estimated_errors} of 1,438 labels are wrong, by 1 trial, from suspects/")
    assert found._repr_html_().count("<img") == 24
    assert found.quality["score"].iloc[0] == "aum"


def test_files_are_handed_out_and_corrections_are_left_alone(found: bilp.Suspects, tmp_path: Path) -> None:
    first = found.save(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {PAGE, SHEET, LIST, CORRECTIONS} and not first.kept
    for name in (LIST, CORRECTIONS):
        assert (tmp_path / name).read_bytes() == codecs.BOM_UTF8 + open_artifact(found.uri, KIND).read(name)
    assert not found.save(tmp_path).kept, "the same list again"
    (tmp_path / CORRECTIONS).write_text("edited")
    (tmp_path / LIST).write_text("old")
    second = hand_out(found.uri, tmp_path)
    assert second.kept and (tmp_path / CORRECTIONS).read_text() == "edited"
    assert Path(second.corrections).name == f"corrections-{found.uri[-16:]}.csv" and Path(second.corrections).exists()
    assert (tmp_path / LIST).read_text() != "old"


def test_trials_without_predictions_say_so(data: bilp.Dataset, found: bilp.Suspects, tmp_path: Path) -> None:
    scores = bilp.score(data, **{**SCORE, "epochs": 1, "init_epochs": 1})
    assert has_predictions(scores.uri)
    trial = f"{scores.uri.rpartition('/summary/')[0]}/trials/0000"
    (Path(beside(trial)) / "_manifest.json").unlink()
    assert not has_predictions(scores.uri)
    with pytest.raises(MissingArtifact, match="before predictions were recorded: bilp suspects records them"):
        find_suspects(data.uri, scores.uri, {}, data.root)
    herded = bilp.score(data, prune={"criterion": "herding"}, trials=1, epochs=1, network={"width": 2, "depth": 1})
    assert not has_predictions(herded.uri)
    with pytest.raises(ConfigError, match="scored by herding"):
        find_suspects(data.uri, herded.uri, {}, data.root)


def test_ranking_puts_reviewed_last_and_equals_by_number() -> None:
    order = np.array([3.0, 1.0, 1.0, -5.0])
    ranking = Ranking.by(order, order, np.array([False, False, False, True]), 4)
    assert ranking.rank.tolist() == [3, 1, 2, 4]
    assert ranking.issue.tolist() == [True, True, True, False]


def test_places_in_a_class_count_from_one() -> None:
    assert rank_in_class(np.array([5.0, 1.0, 3.0, 0.5]), np.array([1, 0, 1, 0])).tolist() == [2, 2, 1, 1]


def test_what_is_not_known_is_null(found: bilp.Suspects) -> None:
    table = open_artifact(found.uri, KIND).table(FILE, SUSPECTS)
    assert isinstance(table, pa.Table)
    unknown = {"kept_by_score", "effect", "signed_effect", "rounds_dropped", "rounds_measured"}
    assert {name for name in table.column_names if table[name].null_count} == unknown


def test_the_page_of_a_pipeline_shows_the_worst(found: bilp.Suspects, facts: SuspectsFacts, data: bilp.Dataset) -> None:
    shown = suspects(open_artifact(found.uri, KIND), data.opened)
    assert shown is not None and suspects(None, data.opened) is None
    assert [row.file for row in shown.rows] == found.table["path"][:24].tolist()
    assert (shown.estimated, shown.errors) == (f"{facts.estimated_errors:,} of 1,438", f"{facts.errors:,}")
    assert shown.quality[0].title == "Area under the margin" and shown.quality[0].auroc == f"{facts.quality[0].auroc:.3f}"
    assert {row.fate for row in shown.rows} == {"kept"}


def test_levels_of_a_run_are_told(data: bilp.Dataset) -> None:
    """Kept by score, effect of the last round, rounds: as the tables of the selection and of the reselections have them."""
    scores = bilp.score(data, **SCORE)
    kept = bilp.prune(scores, keep=0.95)
    network = {"width": 4, "depth": 1}
    settings = {"method": "dm", "ipc": 1, "iterations": 2, "rounds": 2, "batch_real": 16, "network": network}
    plain, both = (
        bilp.distill(data, selection=kept, beta=beta, reselect={"candidates_per_class": 20}, **settings).run_uri for beta in (0.0, 0.2)
    )
    assert adaptive_run({"static": [plain], "bilp": [both]}) == both and adaptive_run({"static": [plain]}) is None
    uri = find_suspects(data.uri, scores.uri, {}, data.root, data.record_uri, kept.uri, both)
    table = open_artifact(uri, KIND).table(FILE, SUSPECTS)
    assert table["kept_by_score"].to_numpy().nonzero()[0].tolist() == kept.kept.tolist()
    rounds = [open_artifact(reselect_uri(both, number), RESELECT).table(ITE_TABLE, ITE).to_pylist() for number in (1, 2)]
    expected = {row["sample_id"]: [row["ite"], 0, 0] for rows in rounds for row in rows}
    for row in (row for rows in rounds for row in rows):
        expected[row["sample_id"]][1] += 1
        expected[row["sample_id"]][2] += row["dropped"]
    told = table.select(["sample_id", "effect", "rounds_measured", "rounds_dropped"]).to_pylist()
    assert {
        row["sample_id"]: [row["effect"], row["rounds_measured"], row["rounds_dropped"]] for row in told if row["effect"] is not None
    } == {sample: [pytest.approx(values[0]), *values[1:]] for sample, values in expected.items()}
    effect = next(each for each in open_artifact(uri, KIND).stated(SuspectsFacts).quality if each.score == "effect")
    assert effect.samples == len(expected)

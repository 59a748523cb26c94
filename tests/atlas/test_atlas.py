"""Scores that are shared: published once, listed, fetched, imported, used in place of a scoring, and compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr
from tiny_world import DISTILL, RESELECT

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SelectionFacts
from bilp.atlas.entries import entries, fetch, find_entry, open_entry
from bilp.atlas.entry import ENTRY, TABLE, Entry, place_of, split
from bilp.atlas.publishing import import_list, publish_summary
from bilp.atlas.rank_agreement import SHARES, Scored, agreement, average_ranks, scored, spearman
from bilp.config import IngestConfig, NetworkConfig, PipelineConfig, PruneConfig, ScoreConfig
from bilp.config.arms import needs_scores
from bilp.data import ingest, open_dataset
from bilp.distill import start_run
from bilp.errors import BilpError, ConfigError, DamagedArtifact, DataError, IncompatibleArtifact, MissingArtifact
from bilp.pruning.prune import load_selection, prune
from bilp.results.find import find
from bilp.results.parts import lines
from bilp.results.scores_page import scores_page
from bilp.scoring.summary import load_summary, summarize
from bilp.scoring.trial import score_trial
from bilp.seeds import generator

CONFIG = ScoreConfig(trials=2, epochs=2, init_epochs=1, network=NetworkConfig(width=2, depth=1))


class Shared:
    """Digits with scores, and an atlas that has them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.atlas = folder, str(folder / "store"), str(folder / "atlas")
        self.dataset = ingest(IngestConfig(), self.root)
        for number in range(2):
            score_trial(self.dataset, CONFIG, number, self.root)
        self.scores = summarize(self.dataset, CONFIG, self.root)
        self.entry = publish_summary(self.scores, self.atlas, license="MIT", by="somebody")

    def listed(self, name: str, values: Any) -> str:
        """A JSON list."""
        (self.folder / name).write_text(json.dumps(values))
        return str(self.folder / name)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    return Shared(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def copy(shared: Shared, tmp_path: Path) -> Path:
    """The entry in an atlas of its own."""
    place = tmp_path / "atlas" / "entries" / Path(shared.entry).name
    shutil.copytree(shared.entry, place)
    return place


def drawn(name: str, count: int) -> np.ndarray:
    import torch

    return torch.randn(count, generator=generator(0, "test", name), dtype=torch.float64).numpy()


def test_an_entry_says_what_it_is_and_holds_the_summary(shared: Shared):
    opened = open_entry(shared.entry)
    entry, dataset = opened.entry, open_dataset(shared.dataset)
    assert Path(shared.entry) == Path(place_of(shared.atlas, entry.key)) and split(shared.entry) == (shared.atlas, entry.key)
    assert (entry.dataset.fingerprint, entry.dataset.samples) == (dataset.fingerprint, len(dataset.train))
    assert (entry.license, entry.by, entry.settings["trials"]) == ("MIT", "somebody", 2)
    summary, table = load_summary(shared.scores), opened.table()
    for column in entry.criteria:
        assert table[column.name].equals(summary[column.name])
    assert {column.name: column.drop for column in entry.criteria}["aum"] == "low"
    assert table["loss_init_std"].equals(summary["loss_init_std"])
    assert pq.read_table(Path(shared.entry) / TABLE).num_rows == 1438


def test_publishing_again_changes_nothing_whoever_does(shared: Shared):
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path(shared.atlas).rglob("*") if path.is_file()}
    assert publish_summary(shared.scores, shared.atlas, license="MIT", by="somebody else") == shared.entry
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path(shared.atlas).rglob("*") if path.is_file()} == before


def test_what_an_interrupted_publication_left_is_completed(shared: Shared, tmp_path: Path):
    place = Path(place_of(str(tmp_path), Path(shared.entry).name))
    place.mkdir(parents=True)
    shutil.copy(Path(shared.entry) / TABLE, place)
    found, wrong = entries(str(tmp_path))
    assert found == [] and "there is no entry" in wrong[0].reason
    assert publish_summary(shared.scores, str(tmp_path), license="MIT") == str(place)
    assert len(entries(str(tmp_path))[0]) == 1


def test_a_table_of_somebody_else_in_its_place_is_refused(shared: Shared, tmp_path: Path):
    place = Path(place_of(str(tmp_path), Path(shared.entry).name))
    place.mkdir(parents=True)
    (place / TABLE).write_bytes(b"x")
    with pytest.raises(DamagedArtifact, match="holds something else"):
        publish_summary(shared.scores, str(tmp_path), license="MIT")


def test_a_copy_is_the_same_entry(shared: Shared, tmp_path: Path):
    uri = fetch(find_entry(shared.atlas, Path(shared.entry).name[:6]), str(tmp_path))
    assert uri == place_of(str(tmp_path), Path(shared.entry).name)
    for name in (ENTRY, TABLE):
        assert (Path(uri) / name).read_bytes() == (Path(shared.entry) / name).read_bytes()
    with pytest.raises(MissingArtifact, match="no entry of"):
        find_entry(shared.atlas, "zz")


def test_an_atlas_lies_in_a_folder_or_a_bucket(shared: Shared, root: str, tmp_path: Path):
    uri = publish_summary(shared.scores, root, license="MIT")
    assert uri == publish_summary(shared.scores, root, license="MIT") == place_of(root, Path(shared.entry).name)
    found, wrong = entries(root)
    assert [opened.uri for opened in found] == [uri] and wrong == []
    assert prune(shared.dataset, None, PruneConfig(scores=root), shared.root) == prune(
        shared.dataset, None, PruneConfig(scores=shared.entry), shared.root
    )
    copied = fetch(found[0], str(tmp_path / "copy"))
    assert (Path(copied) / TABLE).read_bytes() == (Path(shared.entry) / TABLE).read_bytes()


@pytest.mark.parametrize("criterion", ["loss_init", "aum"])
def test_selections_are_those_of_ones_own_scores(shared: Shared, criterion: str):
    own = prune(shared.dataset, shared.scores, PruneConfig(criterion=criterion), shared.root)
    for place in (shared.entry, shared.atlas):
        config = PruneConfig(criterion=criterion, scores=place)
        assert not needs_scores(config)
        uri = prune(shared.dataset, None, config, shared.root)
        assert load_selection(uri).equal(load_selection(own)) and uri != own
    facts = open_artifact(uri, "selection").stated(SelectionFacts)
    opened = open_entry(shared.entry).entry
    assert facts.atlas is not None and (facts.atlas.entry, facts.atlas.table) == (opened.key, opened.table.sha256)


def test_a_run_says_whose_scores_it_was_made_by(shared: Shared):
    told = {}
    for name, scores, config in (("own", shared.scores, PruneConfig()), ("atlas", None, PruneConfig(scores=shared.entry))):
        selection = prune(shared.dataset, scores, config, shared.root)
        run = start_run(shared.dataset, selection, DISTILL, RESELECT, shared.root)
        told[name] = [line.split() for line in lines(find(run, shared.root))]
    key = Path(shared.entry).name
    assert [line[:6] for line in told["atlas"] if line[:1] == ["scores"]] == [["scores", "of", "the", "entry", key, "of"]]
    assert [line for line in told["own"] if line[:1] == ["scores"]] == []


def test_other_scores_ask_for_another_selection(shared: Shared, tmp_path: Path):
    values = drawn("list", 1438).tolist()
    one, other = (
        import_list(shared.listed(f"{name}.json", numbers), shared.dataset, str(tmp_path), "loss_init")
        for name, numbers in (("one", values), ("other", values[::-1]))
    )
    keys = {prune(shared.dataset, None, PruneConfig(scores=place), shared.root) for place in (shared.entry, one, other)}
    assert len(keys) == 3
    with pytest.raises(IncompatibleArtifact, match="has 2 entries for digits .* give the URI of one"):
        prune(shared.dataset, None, PruneConfig(scores=str(tmp_path)), shared.root)


def test_scores_that_do_not_fit_are_refused_in_one_line(shared: Shared):
    other = ingest(IngestConfig(test_fraction=0.3), shared.root)
    for place in (shared.entry, shared.atlas):
        with pytest.raises(IncompatibleArtifact, match=r"^prune.scores: [^\n]*$"):
            prune(other, None, PruneConfig(scores=place), shared.root)
    with pytest.raises(IncompatibleArtifact, match="has no scores by monte_carlo, only by loss_init"):
        prune(shared.dataset, None, PruneConfig(criterion="monte_carlo", scores=shared.entry), shared.root)
    with pytest.raises(ValueError, match="criterion random ranks by no scores"):
        PruneConfig(criterion="random", scores=shared.entry)
    with pytest.raises(MissingArtifact, match="there is no atlas at"):
        prune(shared.dataset, None, PruneConfig(scores=f"{shared.folder}/nothing"), shared.root)
    assert PipelineConfig.model_validate({"prune": {"scores": shared.entry}}).prune.scores == shared.entry


def test_published_lists_are_recognized_by_their_names(shared: Shared, tmp_path: Path):
    values = drawn("published", 1438)
    uri = import_list(shared.listed("MNIST_MonteCarlo.json", values.tolist()), shared.dataset, str(tmp_path), license="MIT")
    entry = open_entry(uri).entry
    assert [(column.name, column.drop, column.spread) for column in entry.criteria] == [("monte_carlo", "low", False)]
    assert "MNIST_MonteCarlo.json published with BiLP's preview code" in entry.origin
    np.testing.assert_array_equal(open_entry(uri).table()["monte_carlo"].to_numpy(), values.astype(np.float32))
    with pytest.raises(ConfigError, match="what does mine.json rank by"):
        import_list(shared.listed("mine.json", values.tolist()), shared.dataset, str(tmp_path))
    with pytest.raises(DataError, match="has 3 scores, but the train split has 1438"):
        import_list(shared.listed("mine.json", [1, 2, 3]), shared.dataset, str(tmp_path), "loss_init")


def damaged(**changes: Any) -> Any:
    """A change of the entry's file, with the name that fits it."""

    def change(place: Path) -> Path:
        content = json.loads((place / ENTRY).read_bytes())
        for path, value in changes.items():
            inner, names = content, path.split("__")
            for name in names[:-1]:
                inner = inner[name]
            inner[names[-1]] = value
        return rewritten(place, content)

    return change


def rewritten(place: Path, content: dict[str, Any]) -> Path:
    """The entry with this content under the key that is right for it, if there is one."""
    (place / ENTRY).write_text(json.dumps(content))
    try:
        key = Entry.model_validate_json(json.dumps(content), strict=True).key
    except ValueError:
        return place
    return place.rename(place.with_name(key))


HOSTILE = {
    "another name": (lambda place: place.rename(place.with_name("0" * 32)), "is another entry than its name says"),
    "a way": (damaged(criteria=[{"name": "../../x", "drop": "high", "spread": False}]), "criteria.0.name"),
    "the column of labels": (damaged(criteria=[{"name": "label", "drop": "high", "spread": False}] * 2), "different criteria"),
    "a huge table": (damaged(table__size=2**40), "table.size"),
    "more images than a table holds": (damaged(dataset__images_per_class=[2**40] * 10), "does not hold scores"),
    "a smaller table": (damaged(table__size=10), "at most 10 are read"),
    "another checksum": (damaged(table__sha256="0" * 64), "is not the table that its entry names"),
    "other columns": (damaged(criteria=[{"name": "loss_init", "drop": "high", "spread": False}]), "another schema"),
    "other counts": (damaged(dataset__images_per_class=[143] * 9 + [151]), "other numbers of images of each class"),
    "no JSON": (lambda place: (place / ENTRY).write_text("{") and place, "is no entry of an atlas"),
    "unknown": (damaged(program="rm"), "this version knows nothing of that name"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_entry_is_refused_with_the_reason(copy: Path, name: str):
    change, reason = HOSTILE[name]
    place = change(copy)
    with pytest.raises(BilpError, match=reason):
        open_entry(str(place)).table()


@pytest.mark.parametrize(("column", "value"), [("label", 10), ("sample_id", 7), ("loss_init", float("inf"))])
def test_rows_are_checked(shared: Shared, copy: Path, column: str, value: float):
    from bilp.storage.verification import digest

    table = pq.read_table(copy / TABLE)
    values = table[column].to_numpy().copy()
    values[3] = value
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, table.schema.field(column), pa.array(values, table.schema.field(column).type)), copy / TABLE)
    data = (copy / TABLE).read_bytes()
    moved = damaged(table={"sha256": digest(data), "size": len(data)})(copy)
    with pytest.raises(DamagedArtifact, match=f"{column} of row 3|numbers of images"):
        open_entry(str(moved)).table()


def test_names_in_a_list_and_on_a_page_are_text(copy: Path, capsys: pytest.CaptureFixture[str]):
    from flows.commands.atlas import main

    place = damaged(title="<script>alert(1)</script>\u001b[2J\nx", dataset__name="\u202egnp")(copy)
    (place.parent / "..hidden").mkdir()
    main(["list", str(place.parent.parent)])
    printed = capsys.readouterr().out
    assert "\u001b" not in printed and "\u202e" not in printed and "not listed" in printed
    assert len(printed.splitlines()) == 3
    page = scores_page(agreement(*[scored(open_entry(str(place)), name) for name in ("loss_init", "aum")])).decode()
    assert "<script" not in page and "&lt;script&gt;" in page and "\u001b" not in page


@pytest.mark.parametrize("rounded", [None, 0])
def test_rank_correlation_is_that_of_definition(rounded: int | None):
    one, other = drawn("one", 50), drawn("other", 50) + drawn("one", 50)
    if rounded is not None:
        one, other = one.round(rounded), other.round(rounded)
    assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert average_ranks(one).tolist() == [(np.sum(one < value) + np.sum(one <= value) + 1) / 2 for value in one]
    assert np.isnan(spearman(one, np.zeros(50)))


def test_agreement_against_a_restatement():
    labels = np.arange(90) % 3
    made = [
        Scored(name, name, drop, ("a", "b", "c"), "f" * 16, labels, values)
        for name, drop, values in (("first", "high", drawn("a", 90).round(1)), ("second", "low", -drawn("a", 90) + drawn("b", 90)))
    ]
    found = agreement(made[0], made[1])
    for share, overlap in zip(SHARES, found.overlap, strict=True):
        kept = []
        for each in made:
            sign = 1 if each.drop == "high" else -1
            order = sorted(range(90), key=lambda i, each=each, sign=sign: (sign * each.scores[i], sign * i))
            kept.append({i for label in range(3) for i in [i for i in order if labels[i] == label][: round(30 * share)]})
        assert overlap == pytest.approx(len(kept[0] & kept[1]) / len(kept[0]))
    assert found.by_chance == pytest.approx(SHARES)
    assert found.within == pytest.approx(
        np.mean([spearmanr(made[0].scores[labels == c], made[1].scores[labels == c])[0] for c in range(3)])
    )
    with pytest.raises(IncompatibleArtifact, match="other labels"):
        agreement(made[0], Scored("x", "x", "high", ("a", "b", "c"), "f" * 16, labels[::-1].copy(), made[0].scores))

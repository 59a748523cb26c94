"""What is told of a storage: reports, distillations without one, and what cannot be read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_once import made_once
from small_pipeline import NETWORK, run_pipeline, small_config

import bilp
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.report_places import KIND
from bilp.artifacts.run_layout import RECORD
from bilp.artifacts.tables import REPORTED
from bilp.config.changed import changed, leaves_of
from bilp.errors import ConfigError, MissingArtifact
from bilp.evaluate import summary
from bilp.results import cells, compare, index_page
from bilp.results.choosing import ORDERS, chosen
from bilp.results.find import find
from bilp.results.index_page import publish_index
from bilp.results.result import FINISHED, Result
from bilp.results.stored import result_at, results

TINY = {
    "score": {"trials": 1, "epochs": 1, "init_epochs": 1, "network": NETWORK},
    "distill": {"iterations": 2, "rounds": 1, "batch_real": 8, "network": NETWORK},
    "evaluate": {"networks": [NETWORK], "seeds": 2, "epochs": 1, "full_epochs": 1, "baselines": ["random"]},
}


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with two finished pipelines of different `keep`, and a distillation of a third one."""

    def make(root: Path) -> Path:
        for keep in (0.7, 0.5):
            run_pipeline(small_config(keep=keep, **TINY), str(root)).page()
        run_pipeline(small_config(keep=0.9, arms=("static",), **TINY), str(root))
        return root

    return made_once(tmp_path_factory, "two-reports", Path, make)


@pytest.fixture
def storage(made: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture(scope="module")
def listed(made: Path) -> Iterator[list[Result]]:
    yield results(made)


def reports(found: list[Result]) -> list[Result]:
    return [result for result in found if result.kind == KIND]


def test_reports_and_what_no_report_shows_are_listed(listed: list[Result]) -> None:
    assert [(result.kind, result.status) for result in listed] == [("report", FINISHED), ("report", FINISHED), ("run", "distilled")]
    assert {cells.subject(result) for result in listed} == {"digits dm ipc 1"}
    assert sorted(result.changed.get("keep", 0.8) for result in reports(listed)) == [0.5, 0.7]


def test_accuracies_are_those_of_the_evaluations(listed: list[Result]) -> None:
    for result in reports(listed):
        parents = open_artifact(result.uri, KIND).parents
        rows = summary([uri for role, uri in parents.items() if role.startswith("evaluation ")])
        told = {(each.arm, each.network): (each.accuracy.mean, each.accuracy.half_width95, each.accuracy.n) for each in result.results}
        assert told == {(row.arm, row.network): (row.mean, row.half_width95, row.n) for row in rows}
        assert result.main is not None and result.main.arm == "bilp" and result.main.difference is not None


def test_a_page_that_states_nothing_is_read_from_its_evaluations(storage: Path) -> None:
    """As those are that were published before pages stated their accuracies."""
    before = results(storage)
    for manifest in storage.glob(f"reports/*/{MANIFEST}"):
        content = json.loads(manifest.read_bytes())
        content["facts"] = {}
        manifest.write_text(json.dumps(content))
    after = results(storage)
    for told, read in zip(before, after, strict=True):
        assert (told.key, told.results, told.size) == (read.key, read.results, read.size)


def test_several_pages_of_the_same_count_once(storage: Path) -> None:
    newest = reports(results(storage))[0]
    page = small_config(keep=newest.config["keep"], **TINY)
    run_pipeline(page, str(storage)).page(origins={"keep": "another reason"})
    assert len(list(storage.glob("reports/*"))) == 3
    assert len(reports(results(storage))) == 2


def test_what_is_not_whole_is_a_row_that_says_so(storage: Path) -> None:
    first, second = sorted(storage.glob("reports/*"))
    (first / MANIFEST).unlink()
    content = json.loads((second / MANIFEST).read_bytes())
    (second / MANIFEST).write_text(json.dumps(content | {"later": 1, "provenance": {"bilp": "99.0.0"}}))
    next(storage.glob("runs/*")).joinpath(RECORD).write_bytes(b"{}")
    found = {result.key: result for result in results(storage)}
    assert (found[first.name].status, found[second.name].status) == ("not whole", "of a newer bilp")
    assert "install bilp 99.0.0" in found[second.name].problem and "damaged" in {result.status for result in found.values()}
    assert all("\n" not in result.problem for result in found.values())


def test_a_distillation_says_how_far_it_has_come(storage: Path) -> None:
    run = next(result for result in results(storage) if result.kind == "run")
    shutil.rmtree(Path(run.uri) / "synthetic")
    assert result_at(find(run.key, storage)).status == "round 1 of 1"
    shutil.rmtree(Path(run.uri) / "rounds")
    assert result_at(find(run.key, storage)).status == "registered"


def test_a_place_where_nothing_lies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match="nothing lies at .*BILP_STORAGE"):
        results(tmp_path / "nowhere")


def test_changed_settings_lead_to_the_same_configuration(listed: list[Result]) -> None:
    """Whatever is not told follows from data set, method and images per class."""
    for result in reports(listed):
        told = changed(result.config)
        whole = dict(leaves_of(result.config))
        assert all(whole[path] == value for path, value in told.items())
        assert "score.seed" not in told and "prune.keep" not in told
        assert {"distill.iterations", "evaluate.seeds", "beta"} <= told.keys()


@pytest.mark.parametrize("order", ORDERS)
def test_results_are_sorted(listed: list[Result], order: str) -> None:
    value, largest_first = ORDERS[order]
    values = [value(result) for result in chosen(listed, sort=order)]
    assert values == sorted(values, reverse=largest_first)


def test_results_are_filtered(listed: list[Result]) -> None:
    assert chosen(listed, dataset="digits", method="dm") == chosen(listed)
    assert chosen(listed, dataset="cifar10") == chosen(listed, method="dc") == []


def test_the_frame_has_a_row_for_each(made: Path, listed: list[Result]) -> None:
    frame = bilp.runs(made)
    assert list(frame.index) == [result.key for result in listed]
    best = frame[frame["dataset"] == "digits"].groupby("keep")["accuracy bilp"].max()
    assert sorted(best.index) == [0.5, 0.7]
    assert all(best[result.config["keep"]] == result.main.accuracy.mean for result in reports(listed) if result.main)


def test_tables_of_all_reports_are_one_table(made: Path, listed: list[Result]) -> None:
    """'Best keep for digits' as somebody asks it who knows nothing of manifests."""
    rows = pa.concat_tables(pq.read_table(path) for path in made.glob("reports/*/accuracy.parquet")).to_pandas()
    assert [pq.read_schema(path).remove_metadata() for path in made.glob("reports/*/accuracy.parquet")] == [REPORTED, REPORTED]
    means = rows[(rows["dataset"] == "digits") & (rows["arm"] == "bilp")].groupby("keep")["accuracy"].mean()
    told = {result.config["keep"]: result.main.accuracy.mean for result in reports(listed) if result.main}
    assert means.to_dict() == pytest.approx(told)
    assert set(rows["run"]) == {result.key for result in reports(listed)}
    assert all((made / place / MANIFEST).is_file() for place in set(rows["scores"]))
    assert json.loads(rows["changed"].iloc[0])["distill.iterations"] == 2


def test_what_differs_is_compared(listed: list[Result]) -> None:
    two = reports(listed)
    assert [row.path for row in compare.differing_settings(two)] == ["keep", "prune.keep"]
    rows = compare.accuracies(two)
    assert [row.arm for row in rows] == ["random", "unpruned", "bilp"]
    assert all(each in result.results for row in rows for each, result in zip(row.results, two, strict=True))
    page = compare.comparison_page(two, {two[0].uri: "a/<b>.html"}).decode()
    assert "a/&lt;b&gt;.html" in page and "<script" not in page and "http://" not in page.replace("http://www.w3.org", "")


def test_one_result_is_not_compared_with_itself(listed: list[Result]) -> None:
    for wrong in (reports(listed)[:1], [reports(listed)[0]] * 2):
        with pytest.raises(ConfigError, match="two different reports"):
            compare.require_several(wrong)


def test_the_index_leads_to_every_report_and_is_no_artifact(storage: Path) -> None:
    uri = publish_index(storage)
    page = Path(uri).read_text(encoding="utf-8")
    keys = {path.name for path in storage.glob("reports/*") if path.is_dir()}
    assert uri == f"{storage}/reports/index.html"
    assert all(f'href="{key}/report.html"' in page and (storage / "reports" / key / "report.html").is_file() for key in keys)
    assert {result.key for result in reports(results(storage))} == keys
    assert publish_index(storage) == uri and Path(uri).read_text(encoding="utf-8") == page


def test_a_report_that_comes_while_the_index_is_written_is_in_it(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late = sorted(storage.glob("reports/*"))[0]
    aside = storage / "aside"
    late.rename(aside)
    real = index_page.results

    def slow(root: str) -> list[Result]:
        found = real(root)
        if aside.exists():
            aside.rename(late)
        return found

    monkeypatch.setattr(index_page, "results", slow)
    assert late.name in Path(publish_index(storage)).read_text(encoding="utf-8")


def test_names_from_outside_are_text_on_the_pages(listed: list[Result]) -> None:
    odd = [Result(**{**vars_of(result), "name": "<script>a\u202e"}) for result in reports(listed)]
    for page in (index_page.index_page(odd), compare.comparison_page(odd, {})):
        assert b"<script" not in page and b"&lt;script&gt;a\\u202e" in page


def vars_of(result: Result) -> dict[str, object]:
    return {name: getattr(result, name) for name in Result.__dataclass_fields__}

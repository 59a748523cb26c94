"""Tables and pages about results that were read before: no storage is needed for these."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bilp.artifacts.artifact import plain
from bilp.config import PipelineConfig
from bilp.config.changed import changed
from bilp.errors import ConfigError
from bilp.evaluate.metrics import Difference
from bilp.report.heading import title
from bilp.report.outcome import ArmResult, of_facts, stated
from bilp.results import cells, compare, index_page
from bilp.results.choosing import ORDERS, chosen
from bilp.results.result import FINISHED, Result
from bilp.storage.trace import ABSENT, FOLDER, tracing
from flows.commands import compare as compare_command
from flows.commands import ls


def result(key: str, accuracy: float, **given: object) -> Result:
    """A report of these dials."""
    config = plain(PipelineConfig.model_validate({"dataset": "digits", **given}))
    arms = (
        ArmResult("unpruned", "convnet", Difference(0.5, math.inf, 1), None),
        ArmResult("bilp", "convnet", Difference(accuracy, 0.1, 3), Difference(accuracy - 0.5, 0.05, 3)),
    )
    return Result("report", key, f"/a/reports/{key}", FINISHED, "2026-01-02T03:04:05+00:00", "digits", config, arms, size=1234)


TITLE = "Digits"
ONE, OTHER = result("ab" * 8, 0.75), result("ac" * 8, 0.25, keep=0.5, method="dc")


def test_what_is_changed_is_what_does_not_follow() -> None:
    assert ONE.changed == {}
    assert OTHER.changed == {"keep": 0.5}
    assert changed(plain(PipelineConfig.model_validate({"dataset": "digits", "evaluate": {"seeds": 7}, "seed": 3}))) == {
        "seed": 3,
        "evaluate.seeds": 7,
    }


def test_settings_of_a_package_that_is_gone_are_told_by_the_dials() -> None:
    config = {**ONE.config, "method": {"name": "x", "package": "y", "version": "1"}, "seed": 9}
    assert changed(config)["seed"] == 9
    assert Result("report", "k", "/a/reports/k", FINISHED, config=config).method == "x"


def test_cells_are_as_on_the_page() -> None:
    assert (cells.accuracy(ONE.main), cells.difference(ONE.main)) == ("75.0\u00a0%\u00a0±\u00a010.0", "+25.0\u00a0±\u00a05.0 points")
    assert (cells.subject(OTHER), cells.when(OTHER), cells.size(OTHER)) == ("digits dc ipc 1", "2026-01-02 03:04", "1.2 kB")
    assert cells.key_digits([ONE, OTHER]) == 8 and cells.key_digits([result("ab" * 4 + "0" * 8, 0), result("ab" * 4 + "1" * 8, 0)]) == 9


def test_nobody_takes_a_run_on_data_that_were_changed_for_one_on_clean_data() -> None:
    changes = {
        "label_noise": {"kind": "symmetric", "share": 0.2},
        "long_tail": {"imbalance": 10},
        "duplicates_added": {"share": 0.05},
    }
    told = "20 % symmetric label noise, a long tail of 10 to 1, 5 % of the images added again"
    config = PipelineConfig.model_validate({"dataset": "digits", "ingest": changes})
    noisy = Result("report", "k", "/a/reports/k", FINISHED, name="digits", config=plain(config), scores_version=3)
    assert cells.subject(noisy) == f"digits dm ipc 1 ({told}, scores of version 3)"
    assert cells.as_json(noisy)["on_purpose"].replace("\u00a0", " ") == told and cells.as_json(ONE)["on_purpose"] is None
    assert title("digits", config).replace("\u00a0", " ").startswith(f"{TITLE} with {told}, ")
    assert " with " not in title("digits", PipelineConfig.model_validate({"dataset": "digits"}))
    file = PipelineConfig.model_validate({"dataset": "digits", "ingest": {"label_noise": {"kind": "file", "file": "labels.csv"}}})
    assert title("digits", file).startswith(f"{TITLE} with file label noise, ")


def test_facts_give_the_results_back() -> None:
    from bilp.artifacts.facts import ReportFacts

    told = ReportFacts.model_validate_json(json.dumps({"accuracies": stated(ONE.results)}))
    assert told.accuracies is not None and of_facts(told.accuracies) == ONE.results


@pytest.mark.parametrize("order", ORDERS)
def test_results_are_sorted_and_filtered(order: str) -> None:
    value, largest_first = ORDERS[order]
    values = [value(each) for each in chosen([ONE, OTHER], sort=order)]
    assert values == sorted(values, reverse=largest_first)
    assert chosen([ONE, OTHER], method="dc") == [OTHER] and chosen([ONE, OTHER], dataset="mnist") == []


def test_two_results_are_compared() -> None:
    assert [(row.path, row.values) for row in compare.differing_settings([ONE, OTHER])][:2] == [
        ("method", ("dm", "dc")),
        ("keep", ("0.8", "0.5")),
    ]
    assert [(row.title, [each and each.accuracy.mean for each in row.results]) for row in compare.accuracies([ONE, OTHER])] == [
        ("Unpruned", [0.5, 0.5]),
        ("BiLP", [0.75, 0.25]),
    ]
    page = compare.comparison_page([ONE, OTHER], {ONE.uri: 'a"b.html'}).decode()
    assert "75.0\u00a0%" in page and 'href="a&#34;b.html"' in page and "src=" not in page and "<script" not in page
    with pytest.raises(ConfigError, match="two different reports"):
        compare.require_several([ONE, ONE])


def test_settings_have_their_present_names() -> None:
    before = result("ae" * 8, 0.5, evaluate={"optimiser": "adamw"}, ingest={"colour": "grey"})
    assert {"evaluate.optimizer": "adamw", "ingest.color": "gray"}.items() <= before.settings.items()
    assert not any("colour" in path or "optimiser" in path for each in (before.settings, before.changed) for path in each)
    stated = Result(
        **{name: getattr(before, name) for name in Result.__dataclass_fields__} | {"stated": {"ingest.colour": "grey", "keep": 0.5}}
    )
    assert stated.changed == {"ingest.color": "gray", "keep": 0.5}
    rows = {row.path: row.values for row in compare.differing_settings([ONE, before])}
    assert rows["evaluate.optimizer"] == ("sgd", "adamw") and "ingest.colour" not in rows


def test_the_index_puts_the_best_first_and_shows_what_varies() -> None:
    assert index_page.varying([ONE, OTHER]) == ["keep"] and index_page.varying([OTHER, OTHER]) == []
    page = index_page.index_page([OTHER, ONE]).decode()
    assert page.index(f'href="{ONE.key}/report.html"') < page.index(f'href="{OTHER.key}/report.html"')
    assert "<td>keep 0.5</td>" in page and index_page.index_page([]).decode().count("There is no report yet.") == 1


def test_text_from_outside_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    fields = {name: getattr(ONE, name) for name in Result.__dataclass_fields__} | {"name": "<script>\x1b[31m"}
    odd = Result(**fields)
    for page in (index_page.index_page([odd]), compare.comparison_page([odd, OTHER], {})):
        assert b"<script" not in page and b"\x1b" not in page
    ls.print_table([odd, OTHER])
    compare_command.print_comparison([odd, OTHER])
    out = capsys.readouterr().out
    assert "\x1b" not in out and out.count("<script>\\x1b[31m") == 3


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_list_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    long = result("ad" * 8, 0.5, evaluate={"seeds": 9, "epochs": 11, "batch_size": 13}, distill={"iterations": 17, "batch_real": 19})
    ls.print_table([ONE, OTHER, long])
    lines = capsys.readouterr().out.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    assert len(lines) == 4 and max(map(len, lines)) <= width
    assert "keep 0.5" in lines[2] and "50.0\u00a0%\u00a0±\u00a010.0" in lines[3] and ("points" in lines[2]) == (width >= 76)


def test_a_trace_tells_of_every_file_as_it_was(tmp_path: Path) -> None:
    from bilp.storage import objects

    there, changed_later = tmp_path / "a", tmp_path / "b"
    there.write_bytes(b"1")
    changed_later.write_bytes(b"2")
    with tracing() as trace:
        objects.read(str(there))
        objects.exists(str(tmp_path / "none"))
        objects.exists(str(tmp_path / "new"))
        objects.create(str(tmp_path / "new" / "c"), b"3")
        objects.sizes(str(tmp_path), ["b"])
    objects.read(str(tmp_path / "new" / "c"))
    found = trace.settled()
    assert found is not None
    names = {Path(path).name: state for path, state in found.items()}
    assert names.keys() == {"a", "b", "c", "none", "new", tmp_path.name} and names["none"] == ABSENT and names["new"] == FOLDER
    changed_later.write_bytes(b"4")
    assert trace.settled() is None

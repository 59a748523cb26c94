"""The commands about results: what they print, what they refuse, and what they do not import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from import_graph import REPOSITORY
from test_result_tables import result

from bilp.artifacts import parquet
from bilp.artifacts.publication import publish
from bilp.artifacts.report_places import COMPARISON, FILE
from bilp.artifacts.served_reports import places
from bilp.artifacts.tables import REPORTED
from bilp.evaluate.metrics import Difference
from bilp.maintenance.inventory import take_inventory
from bilp.report.outcome import ArmResult, stated
from bilp.results.side_by_side import compare_reports, written_about
from bilp.results.stored import results
from bilp.storage import objects
from flows.commands import compare, ls, show
from flows.commands import open as open_command

LIGHT = ("ls", "show", "compare", "open", "run")


@pytest.fixture(params=["local", pytest.param("s3", marks=(pytest.mark.s3, pytest.mark.slow))])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two published reports on each kind of storage."""
    root: str = str(tmp_path / "store") if request.param == "local" else request.getfixturevalue("s3_root")
    empty = pa.table({field.name: pa.array([], field.type) for field in REPORTED})
    for key, keep in (("ab" * 8, 0.8), ("ac" * 8, 0.5)):
        told = result(key, keep, keep=keep)
        arms = (ArmResult("unpruned", "mlp", Difference(0.5, 0.1, 3), None),)
        files = {"report.html": b"<p>page", "accuracy.parquet": parquet.encode(empty, REPORTED, {})}
        facts = {"name": "digits", "accuracies": stated(arms), "size": 1, "changed": told.changed}
        publish(f"{root}/reports/{key}", "report", key, files, config=dict(told.config), parents={}, facts=facts)
    monkeypatch.setenv("BILP_STORAGE", root)
    return root


def test_results_are_listed_as_text_json_and_page(storage: str, capsys: pytest.CaptureFixture[str]) -> None:
    ls.main(["--sort", "key"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["key", "abababab", "acacacac"] and "keep 0.5" in lines[2]
    ls.main(["--json", "--dataset", "digits", "--method", "dm"])
    told = json.loads(capsys.readouterr().out)
    assert {each["key"]: each["changed"] for each in told} == {"ab" * 8: {}, "ac" * 8: {"keep": 0.5}}
    assert told[0]["results"][0] | {"arm": "unpruned"} == told[0]["results"][0] and told[0]["results"][0]["accuracy"] == 0.5
    ls.main(["--dataset", "nothing"])
    assert "nothing to list" in capsys.readouterr().out
    ls.main(["--page"])
    assert capsys.readouterr().out == f"page: {storage}/reports/index.html\n"
    assert len(results(storage)) == 2


def test_something_is_shown(storage: str, capsys: pytest.CaptureFixture[str]) -> None:
    show.main(["ac"])
    out = capsys.readouterr().out
    assert f"report {'ac' * 8}" in out and "keep 0.5" in out and "report.html" in out
    show.main(["ab", "--json"])
    assert json.loads(capsys.readouterr().out)["config"]["keep"] == 0.8


def test_reports_are_compared_on_a_page(storage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare.main(["ab", "ac", "--out", str(tmp_path / "page.html")])
    out = capsys.readouterr().out
    assert "prune.keep" in out and "50.0 %" in out and out.endswith(f"page: {tmp_path}/page.html\n")
    assert "Settings that differ" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_comparison_lies_beside_its_reports_and_leads_to_them(storage: str, capsys: pytest.CaptureFixture[str]) -> None:
    compare.main(["ab", "ac"])
    page = capsys.readouterr().out.splitlines()[-1].removeprefix("page: ")
    place = page.removeprefix(f"{storage}/")
    assert COMPARISON.fullmatch(place)
    linked = set(places(objects.read(page).decode(), place.rpartition("/")[0]))
    assert linked == {f"reports/{key * 8}/{FILE}" for key in ("ab", "ac")}
    uris = [f"{storage}/reports/{key * 8}/{FILE}" for key in ("ab", "ac")]
    assert written_about(uris) == compare_reports([*uris, uris[0]]) == page
    assert compare_reports(uris[:1]) is written_about(uris[::-1]) is None
    assert len(results(storage)) == 2 and not take_inventory(storage).foreign


def test_a_report_is_opened_as_a_local_page(storage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda uri: opened.append(uri))
    open_command.main(["ab", "--path"])
    assert opened == []
    open_command.main(["ab"])
    page = Path(capsys.readouterr().out.splitlines()[-1].removeprefix("report: "))
    assert page.suffix == ".html" and page.read_bytes() == b"<p>page" and opened == [page.as_uri()]


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        (show, ["a"], "is no key"),
        (show, ["ad"], "bilp ls lists the keys"),
        (show, ["a?"], "is no key"),
        (compare, ["ab", "ab"], "two different reports"),
        (compare, ["ab"], "two different reports"),
        (open_command, ["ff"], "no report or study in"),
        (ls, ["--storage", "/nowhere/at/all"], "nothing lies at /nowhere/at/all"),
        (ls, ["--sort", "color"], "invalid choice"),
    ],
)
def test_what_cannot_be_is_one_line(
    storage: str, command: object, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)  # type: ignore[attr-defined]
    error = capsys.readouterr().err.strip()
    assert ended.value.code in (1, 2) and words in error and "\n" not in error.splitlines()[-1] and "Traceback" not in error


def test_commands_about_results_need_neither_torch_nor_prefect() -> None:
    program = "import sys; sys.modules['torch'] = sys.modules['prefect'] = None; "
    program += "; ".join(f"import flows.commands.{name}" for name in LIGHT)
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    program = "import sys; sys.modules['pyarrow'] = None; import flows.commands.ls"  # which reads manifests alone
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""bilp verify, du, gc, rm and export --csv, as they are typed."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from import_graph import REPOSITORY
from small_store import DATASET, Store, key, make_store

from bilp.artifacts.publication import publish
from bilp.errors import ConfigError
from bilp.storage import objects
from flows.commands import du, export, gc, rm, verify
from flows.commands.amounts import seconds, size

PAGE = f"reports/{key('report second')}"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    root = str(tmp_path / "store")
    monkeypatch.setenv("BILP_STORAGE", root)
    return make_store(root)


def test_gc_tells_removes_and_tells_again(small: Store, capsys: pytest.CaptureFixture[str]) -> None:
    objects.delete(small.uri(PAGE))
    gc.main(["--dry-run"])
    assert "nothing to remove" in capsys.readouterr().out, "everything is younger than a day"
    gc.main(["--dry-run", "--older-than", "0"])
    told = capsys.readouterr().out
    assert f"run runs/{key('second')}  " in told
    assert "to remove: 1 of kind evaluation, 1 of kind reselect, 1 of kind round, 1 of kind run, " in told
    assert objects.exists(small.uri(f"runs/{key('second')}"))
    gc.main(["--older-than", "0", "--yes"])
    assert "removed 8 things, " in capsys.readouterr().out
    assert not objects.exists(small.uri(f"runs/{key('second')}"))


def test_nobody_is_asked_where_there_is_no_standard_input(
    small: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as after `<&-`
    before = small.places()
    with pytest.raises(SystemExit) as ended:
        rm.main([PAGE, "--force"])
    assert ended.value.code == 2
    assert "nobody can be asked here" in capsys.readouterr().err
    assert small.places() == before


@pytest.mark.parametrize(
    ("typed", "status", "line"),
    [
        (
            ["--older-than", "soon"],
            2,
            "--older-than: 'soon' is no age: give a number with s, m, h, d or w, such as 12h or 1d",
        ),
        (["--keep", "zz"], 2, "is no key: give 2 to 16 of its hexadecimal digits"),
        (
            ["--older-than", "0"],
            2,
            "nobody can be asked here whether to remove this: give --yes, or --dry-run",
        ),
        (["--storage", "nowhere"], 2, "there is no storage at"),
        (["--sooner"], 2, "unrecognized arguments: --sooner; --help lists the options"),
    ],
)
def test_gc_refuses_in_one_line(
    small: Store, typed: list[str], status: int, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.delete(small.uri(PAGE))
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    before = small.places()
    with pytest.raises(SystemExit) as ended:
        gc.main(typed)
    assert ended.value.code == status
    told = capsys.readouterr().err
    assert line in told
    assert len(told.splitlines()) == 1
    assert small.places() == before


def test_rm_asks_at_a_terminal(small: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    rm.main([key("report second")])
    assert "nothing was removed" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    rm.main([key("report second"), "--unused"])
    assert "removed 9 things" in capsys.readouterr().out
    assert not objects.exists(small.uri(PAGE))
    with pytest.raises(SystemExit) as ended:
        rm.main([f"runs/{key('first')}", "--yes"])
    assert ended.value.code == 2
    assert f"is needed by reports/{key('report first')}, " in capsys.readouterr().err


def test_verify_ends_with_status_1_if_something_is_damaged(small: Store, capsys: pytest.CaptureFixture[str]) -> None:
    objects.write(small.uri(f"{PAGE}/report.html"), b"changed")
    with pytest.raises(SystemExit) as ended:
        verify.main([PAGE])
    assert ended.value.code == 1
    told = capsys.readouterr().out
    assert f"report {PAGE}: report.html has 7 bytes instead of " in told
    assert f"to repair: bilp rm {PAGE} --force, then run the command that made it again" in told


def test_du_tells_kinds_pages_and_what_gc_would_free(small: Store, capsys: pytest.CaptureFixture[str]) -> None:
    objects.write(small.uri("mine.txt"), b"x")
    du.main([])
    told = capsys.readouterr().out
    assert PAGE in told
    assert "none of ours, not counted and never removed: mine.txt" in told
    assert "bilp gc would free 0 bytes" in told


def test_tables_are_written_as_csv_that_no_spreadsheet_calculates(small: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pa.table({"arm": ["=1+1", "@x", "plain, with comma"], "accuracy": [0.5, None, 0.25], "counts": [[1, 2], [], None]})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    place = f"robustness/{key('table')}"
    files = {"robustness.parquet": sink.getvalue()}
    publish(small.uri(place), "robustness", key("table"), files, config={}, parents={"dataset": small.uri(DATASET)})
    out = str(tmp_path / "csv")
    export.main([place, "--csv", "--out", out])
    written = f"{out}/{place}/robustness.csv"
    assert capsys.readouterr().out.splitlines() == [written]
    rows = list(csv.reader(Path(written).read_text(encoding="utf-8").splitlines()))
    assert rows == [["arm", "accuracy", "counts"], ["'=1+1", "0.5", "[1, 2]"], ["'@x", "", "[]"], ["plain, with comma", "0.25", ""]]
    with pytest.raises(SystemExit) as ended:
        export.main([PAGE])
    assert ended.value.code == 2
    assert "the following arguments are required: --csv" in capsys.readouterr().err


def test_exporting_a_set_is_still_told_by_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        export.main(["--synthetic", "x", "--to", "nothing", "--out", "y"])
    assert "invalid choice: 'nothing'" in capsys.readouterr().err


def test_these_commands_need_neither_torch_nor_prefect() -> None:
    program = "import sys; sys.modules['torch'] = sys.modules['prefect'] = None; from flows.commands import du, export, gc, rm, verify"
    program += "; import bilp.results.csv_tables"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_ages_and_sizes() -> None:
    assert [seconds(age) for age in ("0", "90s", "1.5h", "1d", "2w")] == [0.0, 90.0, 5400.0, 86400.0, 1209600.0]
    for age in ("", "1", "-1d", "1 d", "d"):
        with pytest.raises(ConfigError, match="is no age"):
            seconds(age)
    assert [size(count) for count in (0, 999, 1000, 54_153, 239_000, 7_434_382, 2 * 10**12)] == [
        "0 bytes", "999 bytes", "1 kB", "54.2 kB", "239 kB", "7.43 MB", "2 TB",
    ]  # fmt: skip

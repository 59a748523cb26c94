"""How programs end: one line and a status, and a file with the traceback of what nobody expected, without secrets."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pytest

from bilp import ending
from bilp.errors import DataError
from bilp.text import unexpected

LINES = "first line\n  second line"


def ended(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int | str | None, str]:
    """Status and what is printed by a program in which `error` is raised."""
    with pytest.raises(SystemExit) as end, ending.one_line("program", "counting sheep"):
        raise error
    return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (DataError("3 files are damaged: remove them"), 1, "3 files are damaged: remove them"),
        (KeyboardInterrupt(), 130, ending.CONTINUES),
        (ImportError("could not be imported: KeyboardInterrupt"), 130, ending.CONTINUES),
    ],
)
def test_what_is_expected_is_said_as_it_is(
    error: BaseException, status: int, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert ended(error, capsys) == (status, f"program: error: {line}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (RuntimeError(LINES), "RuntimeError: first line second line; "),
        (KeyError(), "KeyError; "),
        (OSError(errno.ENOSPC, "No space left on device"), "free some space"),
        (MemoryError(), "more memory"),
        (ModuleNotFoundError("No module named 'rich'"), "activate the environment"),
        (ValueError("x" * 5000), "x" * 100),
    ],
)
def test_what_nobody_expected_is_one_line_that_names_the_file_with_the_traceback(
    error: BaseException, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    status, said = ended(error, capsys)
    (file,) = tmp_path.iterdir()
    assert status == 1
    assert said.count("\n") == 1
    assert said.startswith("program: error: counting sheep: ")
    assert said.endswith(f"; the traceback is in {file}\n")
    assert what in said
    assert len(said) < 600 + len(str(file))
    text = file.read_text(encoding="utf-8")
    assert text.startswith("command: ")
    assert "torch 2." in text
    assert "raise error" in text
    assert file.stat().st_mode & 0o077 == 0


def test_a_note_says_more_exactly_what_was_being_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    error = ValueError("no")
    unexpected.while_doing(error, "round 3")
    unexpected.while_doing(error, "the whole")
    assert unexpected.told(error, "working").startswith("round 3: ValueError: no; ")


def test_the_traceback_goes_to_the_first_folder_that_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout, temporary, home = tmp_path / "checkout", tmp_path / "temporary", tmp_path / "home"
    (checkout / ".bilp").mkdir(parents=True)
    temporary.mkdir()
    home.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(checkout)

    def folder() -> Path | None:
        file = unexpected.keep(ValueError("no"), "testing")
        return None if file is None else file.parent

    assert folder() == checkout / ".bilp"
    monkeypatch.chdir("/proc")
    assert folder() == temporary
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    assert folder() == home
    monkeypatch.setenv("HOME", "/proc")
    assert folder() is None
    assert "set TMPDIR" in unexpected.told(ValueError("no"), "testing")


def test_secrets_of_the_environment_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # a checkout that was used has a folder for such files
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "somebody:hunter2")
    error = ValueError("signed with wJalrXUtnFEMI, said hunter2 to https://name:pass@host/api")
    said = unexpected.told(error, "working")
    for text in (said, next(tmp_path.iterdir()).read_text(encoding="utf-8")):
        assert "signed with ***, said *** to https://***@host/api" in text
        assert not any(secret in text for secret in ("wJalrXUtnFEMI", "hunter2", "name:pass"))

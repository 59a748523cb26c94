"""Every command of the table: what is wrong in what was typed is one line and status 2, and help is there."""

from __future__ import annotations

import sys

import pytest

from bilp import ending
from flows.commands import main
from flows.commands.table import COMMANDS

STORED = ("ls", "show", "compare", "open", "verify", "du", "gc", "rm", "export")
"""Commands that read a storage, which has to be there."""
KEYS = {"show": ["0123"], "open": ["0123"], "rm": ["0123"], "compare": ["0123", "4567"], "export": ["0123", "--csv"]}
"""What is typed to ask for something that no storage has."""


@pytest.fixture(autouse=True)
def unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command settles for its process does not outlive a test."""
    monkeypatch.setattr(ending, "_typed", "")
    monkeypatch.setattr(ending, "_beginning", "")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(main.beginning, "settle_output", lambda: None)


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int | str | None, str]:
    """Status and the one line of a command that says no."""
    with pytest.raises(SystemExit) as end:
        main.main("bilp", arguments)
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith(f"bilp {arguments[0]}: error: ")
    return end.value.code, line


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(capsys, name, "--no-such-option")[0] == ending.MISUSED


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_there(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main.main("bilp", [name, "--help"])
    said = capsys.readouterr()
    assert end.value.code == 0 and said.err == "" and said.out.startswith(f"usage: bilp {name} ")


@pytest.mark.parametrize("name", STORED)
def test_a_storage_that_is_not_there_is_one_line(name: str, tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    status, line = ended(capsys, name, *KEYS.get(name, []), "--storage", f"{tmp_path}/nowhere")
    assert status == ending.MISUSED and f"{tmp_path}/nowhere" in line


@pytest.mark.parametrize("name", KEYS)
def test_an_unknown_key_is_one_line(name: str, tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    status, line = ended(capsys, name, *KEYS[name], "--storage", str(tmp_path))
    assert status == ending.MISUSED and "0123" in line
    assert ended(capsys, name, "nó-key", *KEYS[name][1:], "--storage", str(tmp_path))[0] == ending.MISUSED

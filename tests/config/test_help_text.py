"""The help at the width of the terminal, dials first; and what --explain tells when only some of it is asked for."""

from __future__ import annotations

import re

import pytest

from bilp.config import METHODS, PipelineConfig
from bilp.config.arithmetics import ARITHMETICS
from bilp.config.command_line import configure, parse
from bilp.config.explain import DEFAULT, changed, explain
from bilp.config.help_text import READS, STAGES, topic_of
from bilp.config.network import NETWORKS


def helped(capsys: pytest.CaptureFixture[str], *arguments: str, program: str = "python -m flows.pipeline") -> str:
    with pytest.raises(SystemExit) as ended:
        parse(arguments, program, "What it does.")
    printed = capsys.readouterr()
    assert (ended.value.code, printed.err) == (0, "")
    return printed.out


def options(text: str) -> set[str]:
    return set(re.findall(r"^ +--([\w.]+)(?: |$)", text, re.MULTILINE))


DIALS = {name for name in PipelineConfig.model_fields if name not in STAGES}


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 300])
@pytest.mark.parametrize("topic", [[], ["all"], ["distill"]])
def test_no_line_is_wider_than_the_terminal(
    topic: list[str], width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = helped(capsys, "--help", *topic).splitlines()
    assert max(map(len, lines)) <= min(max(width, 60), 140)


def test_dials_come_first_and_say_how_to_see_the_rest(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = helped(capsys, "--help")
    assert options(text) >= DIALS
    assert not [option for option in options(text) - {"ingest.uri", "evaluate.networks"} if "." in option]
    assert all(f"--help {stage}" in text for stage in (*STAGES, "all"))
    assert len(text.splitlines()) < 80
    assert f"--gpu {{{','.join(ARITHMETICS.choosable())}}}" in text, "choices that fit a line stay with their option"
    assert f"One of: {', '.join(METHODS)}." in " ".join(text.split()), "those that do not follow the text"
    assert ", ".join(NETWORKS) in " ".join(helped(capsys, "--help", "evaluate").split()) or "NetworkConfig" in text


def test_a_second_column_that_is_too_long_goes_on_below_itself(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit):
        parse(["--help"], "bilp", "Options of its own:\n  --near  " + "Images of a class that lie near to each other. " * 2)
    lines = capsys.readouterr().out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("  --near"))
    assert [len(line) - len(line.lstrip()) for line in lines[first : first + 2]] == [2, len("  --near  ")]


@pytest.mark.parametrize("stage", STAGES)
def test_a_group_is_shown_on_demand_whatever_else_is_wrong(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = options(helped(capsys, "--ipc", "0", "--help", stage))
    assert {f"{stage}.{name}" for name in ("seed",) if stage in ("score", "distill")} <= shown
    assert {option.split(".")[0] for option in shown if option not in ("help", "explain")} == {stage}


@pytest.mark.parametrize("stage", READS)
def test_the_command_of_a_stage_shows_what_it_reads_and_takes_the_others_too(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    program = f"python -m flows.{stage}"
    text = helped(capsys, "--help", program=program)
    below = {option.split(".")[0] for option in options(text.partition("Examples:")[0]) if "." in option}
    assert below == {stage}
    told = set(re.findall(r"--help (\w+)", text.partition("Further")[2])) - {"all"}
    assert told == set(READS[stage]) - {stage}
    assert configure(["--report.max_classes", "3"], program, "").report.max_classes == 3
    assert "report.max_classes" in options(helped(capsys, "--help", "report", program=program))


def test_a_group_that_does_not_exist_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--help", "distil"], "program", "What it does.")
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert printed.err.startswith("program: error: --help distil: no such group of settings; did you mean distill?; there are all, ingest,")
    assert printed.err.count("\n") == 1


def test_what_follows_help_is_its_topic() -> None:
    asked = ([], ["--ipc", "3"], ["-h"], ["--help", "all"], ["--help", "--ipc"], ["-h", "distill", "--ipc", "3"])
    assert [topic_of(arguments) for arguments in asked] == [None, None, "", "all", "", "distill"]


def test_explain_changed_leaves_out_what_is_as_everybody_knows_it() -> None:
    given = {"dataset": "digits", "ipc": 1, "distill": {"momentum": 0.3}}
    found = {setting.path: setting for setting in changed(given)}
    whole = {setting.path: setting for setting in explain(given)}
    assert {"dataset", "ipc", "distill.momentum"} <= found.keys(), "given, also where it is the default"
    assert found["keep"].origin == "dataset digits" and found["distill.network.width"].value == 64
    assert "distill.ipc" not in found and "score.seed" not in found and "distill.network.depth" not in found
    assert all(whole[path] == setting and setting.origin != DEFAULT for path, setting in found.items())
    assert len(found) < len(whole) / 4
    assert [setting.path for setting in explain(given) if setting.path in found] == list(found)


@pytest.mark.parametrize("width", ["60", "140"])
def test_explain_changed_is_printed(width: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    with pytest.raises(SystemExit) as ended:
        configure(["--dataset", "cifar10", "--explain", "changed", "--ipc", "10"], "program", "")
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0
    assert lines[0].split() == ["dataset", "cifar10", "given"]
    assert ["ipc", "10", "given"] in [line.split() for line in lines]
    assert 3 < len(lines) < 40


def test_an_unknown_word_after_explain_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        configure(["--explain", "change"], "program", "")
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert printed.err.startswith("program: error: --explain change: no such word; did you mean changed?; give changed")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--arms", "unpruned", "bilp"], "unrecognized arguments: bilp; separate the values of a list by commas: --arms unpruned,bilp"),
        (["--arms=unpruned,", "static", "bilp", "--ipc", "3"], "separate the values of a list by commas: --arms unpruned,static,bilp"),
        (["--ipc", "3", "4"], "unrecognized arguments: 4; --help all lists every setting"),
        (["stray"], "unrecognized arguments: stray; --help all lists every setting"),
        (["photos/"], "unrecognized arguments: photos/; images of your own: --dataset folder --ingest.uri photos/"),
        (["--dataset", "cifar"], "'webdataset' or 'npz'; did you mean cifar10 or cifar100?"),
        (["--evaluate.networks", "convnet,mlpp"], "; did you mean mlp?"),
        (["--prune.drop", "xxxx"], "'high', 'low' or 'both'\n"),
        (["--keep", "aut"], "input should be a number, 'auto' or 'search'; did you mean auto?\n"),
        (["--gpu", "TF32"], "; did you mean tf32?"),
    ],
)
def test_wrong_words_suggest_right_ones(arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        configure(arguments, "program", "")
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert hint in said and said.count("\n") == 1


@pytest.mark.parametrize("given", [{"keep": 0}, {"dataset": "cifar"}, {"method": "x"}, {"ipc": 0}, {"seed": "x"}, {"gpu": "x"}])
def test_a_wrong_dial_is_one_error_in_python_too(given: dict[str, object]) -> None:
    with pytest.raises(ValueError) as caught:
        PipelineConfig.model_validate(given)
    assert [error["loc"] for error in caught.value.errors()] == [tuple(given)]  # type: ignore[attr-defined]

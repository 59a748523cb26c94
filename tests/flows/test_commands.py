"""The program `bilp`: its table of commands, what it says for wrong ones, and what its quick answers import."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_pipeline import REPOSITORY

import bilp
from bilp import __main__ as entry
from bilp import ending
from bilp.config.sources import SOURCES
from flows.commands import main, recipes, requirements, sweep
from flows.commands.table import COMMANDS, GROUPS, Command


@pytest.fixture(autouse=True)
def unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command settles for its process does not outlive a test."""
    monkeypatch.setattr(ending, "_typed", "")
    monkeypatch.setattr(ending, "_beginning", "")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(main.beginning, "settle_output", lambda: None)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int | str | None, str]:
    """Status and the one line of a command that is refused."""
    with pytest.raises(SystemExit) as end:
        main.main("bilp", arguments)
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    return end.value.code, line


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_every_command_is_in_a_group_and_there(command: Command) -> None:
    assert command.group in GROUPS
    module, _, name = command.main.partition(":")
    tree = ast.parse((REPOSITORY / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    required = len(function.args.args) - len(function.args.defaults)
    assert [argument.arg for argument in function.args.args[:required]] == ["arguments"]


def test_help_lists_every_command_below_the_title_of_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"], ["help"]):
        main.main("bilp", arguments)
        said = capsys.readouterr().out
        blocks = {block.partition(":\n")[0]: block for block in said.split("\n\n")}
        for command in COMMANDS.values():
            assert f"\n  {command.name} " in blocks[GROUPS[command.group]]
        assert max(map(len, said.splitlines())) < 100


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("rnu", "bilp: error: no command 'rnu'; did you mean bilp run? bilp --help lists the commands"),
        ("Distil", "bilp: error: no command 'Distil'; did you mean bilp distill? bilp --help lists the commands"),
        ("zzzzzz", "bilp: error: no command 'zzzzzz'; bilp --help lists the commands"),
        (
            "--dataset",
            "bilp: error: --dataset comes before any command: write the command first, as in bilp run --dataset; --help lists the commands",
        ),
    ],
)
def test_what_is_no_command_is_one_line(typed: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, typed) == (2, line)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("run", "--datset", "x"), "bilp run: error: unrecognized arguments: --datset x; did you mean --dataset?"),
        (("reproduce",), "bilp reproduce: error: name a recipe first, such as published/dc/cifar10-ipc1; --help tells more"),
        (("sign",), "bilp sign: error: the following arguments are required: --storage; --help lists the options"),
        (
            ("run", "phots/"),
            f"bilp run: error: 'phots/' is no data set ({', '.join(SOURCES.choosable())}), and no file or folder lies there: correct it",
        ),
        (
            ("critical", "digits", "--dataset=mnist"),
            "bilp critical: error: digits says where the images come from, and so does --dataset: leave one out",
        ),
        (("server", "now"), "bilp server: error: unrecognized arguments: now; --help lists the options"),
        (("worker", "tpu"), "bilp worker: error: no pool tpu: use cpu, gpu or nothing for both"),
    ],
)
def test_errors_begin_with_what_was_typed(arguments: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, *arguments) == (2, line)


@pytest.mark.parametrize(("command", "own"), [("run", []), ("score", []), ("nightly", []), ("critical", ["--criteria", "random"])])
def test_a_first_word_says_where_images_come_from(command: str, own: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    with pytest.raises(SystemExit) as end:
        main.main("bilp", [command, str(folder), *own, "--ipc", "2", "--explain", "changed"])
    assert end.value.code in (None, 0)
    told = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert {("dataset", "folder"), ("ingest.uri", str(folder)), ("ipc", "2")} <= {tuple(pair) for pair in told}


def test_help_of_a_command_shows_it_as_it_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main("bilp", ["export", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("usage: bilp export ")
    assert "Example: bilp export KEY --csv " in said
    assert "python -m" not in said


def test_an_interrupted_command_is_told_by_the_name_that_was_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["flows.commands.recipes"], "recipe_names", interrupted)
    with pytest.raises(SystemExit) as end:
        main.main("bilp", ["recipes"])
    assert end.value.code == 130
    assert capsys.readouterr().err == f"bilp recipes: error: {ending.CONTINUES}\n"


def test_a_package_of_an_extra_that_is_not_installed_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = ["torch>=2", 'prefect<3.9,>=3.8; extra == "service"', 'fastapi<1; extra == "service"', 's3fs>=2026; extra == "s3"']
    monkeypatch.setattr(requirements, "requires", lambda _: listed)
    monkeypatch.setitem(sys.modules, "flows.pipeline", None)
    monkeypatch.setattr(main, "resolve", lambda _: (_ for _ in ()).throw(ModuleNotFoundError("no", name="prefect.context")))
    status, line = refused(capsys, "run")
    assert status == 1
    assert line == (
        "bilp run: error: this command needs prefect, which is not installed: python -m pip install 'prefect<3.9,>=3.8' 'fastapi<1' "
        "(what the extra [service] of bilp brings)"
    )
    assert "'s3fs>=2026'" in (requirements.missing_package(ModuleNotFoundError("no", name="s3fs")) or "")
    assert requirements.missing_package(ModuleNotFoundError("no", name="tabulate")) is None


def test_quick_answers_import_neither_torch_nor_prefect() -> None:
    program = (
        "import sys; sys.modules['torch'] = sys.modules['prefect'] = None; sys.argv = ['bilp', *sys.argv[1:]]; "
        "from bilp.__main__ import main; main()"
    )
    for arguments in (["--version"], ["--help"], ["recipes"], ["rnu"]):
        done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert done.returncode == (2 if arguments == ["rnu"] else 0), done.stderr
        assert "Traceback" not in done.stderr
    assert done.stderr.startswith("bilp: error: ")


def in_folder(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m bilp` in a folder of somebody who has modules with the names of ours, and of Python's."""
    for name in ("flows", "tasks", "deployments", "recipes", "secrets", "logging", "pydantic"):
        (folder / f"{name}.py").write_text("raise SystemExit('somebody else’s module was imported')\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment["PYTHONPATH"] = str(REPOSITORY)
    command = [sys.executable, "-m", "bilp", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_modules_in_the_working_directory_are_not_ours(tmp_path: Path) -> None:
    done = in_folder(tmp_path, "recipes", "digits")
    assert done.returncode == 0, done.stderr
    assert "bilp run --recipe digits" in done.stdout


def test_the_working_directory_leaves_the_path_for_children_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path, environment = [str(tmp_path), "/elsewhere"], {"PYTHONPATH": "/more"}
    entry.leave_working_directory(path, environment)
    assert (path, environment) == (["/elsewhere"], {"PYTHONPATH": "/more", "PYTHONSAFEPATH": "1"})
    path, environment = ["/venv/bin", "/elsewhere"], {}  # as the console script has it
    entry.leave_working_directory(path, environment)
    assert (path, environment) == (["/venv/bin", "/elsewhere"], {"PYTHONSAFEPATH": "1"})


def test_in_a_checkout_that_is_not_installed_children_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(entry.CODE)
    path, environment = [entry.CODE, "/elsewhere"], {"PYTHONPATH": "/more"}
    entry.leave_working_directory(path, environment)
    assert path == [entry.CODE, "/elsewhere"]
    assert environment == {"PYTHONPATH": f"{entry.CODE}:/more", "PYTHONSAFEPATH": "1"}


def test_version(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/venv/bin/bilp", "--version"])
    monkeypatch.setattr(entry, "leave_working_directory", lambda *_: None)
    monkeypatch.setattr(ending, "begin", lambda _: None)
    entry.main()
    assert capsys.readouterr().out == f"bilp {bilp.__version__}\n"


def test_recipes_are_listed_with_what_papers_report_and_with_what_is_lacking() -> None:
    listed = list(recipes.found("published/dm/"))
    (tiny,) = [line for line in listed if line.startswith("published/dm/tiny-imagenet-ipc1 ")]
    assert "3.9 %" in tiny
    assert not any("needs" in line for line in recipes.found("published/dc/cifar10"))
    (one, *_) = recipes.found("published/dc/cifar10-ipc1")
    assert one.startswith("# DC on CIFAR-10, 1 image per class")
    assert list(recipes.found("published/dc/cifar10-ipc1"))[-2] == "bilp run --recipe published/dc/cifar10-ipc1"


def test_a_sweep_holds_every_combination_of_what_was_typed() -> None:
    typed = ["--dataset", "digits", "--vary", "keep=0.5,0.8", "--vary=distill.iterations=5,10", "--vary", 'arms=[["static"], ["bilp"]]']
    plan = sweep.planned(typed, "bilp sweep", "")
    assert plan.given == {"dataset": "digits"}
    assert plan.vary == {"keep": [0.5, 0.8], "distill.iterations": [5, 10], "arms": [["static"], ["bilp"]]}
    found = sweep.combinations(plan.vary)
    assert len(found) == 8
    assert found[1] == {"keep": 0.5, "distill.iterations": 5, "arms": ["bilp"]}


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ([], "nothing is varied: say what, as in --vary keep=0.5,0.8"),
        (["--vary", "kepp=0.5"], "unrecognized arguments: --kepp=0.5; did you mean --keep?"),
        (
            [f"--vary=seed={','.join(map(str, range(200)))}", f"--vary=distill.seed={','.join(map(str, range(100)))}"],
            "seed, distill.seed have 20,000 combinations, and a sweep has at most 10,000: give fewer values at once",
        ),
        (["--vary", "keep"], "--vary 'keep' gives no values: write a setting and its values, as in --vary keep=0.5,0.8"),
        (["--vary", "keep=0.5,7"], "keep = 7: input should be less than or equal to 1"),
        (["--vary", "keep=[0.5"], "--vary keep: what begins with [ is a list in JSON, and this is none"),
        (["--vary", "ipc=1", "--vary", "ipc=2"], "--vary ipc is there twice: give all its values at once"),
    ],
)
def test_a_wrong_sweep_is_one_line(typed: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = refused(capsys, "sweep", "--dataset", "digits", *typed)
    assert status == 2
    assert line in said

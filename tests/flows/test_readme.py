"""Every line that README and the documents for users have typed works as it is printed, in the order of the page, in a folder of its own.

The program is that of the wheel, found by the PATH that the page tells of. What is not carried out as printed:

* `make` and `pip` would install gigabytes: targets and extras are asked whether they are there, and `make run` is what its recipe says;
* `bilp server` and `bilp worker` are asked for their help (`integration/test_wheel.py` starts them);
* where images would be downloaded or come from S3, commands explain their settings instead, and of Python the imports are carried out;
* pipelines on local images are made short by further options, so that a page takes minutes;
* KEY and OTHER stand for keys of what was made before;
* but for the first, programs share one server: each would start its own, which takes longer than what most of them do.
"""

from __future__ import annotations

import ast
import os
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from installed import install, plain
from PIL import Image
from prefect_database import another_home
from readme_blocks import OTHERS, PYTHON, SHELL, Block, blocks, unmarked
from tiny_pipeline import REPOSITORY, TINY, options

from bilp.config.recipes import read_recipe
from flows.commands.table import COMMANDS
from flows.local import server as local_server

README = list(blocks((REPOSITORY / "README.md").read_text(encoding="utf-8")))
USERS = (
    *("installation", "own-images", "methods", "evaluation", "results", "python", "exchange", "faq"),
    *("suspects", "label-noise", "growing"),
)
PAGES = ("README", *(f"docs/{name}" for name in USERS))
BLOCKS = [(page, block) for page in PAGES for block in blocks((REPOSITORY / f"{page}.md").read_text(encoding="utf-8"))]
LOCAL = ("digits", "folder", "parquet")
"""Sources that need no network."""
SERVICE = ("server", "worker", "register")
INSTALLED = ("source .venv/bin/activate", "pip install")
"""What makes the program known to a shell."""
FAR = ("cifar", "mnist", "svhn", "s3://", "KEY")
"""Of Python: names of data that would be downloaded, and places that are not there."""
SHORT = [option for option in options(TINY) if not option.startswith("--dataset")]
PATIENCE = 600


def typed(block: Block) -> list[str]:
    """The commands of a block; none in one for another language."""
    return block.commands if block.language in SHELL else []


class Reader:
    """Somebody who types what the page says, in a folder of their own."""

    def __init__(self, folder: Path, environment: Path, home: Path) -> None:
        self.folder = folder
        path = os.pathsep.join([str(environment / "bin"), "/usr/bin", "/bin"])
        self.variables = plain(PATH=path, PREFECT_HOME=str(home), BROWSER="true")

    def carry_out(self, line: str) -> None:
        """Type one line; nothing but status 0 will do."""
        words = shlex.split(self.with_keys(line), comments=True)
        if words[0] == "bilp":
            self.bilp(words[1:])
        elif words[0] == "make":
            self.make(words[1:])
        elif "pip" in words[:3]:
            self.pip(words)
        else:  # what shells know themselves
            assert words[0] in ("source", "export", "git", "cd") or words[:3] == ["python3", "-m", "venv"], f"who checks {line!r}?"
            self.run("bash", "-n", "-c", line)

    def bilp(self, words: list[str]) -> None:
        """A command of the program."""
        command = COMMANDS.get(words[0])
        if command is None or command.name in SERVICE:
            self.run("bilp", words[0], *(["--help"] if command else words[1:]))
            return
        takes_settings = command.group in ("run", "stages") or command.name in ("import", "suspects", "nightly", "critical")
        if command.name == "plan":  # needs no data
            self.run("bilp", *words)
        elif takes_settings and is_far(words):
            self.run("bilp", *words, "--explain")
        else:
            known = {word.partition("=")[0] for word in words}
            short = [option for option in SHORT if takes_settings and option.partition("=")[0] not in known]
            self.run("bilp", *words, *([] if command.name == "explain" else short))

    def make(self, words: list[str]) -> None:
        """A target is there; what that of the pipeline types is typed."""
        recipe = self.run("make", "--dry-run", "--directory", str(REPOSITORY), *words).splitlines()
        if words[:1] == ["run"]:
            (line,) = [line for line in recipe if line.startswith(".venv/bin/bilp ")]
            self.bilp(shlex.split(line)[1:])

    def pip(self, words: list[str]) -> None:
        """Extras that are asked for are there."""
        known = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
        asked = [word.rstrip("]").partition("[")[2].split(",") for word in words if "[" in word]
        assert {extra for extras in asked for extra in extras} <= known.keys()

    def python(self, text: str) -> None:
        """A block of Python: all of it, or its imports where it needs what is not here."""
        if any(name in text for name in FAR):
            text = "\n".join(ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom))
        self.run("python", "-P", "-c", text)

    def with_keys(self, line: str) -> str:
        """The line with keys of what was made here."""
        for folder in ("runs/", "reports/", ""):
            within = self.folder / "bilp-storage" / (folder or "reports")
            made = sorted(path.name for path in within.glob("[0-9a-f]" * 16))
            for word, key in zip((f"{folder}KEY", f"{folder}OTHER"), made, strict=False):
                line = line.replace(word, f"{folder}{key}")
        return line

    def run(self, *command: str) -> str:
        """What a program prints, which must end well."""
        done = subprocess.run(command, cwd=self.folder, env=self.variables, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout


def is_far(words: list[str]) -> bool:
    """Whether a command reads images that are not on this machine."""
    settings = dict(zip(words, [*words[1:], ""], strict=True)) | dict(word.split("=", 1) for word in words if "=" in word)
    recipe = words[1] if words[0] == "reproduce" else settings.get("--recipe")
    dataset = settings.get("--dataset") or (read_recipe(recipe).get("dataset") if recipe else None) or "digits"
    return dataset not in LOCAL or any(word.startswith("s3://") for word in words)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[Reader]:
    """With a folder of photos, and two runs that were made before."""
    folder = tmp_path_factory.mktemp("reader")
    generator = np.random.default_rng(0)
    for split, count in {"train": 24, "test": 8}.items():
        for shade, label in enumerate(("cats", "dogs")):
            place = folder / "photos" / split / label
            place.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(96 * shade, 96 * shade + 128, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.jpg")
    made = Reader(folder, install(tmp_path_factory.mktemp("installed")), another_home(template, folder / "home"))
    made.bilp(["run", "--dataset", "digits"])
    home, login = another_home(template, folder / "server"), "reader:of-the-pages"
    server = local_server.start(plain(PREFECT_HOME=str(home), PREFECT_SERVER_API_AUTH_STRING=login))
    try:
        made.variables |= {"PREFECT_API_URL": server.url, "PREFECT_API_AUTH_STRING": login}
        made.bilp(["run", "--dataset", "folder", "--ingest.uri", "photos/"])
        yield made
    finally:
        server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("block", [pytest.param(block, id=f"{page} {block.line}") for page, block in BLOCKS if typed(block)])
def test_commands_of_the_pages_work_as_they_are_printed(block: Block, reader: Reader) -> None:
    for line in typed(block):
        reader.carry_out(line)


@pytest.mark.slow
@pytest.mark.parametrize("block", [pytest.param(block, id=f"{page} {block.line}") for page, block in BLOCKS if block.language in PYTHON])
def test_python_of_the_pages_works_as_it_is_printed(block: Block, reader: Reader) -> None:
    reader.python(block.text)


def test_blocks_of_the_pages_say_what_they_hold() -> None:
    assert {block.language for _, block in BLOCKS} <= {*SHELL, *PYTHON, *OTHERS}
    assert [line for _, block in BLOCKS for line in unmarked(block)] == []


def test_the_readme_says_how_a_shell_finds_the_program_before_it_is_typed() -> None:
    lines = [line for block in README for line in typed(block)]
    first = next(place for place, line in enumerate(lines) if line.startswith("bilp "))
    assert any(line.startswith(INSTALLED) or line.endswith("activate") for line in lines[:first])
    assert not any(word.startswith(("bilp[", "bilp=")) for line in lines for word in line.split()), "no index has this project"


def test_every_command_of_the_pages_is_there() -> None:
    lines = [line.split() for _, block in BLOCKS for line in typed(block)]
    names = {words[1] for words in lines if words[0] == "bilp"}
    assert names - {"--help", "--version"} <= set(COMMANDS)


@pytest.mark.parametrize(
    ("words", "far"),
    [
        ("run --dataset cifar10", True),
        ("run --dataset=digits --ipc 1", False),
        ("run --recipe cifar10-dc-ipc1", True),
        ("run --recipe digits", False),
        ("reproduce published/dc/cifar10-ipc1 --scale 0.1", True),
        ("run --dataset parquet --ingest.uri s3://bucket/x", True),
        ("sweep --vary keep=0.5,0.8", False),
    ],
)
def test_commands_on_images_that_are_elsewhere_are_known(words: str, far: bool) -> None:
    assert is_far(words.split()) == far


def test_blocks_and_commands_are_found() -> None:
    page = "a\n```sh\nbilp a   # one\n\n# two\nbilp b \\\n  --c\n```\n```console\n$ bilp d\ntable\n```\n```\nmake x\n```\n"
    first, second, third = blocks(page)
    assert [shlex.split(line, comments=True) for line in first.commands] == [["bilp", "a"], ["bilp", "b", "--c"]]
    assert (first.line, second.line) == (2, 9)
    assert second.commands == ["bilp d"]
    assert unmarked(third) == ["make x"]
    assert unmarked(first) == []

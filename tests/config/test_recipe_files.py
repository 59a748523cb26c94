"""Recipes as people write them: read as meant, or refused in one line that says where and what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from bilp.config import PipelineConfig
from bilp.config.explain import explain, problems
from bilp.config.nested import leaves
from bilp.config.recipes import RECIPES, load_recipe, recipe_names
from bilp.errors import ConfigError

Written = str | bytes


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def write(recipe: Path, content: Written) -> dict[str, Any]:
    recipe.write_bytes(content.encode() if isinstance(content, str) else content)
    return {"recipe": str(recipe)}


def refusal(given: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        PipelineConfig.model_validate(given)
    (line,) = problems(caught.value, given)
    assert "\n" not in line
    return line


MEANT: list[tuple[Written, dict[str, Any]]] = [
    ("method: dm\r\nipc: 2\r\ndistill:\r\n  learning_rate: 1e-3\r\n", {"ipc": 2, "distill.learning_rate": 0.001}),
    (b"\xef\xbb\xbfmethod: dm\nipc: 2\n", {"method": "dm", "ipc": 2}),
    ("method: dm\nipc: 2 # caf\u00e9\n", {"ipc": 2}),
    ("prune:\n  per_class: no\nevaluate:\n  robustness: on\n", {"prune.per_class": False, "evaluate.robustness": True}),
    (
        "prune: {per_class: off}\nevaluate: {robustness: TRUE, learned_rate: 'no'}",
        {"prune.floor_per_class": 2, "evaluate.robustness": True},
    ),
    ("keep: 5e-1\nbeta: .25\nseed: -3\n", {"keep": 0.5, "beta": 0.25, "seed": -3}),
    ("ipc: 1_0\nscore: {weight_decay: 1E-4}\n", {"ipc": 10, "score.weight_decay": 0.0001}),
    ("ipc: '3'\nmethod: \"dm\"\n", {"ipc": 3, "method": "dm"}),
    ("ipc: !!int 3\n", {"ipc": 3}),
    ("---\nipc: 3\n...\n", {"ipc": 3}),
    ("{ipc: 3, keep: 0.5}", {"ipc": 3, "keep": 0.5}),
    (
        "dataset: folder\ningest: {uri: 2024-01-01, classes: [0, 1, on, no, 2.50, 1e3, 1:30, +4, '007']}\n",
        {"ingest.uri": "2024-01-01", "ingest.classes": ["0", "1", "on", "no", "2.50", "1e3", "1:30", "+4", "007"]},
    ),
    (
        "reselect: {candidates_per_class: none}\nevaluate: {decay: none, pool: ~}\n",
        {"reselect.candidates_per_class": None, "evaluate.decay": "none", "evaluate.pool": None},
    ),
    ("distill: {augment: none}\nevaluate: {baselines: none}\n", {"distill.augment": [], "evaluate.baselines": []}),
    ("distill: {network: {norm: none, pooling: }}\n", {"distill.network.norm": "none", "distill.network.pooling": "none"}),
    ("score: {network: mlp}\n", {"score.network.name": "mlp", "score.network.width": 64}),
]


@pytest.mark.parametrize(("content", "meant"), MEANT)
def test_what_is_meant(content: Written, meant: dict[str, Any], recipe: Path) -> None:
    found = {setting.path: setting.value for setting in explain(write(recipe, content))}
    assert {path: found[path] for path in meant} == meant


def test_networks_by_name_and_by_settings(recipe: Path) -> None:
    expected = PipelineConfig.model_validate({"evaluate": {"networks": [{"name": "convnet"}, {"name": "mlp"}]}})
    for content in ("networks: [convnet, {name: mlp}]", "networks: convnet, mlp", "networks:\n    - name: convnet\n    - mlp"):
        assert PipelineConfig.model_validate(write(recipe, f"evaluate:\n  {content}\n")).evaluate == expected.evaluate


TOWER = "".join(f"a{n}: &a{n} {{p: *a{n - 1}, q: *a{n - 1}}}\n" for n in range(1, 40))
OCTAL = " is an octal number to some and a decimal one to others: write"
DOTTED = " is the command line's way to write it: here it is"
REFUSED: list[tuple[Written, str]] = [
    ("method: dm\nipc: 2\nipc: 50\n", ": ipc is given twice, in lines 2 and 3: keep one"),
    ("ipc: 2\n\n'ipc': 2\n", ": ipc is given twice, in lines 1 and 3: keep one"),
    ("distill:\n  iterations: 5\n\ndistill:\n  iterations: 7\n", ": distill is given twice, in lines 1 and 4: join the two"),
    (
        "distill:\n  iterations: 5\n  network:\n    width: 3\n    width: 4\n",
        ": distill.network.width is given twice, in lines 4 and 5: keep one",
    ),
    ("distill: {iterations: 5, iterations: 6}\n", ": distill.iterations is given twice, in lines 1 and 1: keep one"),
    ("evaluate:\n  networks:\n    - width: 3\n      width: 4\n", ": evaluate.networks.width is given twice, in lines 3 and 4: keep one"),
    ("ipc: 010\n", f": line 1: ipc: 010{OCTAL} 10, or '010' in quotes if it is a name"),
    ("distill:\n  iterations: -0_17\n", f": line 2: distill.iterations: -0_17{OCTAL} -17"),
    ("dataset: folder\ningest: {uri: x, classes: [000]}\n", ": line 2: ingest.classes: 000 is an octal number to some"),
    ("method: dm\ndistill.iterations: 5\n", f": line 2: distill.iterations{DOTTED} distill: {{iterations: 5}}"),
    ("distill:\n  network.width: 5\n", f": line 2: network.width{DOTTED} network: {{width: 5}}"),
    (
        b"method: dm\nipc: 2 # caf\xe9\n",
        " is not UTF-8 (byte 0xe9 in line 2): save it as UTF-8, or convert it with iconv -f ISO-8859-1 -t UTF-8",
    ),
    ("ipc: 2\n".encode("utf-16"), " is UTF-16: save it as UTF-8, or convert it with iconv -f UTF-16 -t UTF-8"),
    ("ipc: 2\n".encode("utf-16-be"), " is UTF-16: save it as UTF-8"),
    ("ipc: 2\n".encode("utf-16-le"), " is UTF-16: save it as UTF-8"),
    ("ipc: 2\n".encode("utf-32"), " is UTF-32: save it as UTF-8, or convert it with iconv -f UTF-32 -t UTF-8"),
    ("", " is empty: it must hold key: value pairs"),
    ("# nothing yet\n", " is empty: it must hold key: value pairs"),
    ("- a\n- b\n", " must hold key: value pairs, not list"),
    ("just words\n", " must hold key: value pairs, not str"),
    ("method: dm\n\tipc: 2\n", " is not valid YAML: line 2, column 1: found"),
    ("method: dm\n---\nipc: 2\n", ": line 2: a second document begins: keep one in a file"),
    ("a: [", " is not valid YAML: line "),
    ("ipc: 2\x07\n", ": line 1: holds the character U+0007, which no recipe needs: remove it"),
    ("method: dm\nipc: 2\0\n", ": line 2: holds the character U+0000, which no recipe needs: remove it"),
    ("ipc: 2 # \u2028method: dc\n", ": line 1: holds the character U+2028,"),
    ("ipc: 2\n\ufeffkeep: 1\n", ": line 2: holds the character U+FEFF,"),
    ("ipc: *nowhere\n", ": line 1: *nowhere stands for something written elsewhere: write it out here"),
    ("score: &x {network: *x}\n", ": line 1: &x names something to be used again: leave it out, and write what it names twice"),
    ("score: {network: &net {width: 8}}\ndistill: {network: {<<: *net, depth: 2}}\n", ": line 1: &net names something to be used again"),
    ("distill: {network: {<<: {width: 8}}}\n", ": line 1: << takes in what is written elsewhere: write it out here"),
    (f"a0: &a0 {{x: 1, y: 2}}\n{TOWER}", ": line 1: &a0 names something to be used again"),
    ("a: " + "[" * 20_000, ": line 1: lists and mappings lie in each other more than 32 deep: settings need five levels"),
    ("a: " + "{a: " * 500 + "1" + "}" * 500, ": line 1: lists and mappings lie in each other more than 32 deep"),
    ("".join(f"{' ' * depth}a:\n" for depth in range(1_000)), ": line 33: lists and mappings lie in each other more than 32 deep"),
    ("- " * 20_000, ": line 1: lists and mappings lie in each other more than 32 deep"),
    ("? " * 20_000, ": line 1: lists and mappings lie in each other more than 32 deep"),
    ("ipc: 2 #" + "x" * 2**20, " holds more than 1048576 bytes: a recipe is a file of a few settings; give its path"),
    ("ipc: !mine 2\n", " is not valid YAML for a recipe: line 1: !mine makes an object, and values are all it may hold: leave it out"),
    ("seed: !!timestamp 2024-01-01\n", " is not valid YAML for a recipe: line 1: tag:yaml.org,2002:timestamp makes an object"),
    ("classes: !!set {a, b}\n", " is not valid YAML for a recipe: line 1: tag:yaml.org,2002:set makes an object"),
    ("recipe: digits\nipc: 2\n", " starts from another recipe, digits, which none can: copy what it says"),
    ("[a, b]: 1\n", ": line 1: a key is a word, not a list or a mapping"),
    ("ipc: !!python/object/apply:os.getpid []\n", " is not valid YAML for a recipe: line 1: tag:yaml.org,2002:python/"),
]


@pytest.mark.parametrize(("content", "message"), REFUSED)
def test_what_could_be_misread_is_refused_with_its_place(content: Written, message: str, recipe: Path) -> None:
    assert refusal(write(recipe, content)).startswith(f"recipe {recipe}{message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ipc: yes\n", 'ipc = "yes" (from recipe {recipe}): input should be a valid integer, unable to parse string as an integer'),
        ("ipc: 1:30\n", 'ipc = "1:30" (from recipe {recipe}): input should be a valid integer, unable to parse string as an integer'),
        ("ipc: 0x10\n", 'ipc = "0x10" (from recipe {recipe}): input should be a valid integer, unable to parse string as an integer'),
        ("ipc: 2.5\n", "ipc = 2.5 (from recipe {recipe}): input should be a valid integer, got a number with a fractional part"),
        (
            "seed: 2024-01-01\n",
            'seed = "2024-01-01" (from recipe {recipe}): input should be a valid integer, unable to parse string as an integer',
        ),
        ("keep: nan\n", 'keep = "nan" (from recipe {recipe}): input should be a finite number'),
        (f"ipc: {'9' * 400}\n", "ipc: a whole number of 1329 bits: give one of at most 63"),
        (f"seed: -{'9' * 400}\n", "seed: a whole number of 1329 bits: give one of at most 63"),
        (
            f"seed: {'9' * 5000}\n",
            f'seed = "{"9" * 199}... (from recipe {{recipe}}): unable to parse input string as an integer, exceeded maximum size',
        ),
        ("keep: .inf\n", "keep = \".inf\" (from recipe {recipe}): input should be a number, 'auto' or 'search'"),
        ("1: 2\n", "1: no such setting; --explain lists them all"),
        ("distill:\n", "distill = null (from recipe {recipe}): input should be a valid dictionary or instance of DistillConfig"),
    ],
)
def test_a_value_of_the_wrong_kind_is_blamed_on_the_recipe(content: str, message: str, recipe: Path) -> None:
    assert refusal(write(recipe, content)) == message.format(recipe=recipe)


def test_a_dotted_key_handed_over_in_python_is_told_how_to_be_written() -> None:
    assert refusal({"distill.iterations": 5}) == ("distill.iterations: write settings of a stage below its name, distill: {iterations: 5}")


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    folder, pipe, zero = (tmp_path / f"{name}.yaml" for name in ("folder", "pipe", "zero"))
    folder.mkdir()
    os.mkfifo(pipe)
    zero.symlink_to("/dev/zero")
    remedy = "give the path of a YAML file that this user may read"
    assert refusal({"recipe": str(folder)}) == f"recipe {folder} cannot be read: Is a directory: {remedy}"
    for special in (pipe, zero):
        assert refusal({"recipe": str(special)}) == f"recipe {special} is a device, pipe or socket, not a file: save the recipe in a file"
    long = f"{'x' * 300}.yaml"
    assert refusal({"recipe": long}) == f"recipe {long} cannot be read: File name too long: {remedy}"


@pytest.mark.parametrize("name", ["nothing", "../recipes/digits", "/etc/passwd", "digits\0", "\0.yaml", "digits/more", "nothing.yaml", ""])
def test_a_name_leads_to_the_recipes_of_the_program_alone(name: str) -> None:
    with pytest.raises(ConfigError, match=r"no file .*; known recipes: "):
        load_recipe(name)


@pytest.mark.slow
def test_a_run_that_a_server_started_takes_no_path(recipe: Path) -> None:
    """Whoever may start runs would learn from the error what a file of the worker's machine holds."""
    write(recipe, "secret: 1\n")
    program = (
        "import sys\n"
        "from flows.pipeline import pipeline\n"
        "from bilp.config.recipes import load_recipe\n"
        "print(load_recipe('cifar10-two-cores')['dataset'])\n"
        "try: pipeline.validate_parameters({'config': {'recipe': sys.argv[1]}, 'root': None})\n"
        "except Exception as error: print(error)\n"
    )
    environment = os.environ | {"PREFECT__FLOW_RUN_ID": "00000000-0000-0000-0000-000000000000"}
    command = [sys.executable, "-c", program, str(recipe)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=100)
    named, refused = done.stdout.splitlines()
    assert named == "cifar10"
    assert f"recipe {str(recipe)!r} is a path, and a run that a server starts takes the names of recipes alone" in refused
    assert "secret" not in refused


def test_settings_that_lie_in_each_other_without_end_are_refused() -> None:
    endless: dict[str, Any] = {}
    endless["distill"] = endless
    words = "distill: mappings lie in each other more than 32 deep: settings need five levels"
    assert refusal(endless) == words
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"distill": deep}
    assert refusal(deep) == words
    assert refusal({"evaluate": {1: 2}}) == "evaluate: 1 is the name of no setting: names are text"


@pytest.mark.slow
def test_of_many_wrong_settings_the_first_are_told(recipe: Path) -> None:
    given = write(recipe, "".join(f"k{n}: {n}\n" for n in range(50_000)))
    with pytest.raises(ValidationError) as caught:
        PipelineConfig.model_validate(given)
    lines = problems(caught.value, given)
    assert len(lines) == 21
    assert lines[-1] == "and 49980 more settings are wrong: correct these first"


def test_the_recipes_of_the_program_mean_what_yaml_says_they_do() -> None:
    for name in recipe_names():
        values = yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))
        values.pop("published", None)
        ours = dict(leaves(load_recipe(name)))
        for path, value in leaves(values):
            read = ours.pop(path)
            assert read == value or TypeAdapter(type(value)).validate_python(read) == value, (name, path)
        assert not ours, name


# --- another data set ------------------------------------------------------------------------------------------------

CELL = "published/dc/cifar10-ipc1"


@pytest.mark.parametrize(
    ("name", "made_for"), [(CELL, "cifar10"), ("cifar10-two-cores", "cifar10"), ("published/idc/imagenet10-ipc10", "imagenet10")]
)
def test_a_recipe_for_one_data_set_meets_another_only_with_a_word(name: str, made_for: str) -> None:
    assert refusal({"recipe": name, "dataset": "digits"}) == (
        f"recipe {name} is made for {made_for}, not for digits: leave dataset to the recipe, "
        "or set recipe_dataset to any if its settings are meant for other data"
    )
    forced = PipelineConfig.model_validate({"recipe": name, "dataset": "digits", "recipe_dataset": "any"})
    assert (forced.dataset, forced.ingest.source) == ("digits", "digits")
    assert PipelineConfig.model_validate(forced.model_dump()) == forced


def test_a_copy_of_the_data_in_files_of_ones_own_needs_no_word(recipe: Path) -> None:
    for source in ("folder", "parquet"):
        config = PipelineConfig.model_validate({"recipe": CELL, "dataset": source, "ingest": {"uri": "copies/cifar10"}})
        assert (config.dataset, config.evaluate.seeds) == (source, 20)
    own = write(recipe, "dataset: folder\nmethod: dc\n")
    assert PipelineConfig.model_validate({**own, "dataset": "mnist"}).method == "dc"
    general = write(recipe, "method: dc\n")
    assert PipelineConfig.model_validate({**general, "dataset": "mnist"}).dataset == "mnist"
    willing = write(recipe, "dataset: cifar10\nrecipe_dataset: any\n")
    assert PipelineConfig.model_validate({**willing, "dataset": "mnist"}).dataset == "mnist"
    assert PipelineConfig.model_validate({"recipe": CELL, "dataset": "cifar10"}).dataset == "cifar10"


def test_a_wrong_data_set_is_named_rather_than_the_recipe() -> None:
    assert refusal({"recipe": CELL, "dataset": "cifar"}).startswith('dataset = "cifar": input should be ')
    assert "source 'imagenet10' needs uri" in refusal({"recipe": "published/idc/imagenet10-ipc10"})


def test_the_word_is_part_of_no_key_unless_it_was_said() -> None:
    from bilp.artifacts.artifact import plain

    assert "recipe_dataset" not in plain(PipelineConfig(recipe=CELL))
    assert plain(PipelineConfig(recipe=CELL, dataset="digits", recipe_dataset="any"))["recipe_dataset"] == "any"


def test_an_unreadable_recipe_is_an_error_of_ours(recipe: Path) -> None:
    write(recipe, "ipc: 010\n")
    with pytest.raises(ConfigError, match="line 1: ipc: 010"):
        load_recipe(str(recipe))

"""The house rules that a reader cannot see at a glance: who imports whom, and what is not used anywhere."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from import_graph import LAYERS, REPOSITORY, SOURCES, imports, module_of, tree_of

from bilp.storage.backend import Store

# Modules of bilp that may look at a clock, and why.
CLOCKS: dict[str, str] = {
    "bilp/artifacts/duration.py": "seconds of the work, in the manifest",
    "bilp/artifacts/lease.py": "expiry and silence of leases",
    "bilp/artifacts/usage.py": "how long ago this process marked what it found",
    "bilp/artifacts/publication.py": "created_at of an artifact",
    "bilp/costs/timed_steps.py": "how long real steps take that a plan is scaled by",
    "bilp/storage/s3.py": "waits between two attempts of a conditional write",
    "bilp/storage/transient.py": "how long a storage has been away",
}

# The one module that reads what others pickled: it has torch rebuild tensors only.
PICKLED = "bilp/storage/pickled.py"
WEIGHTS_ONLY = "weights_only=True"

FORBIDDEN_MODULES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "random"}
FORBIDDEN_CALLS = {
    "torch.load": "runs code that a file names",
    "torch.save": "writes pickle",
    "torch.manual_seed": "seeds the global generator",
    "torch.seed": "seeds from the clock",
    "numpy.random.seed": "seeds the global generator",
    "np.random.seed": "seeds the global generator",
    "np.load": "can run code that a file names",
    "numpy.load": "can run code that a file names",
    "pd.read_pickle": "runs code that a file names",
    "yaml.load": "runs code that a file names",
    "yaml.unsafe_load": "runs code that a file names",
    "np.random.default_rng": "bilp.seeds.generator names its streams",
    "numpy.random.default_rng": "bilp.seeds.generator names its streams",
    "hash": "differs from process to process for text",
    "eval": "runs text",
    "exec": "runs text",
}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Everything called by a dotted name: 'torch.load', 'hash'."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (name := dotted(node.func)):
            yield name, node


def dotted(node: ast.expr) -> str:
    """A name, with those of what it is taken from; nothing for an expression of another kind."""
    if isinstance(node, ast.Name):
        return node.id
    before = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{before}.{node.attr}" if before and isinstance(node, ast.Attribute) else ""


def broken_rules(name: str, source: str) -> list[str]:
    """What a module that lies at `name` may not do."""
    tree = tree_of(source)
    layer = name.split("/")[0]
    above = set(LAYERS[LAYERS.index(layer) + 1 :]) | ({"prefect"} if layer == "bilp" else set())
    imported = list(imports(tree))
    broken = [f"imports {module}" for module in imported if module.split(".")[0] in above | FORBIDDEN_MODULES]
    called = list(calls(tree))
    broken += [f"calls {call}: {FORBIDDEN_CALLS[call]}" for call, _ in called if call in FORBIDDEN_CALLS]
    if name == PICKLED:
        unsafe = [node for call, node in called if call == "torch.load" and WEIGHTS_ONLY not in ast.unparse(node)]
        broken = [rule for rule in broken if rule != "imports pickle" and not (rule.startswith("calls torch.load") and not unsafe)]
        broken += [f"calls {call}, which runs code that a file names" for call, _ in called if call.startswith("pickle.")]
    clocks = [module for module in imported if module.split(".")[0] in ("time", "datetime")]
    if layer == "bilp" and name not in CLOCKS:
        broken += [f"imports {module}, a clock" for module in clocks]
    return broken


def test_every_module_keeps_the_rules() -> None:
    assert {name: broken for name, source in SOURCES.items() if (broken := broken_rules(name, source))} == {}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("bilp/x.py", "import prefect"),
        ("bilp/x.py", "from prefect.futures import wait"),
        ("bilp/x.py", "from tasks import score"),
        ("bilp/x.py", "def f():\n    import flows.pipeline"),
        ("tasks/x.py", "from flows.score import score"),
        ("flows/x.py", "import deployments"),
        ("flows/x.py", "import pickle"),
        ("tasks/x.py", "from random import shuffle"),
        ("bilp/x.py", "import torch\ntorch.load('x')"),
        ("bilp/x.py", "import torch\ntorch.load('x', weights_only=True)"),
        (PICKLED, "import torch\ntorch.load('x')"),
        (PICKLED, "import torch\ntorch.load('x', weights_only=True)\ntorch.load('y', weights_only=False)"),
        (PICKLED, "import pickle\npickle.loads(b'')"),
        ("bilp/x.py", "import torch\ntorch.manual_seed(time_ns())"),
        ("bilp/x.py", "import time"),
        ("bilp/x.py", "from datetime import datetime"),
        ("bilp/x.py", "import drill.rehearsal"),
        ("deployments/x.py", "from drill import chaos"),
    ],
)
def test_the_rules_notice(name: str, source: str) -> None:
    assert broken_rules(name, source)


def test_the_exception_for_pickled_tensors_is_still_needed() -> None:
    loads = [node for call, node in calls(tree_of(SOURCES[PICKLED])) if call == "torch.load"]
    assert [WEIGHTS_ONLY in ast.unparse(node) for node in loads] == [True]


def test_clocks_are_still_where_they_are_allowed() -> None:
    for name in CLOCKS:
        assert any(module.startswith(("datetime", "time")) for module in imports(tree_of(SOURCES[name])))


def too_long(source: str) -> list[str]:
    """A module of more than 400 lines, and functions of 60 or more."""
    length = len(source.splitlines())
    found = [f"{length} lines"] if length > 400 else []
    functions = [node for node in ast.walk(tree_of(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return found + [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 60]


def test_modules_and_functions_stay_small() -> None:
    assert {name: found for name, source in SOURCES.items() if (found := too_long(source))} == {}


def test_what_is_too_long_is_noticed() -> None:
    assert too_long("x = 1\n" * 401) == ["401 lines"]
    assert too_long("class A:\n    async def f():\n" + "        x = 1\n" * 60) == ["f"]
    assert too_long("def f():\n" + "    x = 1\n" * 59) == []


def undescribed(name: str, tree: ast.Module) -> list[str]:
    """The module, and public functions and classes of it, without a docstring; what a protocol describes needs none of its own."""
    described = set(vars(Store)) if name.startswith("bilp/storage/") else set()
    found = [] if ast.get_docstring(tree) or not tree.body else ["the module"]
    public = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")]
    return found + [node.name for node in public if not ast.get_docstring(node) and node.name not in described]


def test_modules_of_bilp_and_what_they_offer_are_described() -> None:
    ours = [name for name in SOURCES if name.startswith("bilp/")]
    assert {name: found for name in ours if (found := undescribed(name, tree_of(SOURCES[name])))} == {}


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("bilp/x.py", "x = 1", ["the module"]),
        ("bilp/x.py", '"""X."""\ndef f(): ...\nclass A: ...\ndef _g(): ...', ["f", "A"]),
        ("bilp/storage/x.py", '"""X."""\ndef read(): ...\ndef reed(): ...', ["reed"]),
    ],
)
def test_what_is_not_described_is_noticed(name: str, source: str, found: list[str]) -> None:
    assert undescribed(name, ast.parse(source)) == found


def test_every_command_opens_with_itself() -> None:
    commands = [name for name, source in SOURCES.items() if name.startswith("flows/") and "program.run" in source]
    assert len(commands) > 5
    first = {name: (ast.get_docstring(tree_of(SOURCES[name])) or "").partition("\n")[0] for name in commands if name != "flows/program.py"}
    assert {name: line for name, line in first.items() if not line.startswith(f"python -m flows.{Path(name).stem} --dataset ")} == {}


@pytest.mark.slow
def test_bilp_works_without_prefect() -> None:
    """Every module of bilp is imported in a process in which importing prefect fails."""
    names = sorted(module_of(name) for name in SOURCES if name.startswith("bilp/"))
    program = "import importlib, sys; sys.modules['prefect'] = None; [importlib.import_module(name) for name in sys.argv[1:]]"
    done = subprocess.run([sys.executable, "-c", program, *names], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_flow_is_imported_without_torch() -> None:
    """Torch takes longer to import than everything else; whoever asks for help or finds everything there already need not wait for it."""
    program = "import sys; sys.modules['torch'] = None; import flows.pipeline, tasks.stages, bilp.config.command_line"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""The house rules that a reader cannot see at a glance: who imports whom, and what is not used anywhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bilp.storage.backend import Store

REPOSITORY = Path(__file__).resolve().parent.parent
LAYERS = ("bilp", "tasks", "flows", "deployments", "drill")  # each may import what stands before it

# Modules of bilp that may look at a clock, and why.
CLOCKS: dict[str, str] = {
    "bilp/artifacts/lease.py": "expiry and silence of leases",
    "bilp/artifacts/publication.py": "created_at of an artifact",
    "bilp/storage/s3.py": "waits between two attempts of a conditional write",
    "bilp/storage/transient.py": "how long a storage has been away",
}

# The one module that reads what reference projects pickled: it names the errors of pickle, and has torch rebuild tensors only.
PICKLED = "bilp/exchange/reference_files.py"
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


def modules(layer: str) -> list[Path]:
    return sorted((REPOSITORY / layer).rglob("*.py"))


SOURCES = [path for layer in LAYERS for path in modules(layer)]


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything imported anywhere in a module, functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything called: 'torch.load', 'hash'."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def loads(tree: ast.AST) -> Iterator[ast.Call]:
    """Every call of torch.load."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            yield node


def broken_rules(name: str, source: str) -> list[str]:
    """What a module that lies at `name` may not do."""
    tree = ast.parse(source)
    layer = name.split("/")[0]
    above = set(LAYERS[LAYERS.index(layer) + 1 :]) | ({"prefect"} if layer == "bilp" else set())
    imported = list(imports(tree))
    broken = [f"imports {module}" for module in imported if module.split(".")[0] in above | FORBIDDEN_MODULES]
    broken += [f"calls {call}: {FORBIDDEN_CALLS[call]}" for call in calls(tree) if call in FORBIDDEN_CALLS]
    if name == PICKLED:
        unsafe = [call for call in loads(tree) if WEIGHTS_ONLY not in ast.unparse(call)]
        broken = [rule for rule in broken if rule != "imports pickle" and not (rule.startswith("calls torch.load") and not unsafe)]
        broken += [f"calls {call}, which runs code that a file names" for call in calls(tree) if call.startswith("pickle.")]
    clocks = [module for module in imported if module.split(".")[0] in ("time", "datetime")]
    if layer == "bilp" and name not in CLOCKS:
        broken += [f"imports {module}, a clock" for module in clocks]
    return broken


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_module_keeps_the_rules(path: Path) -> None:
    assert broken_rules(name_of(path), path.read_text(encoding="utf-8")) == []


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
    ],
)
def test_the_rules_notice(name: str, source: str) -> None:
    assert broken_rules(name, source)


def test_the_exception_for_pickled_tensors_is_still_needed() -> None:
    tree = ast.parse((REPOSITORY / PICKLED).read_text(encoding="utf-8"))
    assert [WEIGHTS_ONLY in ast.unparse(call) for call in loads(tree)] == [True]


def test_clocks_are_still_where_they_are_allowed() -> None:
    for name in CLOCKS:
        assert any(
            module.startswith(("datetime", "time")) for module in imports(ast.parse((REPOSITORY / name).read_text(encoding="utf-8")))
        )


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_modules_and_functions_stay_small(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 400
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{node.name} is too long"


def public_definitions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node


@pytest.mark.parametrize("path", modules("bilp"), ids=name_of)
def test_modules_of_bilp_and_what_they_offer_are_described(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    elsewhere = set(vars(Store)) if path.parent.name == "storage" else set()  # described by the protocol
    assert ast.get_docstring(tree) or not tree.body
    assert [node.name for node in public_definitions(tree) if not ast.get_docstring(node) and node.name not in elsewhere] == []


@pytest.mark.parametrize("path", [p for p in modules("flows") if "program.run" in p.read_text(encoding="utf-8")], ids=name_of)
def test_every_command_opens_with_itself(path: Path) -> None:
    if path.stem == "program":
        return
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]
    assert re.match(rf"python -m flows\.{path.stem} --dataset ", first)


def test_bilp_works_without_prefect() -> None:
    """Every module of bilp is imported in a process in which importing prefect fails."""
    names = sorted(name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in modules("bilp"))
    program = "import importlib, sys; sys.modules['prefect'] = None; [importlib.import_module(name) for name in sys.argv[1:]]"
    done = subprocess.run([sys.executable, "-c", program, *names], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

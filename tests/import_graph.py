"""The modules of this repository as they lie there, and who imports whom."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LAYERS = ("bilp", "tasks", "flows", "deployments", "drill")  # each may import what stands before it

Graph = Mapping[str, Collection[str]]
"""For each module (or room) those that it imports."""

SOURCES = {
    str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8")
    for layer in LAYERS
    for path in sorted((REPOSITORY / layer).rglob("*.py"))
}
"""The text of every module by its path."""


def module_of(name: str) -> str:
    """The dotted name of the module that lies at a path."""
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def tree_of(source: str) -> ast.Module:
    """The syntax tree of a module, which nobody changes."""
    return ast.parse(source)


@cache
def texts(source: str) -> tuple[tuple[str, int, bool], ...]:
    """Every text that a module spells, with its line, and whether it stands for itself, as docstrings do."""
    tree = ast.parse(source)
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    spelled = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return tuple((str(node.value), node.lineno, id(node) in alone) for node in spelled)


def imports(tree: ast.AST, late: bool = True) -> Iterator[str]:
    """Dotted names of everything that a module imports; unless `late`, without what only its functions import or type checkers see."""
    for node in ast.walk(tree) if late else _at_once(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _at_once(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that are carried out when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from (found for other in node.orelse for found in (other, *_at_once(other)))
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _at_once(node)


def graph(sources: Mapping[str, str], late: bool) -> dict[str, set[str]]:
    """Which of the modules of `sources` each of them imports, by dotted names."""
    modules = {module_of(name) for name in sources}
    found: dict[str, set[str]] = {}
    for name, source in sources.items():
        asked = {whole if whole in modules else whole.rpartition(".")[0] for whole in imports(tree_of(source), late)}
        found[module_of(name)] = (asked & modules) - {module_of(name)}
    return found


def rooms(modules: Graph, sources: Collection[str]) -> dict[str, set[str]]:
    """The same among rooms: the folders directly below a layer, and the modules that lie loose in it."""
    folders = {".".join(name.split("/")[:2]) for name in sources if name.count("/") > 1}

    def room(module: str) -> str:
        first = ".".join(module.split(".")[:2])
        return first if first in folders else module

    found: dict[str, set[str]] = {room(module): set() for module in modules}
    for module, asked in modules.items():
        found[room(module)] |= {room(other) for other in asked} - {room(module)}
    return found


def circles(of: Graph) -> list[list[str]]:
    """Groups in which everything reaches everything else, each in alphabetical order."""
    reached = {start: _reached(of, start) for start in of}
    groups = {tuple(sorted(other for other in reached[start] if start in reached[other])) for start in of if start in reached[start]}
    return sorted(list(group) for group in groups)


def _reached(of: Graph, start: str) -> set[str]:
    found: set[str] = set()
    ahead = list(of[start])
    while ahead:
        if (here := ahead.pop()) not in found:
            found.add(here)
            ahead += of[here]
    return found


def longest_chain(of: Graph) -> list[str]:
    """The longest way from import to import; there must be no circle."""

    @cache
    def below(start: str) -> tuple[str, ...]:
        return (start, *max((below(other) for other in sorted(of[start])), key=len, default=()))

    return list(max((below(start) for start in sorted(of)), key=len))

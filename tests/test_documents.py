"""What the documents name is there: modules and their members, files, programs, and the pages that they link."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "deployments/README.md", "benchmarks/records.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
PACKAGES = "bilp|tasks|flows|deployments|drill|benchmarks|tests"
FOLDERS = f"{PACKAGES}|docs|recipes"

DOTTED = re.compile(rf"(?<![\w./:-])(?:{PACKAGES})(?!\.example)(?:\.\w+)+(?::\w+(?:\.\w+)*)?(?![\w/-])")
FILE = re.compile(rf"(?<![\w./-])(?:{FOLDERS})/(?:[\w-]+/)*[\w-]+(?:\.\w+)*")
TEST_FILE = re.compile(r"(?<![\w./-])(?:\w+/)?test_\w+(?:\.py)?")
PROGRAM = re.compile(rf"python -m ((?:{PACKAGES})(?:\.\w+)+)")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)[^)]*\)")
ANCHOR = re.compile(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)")
ENTRY_POINTS = re.compile(r"bilp\.(?:methods|criteria|sources|networks)(?![\w.:])")
"""Groups of entry points, which look like modules."""


def there(name: str) -> bool:
    """Whether a module of ours, or what it defines or imports, exists: 'bilp.seeds.generator', 'bilp.config.pipeline:A.b'."""
    module, _, member = name.partition(":")
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        place = REPOSITORY.joinpath(*parts[:length])
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if file.is_file():
            members = parts[length:] + (member.split(".") if member else [])
            return _defines(ast.parse(file.read_text(encoding="utf-8")), members)
    return False


def _defines(tree: ast.AST, members: list[str]) -> bool:
    """Whether the first member is defined or imported in the module or class, and the others in it likewise."""
    if not members:
        return True
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and _defines(node, members):  # imports for type checkers
            return True
        if isinstance(node, ast.ImportFrom) and members[0] in [alias.asname or alias.name for alias in node.names]:
            return len(members) == 1
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == members[0]:
            return _defines(node, members[1:])
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        if members[0] in [target.id for target in targets if isinstance(target, ast.Name)]:
            return len(members) == 1
    return False


def missing(text: str, place: Path) -> Iterator[str]:
    """What a document that lies at `place` names and is not there."""
    modules = {name for name in DOTTED.findall(text) if not ENTRY_POINTS.fullmatch(name) and not name.endswith(":NAME")}
    yield from sorted(name for name in modules if not there(name))
    yield from sorted(name for name in set(PROGRAM.findall(text)) if not (REPOSITORY / f"{name.replace('.', '/')}.py").exists())
    yield from sorted(name for name in set(FILE.findall(text)) if not _lies(name))
    yield from sorted(name for name in set(TEST_FILE.findall(text)) if not _is_test(name))
    yield from sorted(name for name in set(LINK.findall(text)) if not (place.parent / name).exists())


def _lies(name: str) -> bool:
    """Whether a file or folder is there, where a document may name the one that somebody adds, and leave `tests/` and `.py` out."""
    places = [REPOSITORY / name, REPOSITORY / "tests" / name]
    return "NAME" in name or any(path.exists() or path.with_name(f"{path.name}.py").exists() for path in places)


def _is_test(name: str) -> bool:
    """Whether a test module, or a folder of them, is there, named with its room or alone."""
    return any((REPOSITORY / "tests").glob(f"**/{name.removeprefix('tests/').removesuffix('.py')}.py"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=[str(path.relative_to(REPOSITORY)) for path in DOCUMENTS])
def test_what_a_document_names_is_there(document: Path) -> None:
    assert list(missing(document.read_text(encoding="utf-8"), document)) == []


def anchors(text: str) -> set[str]:
    """What a link may name in a page: its headings as GitHub spells them, and the ids in it."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {
        *(re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings),
        *re.findall(r'id="([^"]+)"', text),
    }


def not_linked(text: str, place: Path) -> Iterator[str]:
    """Parts of pages that a document at `place` links and that are not there."""
    for page, anchor in ANCHOR.findall(text):
        target = place.parent / page if page else place
        if anchor not in anchors(target.read_text(encoding="utf-8")):
            yield f"{page}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=[str(path.relative_to(REPOSITORY)) for path in DOCUMENTS])
def test_parts_of_pages_that_a_document_links_are_there(document: Path) -> None:
    assert list(not_linked(document.read_text(encoding="utf-8"), document)) == []


def test_parts_of_pages_that_are_not_there_are_found() -> None:
    text = "[a](docs/glossary.md#ite), [b](docs/glossary.md#nothing), [c](#two-commands), [d](https://example.org#x)"
    assert list(not_linked(text, REPOSITORY / "README.md")) == ["docs/glossary.md#nothing"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`bilp.seeds.generator` and `bilp.config.pipeline:PipelineConfig._fill_in`", []),
        ("`bilp.seeds.generators`", ["bilp.seeds.generators"]),
        ("`bilp.seeds:generators`", ["bilp.seeds:generators"]),
        ("`bilp.manifest` is gone", ["bilp.manifest"]),
        ("in `bilp/manifest.py`", ["bilp/manifest.py"]),
        ("`tests/causal`, `bilp/seeds.py`", []),
        ("python -m deployments.chaos --seed 1", ["deployments.chaos", "deployments.chaos"]),
        ("python -m drill.chaos", []),
        ("`config/test_nothing`", ["config/test_nothing"]),
        ("[keys](docs/keys.md#page), [gone](docs/gone.md)", ["docs/gone.md", "docs/gone.md"]),
        ("the entry points `bilp.methods`", []),
    ],
)
def test_what_is_not_there_is_found(text: str, found: list[str]) -> None:
    assert list(missing(text, REPOSITORY / "README.md")) == found

"""Nothing that scores, prunes, distills or trains can know true labels: no module of theirs imports what reads them."""

from __future__ import annotations

import pytest
from import_graph import SOURCES, graph, module_of

MAY_KNOW = (
    "bilp.truth",
    "bilp.suspects",
    "bilp.report",
    "bilp.results",
    "bilp.studies",
    "bilp.api",
    "bilp.maintenance",
    "tasks",
    "flows",
    "deployments",
    "drill",
)
"""Who judges, shows, keeps or hands over results."""
WRITER = "bilp.data.truth_file"
MAY_WRITE = ("bilp.truth", "bilp.data")


def inside(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def told(imports: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Modules that import what they must not know."""
    return sorted(
        (module, other)
        for module, others in imports.items()
        for other in others
        if (inside(other, ("bilp.truth",)) and not inside(module, MAY_KNOW)) or (other == WRITER and not inside(module, MAY_WRITE))
    )


def test_only_those_that_judge_import_the_truth() -> None:
    named = {name: source for name, source in SOURCES.items() if "truth" in source or "truth" in name}  # to parse all takes seconds
    assert told(graph(named, late=True)) == []
    assert len(named) > 5


def test_the_rooms_of_the_list_are_not_those_that_train() -> None:
    trains = ("scoring", "pruning", "experts", "distill", "causal", "matching", "nets", "evaluate", "search", "images", "data", "exchange")
    assert not [room for room in trains if inside(f"bilp.{room}", MAY_KNOW)]
    assert {module_of(name) for name in SOURCES} >= {"bilp.truth.table", WRITER}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("bilp/scoring/x.py", "from bilp.truth.table import open_truth"),
        ("bilp/evaluate/x.py", "def f():\n    import bilp.truth.oracle"),
        ("bilp/pruning/x.py", "from bilp.truth import table"),
        ("bilp/distill/x.py", "from bilp.data.truth_file import truth_uri"),
        ("bilp/data/x.py", "from bilp.truth.table import open_truth"),
    ],
)
def test_an_import_is_noticed(name: str, source: str) -> None:
    known = dict.fromkeys(("bilp/truth/__init__.py", "bilp/truth/table.py", "bilp/truth/oracle.py", "bilp/data/truth_file.py"), "")
    assert [module for module, _ in told(graph({**known, name: source}, late=True))] == [module_of(name)]

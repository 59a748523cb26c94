"""The plan of the house: no circle of imports, few loose modules, and a name that means one module."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Mapping

import pytest
import yaml
from import_graph import LAYERS, REPOSITORY, SOURCES, circles, graph, imports, module_of, rooms, tree_of

MOST_LOOSE = 8

# Circles that are closed by imports inside of functions, and why.
LATE_CIRCLES: dict[tuple[str, ...], str] = {
    ("flows.commands.run", "flows.pipeline", "flows.report"): (
        "the command of the page is the command of the pipeline, which looks whether there is anything to do before Prefect is imported"
    ),
    ("flows.study", "flows.study_processes"): "the processes beside that of a study carry out a flow of the module that starts them",
}
CIRCLES_OF_ROOMS: dict[tuple[str, ...], str] = {}

# Folders in which modules are named as those elsewhere that they belong to; within each side a name is used once.
PARALLEL = {
    "bilp/config/": "the settings of a stage, a method or a concept, named as the room or module that they are of",
    "bilp/artifacts/facts/": "the facts of artifacts, named as the stage that makes them",
    "bilp/data/sources/folder/": "one form of source, beside the others",
    "bilp/data/sources/parquet/": "likewise",
}
TWICE = {
    "metrics": "accuracies and their intervals, and how well a score tells wrong labels",
    "oracle": "the effect by its definition, and the selection by true labels",
    "batch": "the real samples of a class in an image step, and those that an effect is measured on",
    "registry": "the one class of registries, and the registry of loops",
    "synthetic": "the synthetic images of a step, and the section of the page that shows them",
}


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circles(graph(SOURCES, late=False)) == []


def test_circles_through_imports_inside_of_functions_are_listed_with_a_reason() -> None:
    inside = {
        name: source for name, source in SOURCES.items() if name != "bilp/__init__.py"
    }  # whose names are looked up when they are asked for
    assert circles(graph(inside, late=True)) == sorted(map(list, LATE_CIRCLES))


def test_no_room_imports_itself_by_way_of_others() -> None:
    assert circles(rooms(graph(SOURCES, late=False), SOURCES)) == sorted(map(list, CIRCLES_OF_ROOMS))


def loose(sources: Collection[str]) -> list[str]:
    """Modules that lie in bilp itself rather than in a room of it."""
    return [name for name in sources if name.startswith("bilp/") and name.count("/") == 1 and not name.endswith("__.py")]


def test_few_modules_of_bilp_lie_loose() -> None:
    assert len(loose(SOURCES)) <= MOST_LOOSE, loose(SOURCES)


def used_twice(sources: Collection[str]) -> dict[str, list[str]]:
    """Names that several modules of one side of bilp have."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in sources:
        if path.startswith("bilp/") and not path.endswith("__init__.py"):
            side = next((folder for folder in PARALLEL if path.startswith(folder)), "")
            found[side, path.rpartition("/")[2].removesuffix(".py")].append(path)
    return {name: paths for (_, name), paths in found.items() if len(paths) > 1}


def test_a_name_means_one_module() -> None:
    assert used_twice(SOURCES).keys() == TWICE.keys(), used_twice(SOURCES)


def test_the_folders_that_run_parallel_are_still_there() -> None:
    assert [folder for folder in PARALLEL if not any(path.startswith(folder) for path in SOURCES)] == []


def hiding(folders: Collection[str], sources: Mapping[str, str]) -> list[str]:
    """Modules in these folders named as a package that is imported somewhere."""
    packages = {whole.partition(".")[0] for source in sources.values() for whole in imports(tree_of(source))} | {*LAYERS}
    return [path for path in sources if path.rpartition("/")[0] in folders and path.rpartition("/")[2].removesuffix(".py") in packages]


def test_what_a_worker_loads_as_a_script_hides_no_package() -> None:
    """The folder of a script comes first where modules are looked for."""
    deployments = yaml.safe_load((REPOSITORY / "deployments" / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    folders = {entry["entrypoint"].partition(":")[0].rpartition("/")[0] for entry in deployments}
    assert folders >= {"flows", "flows/units"}
    assert hiding(folders, SOURCES) == []


def test_what_hides_a_package_is_noticed() -> None:
    house = {
        "flows/a.py": "import numpy.linalg",
        "flows/x/flows.py": "",
        "flows/x/numpy.py": "",
        "flows/x/a.py": "",
        "flows/y/flows.py": "",
    }
    assert hiding({"flows/x"}, house) == ["flows/x/flows.py", "flows/x/numpy.py"]


HOUSE = {
    "bilp/__init__.py": "",
    "bilp/a/x.py": "from bilp.b.y import f",
    "bilp/a/z.py": "",
    "bilp/b/y.py": "def g():\n    import bilp.c",
    "bilp/c.py": "from bilp.a import x, z",
}


def test_circles_are_noticed() -> None:
    assert circles(graph(HOUSE, late=False)) == []
    assert circles(graph(HOUSE, late=True)) == [["bilp.a.x", "bilp.b.y", "bilp.c"]]
    at_once = HOUSE | {"bilp/b/y.py": "try:\n    import bilp.c\nfinally:\n    pass"}
    assert circles(graph(at_once, late=False)) == [["bilp.a.x", "bilp.b.y", "bilp.c"]]


def test_circles_of_rooms_are_noticed_where_no_module_is_in_one() -> None:
    house = HOUSE | {"bilp/b/y.py": "from bilp.a.z import h"}
    assert circles(graph(house, late=False)) == []
    assert circles(rooms(graph(house, late=False), house)) == [["bilp.a", "bilp.b"]]


@pytest.mark.parametrize(
    ("source", "at_once", "altogether"),
    [
        ("import a.b", ["a.b"], ["a.b"]),
        ("from a import b, c", ["a.b", "a.c"], ["a.b", "a.c"]),
        ("class A:\n    import b", ["b"], ["b"]),
        ("async def f():\n    import b", [], ["b"]),
        ("if TYPE_CHECKING:\n    import b\nelse:\n    import c", ["c"], ["b", "c"]),
    ],
)
def test_imports_are_found(source: str, at_once: list[str], altogether: list[str]) -> None:
    assert [*imports(ast.parse(source), late=False)] == at_once
    assert sorted(imports(ast.parse(source))) == altogether


def test_loose_modules_and_names_used_twice_are_noticed() -> None:
    house = ["bilp/__init__.py", "bilp/a.py", "bilp/b/a.py", "bilp/config/a.py", "tasks/a.py", "bilp/config/methods/a.py"]
    assert loose(house) == ["bilp/a.py"]
    assert used_twice(house[:-1]) == {"a": ["bilp/a.py", "bilp/b/a.py"]}
    assert used_twice(house[1:2] + house[3:]) == {"a": ["bilp/config/a.py", "bilp/config/methods/a.py"]}
    assert module_of(house[0]) == "bilp"

"""Methods and protocols: whatever is said of them elsewhere, in code, tests and documents, covers the registries, and no name is tested."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from import_graph import texts

from benchmarks.references import REFERENCES
from bilp.config import METHODS, PROTOCOLS, DistillConfig, NetworkConfig, PipelineConfig
from bilp.config.base import Frozen
from bilp.config.decode import DecodeConfig
from bilp.config.methods import Cell, Method, PluginConfig, divisible
from bilp.config.real_part import RealPartConfig
from bilp.matching import matching_for
from bilp.registry import resolve

REPOSITORY = Path(__file__).resolve().parents[2]
# Fields of `distill` that hold the settings of several methods' parts, rather than of single methods.
SHARED_FIELDS = {"network": NetworkConfig, "decode": DecodeConfig, "plugin": PluginConfig, "real_part": RealPartConfig}

# Where a method's or protocol's name may be written, because it is the name of something else there, or advice.
OTHER_MEANINGS = {
    "bilp/exchange/reference_files.py": "layouts of reference projects' files",
    "bilp/exchange/frepo_files.py": "likewise",
    "bilp/config/import_options.py": "how a reference program normalizes and whitens images",
    "bilp/nets/resnet.py": "the first layers of IDC's ResNet",
    "bilp/matching/gradients.py": "what to use for a network without weight matrices",
    "bilp/matching/kernels.py": "what to use for a network without convolutions",
}
# Also a kind of labels: evaluate.labels.
AMBIGUOUS = {"soft"}


def named(source: str) -> set[str]:
    """Methods and protocols that occur as words of texts in a module, docstrings and names of settings aside."""
    words = {word for text, _, alone in texts(source) if not alone for word in re.findall(r"(?<![\w./:-])[a-z]+(?![\w./:-])", text)}
    return words & ({*METHODS, *PROTOCOLS} - AMBIGUOUS)


def test_a_name_is_tested_nowhere() -> None:
    own = REPOSITORY / "bilp" / "config"
    modules = [path for layer in ("bilp", "tasks", "flows", "deployments", "drill") for path in (REPOSITORY / layer).rglob("*.py")]
    elsewhere = [path for path in modules if own / "methods" not in path.parents and path != own / "protocols.py"]
    found = {str(path.relative_to(REPOSITORY)): names for path in elsewhere if (names := named(path.read_text(encoding="utf-8")))}
    assert not {path: names for path, names in found.items() if path not in OTHER_MEANINGS}, "ask the entry instead (bilp/config/methods)"
    assert set(found) == set(OTHER_MEANINGS), "an exception that is no longer needed"


def test_the_search_for_names_finds_them() -> None:
    described = '"""Of dm."""\nclass A:\n    x = 1\n    """As dc does."""\n'
    source = f'{described}if method in ("mtt", other):\n    raise E(f"use {{x}} or cafe, not idc.metric")\n'
    assert named(source) == {"mtt", "cafe"}


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_what_an_entry_names_is_there(method: Method) -> None:
    names = [
        method.matching,
        method.loop,
        method.schedule,
        method.networks,
        *method.parts.values(),
        *filter(None, [method.carried, method.requires, method.work]),
    ]
    assert all(isinstance(resolve(name), Callable) for name in names)  # type: ignore[arg-type]
    assert resolve(method.schedule)(PipelineConfig(method=method.name).distill).outer_loops >= 1
    assert matching_for(method.name).name
    assert method.protocol in PROTOCOLS
    assert not method.augmented_as or METHODS[method.augmented_as].augmentation != "none"
    assert all((method.title, method.paper, re.search(r"arXiv \d{4}\.\d{5}$", method.venue)))


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_rules_set_what_exists_and_the_method_s_own_settings_alone(method: Method) -> None:
    cells = [
        Cell(dataset, ipc, small=small) for dataset in ("mnist", "svhn", "cifar100", "folder") for ipc in (1, 10) for small in (False, True)
    ]
    foreign = {field for other in METHODS.values() for field in other.settings} - set(method.settings)
    for cell in cells:
        for rule in (method.values, method.small, method.evaluation, method.exceptions):
            assert not foreign & set(rule(cell).get("distill", {}))
    for name in method.convnet_bn:
        assert f"batch_norm_{name}" in PipelineConfig().evaluate.model_dump()


def test_every_settings_model_belongs_to_a_method() -> None:
    models = {name: field.annotation for name, field in DistillConfig.model_fields.items() if _is_model(field.annotation)}
    owned = {field: model for method in METHODS.values() for field, model in method.settings.items()}
    assert models == {**owned, **SHARED_FIELDS}


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Frozen)


def test_documents_tests_and_benchmarks_know_every_method() -> None:
    methods, evaluation = ((REPOSITORY / "docs" / name).read_text(encoding="utf-8") for name in ("methods.md", "evaluation.md"))
    table = methods.partition("| method | what is compared | pruning |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[1:]]
    levels = {name: row[2] for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert {name: level.startswith("both levels") for name, level in levels.items()} == {m.name: m.adaptive for m in METHODS.values()}
    (dial,) = [line for line in methods.splitlines() if line.startswith("| `method` |")]
    assert re.findall(r"`(\w+)`", dial) == ["method", *METHODS]
    (protocols,) = [line for line in evaluation.splitlines() if line.startswith("`--evaluate.protocol ")]
    assert all(entry.least_side == 1 or str(entry.least_side) in evaluation for entry in PROTOCOLS.values())
    assert re.findall(r"`(?:--evaluate.protocol )?(\w+)`", protocols) == list(PROTOCOLS)
    curves = {path.stem.removeprefix("expected_") for path in (REPOSITORY / "tests" / "distill").glob("expected_*.json")}
    assert curves == set(METHODS) == set(REFERENCES)


def test_methods_whose_classes_can_be_divided_are_told_with_the_settings_they_need() -> None:
    assert divisible() == "dm, idc, dream, ncfm, rded, ca2d or lpld, or dc or dsa with outer_loops = 1"
    assert [name for name, method in METHODS.items() if method.independent(PipelineConfig(method=name, ipc=10).distill)] == [
        "dm",
        "idc",
        "dream",
        "ncfm",
        "rded",
        "ca2d",
        "lpld",
    ]


def test_settings_of_a_package_derive_from_those_that_the_field_holds() -> None:
    class Loose(Frozen):
        """Not a PluginConfig."""

    with pytest.raises(TypeError, match="Loose of method toy"):
        Method(name="toy", title="", paper="", venue="", matching="", settings={"plugin": Loose})

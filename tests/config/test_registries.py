"""The registries of what varies in data, networks and evaluation: names occur in them alone, and all that speaks of them covers them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from import_graph import texts

from bilp.config import EvaluateConfig, IngestConfig, NetworkConfig, PipelineConfig
from bilp.config.arithmetics import ARITHMETICS
from bilp.config.augmentations import AUGMENTATIONS, OPERATIONS
from bilp.config.baselines import BASELINES
from bilp.config.exports import FORMATS
from bilp.config.import_options import PIXELS
from bilp.config.label_noise import NOISES
from bilp.config.network import NETWORKS, POOLS, SHAPING, NetworkEntry
from bilp.config.normalization import NORMALIZATIONS
from bilp.config.real_passes import REAL_PASSES
from bilp.config.sources import OWN, SOURCES, SourceEntry
from bilp.registry import Registry, resolve
from bilp.report.comparison import network_title
from bilp.report.wording import ARM_ORDER, arm_words, dataset_title

REPOSITORY = Path(__file__).resolve().parent.parent.parent
EVERYWHERE = ("bilp", "tasks", "flows")

REGISTRIES: dict[str, Registry[Any]] = {
    "sources": SOURCES,
    "networks": NETWORKS,
    "pools": POOLS,
    "normalizations": NORMALIZATIONS,
    "scales of pixels": PIXELS,
    "augmentations": AUGMENTATIONS,
    "operations": OPERATIONS,
    "real passes": REAL_PASSES,
    "baselines": BASELINES,
    "formats": FORMATS,
    "label noises": NOISES,
    "arithmetics": ARITHMETICS,
}

# Modules that may spell names of a registry beside the one that holds it (the first), and why; names that mean several things are
# looked for only in the rooms where they mean this one.
NAMED: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "sources": (
        EVERYWHERE,
        {
            "bilp/config/sources.py": "the registry",
            "bilp/config/methods": "values that papers of methods publish for a data set, keyed by its name",
            "bilp/config/exports.py": "folder and parquet are formats, too",
            "bilp/data/sources": "what opens them",
            "bilp/config/import_options.py": "the constants by which reference programs normalize other data sets as well",
        },
    ),
    "networks": (EVERYWHERE, {"bilp/config/network.py": "the registry, and the pools made of its entries"}),
    "baselines": (
        (
            "bilp/evaluate",
            "bilp/config/arms.py",
            "bilp/config/evaluate.py",
            "bilp/report",
            "bilp/artifacts/facts/evaluation.py",
            "tasks",
            "flows",
        ),
        {
            "bilp/evaluate/baselines.py": "the name of a random stream",
        },
    ),
    "augmentations": (("bilp/images", "bilp/evaluate", "bilp/distill/step/real_training.py"), {}),
    "operations": (("bilp/images", "bilp/evaluate"), {}),
    "formats": (("bilp/exchange", "flows"), {}),
}


def modules(places: tuple[str, ...]) -> Iterator[Path]:
    for place in places:
        path = REPOSITORY / place
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def spelled(source: str, names: Registry[Any]) -> list[str]:
    """Names of a registry that a module spells, docstrings apart (which are longer)."""
    return [f"{text}:{line}" for text, line, _ in texts(source) if text in names]


@pytest.mark.parametrize("what", NAMED)
def test_a_name_occurs_in_its_registry_alone(what: str) -> None:
    places, allowed = NAMED[what]
    found = {str(path.relative_to(REPOSITORY)): spelled(path.read_text(encoding="utf-8"), REGISTRIES[what]) for path in modules(places)}
    excused = {name for name in found if any(Path(name).is_relative_to(place) for place in allowed)}
    assert {name: names for name, names in found.items() if names and name not in excused} == {}
    for place in allowed:
        assert any(found[name] for name in excused if Path(name).is_relative_to(place)), f"{place} needs no exception any more"


def test_a_name_that_is_tested_somewhere_is_noticed() -> None:
    assert spelled('"""digits"""\nif dataset == "mnist":\n    pass', SOURCES) == ["digits:1", "mnist:2"]
    assert spelled('match name:\n    case "lenet":\n        pass', NETWORKS) == ["lenet:2"]
    assert spelled('row.arm not in ("full", "other")', BASELINES) == ["full:1"]


@pytest.mark.parametrize("what", REGISTRIES)
def test_what_an_entry_names_is_there(what: str) -> None:
    for entry in REGISTRIES[what].values():
        for field in fields(entry):
            value = getattr(entry, field.name)
            if isinstance(value, str) and value.startswith("bilp.") and ":" in value:
                assert resolve(value) is not None, (entry.name, field.name)


def test_pages_have_a_title_of_their_own_for_every_entry() -> None:
    for registry, titles in (
        (SOURCES, [dataset_title(source.name) for source in OWN if not source.any_data]),
        (NETWORKS, [network_title(name) for name in NETWORKS]),
        (BASELINES, [arm_words(name).title for name in BASELINES]),
    ):
        assert len(set(titles)) == len(titles)
        assert not set(titles) & set(registry), "a title, not a name"
    assert ARM_ORDER[: len(BASELINES)] == tuple(BASELINES)
    assert all(arm_words(name).meaning for name in BASELINES)
    assert dataset_title("folder") == "folder" and dataset_title("cats") == "cats", "what its user calls it"


@pytest.mark.parametrize("what", ["sources", "networks", "baselines", "formats"])
def test_documents_name_every_entry_that_can_be_used(what: str) -> None:
    text = "".join((REPOSITORY / "docs" / page).read_text(encoding="utf-8") for page in ("methods.md", "evaluation.md", "exchange.md"))
    for name in REGISTRIES[what]:
        assert re.search(rf"(?<![\w-]){name}(?![\w-])", text), name


@pytest.mark.parametrize("what", REGISTRIES)
def test_some_test_names_every_entry(what: str) -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in modules(("tests",)) if path != Path(__file__))
    assert [name for name in REGISTRIES[what] if f'"{name}"' not in tests] == []


def test_sources_read_settings_that_there_are_and_need_what_they_read() -> None:
    for source in SOURCES.values():
        assert source.reads <= set(IngestConfig.model_fields)
        given = {"uri": "/data"} if source.needs_uri else {}
        assert IngestConfig.model_validate({"source": source.name, **given}).source == source.name
    with pytest.raises(ValueError, match="source toy needs uri, so that reads must name it"):
        SourceEntry("toy", "Toy", "toy:Toy", needs_uri=True)


def test_networks_are_shaped_by_settings_that_there_are() -> None:
    for network in NETWORKS.values():
        assert set(network.reads) <= set(SHAPING) <= set(NetworkConfig.model_fields)
        assert NetworkConfig(name=network.name).norm == network.norm
        assert NetworkConfig(name=network.name).revision == network.revision
    with pytest.raises(ValueError, match="network toy has norm batch by default, which is not among its norms"):
        NetworkEntry("toy", "Toy", "toy:build", norms=("instance",), norm="batch")


def test_choices_are_refused_and_offered_as_before() -> None:
    properties = PipelineConfig.model_json_schema()["$defs"]
    assert properties["IngestConfig"]["properties"]["source"]["enum"] == [name for name in SOURCES if not SOURCES[name].from_python]
    assert properties["NetworkConfig"]["properties"]["name"]["enum"] == list(NETWORKS)
    assert properties["EvaluateConfig"]["properties"]["baselines"]["items"]["enum"] == BASELINES.choosable()
    with pytest.raises(ValueError, match="Input should be 'full', 'random', 'herding', 'k_center' or 'random_kept'"):
        EvaluateConfig.model_validate({"baselines": ["other"]})
    with pytest.raises(ValueError, match="Input should be 'digits', 'mnist', .* 'parquet', 'webdataset' or 'npz' .type=literal_error"):
        IngestConfig.model_validate({"source": 3})

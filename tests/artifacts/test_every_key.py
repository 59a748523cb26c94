"""Nothing that a stage computes from may be missing in its key: every setting, every input and its code's version are changed.

And the reverse: what changes nothing leaves the key as it is, so that nothing is computed twice. A setting that is not in a key
is listed with the reason in `key_stages`, and the stage is watched while it computes: it must not read it.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from key_settings import Case, Stage
from key_stages import NO_STAGES, OF_PLANS, STAGES, UPSTREAM
from key_table import DOCUMENT, ENVIRONMENT, document
from key_walk import PACKAGE, Asked, asked, changed, is_unused, of_a_package, raised, reading, registries, values, versions
from key_world import World, make_world

from bilp.errors import BilpError
from tasks.execution import Execution

STAGE = pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.title.replace(" ", "-"))
WHOLE = ("page", "reproduction")
"""Stages whose keys hold all settings of a pipeline as they are: each is changed in the first case that has another value for it."""
SETTINGS = pytest.mark.parametrize(
    "stage",
    [pytest.param(stage, marks=pytest.mark.slow) if stage.title in WHOLE else stage for stage in STAGES],
    ids=lambda stage: stage.title.replace(" ", "-"),
)
REFUSED = "refused"

# What stages read of a data set, and what makes sure that it is in the fingerprint, hence in every key (`test_fingerprint`).
PIXELS, LABELS, CLASSES, CONSTANTS = "every pixel counts", "every label counts", "the class names count", "the constants count"
VIDEOS = "which samples are windows of one video counts where several were taken"
FACTS = {
    "Dataset": {
        "fingerprint": "it itself",
        "class_names": CLASSES,
        "classes": CLASSES,
        "shape": "the shape counts",
        "mean": CONSTANTS,
        "std": CONSTANTS,
        "train": PIXELS,
        "test": PIXELS,
        "whitening": "the fit is made of the pixels, and has a fingerprint of its own",
        "whitening_facts": "as whitening",
        "name": "said in errors, and on the page, whose key has it besides",
        "uri": "where it lies counts nowhere, and parents tell it",
        "record": "file names, which the page shows, whose key has the record besides",
    },
    "Split": {
        "images": PIXELS,
        "batch": f"{PIXELS}, {CONSTANTS}",
        "normalized": CONSTANTS,
        "labels": LABELS,
        "by_class": LABELS,
        "videos": VIDEOS,
        "index": "digests and labels of the samples; their origins belong to the source",
        "keep_on": "no content: whether a GPU keeps the pixels, which changes no batch",
    },
    "dataset": {"fingerprint": "it itself", "name": "as above"},
    "DatasetFacts": {
        "fingerprint": "it itself",
        "name": "as above",
        "class_names": CLASSES,
        "class_ids": "the ids of classes count where there are any",
        "classes": CLASSES,
        "shape": "the shape counts",
        "mean": CONSTANTS,
        "std": CONSTANTS,
        "images_per_class": f"{LABELS}, which are compared with it",
        "train_images": "as images_per_class, for the record's tables",
        "test_images": "likewise",
        "whitening": "as above",
        "videos": VIDEOS,
        "shard_rows": "how the pixels are cut into files, which are put together again",
    },
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    return make_world(str(folder / "store"), folder / "files")


def place_of(stage: Stage, case: Case, root: str, settings: Any = None, **inputs: Any) -> str:
    """Where the stage looks for its artifact, or that it refuses these values, which is no hit either."""
    try:
        return asked(root, stage.pattern, lambda: stage.call(root, settings or case.settings, {**case.inputs, **inputs}))
    except BilpError:
        return REFUSED


def reason(case: Case, path: str) -> str | None:
    """The pattern under which a setting is left out of the key, if it is."""
    return next((pattern for pattern in case.left_out if fnmatch(path, pattern)), None)


@pytest.mark.slow
@SETTINGS
def test_every_setting_asks_for_another_key_or_is_listed_with_a_reason(stage: Stage, world: World) -> None:
    wrong, walked, known = [], set(), set()
    for name, case in stage.cases(world).items():
        here, used = place_of(stage, case, world.root), set()
        assert here != REFUSED
        for path, _, _ in values(case.settings):
            known.add(path)
            if not fnmatch(path, case.about) or (stage.title in WHOLE and path in walked):
                continue
            other = changed(case.settings, path, case.given)
            if other is None and path in case.single:
                walked.add(path)
                used.add(reason(case, path))
            if other is None:
                continue
            assert path not in case.single
            walked.add(path)
            pattern, there = reason(case, path), place_of(stage, case, world.root, other)
            used.add(pattern)
            if pattern is None and there == here:
                wrong.append(f"{name}: {path} is not in the key")
            elif pattern is not None and there != here:
                wrong.append(f"{name}: {path} is in the key and listed as left out of it")
        unused = {pattern for pattern in case.left_out if case.about == "*"} - used
        wrong += [f"{name}: {pattern} is listed as left out, but there is no such setting" for pattern in unused]
    assert wrong == []
    assert known - walked == set(), "no other valid value was found for these: give one, or a case in which there is one"


@STAGE
def test_every_input_asks_for_another_key(stage: Stage, world: World) -> None:
    met: set[str] = set()
    cases = stage.cases(world)
    for name, case in cases.items():
        here = place_of(stage, case, world.root)
        for which, value in case.others.items():
            assert place_of(stage, case, world.root, **{which: value}) != here, f"{name}: {which}"
        for which, value in case.same.items():
            assert place_of(stage, case, world.root, **{which: value}) == here, f"{name}: {which}"
        met |= case.others.keys() | case.same.keys()
    assert {which for case in cases.values() for which in case.inputs} == met


@STAGE
def test_the_version_of_its_code_and_of_code_that_its_inputs_are_made_by_asks_for_another_key(stage: Stage, world: World) -> None:
    for name, case in stage.cases(world).items():
        here = place_of(stage, case, world.root)
        upstream = UPSTREAM.get((stage.title, name))
        for owner in (*stage.versions, *([upstream] if upstream else [])):
            with raised(owner):
                assert place_of(stage, case, world.root) not in (here, REFUSED), f"{name}: {owner}"


@SETTINGS
def test_the_version_of_a_package_whose_entry_a_setting_names_asks_for_another_key(stage: Stage, world: World) -> None:
    met = set()
    for name, case in stage.cases(world).items():
        for path, model, field in values(case.settings):
            if is_unused(case.settings, path) or (stage.title in WHOLE and (path, getattr(model, field)) in met):
                continue
            met.add((path, getattr(model, field)))
            for registry in registries(model, field) if reason(case, path) is None else ():
                places = [place_of(stage, case, world.root)]
                for entry in (getattr(model, field),) if isinstance(getattr(model, field), str) else getattr(model, field) or ():
                    for version in ("1.0", "1.1"):
                        with of_a_package(registry, entry, version):
                            places.append(place_of(stage, case, world.root))
                found = [place for place in places if place != REFUSED]  # experts of a network of another version, for example
                assert len(set(found)) == len(found), f"{name}: {path}"


@STAGE
def test_neither_the_storage_root_nor_the_name_of_the_data_set_is_in_a_key(stage: Stage, world: World, tmp_path: Path) -> None:
    for name, case in stage.cases(world).items():
        here, root = place_of(stage, case, world.root), str(tmp_path / name)
        assert not {"store", "key", "world"} & set(here.split("/"))
        renamed = {"dataset": world.renamed_dataset} if "dataset" in case.inputs else {}
        if stage.title == "whitened data set":  # lies in the folder of the other, under the same key
            assert place_of(stage, case, world.root, **renamed).split("/")[3:] == here.split("/")[3:]
            continue
        assert place_of(stage, case, root) == here, name
        if stage.title == "page":  # which shows the name
            assert place_of(stage, case, root, **renamed) not in (here, REFUSED)
        else:
            assert place_of(stage, case, root, **renamed) == here, name


@STAGE
def test_nothing_is_read_that_is_not_in_the_key(stage: Stage, world: World, tmp_path: Path) -> None:
    """The stage computes for real while what it reads is noted."""
    for name, case in stage.cases(world).items():
        if not case.computed:
            continue
        root = str(tmp_path / name)
        if case.before is not None:
            case.before(root, case.settings, case.inputs)
        with reading() as read:
            stage.call(root, case.settings, case.inputs)
        assert read or not case.left_out
        assert {(kind, fact) for kind, fact in read if kind in FACTS and fact not in FACTS[kind]} == set(), name
        in_key, left = set(), {}
        for path, model, field in values(case.settings):
            spot = (type(model).__name__, field)
            if reason(case, path) is None:
                in_key.add(spot)
            else:
                left[path] = spot
        # The same kind of network may be in the key at one place and left out at another.
        looked_at = {path for path, spot in left.items() if spot in read and spot not in in_key}
        allowed = {path for path in left if any(fnmatch(path, pattern) for pattern in case.read_anyway)}
        assert looked_at <= allowed, name
        unread = [pattern for pattern in case.read_anyway if not any(fnmatch(path, pattern) for path in looked_at)]
        assert unread == [], f"{name}: these are not read any more"


def named_keys() -> Iterator[str]:
    """The names under which content keys are made anywhere."""
    for path in [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "tasks").rglob("*.py")]:
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source if "content_key" in source else "")
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "content_key":
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    yield str(first.value)
                elif (found := getattr(importlib.import_module(module), ast.unparse(first), None)) is not None:
                    yield str(found)
                else:
                    yield f"{module}: {ast.unparse(first)}"


def test_stages_are_walked_that_name_entries_of_every_kind_that_packages_can_offer(world: World) -> None:
    found = {
        registry.group
        for stage in STAGES
        for case in stage.cases(world).values()
        for path, model, field in values(case.settings)
        for registry in registries(model, field)
        if reason(case, path) is None
    }
    assert found == {"bilp.methods", "bilp.criteria", "bilp.sources", "bilp.networks"}


def test_every_key_that_is_made_anywhere_belongs_to_a_stage_here() -> None:
    walked = {key for stage in STAGES for key in stage.keys}
    rounds = {"round", "reselect", "round_state"}  # made by one function, which is told for which of them
    assert {*named_keys()} - {"bilp.distill.part: kind"} == (walked - rounds) | NO_STAGES.keys() | OF_PLANS.keys()
    assert rounds <= walked


def test_every_version_is_that_of_a_stage_here() -> None:
    of_stages, of_plans = {owner for stage in STAGES for owner in stage.versions}, {owner for owner, *_ in OF_PLANS.values()}
    of_studies = {"bilp.studies.study_artifact", "bilp.studies.study_part"}  # which are in NO_STAGES
    assert {*versions()} == of_stages | of_plans | of_studies


def test_every_variable_of_the_environment_is_listed_with_the_reason_why_it_is_in_no_key() -> None:
    sources = [path.read_text(encoding="utf-8") for room in ("bilp", "tasks") for path in (PACKAGE.parent / room).rglob("*.py")]
    read = {name for text in sources for name in re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"", text) if name.startswith("BILP_")}
    assert read | {f"BILP_{name.upper()}" for name in Execution.model_fields} == ENVIRONMENT.keys()


def test_the_table_of_keys_says_what_the_walk_found(world: World) -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(world), "write it anew: python tests/artifacts/key_table.py"


def test_the_walk_notices_a_setting_that_is_left_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if somebody had added a setting to scoring and forgotten it in its key."""
    from bilp.scoring import trial_record

    told = trial_record.training_settings
    forgetful = {name: value for name, value in vars(trial_record).items() if name == "training_settings"}
    assert forgetful == {"training_settings": told}
    monkeypatch.setattr(trial_record, "training_settings", lambda config: {k: v for k, v in told(config).items() if k != "momentum"})
    (stage,) = [stage for stage in STAGES if stage.title == "scoring trial"]
    with pytest.raises(AssertionError, match=r"trajectory: config\.momentum is not in the key"):
        test_every_setting_asks_for_another_key_or_is_listed_with_a_reason(stage, world)


def test_a_call_that_looks_for_nothing_is_no_answer(world: World) -> None:
    with pytest.raises(AssertionError, match="was looked for"):
        asked(world.root, "no such place", lambda: None)
    assert issubclass(Asked, BaseException)

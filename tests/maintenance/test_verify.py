"""Damage of every kind is found, named with what it belongs to, and nothing else is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_store import Store, key

from bilp.artifacts import signing
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.run_layout import RECORD
from bilp.config import NetworkConfig
from bilp.evaluate.training_cache import Parts, Training
from bilp.maintenance import verify as module
from bilp.maintenance.verify import Verdict, verify
from bilp.storage import objects
from bilp.training.course import Course

RUN = f"runs/{key('second')}"
EVALUATION = f"evaluations/{key('evaluation second')}"
PAGE = f"reports/{key('report second')}"


@pytest.fixture(autouse=True)
def _without_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The artifacts of the small storage state none of the facts of their kinds."""
    monkeypatch.setattr(module, "checked_facts", lambda manifest, uri: None)


def found(verdict: Verdict) -> dict[str, str]:
    return {problem.place: problem.what for problem in verdict.problems}


def test_a_whole_storage_has_no_problem(store: Store) -> None:
    told: list[tuple[int, int]] = []
    verdict = verify(store.root, progress=lambda done, total, note="": told.append((done, total)))
    assert not verdict.problems
    assert not verdict.half
    assert not verdict.foreign
    assert verdict.files == len(told) == sum(name.endswith((".parquet", ".html", ".safetensors")) for name in objects.listing(store.root))
    assert told[-1][0] == told[-1][1]


def change(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    ("name", "damage", "what"),
    [
        (f"{EVALUATION}/losses.parquet", change, "losses.parquet is not what was published"),
        (f"{EVALUATION}/losses.parquet", lambda content: content + b"x", "losses.parquet has 1,401 bytes instead of 1,400"),
        (f"{EVALUATION}/losses.parquet", None, "losses.parquet is missing"),
        (f"{EVALUATION}/{MANIFEST}", lambda content: b"{", f"{MANIFEST}: .* cannot be read"),
        (f"{RUN}/{RECORD}", lambda content: content.replace(key("second").encode(), key("other").encode()), "it is the record of run"),
        (f"{RUN}/{RECORD}", lambda content: content.replace(b"ffff", b"eeee", 1), "its dataset lies at"),
    ],
)
def test_damage_is_named_with_what_depends_on_it(local_store: Store, name: str, damage: Callable[[bytes], bytes] | None, what: str) -> None:
    content = objects.read(local_store.uri(name))
    if damage is None:
        objects.delete(local_store.uri(name))
    else:
        objects.write(local_store.uri(name), damage(content))
    problems = verify(local_store.root).problems
    assert {problem.place for problem in problems} == {name.rpartition("/")[0]}
    assert re.search(what, problems[0].what)
    assert PAGE in problems[0].used_by
    assert problems[0].remedy.startswith(f"bilp rm {problems[0].place} --force, ")


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        (f"{RUN}/{RECORD}", {"parents": [1]}),
        (f"{EVALUATION}/{MANIFEST}", {"files": {"losses.parquet": 1}}),
        (f"{EVALUATION}/{MANIFEST}", {"files": {"losses.parquet": {"sha256": "0" * 64, "size": "many"}}}),
        (f"{EVALUATION}/{MANIFEST}", {"files": {"../../victim": {"sha256": "0" * 64, "size": 1}}}),
        (f"{EVALUATION}/{MANIFEST}", {"files": {"x": {"sha256": "0" * 64, "size": 1, "stored": "../../victim"}}}),
    ],
)
def test_a_document_that_makes_no_sense_is_one_problem_among_others(local_store: Store, name: str, changed: dict[str, object]) -> None:
    document = Path(local_store.root) / name
    document.write_text(json.dumps(json.loads(document.read_bytes()) | changed))
    (Path(local_store.root) / PAGE / "report.html").unlink()
    told = found(verify(local_store.root))
    assert set(told) == {name.rpartition("/")[0], PAGE}
    assert "report.html is missing" in told[PAGE]


def test_trainings_that_were_changed_are_found(store: Store) -> None:
    name = next(name for name in objects.listing(store.root) if name.startswith("trainings/"))
    objects.write(store.uri(name), objects.read(store.uri(name)).replace(b"0.5", b"0.9"))
    ((place, what),) = found(verify(store.root)).items()
    assert name.startswith(place)
    assert "it holds other trainings than were written" in what


def test_what_is_missing_is_told_by_who_needs_it(store: Store) -> None:
    objects.delete(store.uri(EVALUATION))
    assert found(verify(store.root)) == {PAGE: f"its parent 5 at {EVALUATION} is missing"}
    objects.write(store.uri(f"{EVALUATION}/evaluation.parquet"), b"half")
    verdict = verify(store.root)
    assert found(verdict) == {PAGE: f"its parent 5 at {EVALUATION} is half written or half removed"}
    assert verdict.half == (EVALUATION,)


def test_keys_are_compared_with_all_that_they_need_and_nothing_else(store: Store) -> None:
    objects.write(store.uri(f"{EVALUATION}/losses.parquet"), b"?")
    assert not verify(store.root, [f"reports/{key('report first')}"]).problems
    assert set(found(verify(store.root, [PAGE]))) == {EVALUATION}


def test_what_is_none_of_ours_is_named_and_no_damage(local_store: Store) -> None:
    objects.write(local_store.uri("notes.txt"), b"mine")
    verdict = verify(local_store.root)
    assert verdict.foreign == ("notes.txt",)
    assert not verdict.problems


def test_signatures_are_checked_where_a_key_is_set(local_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(signing.KEY, "ab" * 32)
    assert all("carries no signature" in problem.what for problem in verify(local_store.root).problems)
    for name in objects.listing(local_store.root):  # the records of the small storage lack settings, so that they are not signed as records
        folder, _, last = name.rpartition("/")
        if last in (MANIFEST, RECORD) or name.startswith("trainings/"):
            where = local_store.uri(name)
            objects.write(where, signing.sealed(objects.read(where), local_store.uri(folder), last))
    verdict = verify(local_store.root)
    assert verdict.signed
    assert not verdict.problems
    where = local_store.uri(f"{PAGE}/{MANIFEST}")
    content = json.loads(objects.read(where))
    objects.write(where, json.dumps({**content, "config": {"changed": 1}}).encode())
    assert set(found(verify(local_store.root))) == {PAGE}


def test_trainings_as_evaluations_keep_them_are_whole(tmp_path: Path) -> None:
    parts = Parts.of(str(tmp_path), "f" * 16, {"real": "full"}, {"epochs": 1})
    training = Training(network="convnet", seed=0, accuracy=0.25, best_accuracy=0.5, train_images=3)
    course = Course.of(np.array([2.0, 1.0]), [1], [0.25], np.array([[3, 0], [1, 0]]))
    parts.keep(NetworkConfig(), [training])
    parts.keep(NetworkConfig(width=64), [training.model_copy(update={"course": course})])
    assert not verify(tmp_path).problems

"""From what somebody types to what it is in a storage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bilp.artifacts import layout
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.publication import publish
from bilp.artifacts.run_layout import RECORD
from bilp.errors import BilpError, ConfigError, DamagedArtifact, IncompatibleArtifact, MissingArtifact
from bilp.results.find import candidates, find
from bilp.results.places import KEYED, PLACES, enclosing, place_at
from bilp.storage import objects

A, B, C, F = ("aa11" + "0" * 12, "aa22" + "0" * 12, "cc33" + "0" * 12, "ffff" + "0" * 12)


@pytest.fixture
def store(root: str) -> str:
    """Two evaluations and a robustness artifact with similar keys, a whitened data set and a run."""
    for place, kind, key in (
        (f"evaluations/{A}", "evaluation", A),
        (f"robustness/{B}", "robustness", B),
        (f"datasets/d/{F}/whitened/{C}", "dataset", C),
    ):
        publish(objects.join(root, place), kind, key, {"a.bin": b"content"}, config={}, parents={})
    objects.write(objects.join(root, "runs", C, RECORD), json.dumps({"version": 2, "key": C}).encode())
    return root


def test_a_beginning_of_a_key_leads_to_what_has_it(store: str) -> None:
    found = find("aa1", store)
    assert (found.kind, found.key, found.uri) == ("evaluation", A, objects.join(store, "evaluations", A))
    assert find(B, store).kind == "robustness"
    assert find("AA2", store).key == B


def test_several_things_with_a_beginning_are_listed_with_their_kind(store: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"^aa may be evaluation evaluations/{A}, robustness robustness/{B}: give more digits, or the path$"
    ):
        find("aa", store)
    assert find("aa", store, {"robustness"}).key == B
    assert {each.kind for each in candidates("cc", store)} == {"run", "dataset"}


@pytest.mark.parametrize("typed", ["a", "xyz", "0" * 17, "aa-11", "", "ümlaut", "long" * 9999])
def test_what_is_no_key_is_refused(store: str, typed: str) -> None:
    with pytest.raises(ConfigError, match="is no key: give 2 to 16 of its hexadecimal digits") as refused:
        find(typed, store)
    assert len(str(refused.value)) < 250


def test_unknown_keys_and_kinds_are_one_line(store: str) -> None:
    for typed, kinds in (("dead", None), ("aa1", {"report"}), (f"runs/{A}", None), ("some/where", None), (f"{store}/notes.txt", None)):
        with pytest.raises(MissingArtifact) as caught:
            find(typed, store, kinds)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="is of kind evaluation, and one of report, run is needed here"):
        find(f"evaluations/{A}", store, {"run", "report"})


def test_paths_and_uris_of_folders_and_files_lead_to_the_thing(store: str, tmp_path: Path) -> None:
    place = f"evaluations/{A}"
    for typed in (place, f"{place}/", f"{store}/{place}", f"{store}/{place}/a.bin", f"{place}/{MANIFEST}"):
        assert find(typed, store).place == place
    assert find(f"{store}/{place}", tmp_path / "elsewhere").root == store, "a URI leads into its own storage"
    assert find(f"datasets/d/{F}/whitened/{C}", store).kind == "dataset"


def test_a_path_may_be_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(str(tmp_path / "mine" / "reports" / A), "robustness", A, {}, config={}, parents={})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DamagedArtifact, match="is of kind 'robustness' where a report belongs"):
        find(f"mine/reports/{A}", tmp_path / "another")


def test_halves_are_named_as_such(store: str) -> None:
    objects.delete(objects.join(store, "evaluations", A, MANIFEST))
    objects.write(objects.join(store, "runs", B, "rounds", "0001", "grid.png"), b"")
    for typed, name in (("aa1", MANIFEST), (f"runs/{B}", RECORD)):
        with pytest.raises(MissingArtifact, match=f"is not whole \\({name} is missing: half written or half deleted\\)"):
            find(typed, store)


def test_what_a_newer_version_wrote_says_so(store: str) -> None:
    where = objects.join(store, "evaluations", A, MANIFEST)
    content = json.loads(objects.read(where))
    content["provenance"]["bilp"] = "999.0.1"
    objects.write(where, json.dumps(content).encode())
    assert find("aa1", store).key == A, "what can be read is used"
    objects.write(where, json.dumps({**content, "invented": 1}).encode())
    with pytest.raises(IncompatibleArtifact, match=r"was written by bilp 999\.0\.1, this is bilp .*: install bilp 999\.0\.1 or later"):
        find("aa1", store)


def test_a_manifest_that_is_none_is_damage(store: str) -> None:
    for content in (b"{", b"[]", b"{}", b"\xff"):
        objects.write(objects.join(store, "evaluations", A, MANIFEST), content)
        with pytest.raises(DamagedArtifact):
            find("aa1", store)


def test_an_empty_and_an_absent_storage_have_nothing(tmp_path: Path) -> None:
    assert candidates("", tmp_path) == candidates("", tmp_path / "not there") == []
    with pytest.raises(BilpError, match="bilp ls lists the keys"):
        find("aa", tmp_path / "not there")


def test_every_place_is_one_of_the_layout_and_tells_its_kind() -> None:
    for place in PLACES:
        example = place.pattern.replace("KEY", A).replace("NUMBER", "0001").replace("NAME", "flowers")
        assert place_at(example) == place
        assert enclosing(f"{example}/deep/file.bin") == (place, example)
        assert layout_knows(example) or place.pattern == "trainings/KEY"
    assert {place.kind for place in KEYED} >= {"report", "run", "dataset", "evaluation", "trainings"}


def layout_knows(example: str) -> bool:
    return layout.root_of(f"/root/{example}") == "/root"

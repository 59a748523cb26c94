"""Parts of an ingestion stay until a data set came of them, however long ago it was interrupted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bilp.artifacts import usage
from bilp.config import IngestConfig
from bilp.data import ingest_plan, ingestion
from bilp.data.ingest_part import ingest_part, missing_parts, part_uri
from bilp.data.ingest_plan import IngestPlan, open_plan
from bilp.data.shards import HEADER_BYTES
from bilp.maintenance.garbage import Options, plan
from bilp.maintenance.removal import collect, remove
from flows.commands.gc import told

pytestmark = pytest.mark.slow

CONFIG = IngestConfig()
"""Handwritten digits: 1,797 images of 8 x 8."""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A storage, of which a part holds 600 images."""
    monkeypatch.setattr(ingest_plan, "PART_BYTES", HEADER_BYTES + 600 * 64)
    monkeypatch.setattr(usage, "_noted", {})
    return tmp_path / "store"


@pytest.fixture
def begun(root: Path) -> IngestPlan:
    """Two of its three parts were decoded, and then everything was interrupted, long ago."""
    found = open_plan(str(ingestion.plan_source(CONFIG, root)))
    for number in (0, 2):
        ingest_part(CONFIG, found.artifact.uri, number)
    aged(root)
    return found


def aged(root: Path) -> None:
    """Nothing was written or used since 1970."""
    for file in root.rglob("*"):
        os.utime(file, (0, 0))
    usage._noted.clear()


def collected(root: Path, unfinished: bool = False) -> set[str]:
    options = Options(unfinished=unfinished)
    return {place.split("/")[2] for place in collect(plan(str(root), options), options).places}


def test_parts_stay_until_a_data_set_came_of_them(root: Path, begun: IngestPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    assert collected(root) == set()
    assert [part.number for part in missing_parts(begun)] == [1]
    aged(root)
    line = told(plan(str(root), Options()), True)[-2]
    assert line.startswith("unfinished ingestion of digits, 2 of 3 parts decoded (") and begun.artifact.uri.endswith(line.split(": ")[-1])
    decoded: list[int] = []
    decode = ingestion.decode_part
    monkeypatch.setattr(ingestion, "decode_part", lambda *given: (decoded.append(given[3].number), decode(*given))[1])
    ingestion.read_source(CONFIG, root)
    assert decoded == [1]
    assert collected(root) == set(), "used of late"
    aged(root)
    assert collected(root) >= {"plans", "parts"}


def test_a_record_that_names_no_plan_finished_the_one_of_its_settings_whose_parts_are_older(root: Path, begun: IngestPlan) -> None:
    """As earlier versions wrote records."""
    ingestion.read_source(CONFIG, root)
    (manifest,) = root.glob("datasets/digits/sources/*/_manifest.json")
    content = json.loads(manifest.read_bytes())
    assert content["facts"].pop("plan") == begun.artifact.manifest.key
    manifest.write_text(json.dumps(content), encoding="utf-8")
    part = Path(part_uri(begun.artifact.uri, 1), "_manifest.json")
    whole = part.read_bytes()
    part.unlink()
    aged(root)
    assert not {"plans", "parts"} & {item.place.split("/")[2] for item in plan(str(root), Options()).removed}, "it can be continued"
    part.write_bytes(whole)
    aged(root)
    gone = {item.place.split("/")[2] for item in plan(str(root), Options()).removed}
    assert gone >= {"plans", "parts"}
    later = json.loads(whole) | {"created_at": content["created_at"].replace("20", "21", 1)}
    part.write_text(json.dumps(later), encoding="utf-8")
    aged(root)
    assert not {"plans", "parts"} & {item.place.split("/")[2] for item in plan(str(root), Options()).removed}, "decoded anew since"


def test_they_are_removed_where_that_is_asked_for(root: Path, begun: IngestPlan) -> None:
    assert collected(root, unfinished=True) == {"plans", "parts"}
    assert not Path(begun.artifact.uri).exists()


def test_a_plan_that_was_made_again_is_unfinished_again(root: Path, begun: IngestPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its former data set is there, in another order of classes, say; the plan of the same key went with its parts, and came back."""
    ingestion.read_source(CONFIG, root)
    aged(root)
    assert collected(root) >= {"plans", "parts"}
    monkeypatch.setattr("bilp.artifacts.publication.datetime", Later)
    again = open_plan(str(ingestion.plan_source(CONFIG.model_copy(update={"test_fraction": 0.3}), root)))
    assert again.artifact.uri == begun.artifact.uri
    ingest_part(CONFIG, again.artifact.uri, 1)
    aged(root)
    assert not {"plans", "parts"} & collected(root)
    assert [part.number for part in missing_parts(again)] == [0, 2]


class Later:
    """A clock that is ahead."""

    @staticmethod
    def now(zone: object) -> object:
        from datetime import UTC, datetime, timedelta

        return datetime.now(UTC) + timedelta(hours=1)


@pytest.mark.parametrize("use", [lambda found: found.artifact.uri, lambda found: part_uri(found.artifact.uri, 2)])
def test_parts_stay_while_their_plan_or_another_one_is_used(root: Path, begun: IngestPlan, use: Callable[[IngestPlan], str]) -> None:
    """Between the look of a removal and the removal, somebody goes on with it for another test split."""
    ingestion.read_source(CONFIG, root)
    aged(root)
    found = plan(str(root), Options())
    assert {"plans", "parts"} <= {item.place.split("/")[2] for item in found.removed}
    usage.note(f"{use(begun)}/_manifest.json")
    remove(found.inventory, found.of, found.removed)
    assert Path(part_uri(begun.artifact.uri, 2), "_manifest.json").exists()
    assert Path(begun.artifact.uri, "_manifest.json").exists()

from __future__ import annotations

from pathlib import Path

import pytest

from bilp.artifacts import layout
from bilp.errors import StorageError
from bilp.storage import objects

KEY = "0123456789abcdef"
PLACES = (
    f"datasets/my pictures/{KEY}",
    f"datasets/digits/{KEY}/whitened/{KEY}",
    f"datasets/runs/{KEY}/whitened/{KEY}",
    f"datasets/digits/sources/{KEY}",
    f"datasets/digits/truth/{KEY}",
    f"datasets/digits/plans/{KEY}",
    f"datasets/digits/parts/{KEY}/00012",
    f"scores/{KEY}/{KEY}/trials/0003",
    f"scores/{KEY}/{KEY}/summary/{KEY}",
    f"selections/{KEY}",
    f"experts/{KEY}/{KEY}/trainings/0012",
    f"experts/{KEY}/{KEY}/buffers/{KEY}",
    f"pretrained/{KEY}/{KEY}/0000",
    f"runs/{KEY}",
    f"runs/{KEY}/rounds/0001",
    f"runs/{KEY}/rounds/0001/reselect",
    f"runs/{KEY}/rounds/0001/state",
    f"runs/{KEY}/shards/0002/rounds/0001/state",
    f"runs/{KEY}/shards/0002/rounds/0001/reselect",
    f"runs/{KEY}/synthetic",
    f"imported/{KEY}/synthetic",
    f"trainings/{KEY}/convnet-{KEY}",
    f"evaluations/{KEY}",
    f"reports/{KEY}",
)
ROOTS = ("/data/runs", "/", "s3://bucket", "s3://bucket/datasets", "file:///data/store", "results", ".", "../elsewhere")


@pytest.mark.parametrize("root", ROOTS)
def test_the_root_of_every_place_is_found(root: str) -> None:
    assert {layout.root_of(objects.join(root, place)) for place in PLACES} in ({root}, {root.rstrip("/")}, {root or "/"})


@pytest.mark.parametrize("uri", ["/data/store", f"/data/{KEY}", "s3://bucket/list.json", f"/data/selections/{KEY}/selection.parquet", ""])
def test_what_is_no_place_of_the_layout_has_no_root(uri: str) -> None:
    assert layout.root_of(uri) is None


@pytest.mark.parametrize("root", ROOTS)
def test_a_place_is_the_same_wherever_the_storage_is(root: str) -> None:
    for place in PLACES:
        assert layout.relative(objects.join(root, place), root) == place
        assert layout.resolve(place, root) == objects.join(root, place)


def test_a_data_set_called_like_a_folder_of_the_layout_is_told_apart_by_what_lies_there(tmp_path: Path) -> None:
    uri = objects.join(str(tmp_path), "datasets", "runs", KEY)
    objects.write(objects.join(uri, "file"), b"")
    place = layout.relative(uri, str(tmp_path))
    assert layout.resolve(place, str(tmp_path)) == uri
    assert layout.root_of(f"/data/datasets/runs/{KEY}") == "/data/datasets", "a root may be called datasets"


@pytest.mark.parametrize("elsewhere", [f"/other/datasets/digits/{KEY}", f"s3://other/datasets/digits/{KEY}", "/lists/scores.json"])
def test_what_lies_elsewhere_stays_there(tmp_path: Path, elsewhere: str) -> None:
    assert layout.relative(elsewhere, str(tmp_path)) == elsewhere
    assert layout.resolve(elsewhere, str(tmp_path)) == elsewhere


def test_spellings_of_one_root_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for root in ("store", str(tmp_path / "store"), (tmp_path / "store").as_uri(), "./store/"):
        assert layout.relative(str(tmp_path / "store" / "selections" / KEY), root) == f"selections/{KEY}"
        assert layout.relative(f"store/selections/{KEY}", root) == f"selections/{KEY}"


@pytest.mark.parametrize("old", ["/gone/store", "s3://gone/prefix", "store", "file:///gone"])
def test_an_absolute_place_is_looked_for_below_the_root_first(tmp_path: Path, old: str) -> None:
    root, place = str(tmp_path), f"selections/{KEY}"
    assert layout.resolve(f"{old}/{place}", root) == f"{old}/{place}"
    objects.write(objects.join(root, place, "file"), b"")
    assert layout.resolve(f"{old}/{place}", root) == objects.join(root, place)


@pytest.mark.parametrize("stored", ["", "..", f"../store/selections/../{KEY}"])
def test_a_place_that_leads_outside_is_refused(tmp_path: Path, stored: str) -> None:
    with pytest.raises(StorageError, match="is not a name below"):
        layout.resolve(stored, str(tmp_path))

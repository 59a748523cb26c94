"""What the page tells of the real images: where they come from by the record of this reading, and what was noticed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from page_reader import Page, decode
from PIL import Image

from bilp.config import PipelineConfig
from bilp.data import open_recorded, read_source
from bilp.pruning.prune import prune
from bilp.report import report
from bilp.storage import objects


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of six pictures, one with two labels, and one of the test pictures among the training pictures."""
    for number, name in enumerate(f"{split}/{kind}/{i}.png" for split in ("train", "test") for kind in "ab" for i in range(6)):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    root = tmp_path / "photos"
    for copy, original in (("train/b/9.png", "train/a/0.png"), ("train/b/8.png", "test/b/2.png")):
        (root / copy).write_bytes((root / original).read_bytes())
    return root


def written(photos: Path, store: str, **settings: str) -> tuple[str, Page]:
    config = PipelineConfig.model_validate(
        {"dataset": "folder", "ingest": {"uri": str(photos), **settings}, "prune": {"criterion": "random"}, "keep": 0.5}
    )
    record = read_source(config.ingest, store)
    dataset = open_recorded(record).uri
    uri = report(config, dataset, None, prune(dataset, None, config.prune, store), {}, [], store, record_uri=record)
    return uri, Page(objects.read(uri).decode())


def named(photos: Path, page: Page) -> list[str]:
    """Files that the page names for its pictures, each of which shows what lies there now."""
    found = [(match[1], image) for image in page.all("img") if (match := re.search(r", from (\S+)$", image["title"]))]
    for name, image in found:
        assert (decode(image["src"])[0] == np.asarray(Image.open(photos / name))).all(), name
    return [name for name, _ in found]


def test_pictures_are_named_as_their_files_are_called_now(tmp_path: Path, photos: Path) -> None:
    store = str(tmp_path / "store")
    before, page = written(photos, store)
    names = named(photos, page)
    assert len(names) == 14 and "train/a/0.png" in names
    for number in reversed(range(6)):
        (photos / f"train/a/{number}.png").rename(photos / f"train/a/{number + 1}.png")
    after, page = written(photos, store)
    assert after != before, "the key of the page covers the record"
    renamed = {name.replace("/a/", "/a+/") for name in names}
    assert {re.sub(r"/a/(\d)", lambda match: f"/a+/{int(match[1]) - 1}", name) for name in named(photos, page)} == renamed
    assert written(photos, store)[0] == after


def test_what_was_noticed_is_on_the_page(tmp_path: Path, photos: Path) -> None:
    _, page = written(photos, str(tmp_path / "store"))
    assert f"Read from {photos}: 14 training images and 12 test images of 2 classes, 8 x 8 pixels, gray." in page.text
    assert "1 image with more than one label (2 copies), such as train/a/0.png and train/b/9.png" in page.text
    assert "1 test image with the pixels of a training image" in page.text
    _, dropped = written(photos, str(tmp_path / "store"), duplicates="drop")
    assert "duplicates dropped: 3 training images" in dropped.text


def test_without_a_record_the_page_names_no_files(tmp_path: Path, photos: Path) -> None:
    store = str(tmp_path / "store")
    config = PipelineConfig.model_validate({"dataset": "folder", "ingest": {"uri": str(photos)}, "prune": {"criterion": "random"}})
    dataset = open_recorded(read_source(config.ingest, store)).uri
    page = Page(objects.read(report(config, dataset, None, prune(dataset, None, config.prune, store), {}, [], store)).decode())
    assert named(photos, page) == []
    assert "source" not in page.ids()

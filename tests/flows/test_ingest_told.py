"""What the terminal says of a source: at the first reading and at every later one."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from bilp.config import IngestConfig
from flows.ingest import ingest
from tasks import terminal

pytestmark = pytest.mark.slow


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a picture in two classes, one that is damaged, and values of 12 bits in files of 16."""
    for number, name in enumerate(f"{kind}/{i}.png" for kind in "ab" for i in range(5)):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(2100, 4096, (8, 8), dtype=np.uint16)).save(path)
    (tmp_path / "photos/b/9.png").write_bytes((tmp_path / "photos/a/0.png").read_bytes())
    (tmp_path / "photos/a/8.png").write_bytes(b"")
    return tmp_path / "photos"


def test_notes_skipped_files_and_duplicates_are_told_each_time(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, config = str(tmp_path / "store"), IngestConfig(source="folder", uri=str(photos), on_corrupt="skip")
    told = []
    for _ in range(2):
        text = io.StringIO()
        monkeypatch.setattr(terminal, "_display", terminal.Display(Console(file=text, width=300)))
        dataset = ingest(config, store)
        told.append([line.strip() for line in text.getvalue().splitlines() if "Prefect server" not in line])
    assert told[0][:-1] == told[1][:-1]
    assert [line.split(" hold ")[0].split(" listed")[0] for line in told[0][:-1]] == [
        "the classes of the training images are in the top directory; a test split is held out of them",
        "16-bit gray images",
        "1 file skipped,",
        "1 image with more than one label (2 copies), such as a/0.png and b/9.png",
        "duplicates kept, equal ones on one side of the split; ingest.duplicates drop would leave out 2 images",
    ]
    images = "9 training and 2 test images of 2 classes, 1 x 8 x 8"
    ended = [line.split(" s  ")[1] for line in (told[0][-1], told[1][-1])]
    assert ended == [f"ingest folder: {images}", f"ingest folder: {images}, there already"]
    assert dataset.startswith(f"{store}/datasets/photos/")


def test_whitening_is_a_task_of_its_own(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(terminal, "_display", terminal.Display(Console(file=text, width=300)))
    config = IngestConfig(source="folder", uri=str(photos), on_corrupt="skip", bits=12, whitening="zca")
    dataset = ingest(config, str(tmp_path / "store"))
    ended = [line.split(" s  ")[1] for line in text.getvalue().splitlines() if " s  " in line]
    assert ended == ["ingest folder: 9 training and 2 test images of 2 classes, 1 x 8 x 8", "whiten folder: done"]
    assert "16-bit" not in text.getvalue(), "the bits are stated"
    assert "/whitened/" in dataset

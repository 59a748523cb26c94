"""The nightly flow through Prefect: a folder is read again and again, and what came in is scored and reported once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from bilp.config import PipelineConfig
from flows.nightly import nightly

pytestmark = pytest.mark.slow


def add(folder: Path, images: range) -> None:
    pixels, labels = load_digits(return_X_y=True)
    for number in images:
        if labels[number] < 2:
            place = folder / f"class {labels[number]}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.round(pixels[number].reshape(8, 8) * 255 / 16).astype(np.uint8)).save(place / f"{number:04d}.png")


def summaries(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.glob("scores/*/*/summary/*")}


def test_only_what_came_in_is_scored_and_reported(tmp_path: Path):
    photos, root = tmp_path / "photos", tmp_path / "store"
    add(photos / "train", range(200))
    add(photos / "test", range(1700, 1797))
    score = {"trials": 1, "epochs": 1, "network": {"width": 2, "depth": 1}}
    config = PipelineConfig.model_validate({"dataset": "folder", "ingest": {"uri": str(photos)}, "score": score})
    first = nightly(config, str(root))
    assert nightly(config, str(root)) == first
    (scored,) = summaries(root)
    add(photos / "train", range(200, 230))
    second = nightly(config, str(root))
    assert second != first and nightly(config, str(root)) == second
    assert len(summaries(root)) == 2 and scored in summaries(root)
    (growth,) = root.glob("scores/*/*/growth")
    assert len(list(growth.parent.glob("trials/*"))) == 1
    assert "images are new; there were" in Path(second).read_text()
    assert len(list(root.glob("scores/*/*/networks/*"))) == 1

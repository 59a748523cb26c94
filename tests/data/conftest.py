"""Small real data sets, written where the tests want them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

Pixels = Callable[..., np.ndarray]


def _pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[[Mapping[str, np.ndarray | bytes]], Path]:
    """Writes files below a directory called pets: pixels as PNG, bytes as they are."""

    def write(files: Mapping[str, np.ndarray | bytes]) -> Path:
        root = tmp_path / "pets"
        root.mkdir(exist_ok=True)
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else png(content))
        return root

    return write


@pytest.fixture
def pets() -> dict[str, np.ndarray]:
    """Two classes, three pictures each for training and two for testing, all different."""
    names = [f"{split}/{kind}/{i}.png" for split, count in (("train", 3), ("test", 2)) for kind in ("cat", "dog") for i in range(count)]
    return {name: _pixels(6, 5, 3, seed=number) for number, name in enumerate(names)}


@pytest.fixture
def write_parquet() -> Callable[..., None]:
    """Writes one file in the Hugging Face layout: encoded pictures in a struct of bytes and path, labels, metadata."""

    def write(
        path: Path,
        images: Sequence[bytes | None],
        labels: pa.Array | Sequence[Any],
        names: Sequence[str] | None = None,
        image_column: str = "img",
        label_column: str = "label",
        plain: bool = False,
    ) -> None:
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        column = pa.array(images, pa.binary()) if plain else pa.array([{"bytes": data, "path": None} for data in images], kind)
        labels = labels if isinstance(labels, pa.Array) else pa.array(labels)
        table = pa.table({image_column: column, label_column: labels})
        if names is not None:
            features = {image_column: {"_type": "Image"}, label_column: {"names": list(names), "_type": "ClassLabel"}}
            table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, row_group_size=5)

    return write


@pytest.fixture
def pixels() -> Pixels:
    """Random pixels of a shape: pixels(6, 5, 3, seed=1)."""
    return _pixels

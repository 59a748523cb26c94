"""What goes out comes back: every format read by somebody else's reader, and by our own sources."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors
import torch
from PIL import Image

import bilp
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.publication import publish
from bilp.config import IngestConfig
from bilp.data import Dataset, ingest, open_dataset
from bilp.distill.pictures import displayable
from bilp.errors import ConfigError, IncompatibleArtifact, MissingArtifact
from bilp.exchange import export_set


def expected_pixels(uri: str) -> torch.Tensor:
    data = bilp.load_distilled(uri)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std))
    return ((data.images * std + mean).clamp(0, 1) * 255).round().byte()


def test_load_distilled_is_a_dataset_that_says_what_it_is(synthetic_uri: str, digits: Dataset) -> None:
    data = bilp.load_distilled(synthetic_uri)
    assert len(data) == 30
    image, label = data[4]
    assert (image.shape, int(label)) == ((1, 8, 8), 1)
    assert data.class_names[1] == "digit 1"
    assert (data.mean, data.std) == (digits.mean, digits.std)
    batches = list(torch.utils.data.DataLoader(data, batch_size=16))
    assert torch.equal(torch.cat([labels for _, labels in batches]), data.labels)
    assert torch.equal(bilp.load_distilled(synthetic_uri.removesuffix("/synthetic")).images, data.images), "the URI of the run will do"
    with pytest.raises(MissingArtifact, match="no synthetic set at"):
        bilp.load_distilled(f"{synthetic_uri}/nothing")


@pytest.mark.slow
def test_importing_bilp_is_cheap_and_it_has_nothing_else() -> None:
    cheap = "assert not {'torch', 'pydantic'} & set(sys.modules)"
    program = f"import sys, bilp; {cheap}; bilp.load_distilled; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).resolve().parent.parent.parent)
    with pytest.raises(AttributeError, match="no attribute 'load_distiled'"):
        bilp.load_distiled  # noqa: B018


def test_folder_of_pictures(synthetic_uri: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    written = export_set(synthetic_uri, "folder", str(out))
    assert len(written) == 30
    assert sorted(path.name for path in (out / "train").iterdir()) == [f"digit {k}" for k in range(10)]
    pixels = expected_pixels(synthetic_uri)
    for label in range(10):
        for number in range(3):
            found = np.asarray(Image.open(out / f"train/digit {label}/{number:04d}.png"))
            assert np.array_equal(found, pixels[3 * label + number, 0].numpy())
    assert int(pixels.max()) == 255, "clipped"


def test_our_own_folder_source_reads_the_pictures(synthetic_uri: str, tmp_path: Path) -> None:
    export_set(synthetic_uri, "folder", str(tmp_path / "out"))
    config = IngestConfig(source="folder", uri=str(tmp_path / "out"), test_fraction=0.4)
    dataset = open_dataset(ingest(config, str(tmp_path / "store")))
    assert len(dataset.train) + len(dataset.test) == 30
    assert dataset.class_names == tuple(f"digit {k}" for k in range(10))


def test_parquet_of_the_hugging_face_layout_goes_through_our_own_source(synthetic_uri: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    (written,) = export_set(synthetic_uri, "parquet", out)
    assert written.endswith("data/train-00000-of-00001.parquet")
    table = pq.read_table(written)
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["label"] == {"names": [f"digit {k}" for k in range(10)], "_type": "ClassLabel"}
    assert table.column("label").to_pylist() == [label for label in range(10) for _ in range(3)]
    pixels = expected_pixels(synthetic_uri)
    rows = table.column("image").to_pylist()
    assert len({row["path"] for row in rows}) == 30
    for row, picture in zip(rows, pixels, strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(row["bytes"]))), picture[0].numpy())
    dataset = open_dataset(ingest(IngestConfig(source="parquet", uri=out, test_fraction=0.4), str(tmp_path / "store")))
    assert dataset.class_names == tuple(f"digit {k}" for k in range(10))
    back = torch.cat([dataset.train.images(), dataset.test.images()])
    assert sorted(image.flatten().tolist() for image in back) == sorted(image.flatten().tolist() for image in pixels)


def test_safetensors_stand_alone_and_lose_nothing(synthetic_uri: str, tmp_path: Path) -> None:
    (written,) = export_set(synthetic_uri, "safetensors", str(tmp_path / "out"))
    data = bilp.load_distilled(synthetic_uri)
    with safetensors.safe_open(written, framework="pt") as file:
        assert torch.equal(file.get_tensor("images"), data.images)
        assert torch.equal(file.get_tensor("labels"), data.labels)
        told = file.metadata()
    assert tuple(json.loads(told["class_names"])) == data.class_names
    assert tuple(json.loads(told["mean"])) == data.mean
    assert torch.equal(displayable(data.images, json.loads(told["mean"]), json.loads(told["std"])), expected_pixels(synthetic_uri))


def changed(synthetic_uri: str, key: str = "b", **facts: object) -> str:
    artifact = open_artifact(synthetic_uri, "synthetic")
    files = {"synthetic.safetensors": artifact.read("synthetic.safetensors")}
    uri = synthetic_uri.replace("/a/", f"/{key}/")
    return publish(uri, "synthetic", key, files, config={}, parents={}, facts={**artifact.manifest.facts, **facts}).uri


def test_what_cannot_be_written_is_refused(synthetic_uri: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown format 'zip': use folder, parquet or safetensors"):
        export_set(synthetic_uri, "zip", str(tmp_path))  # type: ignore[arg-type]
    unfit = changed(synthetic_uri, class_names=["../up", *[str(k) for k in range(9)]])
    with pytest.raises(ConfigError, match=r"class name '../up' cannot be the name of a folder"):
        export_set(unfit, "folder", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_images_that_stand_for_several_are_not_taken_for_themselves(synthetic_uri: str) -> None:
    assert len(bilp.load_distilled(changed(synthetic_uri, decode={"factor": 1, "kind": "single"}))) == 30
    quarters = bilp.load_distilled(changed(synthetic_uri, key="c", decode={"factor": 2, "kind": "single"}))
    assert len(quarters) == 120
    assert quarters.labels.tolist() == [c for c in range(10) for _ in range(12)]
    with pytest.raises(IncompatibleArtifact, match="stand for several, which this version cannot decode"):
        bilp.load_distilled(changed(synthetic_uri, key="d", decode={"factor": 2, "kind": "spiral"}))

"""Sets of clips go out frame by frame, and come in from files of other projects with an axis of frames."""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors
import torch
from clip_data import held, source_of
from PIL import Image

import bilp
from bilp.artifacts.artifact import open_artifact
from bilp.config import IngestConfig, PipelineConfig
from bilp.config.command_line import parse
from bilp.data import Dataset, ingest, open_dataset
from bilp.data.sources import open_source
from bilp.errors import DataError
from bilp.exchange import ImportOptions, export_set, import_set, reading_line


@pytest.fixture
def clips(tmp_path: Path) -> Dataset:
    arrays = held()
    return open_dataset(ingest(source_of(arrays), str(tmp_path / "store")))


@pytest.fixture
def synthetic(clips: Dataset, tmp_path: Path) -> str:
    """Two clips of each class, as MTT's program saves a set."""
    chosen = torch.cat([indices[:2] for indices in clips.train.by_class()]).flip(0)
    torch.save(clips.train.batch(chosen), tmp_path / "images_best.pt")
    torch.save(clips.train.labels[chosen], tmp_path / "labels_best.pt")
    return import_set(clips.uri, ImportOptions(file=str(tmp_path / "images_best.pt")), str(tmp_path / "store"))


def pixels(clips: Dataset) -> torch.Tensor:
    """Those clips, by class."""
    return clips.train.images(torch.cat([indices[:2].flip(0) for indices in clips.train.by_class()]))


def test_files_of_other_projects_may_hold_clips(clips: Dataset, synthetic: str, tmp_path: Path) -> None:
    data = bilp.load_distilled(synthetic)
    assert data.images.shape == (8, 4, 3, 16, 16)
    assert data[3][0].shape == (4, 3, 16, 16)
    wanted = torch.cat([indices[:2].flip(0) for indices in clips.train.by_class()])
    assert torch.equal(data.images, clips.train.batch(wanted))
    assert Image.open(io.BytesIO(open_artifact(synthetic, "synthetic").read("grid.png"))).size == (2 * (2 * 17 + 1), 2 * (4 * 17 + 1))
    torch.save(clips.train.batch(wanted)[:, :3], tmp_path / "images_short.pt")
    torch.save(clips.train.labels[wanted], tmp_path / "labels_short.pt")
    with pytest.raises(DataError, match=r"holds clips \[3, 3, 16, 16\], clip_arrays has \[4, 3, 16, 16\]: choose its own dataset"):
        import_set(clips.uri, ImportOptions(file=str(tmp_path / "images_short.pt")), str(tmp_path / "store"))


def test_a_folder_has_a_folder_of_frames_for_each_clip(clips: Dataset, synthetic: str, tmp_path: Path) -> None:
    written = export_set(synthetic, "folder", str(tmp_path / "out"))
    assert len(written) == 8 * 4
    for place, clip in enumerate(pixels(clips)):
        for number, frame in enumerate(clip):
            file = tmp_path / "out" / "train" / clips.class_names[place // 2] / f"{place % 2:04d}" / f"{number:02d}.png"
            assert np.array_equal(np.asarray(Image.open(file)), frame.permute(1, 2, 0).numpy())


def test_frames_of_exported_clips_are_not_taken_for_images_unawares(synthetic: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_set(synthetic, "folder", str(out))
    config = IngestConfig(source="folder", uri=str(out))
    remedy = r"set the source to video_folder and ingest.frames to 4, or ingest.classes"
    with pytest.raises(DataError, match=rf"train/\w+/0000/ and all others .* 4 frames of a clip .* {remedy}") as raised:
        open_source(config).read()
    assert "\n" not in str(raised.value)
    classes = tuple(sorted(path.name for path in (out / "train").iterdir()))
    named = open_source(config.model_copy(update={"classes": classes})).read()
    assert len(named.items["train"]) == 8 * 4, "whoever names the classes says that each frame is an image"
    for name in classes:
        (out / "train" / name / "a.png").write_bytes((out / "train" / name / "0000" / "00.png").read_bytes())
    assert len(open_source(config).read().items["train"]) == 8 * 4 + 4, "this is not what is exported"


@pytest.mark.slow
def test_exported_clips_are_read_again_as_they_were(clips: Dataset, synthetic: str, tmp_path: Path) -> None:
    export_set(synthetic, "folder", str(tmp_path / "out"))
    line = reading_line(synthetic, "folder", str(tmp_path / "out"))
    assert line == f"these clips are read again by --dataset video_folder --ingest.uri {tmp_path}/out --ingest.frames 4"
    options = shlex.split(line.partition(" by ")[2])
    config = PipelineConfig.model_validate(parse([*options, "--ingest.test_fraction", "0.01"], "bilp run", "").given).ingest
    again = open_dataset(ingest(config, str(tmp_path / "again")))
    assert again.shape == clips.shape and sorted(again.class_names) == list(again.class_names)
    wanted, labels = pixels(clips), [name for name in clips.class_names for _ in range(2)]
    found = {}
    for split in (again.train, again.test):
        for clip, label in zip(split.images(), split.labels.tolist(), strict=True):
            found[clip.numpy().tobytes()] = again.class_names[label]
    assert found == {clip.numpy().tobytes(): label for clip, label in zip(wanted, labels, strict=True)}


def test_other_formats_say_that_nothing_reads_their_clips(synthetic: str, tmp_path: Path) -> None:
    assert reading_line(synthetic, "parquet", "out") == "no source reads clips of format parquet again: folder is read"


def test_rows_of_parquet_have_lists_of_frames(clips: Dataset, synthetic: str, tmp_path: Path) -> None:
    (written,) = export_set(synthetic, "parquet", str(tmp_path / "out"))
    table = pq.read_table(written)
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"feature": {"_type": "Image"}, "_type": "Sequence"}
    rows = table.to_pylist()
    assert [row["label"] for row in rows] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [frame["path"] for frame in rows[3]["image"]] == [f"down-0001-{number:02d}.png" for number in range(4)]
    found = [[np.asarray(Image.open(io.BytesIO(frame["bytes"]))) for frame in row["image"]] for row in rows]
    assert np.array_equal(np.array(found), pixels(clips).permute(0, 1, 3, 4, 2).numpy())


def test_tensors_go_out_as_they_are(clips: Dataset, synthetic: str, tmp_path: Path) -> None:
    (written,) = export_set(synthetic, "safetensors", str(tmp_path / "out"))
    with safetensors.safe_open(written, "pt") as file:
        assert torch.equal(file.get_tensor("images"), bilp.load_distilled(synthetic).images)

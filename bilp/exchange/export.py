"""A synthetic set in formats that others read: a folder of PNG files, Parquet in the Hugging Face layout, safetensors."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
from PIL import Image
from torch import Tensor

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.artifacts.run_layout import SYNTHETIC
from bilp.config.exports import FORMATS, clip_name, frame_name
from bilp.config.shapes import frames_in, is_clip
from bilp.distill.pictures import displayable
from bilp.distill.step.state import DISTILLED
from bilp.errors import ConfigError
from bilp.exchange.folder_names import check_folder_names
from bilp.exchange.loaded import DistilledSet, load_distilled, set_of
from bilp.images.frames import are_clips
from bilp.registry import resolve
from bilp.storage import objects
from bilp.storage.objects import Uri, as_uri
from bilp.text.csv_text import csv_text

Writer = Callable[[DistilledSet], Iterator[tuple[str, bytes]]]
"""From a set to the names of its files, relative to the place that they are written to, and their content."""

# The names that loaders of the Hugging Face hub look for.
PARQUET = "data/train-00000-of-00001.parquet"
SAFETENSORS = "synthetic.safetensors"
REAL_LIST = "real.csv"
"""Beside a folder of pictures: which of them are which real samples."""


def export_set(synthetic_uri: Uri, to: str, out: Uri) -> list[str]:
    """Write the set at `synthetic_uri` (or of a run) below `out`, a path or s3://...; the URIs of the files written.

    folder: train/<class>/<number>.png, whitening undone, denormalized, clipped to [0, 1] and rounded to 8 bits (what a picture can hold);
    of clips train/<class>/<number>/<frame>.png. parquet: the same pictures as rows of image (struct of bytes and path; of clips a list
    of these, one for each frame) and label, with the features' metadata of the Hugging Face datasets library. safetensors: images and
    labels exactly as they are trained on, the whitening's center and matrix if there is one, mean, std and class names in its metadata.
    Of a set with a real part, all of them tell which images are which real samples: real.csv beside train, a column sample_id that is
    null for the others, a tensor real that is -1 for them.
    Raises ConfigError for another format or class names that cannot be folders.
    """
    synthetic_uri, out = as_uri(synthetic_uri), as_uri(out)
    if to not in FORMATS:
        *names, last = FORMATS
        raise ConfigError(f"unknown format {to!r}: use {', '.join(names)} or {last}")
    writer: Writer = resolve(FORMATS[to].writer)
    written = []
    for name, content in writer(load_distilled(synthetic_uri)):
        written.append(objects.join(out, name))
        objects.write(written[-1], content)
    return written


def reading_line(synthetic_uri: Uri, to: str, out: Uri) -> str | None:
    """What reads exported clips again as they were; None for images, which need nothing but the place."""
    shape = open_artifact(set_of(as_uri(synthetic_uri)), SYNTHETIC).stated(SyntheticFacts).shape
    if not is_clip(shape):
        return None
    source = FORMATS[to].clips_read_by
    if not source:
        *names, last = [entry.name for entry in FORMATS.values() if entry.clips_read_by]
        return f"no source reads clips of format {to} again: {' or '.join([*names, last])} is read"
    return f"these clips are read again by --dataset {source} --ingest.uri {shlex.quote(as_uri(out))} --ingest.frames {frames_in(shape)}"


def folder_files(data: DistilledSet) -> Iterator[tuple[str, bytes]]:
    """train/<class>/<number>.png of every image, or a folder of the frames of every clip.

    Raises ConfigError for class names that cannot be folders.
    """
    check_folder_names(data.class_names)
    real: list[tuple[str, int]] = []
    samples = [DISTILLED] * len(data) if data.real is None else data.real.tolist()
    for (pictures, _), sample in zip(_samples(data), samples, strict=True):
        for path, png in pictures:
            yield f"train/{path}", png
            if sample != DISTILLED:
                real.append((f"train/{path}", sample))
    if data.real is not None:
        yield REAL_LIST, csv_text(("file", "sample_id"), real).encode()


def parquet_files(data: DistilledSet) -> Iterator[tuple[str, bytes]]:
    """One file of rows of image and label, as the hub of Hugging Face holds them; the image of a clip is the list of its frames."""
    samples, clips = list(_samples(data)), are_clips(data.images)
    rows = [[{"bytes": png, "path": path.replace("/", "-")} for path, png in pictures] for pictures, _ in samples]
    images = pa.array(rows, pa.list_(IMAGE)) if clips else pa.array([picture for (picture,) in rows], IMAGE)
    table = pa.table({"image": images, "label": pa.array([label for _, label in samples], pa.int64())})
    picture = {"_type": "Image"}
    image = {"feature": picture, "_type": "Sequence"} if clips else picture
    real = {} if data.real is None else {"sample_id": {"dtype": "int64", "_type": "Value"}}
    if data.real is not None:
        numbers = [None if sample == DISTILLED else sample for sample in data.real.tolist()]
        table = table.append_column("sample_id", pa.array(numbers, pa.int64()))
    features = {"image": image, "label": {"names": list(data.class_names), "_type": "ClassLabel"}, **real}
    note = json.dumps({"info": {"features": features}}, ensure_ascii=False)
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"huggingface": note}), sink, compression="zstd", version="2.6")
    yield PARQUET, sink.getvalue()


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def safetensors_files(data: DistilledSet) -> Iterator[tuple[str, bytes]]:
    """One file of images `[n, C, H, W]`, or clips `[n, T, C, H, W]`, and labels `[n]`, of a teacher's logits `[n, classes]` and of learned
    labels `values` `[n, classes]` if the set has some, of the numbers of real samples `[n]` if it has a real part, and of the whitening if
    there is one."""
    told = {name: json.dumps(list(getattr(data, name)), ensure_ascii=False) for name in ("class_names", "mean", "std")}
    tensors = {"images": data.images.contiguous(), "labels": data.labels.contiguous()}
    if data.logits is not None:
        tensors["logits"] = data.logits.contiguous()
    if data.values is not None:
        tensors["values"] = data.values.contiguous()
    if data.real is not None:
        tensors["real"] = data.real.contiguous()
    if data.whitening is not None:
        tensors |= {f"whitening.{name}": value for name, value in data.whitening.tensors().items()}
    yield SAFETENSORS, safetensors.torch.save(tensors, metadata=told)


def _samples(data: DistilledSet) -> Iterator[tuple[list[tuple[str, bytes]], int]]:
    """Of every sample path <class>/<number>.png and PNG, or <class>/<number>/<frame>.png of each frame of a clip; and its label."""
    pixels = displayable(data.images, data.mean, data.std, data.whitening)
    seen = [0] * len(data.class_names)
    for sample, label in zip(pixels, data.labels.tolist(), strict=True):
        place = f"{data.class_names[label]}/{clip_name(seen[label])}"
        if are_clips(data.images):
            yield [(f"{place}/{frame_name(number)}", _png(frame)) for number, frame in enumerate(sample)], label
        else:
            yield [(f"{place}.png", _png(sample))], label
        seen[label] += 1


def _png(picture: Tensor) -> bytes:
    array = picture[0].numpy() if len(picture) == 1 else picture.permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()

"""ImageNet-1K in small: six of its classes, two of them cranes, in each layout in which people have it, from the same pictures."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.io import savemat

from replicas.photo import broken_exif, photo, turned

CLASSES = {
    "n01440764": "tench, Tinca tinca",
    "n02012849": "crane",
    "n02105855": "Shetland sheepdog, Shetland sheep dog, Shetland",
    "n02119789": "kit fox, Vulpes macrotis",
    "n03126707": "crane",
    "n03888257": "parachute, chute",
}
TRAIN, VAL = 4, 2
"""Pictures of a class."""
LISTS = Path(__file__).resolve().parents[2] / "bilp" / "data" / "classes"
ILSVRC_IDS = {wnid: number for number, wnid in enumerate((*list(CLASSES)[3:], *list(CLASSES)[:3]), 1)}
"""Not in the order of the WordNet ids, as in the devkit."""


@dataclass(frozen=True)
class Picture:
    """A picture of a class by the name that the original gives it."""

    split: str
    wnid: str
    stem: str
    data: bytes


@cache
def pictures() -> list[Picture]:
    """All labeled pictures; among them a PNG called JPEG, CMYK, gray, a strip, one that claims to be turned, one with broken tags."""
    odd: dict[tuple[str, int], Callable[[int, int], tuple[str, bytes]]] = {
        ("n02105855", 1): lambda c, n: ("n02105855_2933", photo(c, n, format="PNG")),
        ("n02105855", 2): lambda c, n: (f"n02105855_{n}", photo(c, n, mode="CMYK")),
        ("n02012849", 0): lambda c, n: (f"n02012849_{n}", photo(c, n, mode="L")),
        ("n01440764", 3): lambda c, n: (f"n01440764_{n}", photo(c, n, size=(50, 3))),
        ("n03126707", 2): lambda c, n: (f"n03126707_{n}", broken_exif(c, n)),
    }
    found = []
    for position, wnid in enumerate(CLASSES):
        for number in range(TRAIN):
            made = odd.get((wnid, number), _usual(wnid))
            found.append(Picture("train", wnid, *made(position, 7 + 31 * number)))
    # The order of the validation pictures says nothing of their classes.
    order = np.random.default_rng(0).permutation(len(CLASSES) * VAL)
    for place, number in enumerate(order.tolist(), 1):
        position = number % len(CLASSES)
        data = turned(position, 900) if place == 3 else photo(position, 900 + number)
        found.append(Picture("val", list(CLASSES)[position], f"ILSVRC2012_val_{place:08d}", data))
    return found


def _usual(wnid: str) -> Callable[[int, int], tuple[str, bytes]]:
    return lambda c, n: (f"{wnid}_{n}", photo(c, n))


def unlabeled() -> list[tuple[str, bytes]]:
    """Names and contents of the test pictures."""
    return [(f"ILSVRC2012_test_{number:08d}.JPEG", photo(9, number)) for number in (1, 2)]


def folders(root: Path, val: str = "val") -> Path:
    """A: train/<wnid>/ and val/<wnid>/."""
    for one in pictures():
        _write(root / (val if one.split == "val" else "train") / one.wnid / f"{one.stem}.JPEG", one.data)
    return root


def ilsvrc_tars(root: Path) -> Path:
    """B: the tars of the challenge, the training pictures as a tar of tars, and the devkit."""
    found = pictures()
    inner = {
        f"{wnid}.tar": tar_of((f"{one.stem}.JPEG", one.data) for one in found if (one.split, one.wnid) == ("train", wnid))
        for wnid in CLASSES
    }
    _write(root / "ILSVRC2012_img_train.tar", tar_of(inner.items()))
    _write(root / "ILSVRC2012_img_val.tar", tar_of((f"{one.stem}.JPEG", one.data) for one in found if one.split == "val"))
    _write(root / "ILSVRC2012_img_test_v10102019.tar", tar_of((f"test/{name}", data) for name, data in unlabeled()))
    _write(root / "ILSVRC2012_devkit_t12.tar.gz", devkit())
    return root


def half_extracted(root: Path) -> Path:
    """B again, of which the outer tars are unpacked: train/<wnid>.tar, val/ with loose pictures, the devkit as a folder."""
    ilsvrc_tars(root)
    for name, inside in (("ILSVRC2012_img_train.tar", "train"), ("ILSVRC2012_img_val.tar", "val"), ("ILSVRC2012_devkit_t12.tar.gz", "")):
        with tarfile.open(root / name) as archive:
            archive.extractall(root / inside, filter="data")
        (root / name).unlink()
    (root / "ILSVRC2012_img_test_v10102019.tar").unlink()
    return root


def kaggle(root: Path) -> Path:
    """C: ILSVRC/Data/CLS-LOC with a loose val, and the tables beside it."""
    data = root / "ILSVRC" / "Data" / "CLS-LOC"
    val = [one for one in pictures() if one.split == "val"]
    for one in pictures():
        _write(data / (f"train/{one.wnid}" if one.split == "train" else "val") / f"{one.stem}.JPEG", one.data)
    for name, content in unlabeled():
        _write(data / "test" / name, content)
    boxes = {one.stem: f"{one.wnid} 1 2 30 40 {one.wnid} 5 6 70 80 " for one in pictures()}
    _write(root / "LOC_val_solution.csv", _csv([["ImageId", "PredictionString"], *([one.stem, boxes[one.stem]] for one in reversed(val))]))
    _write(root / "LOC_train_solution.csv", _csv([["ImageId", "PredictionString"], [pictures()[0].stem, boxes[pictures()[0].stem]]]))
    _write(root / "LOC_synset_mapping.txt", "".join(f"{wnid} {names}\n" for wnid, names in CLASSES.items()).encode())
    return root


def hub_parquet(root: Path, folder: str = "data", shards: int = 2, wnids: bool = True) -> Path:
    """D: Parquet of the hub: shuffled rows, names in the metadata, a test split of label -1."""
    position = {wnid: number for number, wnid in enumerate(sorted(line.split()[0] for line in _lines("imagenet1k")))}
    rng = np.random.default_rng(1)
    for split, name in (("train", "train"), ("val", "validation")):
        found = [one for one in pictures() if one.split == split]
        found = [found[place] for place in rng.permutation(len(found)).tolist()]
        for shard in range(shards):
            part = found[shard::shards]
            paths = [f"{one.stem}_{one.wnid}.JPEG" if wnids else None for one in part]
            labels = [position[one.wnid] for one in part]
            write_table(root / folder / f"{name}-{shard:05d}-of-{shards:05d}.parquet", [one.data for one in part], paths, labels)
    tests = unlabeled()
    write_table(root / folder / "test-00000-of-00001.parquet", [data for _, data in tests], [name for name, _ in tests], [-1] * len(tests))
    return root


def webdataset(root: Path, members: Sequence[str] = ("jpg", "cls", "json")) -> Path:
    """E: shards of <key>.jpg with <key>.cls or <key>.json beside it."""
    position = {line.split()[0]: number for number, line in enumerate(_lines("imagenet1k"))}
    for split, name in (("train", "train"), ("val", "validation")):
        found = [one for one in pictures() if one.split == split]
        for shard in range(2):
            files = []
            for one in found[shard::2]:
                described = {"filename": f"{one.wnid}/{one.stem}.JPEG", "label": position[one.wnid], "height": 90, "width": 120}
                content = {"jpg": one.data, "cls": str(position[one.wnid]).encode(), "json": json.dumps(described).encode()}
                files += [(f"{one.stem}.{suffix}", content[suffix]) for suffix in members]
            _write(root / f"imagenet1k-{name}-{shard:04d}.tar", tar_of(files))
    return root


def npz(root: Path, side: int = 16) -> Path:
    """F: downsampled batches; planes of red, green, blue, and labels from 1 in the order of map_clsloc.txt."""
    order = {wnid: number for number, wnid in enumerate(_lines("imagenet1k_map_clsloc"), 1)}
    data = {split: [one for one in pictures() if one.split == split] for split in ("train", "val")}
    for name, found in (
        ("train_data_batch_1", data["train"][::2]),
        ("train_data_batch_2", data["train"][1::2]),
        ("val_data", data["val"]),
    ):
        rows = np.stack([downsampled(one, side).reshape(-1) for one in found])
        labels = np.array([order[one.wnid] for one in found])
        root.mkdir(parents=True, exist_ok=True)
        mean = {} if name.startswith("val") else {"mean": rows.mean(axis=0)}
        np.savez_compressed(root / f"{name}.npz", data=rows, labels=labels, **mean)
    return root


def downsampled(one: Picture, side: int) -> np.ndarray:
    """uint8 [3, side, side]."""
    from PIL import Image

    image = Image.open(io.BytesIO(one.data)).convert("RGB").resize((side, side), Image.Resampling.BOX)
    return np.asarray(image).transpose(2, 0, 1)


def devkit() -> bytes:
    """The devkit as .tar.gz: its table of synsets, one of which has children, and the ids of the validation pictures."""
    rows = [(number, wnid, CLASSES[wnid], 0) for wnid, number in ILSVRC_IDS.items()] + [(1001, "n00001740", "entity", 6)]
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    buffer = io.BytesIO()
    savemat(buffer, {"synsets": np.array([tuple(row) for row in rows], dtype=kinds).reshape(-1, 1)})
    truth = "".join(f"{ILSVRC_IDS[one.wnid]}\n" for one in pictures() if one.split == "val").encode()
    base = "ILSVRC2012_devkit_t12"
    files = {f"{base}/data/meta.mat": buffer.getvalue(), f"{base}/data/ILSVRC2012_validation_ground_truth.txt": truth}
    return tar_of({f"{base}/readme.txt": b"read me", **files}.items(), "w:gz")


def tar_of(files: Iterable[tuple[str, bytes]], mode: str = "w", form: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def write_table(path: Path, images: Sequence[bytes | None], paths: Sequence[str | None], labels: Sequence[int]) -> None:
    """A Parquet file as the hub has it, with the names of all thousand classes in its metadata."""
    column = pa.array(
        [{"bytes": data, "path": name} for data, name in zip(images, paths, strict=True)],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    names = [CLASSES.get(line.split()[0], line.split(" ", 1)[1]) for line in _lines("imagenet1k")]
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    found = pa.table({"image": column, "label": pa.array(labels, pa.int64())})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(found.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), path, row_group_size=3)


def _lines(name: str) -> list[str]:
    return (LISTS / f"{name}.txt").read_text().splitlines()


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

"""TinyImageNet in small: three of its classes, in the original tree, rearranged, and as Parquet."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from replicas.photo import photo

WNIDS = ("n01774384", "n01443537", "n02124075")
"""In the order of wnids.txt, which is not the sorted one."""
WORDS = {"n01443537": "goldfish, Carassius auratus", "n01774384": "black widow, Latrodectus mactans", "n02124075": "Egyptian cat"}
SIDE = (64, 64)


@cache
def pictures() -> list[tuple[str, str, str, bytes]]:
    """Split, class, name without suffix, content; one of them gray."""
    found = []
    for position, wnid in enumerate(sorted(WNIDS)):
        for number in range(4):
            mode = "L" if (position, number) == (1, 2) else "RGB"
            found.append(("train", wnid, f"{wnid}_{number}", photo(20 + position, number, SIDE, mode)))
    for number in range(6):
        position = (number * 2 + 1) % 3
        found.append(("val", sorted(WNIDS)[position], f"val_{number}", photo(20 + position, 50 + number, SIDE)))
    return found


def original(root: Path, val: str = "annotated") -> Path:
    """The tree as it is distributed; `val` is "annotated" (flat), or rearranged as "classes" or "classes/images"."""
    (root / "train").mkdir(parents=True)
    (root / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS))
    (root / "words.txt").write_text("".join(f"{wnid}\t{words}\n" for wnid, words in {**WORDS, "n00001740": "entity"}.items()))
    lines = []
    for split, wnid, stem, data in pictures():
        if split == "train":
            place = root / "train" / wnid / "images"
        elif val == "annotated":
            place = root / "val" / "images"
            lines.append(f"{stem}.JPEG\t{wnid}\t0\t32\t44\t62\n")
        else:
            place = root / "val" / wnid / val.partition("/")[2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{stem}.JPEG").write_bytes(data)
    for wnid in WNIDS:
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t10\t63\t58\n")
    if lines:
        (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "test" / "images").mkdir(parents=True)
    (root / "test" / "images" / "test_0.JPEG").write_bytes(photo(29, 0, SIDE))
    return root


def hub_parquet(root: Path, paths: bool = True) -> Path:
    """Parquet of the hub: classes by WordNet id, sorted; the split of the test pictures is called valid. Names may be lacking."""
    names = sorted(WNIDS)
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    (root / "data").mkdir(parents=True)
    for split, name in (("train", "train"), ("val", "valid")):
        found = [one for one in pictures() if one[0] == split]
        images = [{"bytes": data, "path": f"{stem}.JPEG" if paths else None} for _, _, stem, data in found]
        table = pa.table({"image": images, "label": pa.array([names.index(wnid) for _, wnid, _, _ in found], pa.int64())})
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(table, root / "data" / f"{name}-00000-of-00001-1359597a978bc4fa.parquet")
    return root

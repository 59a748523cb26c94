"""An ingestion as large as ImageNet-1K, 1,281,167 training images of 1x2x2 pixels in 1000 classes, in the parts that 64x64 would have.

    python large_join.py parts FOLDER     decodes the parts
    python large_join.py join FOLDER      puts them together; prints the largest resident memory above that before, in bytes

Its source lists names as those of ImageNet's files and makes its pixels up.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bilp.config import IngestConfig
from bilp.data import ingest_plan, ingestion, open_dataset
from bilp.data.contents import Contents, Group, SplitName
from bilp.data.ingest_part import ingest_part
from bilp.data.ingest_plan import open_plan
from bilp.data.items import Items
from bilp.data.source_record import open_record

CLASSES, EACH, TEST_EACH = 1000, 1281, 50
MORE = 167
"""Classes that have one image more."""
ROWS = 21_845
"""Images of 64 x 64 in a part of 256 MiB."""
CONFIG = IngestConfig(source="folder", uri="/nowhere/imagenet", on_corrupt="skip", most_corrupt=0.05)


class MadeUp:
    """A source of named images, whose pixels are their number in base 256."""

    name = "imagenet"

    def signature(self) -> str:
        """It never changes."""
        return "made up"

    def read(self) -> Contents:
        """All of them, in the order of their files."""
        sizes = {"train": EACH + (np.arange(CLASSES) < MORE), "test": np.full(CLASSES, TEST_EACH)}
        return Contents(tuple(map(_wnid, range(CLASSES))), {split: _items(split, each) for split, each in sizes.items()})  # type: ignore[arg-type, misc]

    def groups(self, items: Items) -> Iterator[Group]:
        """In groups of as many as are read from an array at once."""
        for start in range(0, len(items), 256):
            part = items.slice(start, start + 256)
            numbers = part.offset.astype(np.uint32).view(np.uint8).reshape(-1, 2, 2)
            yield Group(part.told(), numbers)


def _wnid(number: int) -> str:
    return f"n{number:08d}"


def _items(split: SplitName, sizes: NDArray[np.int64]) -> Items:
    labels = np.repeat(np.arange(CLASSES), sizes)
    first = 0 if split == "train" else 2**24
    stems = pa.array((f"{_wnid(label)}_{place}" for place, label in enumerate(labels.tolist())), pa.string())
    files = [f"{split}/{stem.partition('_')[0]}/{stem}.JPEG" for stem in stems.to_pylist()]
    items = Items.of_files(labels, files)
    return Items(**{**vars(items), "offset": first + np.arange(len(labels)), "stems": stems})


def peak_bytes() -> int:
    """The largest resident memory since the last reset."""
    return int(Path("/proc/self/status").read_text(encoding="ascii").split("VmHWM:")[1].split()[0]) * 1024


def made_up() -> None:
    """From here on every source of this process is the made-up one, in parts."""
    for module in (ingestion, sys.modules[ingest_part.__module__]):
        module.open_source = lambda config: MadeUp()  # type: ignore[attr-defined]
    ingest_plan.rows_of_shape = lambda shape, counts: ROWS


def planned(root: str) -> str:
    """The plan's URI."""
    return str(ingestion.plan_source(CONFIG, root))


def decoded(plan_uri: str) -> None:
    """All parts of a plan."""
    for part in open_plan(plan_uri).parts:
        ingest_part(CONFIG, plan_uri, part.number)


def joined(root: str) -> str:
    """The data set's URI."""
    return open_record(ingestion.read_source(CONFIG, root)).dataset_uri


def main(step: str, root: str) -> None:
    """Take one of the steps."""
    made_up()
    if step == "parts":
        decoded(planned(root))
        return
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = peak_bytes()
    dataset = joined(root)
    print(peak_bytes() - before)
    assert len(open_dataset(dataset).train) == CLASSES * EACH + MORE


if __name__ == "__main__":
    main(*sys.argv[1:])

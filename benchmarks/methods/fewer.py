"""python -m benchmarks.methods.fewer SOURCE TARGET [--train 100] [--test 100]

Writes the first so many images of each class of a set of Parquet files, with all columns as they are: a small set for a small study.

SOURCE is a directory with `train-*.parquet` and `test-*.parquet` in the layout of the Hugging Face hub. Rows are taken in the order of the
files' names and of their rows, so that everybody who has the same files gets the same images.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def first_of_each_class(table: pa.Table, count: int, column: str = "label") -> pa.Table:
    """The first `count` rows of each class, in the order of the table. Raises ValueError where a class has fewer."""
    labels = table[column].to_pylist()
    taken: Counter[int] = Counter()
    rows = []
    for row, label in enumerate(labels):
        if taken[label] < count:
            taken[label] += 1
            rows.append(row)
    short = {label: found for label, found in taken.items() if found < count}
    if short or not rows:
        raise ValueError(f"classes with fewer than {count} images: {short or 'there are no images'}")
    return table.take(rows)


def write(source: Path, target: Path, counts: dict[str, int]) -> dict[str, int]:
    """Makes `target` with one file a split; the number of images of each.

    Args:
        source: Directory of Parquet files.
        target: Directory that is made; files of the same name are replaced.
        counts: Images of each class, by split.

    Raises:
        ValueError: a split has no files, or a class has too few images.
    """
    made = {}
    tables = {}
    for split, count in counts.items():
        files = sorted(source.glob(f"{split}-*.parquet"))
        if not files:
            raise ValueError(f"{source} has no {split}-*.parquet")
        tables[split] = first_of_each_class(pa.concat_tables([pq.read_table(file) for file in files]), count)
    target.mkdir(parents=True, exist_ok=True)
    for split, table in tables.items():
        pq.write_table(table, target / f"{split}-00000-of-00001.parquet")
        made[split] = table.num_rows
    return made


def main(arguments: Sequence[str]) -> int:
    """The exit status: 2 where the source is not as it is meant."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods.fewer", description="The first images of each class.")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--train", type=int, default=100, help="training images of each class")
    parser.add_argument("--test", type=int, default=100, help="test images of each class")
    args = parser.parse_args(arguments)
    try:
        made = write(args.source, args.target, {"train": args.train, "test": args.test})
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(", ".join(f"{split}: {count} images" for split, count in made.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

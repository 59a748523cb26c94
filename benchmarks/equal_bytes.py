"""python -m benchmarks.equal_bytes --python .venv/bin/python --python /other/bin/python --threads 1 --threads 2

What equal bytes need: the pipeline of `benchmarks.pairs` on digits (other settings after `--`), in each environment on a folder of its
own, and a table of how many of its files are equal to those of the first environment. The first interpreter runs with each number
of threads and from two checkouts that differ by a commit, the others with the first number of threads.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from benchmarks.pairs import LIMIT, OPTIONS, Side, artifacts_in, checkouts, stored
from bilp.artifacts import layout


def contents(root: str) -> dict[str, str]:
    """Checksums of the files of all artifacts: kind of artifact, key or place, and name."""
    found = {}
    for artifact in artifacts_in(root, stored(root)):
        for name, entry in artifact.manifest.files.items():
            found[f"{artifact.manifest.kind}: {layout.relative(artifact.uri, root)}: {name}"] = entry.sha256
    return found


def compared(first: Mapping[str, str], other: Mapping[str, str]) -> str:
    """How many files of each kind are equal, and how many are elsewhere because a key differs."""
    equal, all_of = Counter[str](), Counter[str]()
    for place, sha256 in first.items():
        kind = place.partition(":")[0]
        all_of[kind] += 1
        equal[kind] += other.get(place) == sha256
    return ", ".join(f"{kind} {equal[kind]}/{count}" for kind, count in sorted(all_of.items()))


def main() -> None:
    """Run every environment and print a line for each but the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", default=[], help="an interpreter; may be repeated (default: this one)")
    parser.add_argument("--threads", action="append", type=int, default=[], help="may be repeated (default 1 and 2)")
    parser.add_argument("options", nargs="*", help="settings of the pipeline, after --")
    given = parser.parse_args()
    pythons, threads = given.python or [sys.executable], given.threads or [1, 2]
    with tempfile.TemporaryDirectory(prefix="equal-bytes-") as name:
        folder = Path(name)
        here, ahead = checkouts(folder, ["HEAD"])
        sides = [
            *(Side(here, pythons[0], number) for number in threads),
            Side(ahead, pythons[0], threads[0]),
            *(Side(here, python, threads[0]) for python in pythons[1:]),
        ]
        first: dict[str, str] = {}
        for number, side in enumerate(sides):
            root = folder / f"storage-{number}"
            status = side.start(str(root), folder / f"home-{number}", given.options or OPTIONS).wait(LIMIT)
            found = contents(str(root))
            first = first or found
            told = f"{side.python}, {side.threads} thread(s), {side.checkout.name}"
            print(f"{told}: exit {status}, {compared(first, found)}", flush=True)


if __name__ == "__main__":
    main()

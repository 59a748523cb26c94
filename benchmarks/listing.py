"""python -m benchmarks.listing STORAGE [--runs 1000]

Seconds of `bilp ls` on many reports, as a user waits for them, and their ratio to reading the manifests as JSON and nothing more.

The reports are copies of one that lies in STORAGE, published below a temporary root as any other: each has a seed of its own in its
settings, hence a key of its own, and a manifest with the checksums of its files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bilp.artifacts import parquet
from bilp.artifacts.artifact import content_key, find
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.publication import publish
from bilp.artifacts.tables import REPORTED
from bilp.config.changed import changed
from bilp.report.reported import FILE
from bilp.results.stored import report_keys
from bilp.storage import objects

REPEATS = 5


def copies(source: str, root: str, count: int) -> list[str]:
    """Publish so many reports below `root` that are like one below `source`; their keys."""
    keys = report_keys(source)
    assert keys, f"there is no report in {source}: run a pipeline there first"
    original = find(objects.join(source, "reports", keys[0]), "report", keys[0])
    assert original is not None and FILE in original.manifest.files, "the report was published by an earlier version: write its page again"
    manifest = original.manifest
    files = {name: original.read(name) for name in manifest.files}
    rows = pq.read_table(pa.BufferReader(files[FILE]))
    made = []
    for seed in range(count):
        config = {**manifest.config, "seed": seed, "keep": 0.1 + 0.8 * (seed % 97) / 97}
        key = content_key("copy of a report", 1, config=config)
        named = rows.set_column(rows.column_names.index("run"), "run", pa.array([key] * len(rows)))
        content = files | {FILE: parquet.encode(named, REPORTED, {"stage": "report", "key": key})}
        uri = objects.join(root, "reports", key)
        parents = {role: objects.join(root, place) for role, place in manifest.parents.items()}
        publish(uri, "report", key, content, config=config, parents=parents, facts={**manifest.facts, "changed": changed(config)})
        made.append(key)
    return made


def seconds(work: Callable[[], object]) -> float:
    """The least of several times."""
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("storage", help="storage with a report")
    parser.add_argument("--runs", type=int, default=1000)
    typed = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bilp-listing-") as root:
        copies(typed.storage, root, typed.runs)
        program = "from flows.commands import ls; ls.main([])"

        def command() -> None:
            environment = os.environ | {"BILP_STORAGE": root}
            done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
            assert done.stdout.count("\n") == typed.runs + 1

        def plain() -> None:
            for manifest in Path(root).glob(f"reports/*/{MANIFEST}"):
                json.loads(manifest.read_bytes())

        start = seconds(lambda: subprocess.run([sys.executable, "-c", "import flows.program"], check=True))
        listed, read = seconds(command), seconds(plain)
        print(f"bilp ls of {typed.runs} reports: {listed:.2f} s, of which starting {start:.2f} s")
        print(f"(listed - starting) / reading the manifests as JSON: {(listed - start) / read:.1f}")


if __name__ == "__main__":
    main()

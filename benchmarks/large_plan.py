"""python -m benchmarks.large_plan FOLDER

CPU seconds and the largest resident memory of the plan of an ingestion, which is its listing: 1,281,167 training and 50,000 validation
images in 1000 classes in folders, as the original has them, brought to a side of 64. FOLDER is filled with them the first time, by links
to a few files of one JPEG; each measurement is a program of its own.

The lines are the first plan, and the same ingestion asked again, which lists the files to know that nothing changed.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from bilp.config import IngestConfig
from bilp.data.class_lists import class_order
from bilp.data.ingest_plan import open_plan
from bilp.data.ingestion import plan_source

SPLITS = {"train": 1_281_167, "val": 50_000}
LINKS = 30_000
"""Of one file; a file system has a limit."""


def fill(folder: Path) -> None:
    """Write the images, evenly over the classes."""
    file = io.BytesIO()
    Image.fromarray(np.arange(96 * 96 * 3, dtype=np.uint8).reshape(96, 96, 3)).save(file, "JPEG", quality=90)
    (folder / "files").mkdir(parents=True)
    wnids, made = class_order("imagenet1k"), 0
    original = folder / "files" / "0"
    for split, count in SPLITS.items():
        for number, wnid in enumerate(wnids):
            place = folder / "set" / split / wnid
            place.mkdir(parents=True)
            for image in range(count // len(wnids) + (number < count % len(wnids))):
                if made % LINKS == 0:
                    original = folder / "files" / str(made // LINKS)
                    original.write_bytes(file.getvalue())
                os.link(original, place / f"{wnid}_{image}.JPEG")
                made += 1


def measured(folder: Path, root: str) -> dict[str, float]:
    """Of this program, from here on."""
    began = time.process_time()
    uri = plan_source(IngestConfig(source="imagenet1k", uri=str(folder / "set"), resolution=64), root)
    seconds = time.process_time() - began
    assert uri is not None
    peak = int(Path("/proc/self/status").read_text(encoding="ascii").split("VmHWM:")[1].split()[0])
    plan = open_plan(uri)
    assert sum(part.stop - part.start for part in plan.parts) == sum(SPLITS.values())
    return {"seconds": round(seconds, 1), "peak_gib": round(peak / 2**20, 2), "parts": len(plan.parts)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--root", help="measure in this process, with results below this place")
    given = parser.parse_args()
    if given.root is not None:
        print(json.dumps(measured(given.folder, given.root)))
        return
    if not given.folder.exists():
        fill(given.folder)
    with tempfile.TemporaryDirectory() as root:
        for what in ("first", "again"):
            command = [sys.executable, "-m", "benchmarks.large_plan", str(given.folder), "--root", root]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(what, done.stdout.strip(), flush=True)


if __name__ == "__main__":
    main()

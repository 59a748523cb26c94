"""As many samples and classes as ImageNet-1K has: every table is whole, and memory stays within what a small machine has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from imagenet_sized import CLASSES, SAMPLES, labels_of_imagenet
from page_reader import Page

MOST_BYTES = int(2.5 * 2**30)
LARGEST_PAGE = 1_000_000


@pytest.mark.slow
def test_all_of_imagenet_goes_through_the_stages_in_bounded_memory(tmp_path: Path) -> None:
    program = Path(__file__).with_name("imagenet_sized.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, str(program), str(tmp_path)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["peak_bytes"] <= MOST_BYTES, told
    assert (told["samples"], told["summarized"], told["classes"]) == (SAMPLES, SAMPLES, CLASSES)
    assert told["kept"] == pytest.approx(0.4 * SAMPLES, abs=CLASSES / 2)
    assert told["page_bytes"] < LARGEST_PAGE, told
    page = Page(Path(told["page"]).read_text(encoding="utf-8"))
    assert "Thresholds of all 1000 classes" in page.text
    assert all(page.text.count(f"n{c:08d} a name") >= 1 for c in range(CLASSES))


def test_classes_have_the_sizes_that_imagenet_has() -> None:
    sizes = np.bincount(labels_of_imagenet(), minlength=CLASSES).tolist()
    assert (sum(sizes), min(sizes), max(sizes), sizes.count(1300)) == (SAMPLES, 732, 1300, 895)

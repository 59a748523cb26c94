"""A state of a gigabyte is written, published and read without a second one in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak"),
]

PROGRAM = """
import sys
from pathlib import Path
import torch
from bilp.artifacts.publication import publish
from bilp.distill.checkpoint import round_state
from bilp.distill.step.state import DistillState, write_state

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10

def begin():
    Path("/proc/self/clear_refs").write_text("5")
    return peak()

folder, uri, classes = Path(sys.argv[1]), sys.argv[2], 1000
labels = torch.arange(classes).repeat_interleave(10)
empty = begin()
state = DistillState(torch.full((len(labels), 3, 64, 64), 0.5), labels, torch.full((len(labels), 3, 64, 64), 0.25), 7, 0.125)
size, before = state.images.nbytes + state.momentum.nbytes, begin()
write_state(state, folder / "checkpoint.safetensors", folder / "momentum.safetensors")
files = {name: folder / name for name in ("checkpoint.safetensors", "momentum.safetensors")}
artifact = publish(uri, "round_state", "0123456789abcdef", files, config={}, parents={}, facts={"round": 1, "iteration": 7})
print(size, peak() - before)
del state
before = begin()
found = round_state(artifact)
print(found.images.nbytes + found.momentum.nbytes, peak() - before)
copy = found.to("cpu")
assert bool((copy.images == 0.5).all()) and bool((copy.momentum == 0.25).all()) and copy.iteration == 7
"""


@pytest.mark.parametrize("s3", [False, pytest.param(True, marks=pytest.mark.s3)], ids=["folder", "s3"])
def test_a_checkpoint_takes_no_memory_beside_its_tensors(tmp_path: Path, s3: bool, request: pytest.FixtureRequest) -> None:
    uri = f"{request.getfixturevalue('s3_root')}/state" if s3 else str(tmp_path / "state")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-c", PROGRAM, str(tmp_path), uri]
    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    (written, above), (read, beside) = ([int(word) for word in line.split()] for line in told.splitlines())
    assert written == read == 2 * 10_000 * 3 * 64 * 64 * 4
    assert above < 150 << 20, f"writing and publishing took {above >> 20} MiB; what travels to S3 has its parts in memory"
    assert beside < read + (150 << 20), "reading"

"""An ingestion as large as ImageNet-1K is put together from its parts in little memory."""

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

MOST = int(0.6 * 2**30)


def test_a_join_of_1281167_images_takes_little_memory(tmp_path: Path) -> None:
    program = Path(__file__).with_name("large_join.py")
    environment = os.environ | {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    for step in ("parts", "join"):
        command = [sys.executable, str(program), step, str(tmp_path / "store")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert int(done.stdout) < MOST, f"{int(done.stdout) >> 20} MiB above what the program begins with"

"""A user's script is checked by mypy --strict as this project is: what is right passes, and each mistake is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SCRIPT = """
from pathlib import Path
import numpy as np
import torch
import bilp

data: bilp.Dataset = bilp.ingest(images=np.zeros((8, 4, 4), np.uint8), labels=[0, 1] * 4, root=Path("x"))
scores = bilp.score(data, trials=3, network={"width": 8})
kept: bilp.Selection = bilp.prune(scores, keep=0.8)
result = bilp.distill(data, method="dm", ipc=1, selection=kept, beta=0.1)
image, label = result[0]
shape: torch.Size = image.shape
evaluation = bilp.evaluate([result, "runs/KEY"], seeds=5)
mean: float = evaluation.rows[0].mean
report: bilp.Report = bilp.report(evaluation)
where: Path = report.path
again: bilp.Report = bilp.run(data, settings={"method": "dm"}, ipc=1)
loaded: bilp.DistilledSet = bilp.load_distilled(Path("runs") / "KEY")
"""
WRONG = """
bilp.ingest(images=1, labels=2, layout="HWCN")
bilp.score(3)
bilp.distill(data, experiment="one")
scores.critrion
data.path.read_txt()
"""


@pytest.mark.slow
def test_a_script_is_checked(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + WRONG)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(script)]  # with the cache of `make lint`
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    first = SCRIPT.count("\n") + 2
    found = [line.split(":")[1] for line in done.stdout.splitlines() if ": error:" in line]
    assert found == [str(first + number) for number in range(5)], done.stdout

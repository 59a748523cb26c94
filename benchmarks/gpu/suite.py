"""The project's own tests of what knows devices, with the PyTorch of this machine."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from benchmarks.gpu.device import Machine

ROOMS = ("tests/cuda", "tests/matching", "tests/causal", "tests/distill", "tests/nets", "tests/images")


def suite(machine: Machine) -> dict[str, Any]:
    """The exit status of pytest and its last lines; a rehearsal asks only whether the tests can be found."""
    command = [sys.executable, "-m", "pytest", "-q", "--maxfail=60", "-o", "filterwarnings=ignore", "-p", "no:cacheprovider", *ROOMS]
    command += ["--collect-only"] if machine.rehearsal else ["-n", "14"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=None if machine.rehearsal else max(1.0, machine.left), check=False
    )
    last = done.stdout[-1500:]
    print(last, flush=True)
    return {"status": done.returncode, "last lines": last}

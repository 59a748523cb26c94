"""Freed memory stays in the process wherever work is done, which only its page faults show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bilp.allocator import ENVIRONMENT, keep_freed_memory

pytestmark = pytest.mark.skipif(not keep_freed_memory(), reason="the C library is not glibc")

REPOSITORY = Path(__file__).resolve().parent.parent

# More threads than arenas after which their limit is computed, as Prefect has them before it imports a flow.
THREADS = """
import threading
met, done = threading.Barrier(13), threading.Event()
def wait():
    kept = bytearray(100_000)
    met.wait()
    done.wait()
others = [threading.Thread(target=wait) for _ in range(12)]
for other in others: other.start()
met.wait()
"""
# A task's thread, which starts when the others have ended: blocks of 24 MiB, several at once, as feature maps of a training step.
WORK = """
import resource, threading
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    before = faults()
    for _ in range(8):
        blocks = [b"x" * size for _ in range(4)]
        del blocks
    print(faults() - before)
size = 24 << 20
done.set()
for other in others: other.join()
worker = threading.Thread(target=work)
worker.start()
worker.join()
"""


def faults(program: str, **settings: str) -> int:
    """Minor page faults of the work at the end of a program that runs in a fresh process."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | settings
    command = [sys.executable, "-c", program + WORK]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.fixture(scope="module")
def handed_back() -> int:
    """Faults of a process that hands freed memory back."""
    return faults(THREADS)


def test_a_program_that_imports_flows_first_keeps_what_it_frees(handed_back: int) -> None:
    assert faults("import flows\n" + THREADS) < handed_back / 3


def test_a_process_that_has_threads_before_keeps_it_by_its_environment(handed_back: int) -> None:
    assert faults(THREADS + "import flows\n", **ENVIRONMENT) < handed_back / 3

"""python -m benchmarks.storm --seconds 30

What an object storage costs that answers every request with 503 for a while: small pipelines on digits, one for each moment of a run
at which the storm begins, compared with undisturbed ones. Each must end with status 0.

BILP_STORAGE=s3://bucket/prefix and AWS_ENDPOINT_URL say where results lie; the programs reach the store through a relay
(`drill.relay`) that recognizes the moment by the requests that pass. `--seconds inf`: how a run ends that is not answered any more.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bilp.errors import ConfigError
from bilp.storage.objects import join
from deployments.state_folder import REPOSITORY
from drill.relay import Relay

OPTIONS = (
    *("--dataset=digits", "--score.trials=2", "--score.epochs=1", "--score.init_epochs=1", "--reselect.candidates_per_class=12"),
    *("--distill.iterations=8", "--distill.rounds=4", "--distill.batch_real=16"),
    *("--evaluate.seeds=2", "--evaluate.epochs=4", "--evaluate.full_epochs=1"),
)
"""Seconds of work, so that what is seen is the storage."""

MOMENTS: dict[str, str] = {
    "preflight": r"[A-Z]+ ",
    "ingestion": r"PUT \S*/datasets/\S*(?<!manifest\.json) ",
    "its manifest": r"PUT \S*/datasets/\S*_manifest\.json",
    "scoring": r"PUT \S*/scores/",
    "between two stages": r"PUT \S*/selections/\S*_manifest\.json",
    "distillation": r"PUT \S*/runs/\S*/rounds/0002/",
    "evaluation": r"PUT \S*/evaluations/",
    "report": r"PUT \S*/reports/",
    "the end": r"PUT \S*/reports/\S*_manifest\.json",
}
"""When the storm begins, by the first request that looks so; it is the first one that is refused, but after a manifest the next one."""


class Storm(Relay):
    """A relay that refuses everything for some seconds from the first request on that looks like `pattern`."""

    def __init__(self, url: str, pattern: str | None, seconds: float) -> None:
        self.pattern = re.compile(pattern.encode()) if pattern else None
        self.seconds, self.began = seconds, threading.Event()
        super().__init__(url)

    def told(self, data: bytes) -> None:
        if self.pattern is None or self.began.is_set() or not self.pattern.match(data):
            return
        self.began.set()
        threading.Thread(target=self._blow, args=(b"_manifest" in data,), daemon=True).start()

    def _blow(self, afterwards: bool) -> None:
        if afterwards:
            time.sleep(0.05)  # let it through
        with self.refusing():
            threading.Event().wait(self.seconds if math.isfinite(self.seconds) else None)


@dataclass(frozen=True)
class Run:
    """How one pipeline ended."""

    moment: str
    status: int
    seconds: float
    refused: int
    lines: list[str]
    """What it said about the storage."""


def run(moment: str, number: int, seconds: float, home: Path) -> Run:
    """One pipeline into an empty place; `moment` "calm" has no storm."""
    relay = Storm(os.environ["AWS_ENDPOINT_URL"], MOMENTS.get(moment), seconds)
    place = join(os.environ["BILP_STORAGE"], f"storm-{os.getpid()}", f"{moment.replace(' ', '-')}-{number}")
    environment = os.environ | {"AWS_ENDPOINT_URL": relay.url, "BILP_STORAGE": place, "PREFECT_HOME": str(home), "BILP_DEVICE": "cpu"}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "flows.pipeline", *OPTIONS],
        cwd=REPOSITORY,
        env=environment | {"BILP_CACHE": str(home / "cache" / f"{moment}-{number}")},
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.monotonic() - began
    relay.close()
    said = [line.strip() for line in done.stderr.splitlines() if "the storage " in line or line.startswith("python -m ")]
    return Run(moment, done.returncode, took, relay.refused, said)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storm", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the storm lasts")
    parser.add_argument("--moments", default=",".join(MOMENTS), help=f"of: {', '.join(MOMENTS)}")
    parser.add_argument("--repeats", type=int, default=1, help="runs for each moment, and undisturbed ones")
    options = parser.parse_args(arguments)
    moments = options.moments.split(",")
    if not {"AWS_ENDPOINT_URL", "BILP_STORAGE"} <= os.environ.keys() or not set(moments) <= MOMENTS.keys():
        raise ConfigError(f"set AWS_ENDPOINT_URL and BILP_STORAGE=s3://bucket/prefix, and choose moments of {', '.join(MOMENTS)}")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="bilp-storm-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        run("calm", 0, 0.0, home)  # makes the database of the Prefect server
        calm = [run("calm", number, 0.0, home).seconds for number in range(1, options.repeats + 1)]
        _say(f"calm: {', '.join(f'{seconds:.1f}' for seconds in calm)} s")
        for moment in moments:
            for number in range(options.repeats):
                found = run(moment, number, options.seconds, home)
                failed += found.status != 0
                cost = found.seconds - statistics.median(calm)
                _say(f"{moment}: status {found.status}, {found.seconds:.1f} s, cost {cost:.1f} s, {found.refused} requests refused")
                for line in found.lines:
                    _say(f"    {line}")
    return 1 if failed else 0


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""python -m benchmarks.orchestration --repeats 3

What Prefect adds to a pipeline on digits: the functions of bilp alone, the flows with their private server, and server + worker.

Each way runs a short and a long job of the same number of units (one thread, one worker) in fresh processes, in turns; only the
epochs and iterations differ. Overhead is fitted as a constant plus a share of the work: the share is the slope between the two
jobs over that of bilp alone, less one. Wall time and CPU time of every process involved; the server's and the idle workers'
start is left out for server + worker, which are there before the job, and so is the first migration of Prefect's database. Needs
Linux (/proc).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import flows  # noqa: F401  # settles how threads wait, before torch is imported anywhere
from bilp.config import PipelineConfig
from deployments.state_folder import REPOSITORY
from drill.rehearsal import Service

LIMIT = 3600.0
WAYS = ("alone", "flows", "workers")
SIZES = {"short": 1, "long": 3}


def configuration(times: int) -> dict[str, Any]:
    """Four trials, two distillations in four rounds, three evaluations; `times` scales what each of them does."""
    return {
        "dataset": "digits",
        "score": {"trials": 4, "epochs": 5 * times, "init_epochs": 5},
        "distill": {"iterations": 60 * times, "rounds": 4},
        "reselect": {"candidates_per_class": 16},
        "evaluate": {"seeds": 4, "epochs": 60 * times, "baselines": ["random"]},
    }


def alone(config: PipelineConfig, root: str) -> None:
    """The pipeline as somebody would write it in a notebook."""
    from bilp import data, distill
    from bilp.config.arms import planned_runs
    from bilp.evaluate import evaluate_baseline, evaluate_synthetic
    from bilp.pruning.prune import prune
    from bilp.report import report
    from bilp.scoring.summary import summarize
    from bilp.scoring.trial import score_trial

    dataset = data.ingest(config.ingest, root)
    for trial in range(config.score.trials):
        score_trial(dataset, config.score, trial, root)
    scores = summarize(dataset, config.score, root)
    selection = prune(dataset, scores, config.prune, root)
    evaluations = [evaluate_baseline(dataset, baseline, config.ipc, config.evaluate, root) for baseline in config.evaluate.baselines]
    runs: dict[str, list[str]] = {}
    for planned in planned_runs(config):
        run = distill.start_run(dataset, selection if planned.static else None, planned.distill, planned.reselect, root)
        for number in range(1, planned.distill.rounds + 1):
            distill.reselect_round(run, number)
            distill.distill_round(run, number)
        synthetic = distill.finish_run(run)
        evaluations.append(evaluate_synthetic(dataset, synthetic, planned.arm, planned.experiment, config.evaluate, root))
        runs[planned.arm] = [run]
    report(config, dataset, scores, selection, runs, evaluations, root)


def in_a_process(way: str, config: dict[str, Any], folder: Path, home: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a process that runs the pipeline one way, and of all that it started; `home` is Prefect's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "BILP_"))}
    environment |= {"OMP_NUM_THREADS": "1", "BILP_DEVICE": "cpu", "PREFECT_HOME": str(home), "BILP_CACHE": str(folder / "cache")}
    began = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "benchmarks.orchestration",
        "--way",
        way,
        "--config",
        json.dumps(config),
        "--root",
        str(folder / "store"),
    ]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{way} ended with status {status}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime


class Running:
    """A service whose server and workers are there already."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.service = Service(folder, str(folder / "ready"), BILP_GPUS="0", BILP_CPU_LIMIT="4")
        self.service.start_server()
        self.service.start_workers()
        self._complete("ingest/ingest", {"config": {"source": "digits"}})

    def measured(self, config: dict[str, Any], folder: Path) -> tuple[float, float]:
        """Wall seconds from submission to end, and CPU seconds of server, workers and runs meanwhile."""
        cpu, began = self._cpu(), time.monotonic()
        self._complete("pipeline/digits", {"config": config, "root": str(folder / "store")})
        return time.monotonic() - began, self._cpu() - cpu

    def _complete(self, deployment: str, parameters: dict[str, Any]) -> None:
        run = self.service.ended(self.service.submit(deployment, parameters), LIMIT)
        if run.state_name != "Completed":
            raise SystemExit(self.service.logs())

    def _cpu(self) -> float:
        """Of every process of the service and of those that they have waited for; runs end before their worker says so."""
        total = 0
        for pid in self.service.processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
        return total / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--way", choices=WAYS[:2], help="be the process that is measured")
    parser.add_argument("--config", type=json.loads)
    parser.add_argument("--root")
    arguments = parser.parse_args()
    if arguments.way == "alone":
        alone(PipelineConfig.model_validate(arguments.config), arguments.root)
    elif arguments.way == "flows":
        from flows.pipeline import pipeline

        pipeline(PipelineConfig.model_validate(arguments.config), arguments.root)
    else:
        compare(arguments.repeats)


def compare(repeats: int) -> None:
    """Measure all ways in turns and print the table."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {(way, size): [] for way in WAYS for size in SIZES}
    with tempfile.TemporaryDirectory(prefix="bilp-orchestration-") as place:
        home = Path(place) / "private"
        in_a_process("flows", configuration(1) | {"arms": ["unpruned"]}, Path(place) / "first", home)  # which makes Prefect's database
        running = Running(Path(place) / "service")
        try:
            for _ in range(repeats):
                for (way, size), results in found.items():
                    with tempfile.TemporaryDirectory(prefix="bilp-orchestration-") as folder:
                        config = configuration(SIZES[size])
                        if way == "workers":
                            wall, cpu = running.measured(config, Path(folder))
                        else:
                            wall, cpu = in_a_process(way, config, Path(folder), home)
                    results.append((wall, cpu))
                    sys.stderr.write(f"{way} {size}: wall {wall:.1f} s, CPU {cpu:.1f} s, load {os.getloadavg()[0]:.1f}\n")
        finally:
            running.service.stop()
    print(
        f"| way, median of {repeats} | short, wall | long, wall | short, CPU | long, CPU | share of CPU | constant, CPU | constant, wall |"
    )
    print("|---|---|---|---|---|---|---|---|")
    base_wall, base_cpu = medians(found, "alone", 0), medians(found, "alone", 1)
    for way in WAYS:
        walls, cpus = medians(found, way, 0), medians(found, way, 1)
        share = (cpus[1] - cpus[0]) / (base_cpu[1] - base_cpu[0]) - 1
        figures = [*walls, *cpus, 100 * share, cpus[0] - base_cpu[0], walls[0] - base_wall[0]]
        print(f"| {way} | " + " | ".join(f"{value:.1f}" for value in figures) + " |")


def medians(found: dict[tuple[str, str], list[tuple[float, float]]], way: str, which: int) -> list[float]:
    """Median wall (0) or CPU (1) seconds of the short and of the long job."""
    return [statistics.median(run[which] for run in found[way, size]) for size in SIZES]


if __name__ == "__main__":
    main()

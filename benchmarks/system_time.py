"""python -m benchmarks.system_time --data cifar10_jpeg --width 64

How much of its CPU time each stage of the pipeline spends in the system, through the flows and by the functions of bilp alone.

Each way is a fresh process that goes through the same small pipeline on a Parquet data set; a stage's figures are what that process
used meanwhile (getrusage): seconds in user and in system time, minor page faults, and the peak of its memory until then. "Start" is
the imports and, through the flows, the private server, whose own CPU time is another process's. System time at work is almost all
page faults: memory that the C library hands back and faults in again. The shares mean something beside other programs too;
the system splits a stage's time by ticks of some milliseconds, so a share of a stage of less than a second is rough.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import flows  # noqa: F401  # settles how threads wait and where freed memory goes, before torch is imported anywhere
from bilp.config import PipelineConfig

REPOSITORY = Path(__file__).resolve().parents[1]
GOAL = 5.0  # percent of CPU time in the system, at most

Stage = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Usage:
    """What a process used in one stage, and the peak of its memory until the stage's end."""

    user: float
    system: float
    faults: int
    peak_mib: float

    @property
    def share(self) -> float:
        """Percent of CPU time in the system."""
        return 100 * self.system / max(self.user + self.system, 1e-9)


def configuration(data: str, width: int, epochs: int, iterations: int) -> PipelineConfig:
    """One scoring trial, two distillations by DC in two rounds, evaluations of them and of random images."""
    network = {"width": width}
    return PipelineConfig.model_validate(
        {
            "dataset": "parquet",
            "method": "dc",
            "ingest": {"uri": str(Path(data).resolve())},
            "score": {"trials": 1, "epochs": epochs, "init_epochs": 1, "network": network},
            "distill": {"iterations": iterations, "rounds": 2, "network": network},
            "evaluate": {"networks": [network], "seeds": 3, "epochs": 300, "baselines": ["random"]},
        }
    )


def by_flows(config: PipelineConfig, root: str, stage: Stage) -> None:
    """The stages in the flow that `flows.pipeline` makes of them."""
    with stage("start"):
        from flows.distill import distill_arms
        from flows.evaluate import evaluate
        from flows.ingest import ingest
        from flows.local.flow import flow
        from flows.local.server import reachable
        from flows.prune import prune
        from flows.report import report
        from flows.score import score

        with reachable():
            pass

    @flow(name="stages")
    def stages(config: PipelineConfig) -> None:
        with stage("ingest"):
            dataset = ingest(config.ingest, root)
        with stage("score"):
            scores = score(dataset, config.score, root)
        with stage("prune"):
            selection = prune(dataset, scores, config.prune, root)
        with stage("distill"):
            runs = distill_arms(config, dataset, selection, root)
        with stage("evaluate"):
            evaluations = evaluate(dataset, runs, config.ipc, config.evaluate, root)
        with stage("report"):
            report(config, dataset, scores, selection, runs, evaluations, root)

    stages(config)


def by_functions(config: PipelineConfig, root: str, stage: Stage) -> None:
    """The stages as somebody would write them in a notebook."""
    with stage("start"):
        from bilp import data, distill
        from bilp.config.arms import planned_runs
        from bilp.evaluate import evaluate_baseline, evaluate_synthetic
        from bilp.pruning.prune import prune
        from bilp.report import report
        from bilp.scoring.summary import summarize
        from bilp.scoring.trial import score_trial

    with stage("ingest"):
        dataset = data.ingest(config.ingest, root)
    with stage("score"):
        for trial in range(config.score.trials):
            score_trial(dataset, config.score, trial, root)
        scores = summarize(dataset, config.score, root)
    with stage("prune"):
        selection = prune(dataset, scores, config.prune, root)
    runs: dict[str, list[str]] = {}
    with stage("distill"):
        for planned in planned_runs(config):
            run = distill.start_run(dataset, selection if planned.static else None, planned.distill, planned.reselect, root)
            for number in range(1, planned.distill.rounds + 1):
                distill.reselect_round(run, number)
                distill.distill_round(run, number)
            distill.finish_run(run)
            runs.setdefault(planned.arm, []).append(run)
    with stage("evaluate"):
        evaluations = [evaluate_baseline(dataset, baseline, config.ipc, config.evaluate, root) for baseline in config.evaluate.baselines]
        for arm, experiments in runs.items():
            for number, run in enumerate(experiments):
                evaluations.append(evaluate_synthetic(dataset, f"{run}/synthetic", arm, number, config.evaluate, root))
    with stage("report"):
        report(config, dataset, scores, selection, runs, evaluations, root)


WAYS = {"flows": by_flows, "functions": by_functions}


def measure(way: str, config: PipelineConfig, root: str) -> dict[str, Usage]:
    """What this process uses in every stage."""
    found: dict[str, Usage] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        before = resource.getrusage(resource.RUSAGE_SELF)
        yield
        after = resource.getrusage(resource.RUSAGE_SELF)
        found[name] = Usage(
            after.ru_utime - before.ru_utime,
            after.ru_stime - before.ru_stime,
            after.ru_minflt - before.ru_minflt,
            after.ru_maxrss / 1024,
        )

    WAYS[way](config, root, stage)
    return found


def in_a_process(way: str, arguments: argparse.Namespace) -> dict[str, Usage]:
    """`measure` in a fresh process with its own storage and Prefect home."""
    with tempfile.TemporaryDirectory(prefix="bilp-system-time-") as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "BILP_"))}
        environment |= {"BILP_DEVICE": "cpu", "PREFECT_HOME": f"{folder}/home", "BILP_CACHE": f"{folder}/cache"}
        result = Path(folder) / "usage.json"
        command = [sys.executable, "-m", "benchmarks.system_time", *sys.argv[1:], "--way", way, "--root", folder, "--result", str(result)]
        subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, check=True)
        return {name: Usage(**usage) for name, usage in json.loads(result.read_text()).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a data set in Parquet")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=1, help="of the scoring trial")
    parser.add_argument("--iterations", type=int, default=4, help="of each distillation")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--way", choices=WAYS, help="be the process that is measured")
    parser.add_argument("--root")
    parser.add_argument("--result", type=Path)
    arguments = parser.parse_args()
    if arguments.way:
        config = configuration(arguments.data, arguments.width, arguments.epochs, arguments.iterations)
        found = measure(arguments.way, config, f"{arguments.root}/store")
        arguments.result.write_text(json.dumps({name: asdict(usage) for name, usage in found.items()}))
        return
    for way in arguments.ways:
        show(way, in_a_process(way, arguments))


def show(way: str, found: dict[str, Usage]) -> None:
    """Print a way's table."""
    print(f"\n| {way} | user, s | system, s | system, % | minor faults | peak, MiB |\n|---|---|---|---|---|---|")
    for name, usage in found.items():
        mark = " (above the goal)" if usage.share > GOAL else ""
        print(f"| {name} | {usage.user:.2f} | {usage.system:.2f} | {usage.share:.1f}{mark} | {usage.faults:,} | {usage.peak_mib:.0f} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

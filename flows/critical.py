"""bilp critical --dataset digits --method dm --ipc 1 --criteria loss_init,random --tolerance 0.5

How much of the data is enough: the smallest share of the samples that is as good as all of them, for each criterion, by paired
distillations and a test with a stated tolerance; a table, a CSV and a page with the curve.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from bilp.config import PipelineConfig
from bilp.config.arms import needs_scores
from bilp.critical.measuring import counts_of, measure
from bilp.critical.plan import CriticalOptions, Plan, configured
from bilp.critical.plan import planned as plan_of
from bilp.critical.shares import open_critical
from bilp.data import open_dataset
from flows import program
from flows.carrier import FlowCarrier
from flows.ingest import dataset_and_record
from flows.local.flow import flow
from flows.started_run import shown
from flows.workplace import workplace
from tasks import run_progress, run_texts, steps, terminal
from tasks.analyses import finish_critical
from tasks.estimate import Planned
from tasks.parameters import Root
from tasks.run_display import log
from tasks.run_name import unless_given


def run_name(config: dict[str, Any], options: CriticalOptions = CriticalOptions(), root: Root = None) -> str:  # noqa: B008
    """'critical share of digits by loss_init, random'."""
    return f"critical share of {configured(config, options)[0].dataset} by {', '.join(options.criteria)}"


@flow(name="critical", flow_run_name=unless_given(run_name))
def critical(config: dict[str, Any], options: CriticalOptions = CriticalOptions(), root: Root = None) -> str:  # noqa: B008
    """The URI of the critical shares. What of it is there is not computed again.

    Args:
        config: Settings of the pipeline, such as {"dataset": "digits", "ipc": 1}.
        options: Criteria, tolerance, level, distillations.
    """
    place, (whole, _) = workplace(root), configured(config, options)
    stages = [f"read {whole.dataset}", "score, distill and evaluate shares"]
    with shown(stages, run_texts.plan(whole, stages), run_texts.tags(whole)):
        run_progress.stage()
        dataset, _ = dataset_and_record(whole.ingest, place)
        run_progress.stage()
        counted = measured_steps(plan_of(config, options, counts_of(open_dataset(dataset))))
        terminal.expect([Planned("ingest", ""), *(Planned("distill", f"critical shares: {kind}", n) for kind, n in counted.items())])
        with steps.gathered("distill", "critical shares", sum(counted.values())):
            uri = measure(config, options, dataset, place, FlowCarrier(place))
        finish_critical(uri)
        for line in open_critical(uri).lines:
            log(line)
    return uri


def measured_steps(plan: Plan) -> dict[str, int]:
    """Steps that are counted, at most, by kind."""
    trials = {str(each.score): each.score.trials for each in plan.by_criterion.values() if needs_scores(each.prune)}
    rounds = plan.distillations * plan.config.distill.rounds
    return {"trial": sum(trials.values()), "round": rounds, "evaluation": plan.distillations}


def show(uri: str) -> None:
    """The outcome of each criterion, and where table and page lie."""
    found = open_critical(uri)
    program.show_text(found.lines)
    program.show_uri("critical shares", uri)
    program.show_uri("page", found.page)


def main(arguments: Sequence[str]) -> None:
    name, description = program.described(__doc__)
    given: dict[str, Any] = {}

    def joined(typed: dict[str, Any], options: CriticalOptions) -> PipelineConfig:
        given.update(typed)
        return configured(typed, options)[0]

    options, _ = program.with_options(CriticalOptions, arguments, name, description, joined)
    program.guarded(name, lambda: critical(given, options), show)


if __name__ == "__main__":
    main(sys.argv[1:])

"""python -m flows.score --dataset digits

Score every real sample by short, independently seeded trainings: by its loss, or by what --prune.criterion needs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from prefect.task_runners import ThreadPoolTaskRunner

from bilp.config import ScoreConfig
from flows import program
from flows.ingest import ingest
from flows.local.flow import flow
from flows.units.execute import execute
from flows.units.table import extend_trial, score_trial
from flows.workplace import workplace
from tasks.analyses import extend_scores, extended_summary, trials_to_extend
from tasks.execution import Execution
from tasks.parameters import DatasetUri, Root
from tasks.stages import summarize


@flow(name="score", flow_run_name="score in {config.trials} trials", task_runner=ThreadPoolTaskRunner(max_workers=Execution().workers))
def score(dataset_uri: DatasetUri, config: ScoreConfig, root: Root = None) -> str:
    """The URI of the summary of all trials, or of scores that were extended to what is new, if `config.extend` names such.

    Args:
        config: What is trained and recorded.
    """
    root = workplace(root)
    if config.extend is not None:
        if Execution().elsewhere:
            extend_elsewhere(dataset_uri, config, root)
        extended = extended_summary(extend_scores(dataset_uri, config, root), config)
        if extended is not None:
            return extended
    calls = [score_trial.call(root, dataset_uri=dataset_uri, config=config, trial=trial) for trial in range(config.trials)]
    execute(f"score {config.trials} trials", calls)
    return summarize(dataset_uri, config, root)


def extend_elsewhere(dataset_uri: str, config: ScoreConfig, root: str) -> None:
    """Have the kept networks of each trial look at what is new as a unit of work; what of it is there is not computed again."""
    trials = range(trials_to_extend(dataset_uri, config, root))
    if trials:
        execute(f"extend {len(trials)} trials", [extend_trial.call(root, dataset_uri=dataset_uri, config=config, trial=k) for k in trials])


def main(arguments: Sequence[str]) -> None:
    program.run(__doc__, arguments, lambda config: score(ingest(config.ingest), config.score), partial(program.show_uri, "scores"))


if __name__ == "__main__":
    main(sys.argv[1:])

"""python -m flows.score --dataset digits

Score every real sample by short, independently seeded trainings: by its loss, or by what --prune.criterion needs.
"""

from __future__ import annotations

from functools import partial

from prefect import unmapped
from prefect.task_runners import ThreadPoolTaskRunner

from bilp.config import ScoreConfig
from flows import program
from flows.ingest import ingest
from flows.local.flow import flow
from flows.units import dispatch
from flows.workplace import Root, workplace
from tasks.execution import Execution
from tasks.score import score_trial, summarize
from tasks.stopping import stoppable


@flow(name="score", flow_run_name="score in {config.trials} trials", task_runner=ThreadPoolTaskRunner(max_workers=Execution().workers))
def score(dataset_uri: str, config: ScoreConfig, root: Root | None = None) -> str:
    """The URI of the summary of all trials.

    Args:
        dataset_uri: The dataset, as ingest published it.
        config: What is trained and recorded.
        root: Where artifacts lie; if empty, BILP_STORAGE of the process that runs this.
    """
    root = workplace(root)
    if not dispatch.here():
        calls = [dispatch.score_trial(dataset_uri, config, trial, root) for trial in range(config.trials)]
        dispatch.carry_out(f"score {config.trials} trials", calls)
        return summarize(dataset_uri, config, root)
    with stoppable():
        score_trial.map(unmapped(dataset_uri), unmapped(config), range(config.trials), unmapped(root)).result()
    return summarize(dataset_uri, config, root)


if __name__ == "__main__":
    program.run(__doc__, lambda config: score(ingest(config.ingest), config.score), partial(program.show_uri, "scores"))

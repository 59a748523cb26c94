"""Flow suspects: training images whose label is probably wrong, found by the networks of short trainings; nothing is distilled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bilp.config import ScoreConfig
from bilp.config.suspects import SuspectsConfig
from flows.local.flow import flow
from flows.score import score
from flows.units.execute import execute
from flows.units.table import record_predictions
from flows.workplace import workplace
from tasks import analyses, stages, terminal
from tasks.parameters import DatasetUri, Root


@flow(name="suspects", flow_run_name="suspects in {config.trials} trials")
def suspects(
    dataset_uri: DatasetUri, config: ScoreConfig, ranking: SuspectsConfig | None = None, root: Root = None, record_uri: str | None = None
) -> str:
    """The URI of the list of suspects.

    Args:
        config: What is trained and recorded.
        ranking: What the list is ranked by, and how long it is.
        record_uri: The record of the source, as ingest published it; without one nobody knows where images come from.
    """
    root = workplace(root)
    ranked = ranking or SuspectsConfig()
    if config.extend is not None and analyses.has_predictions(extended := score(dataset_uri, config, root)):
        return analyses.find_suspects(dataset_uri, extended, ranked, root, record_uri)
    calls = [record_predictions.call(root, dataset_uri=dataset_uri, config=config, trial=trial) for trial in range(config.trials)]
    execute(f"score {config.trials} trials", calls)
    scores = stages.summarize(dataset_uri, config, root)
    return analyses.find_suspects(dataset_uri, scores, ranked, root, record_uri)


def suspects_of_run(
    dataset_uri: str,
    record_uri: str | None,
    scores_uri: str | None,
    selection_uri: str | None,
    runs: Mapping[str, Sequence[str]],
    root: str,
) -> str | None:
    """The list of suspects that a pipeline shows, with what each level made of them; None where its trials recorded no predictions.

    Those are trials that were scored before predictions were recorded: a pipeline repeats nothing, and `bilp suspects` does.
    """
    if scores_uri is None:
        return None
    if not analyses.has_predictions(scores_uri):
        terminal.say("          the page lists no suspicious labels: these trials recorded no predictions; bilp suspects makes a list")
        return None
    run = analyses.adaptive_run(runs)
    return analyses.find_suspects(dataset_uri, scores_uri, SuspectsConfig(), root, record_uri, selection_uri, run)

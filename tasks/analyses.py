"""The tasks beside the pipeline's own (`tasks.stages`): searches, critical shares, suspicious labels, and data that grow.

Each calls one function of bilp and returns the URI of what that published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bilp.artifacts.facts import GrowthFacts
from bilp.config import IngestConfig, ScoreConfig
from bilp.config.base import Count
from bilp.config.search import SearchConfig
from bilp.config.suspects import SuspectsConfig
from tasks import result_words, steps, terminal
from tasks.execution import device
from tasks.parameters import DatasetUri
from tasks.progress_bars import progress
from tasks.task import stage
from tasks.ui_artifacts import show_arrivals

if TYPE_CHECKING:
    from bilp.arrivals.known import Known


@stage("hold samples out", steps.whole("search", "hold samples out", quiet=True))
def hold_out(dataset_uri: str, config: SearchConfig, root: str) -> str:
    """Divide the training images for a search: the URI of the data set that it works on."""
    from bilp.search.held_out import hold_out

    return hold_out(dataset_uri, config.held_out, config.seed, root, progress())


@stage("search", steps.whole("search", "search"), result_words.found)
def finish_search(search_uri: str) -> str:
    """Tell what a search found, whose URI this is."""
    return search_uri


@stage("critical shares", steps.whole("distill", "critical shares"), result_words.critical)
def finish_critical(critical_uri: str) -> str:
    """Tell which shares are critical; their URI is this."""
    return critical_uri


@stage("find suspects", steps.whole("suspects", "find suspects"), result_words.suspects)
def find_suspects(
    dataset_uri: str,
    scores_uri: str,
    config: SuspectsConfig,
    root: str,
    record_uri: str | None = None,
    selection_uri: str | None = None,
    run_uri: str | None = None,
) -> str:
    """Rank the training images by how wrong their labels look; the list's URI."""
    from bilp.suspects.stage import find_suspects

    return find_suspects(dataset_uri, scores_uri, config, root, record_uri, selection_uri, run_uri, progress())


def has_predictions(scores_uri: str) -> bool:
    """Whether suspects can be found by the trials of a summary of scores without training anything again."""
    from bilp.suspects.stage import has_predictions

    return has_predictions(scores_uri)


def adaptive_run(runs: Mapping[str, Sequence[str]]) -> str | None:
    """The run whose effects are shown of samples; None if none measured any."""
    from bilp.suspects.fates import adaptive_run

    return adaptive_run(runs)


@stage("extend scores", steps.beside("score", "score", "scoring what is new"))
def extend_scores(dataset_uri: str, config: ScoreConfig, root: str) -> str:
    """Score what is new since the version that the configuration names, unless too much has changed; what was found."""
    from bilp.scoring.extension import extend_scores

    growth = extend_scores(dataset_uri, config, root, device(), progress())
    for line in result_words.grown(growth.stated(GrowthFacts)):
        terminal.say(f"          {line}")
    return growth.uri


@stage("extend trial {trial}", steps.one_of("score", "score", "trial", "trial", lambda given: given["config"].trials))
def extend_trial(dataset_uri: DatasetUri, config: ScoreConfig, trial: Count, root: str) -> str:
    """One trial's records of what is new in a data set, by its kept networks.

    Args:
        config: How the earlier version was scored, and its summary.
        trial: Number of the trial, from 0.
    """
    from bilp.scoring.extension import extend_trial

    return extend_trial(dataset_uri, config, trial, root, device(), progress())


def trials_to_extend(dataset_uri: str, config: ScoreConfig, root: str) -> int:
    """How many trials what is new has to be evaluated by, before it is judged."""
    from bilp.scoring.extension import trials_to_extend

    return trials_to_extend(dataset_uri, config, root)


def extended_summary(growth_uri: str, config: ScoreConfig) -> str | None:
    """The URI of extended scores, or None if everything has to be scored again."""
    from bilp.scoring.extension import extended_summary, open_growth

    return extended_summary(open_growth(growth_uri), config)


def known_versions(dataset_uri: str, record_uri: str, ingest: IngestConfig, config: ScoreConfig, root: str) -> Known:
    """What the storage knows of a version of a source, and of the one before."""
    from bilp.arrivals.known import known_versions

    return known_versions(dataset_uri, record_uri, ingest, config, root)


@stage("report what is new", steps.whole("report", "report what is new"))
def report_arrivals(dataset_uri: str, record_uri: str, before_uri: str | None, summary_uri: str, root: str) -> str:
    """Write the page about new images; its URI."""
    from bilp.arrivals.arrivals_page import report_arrivals

    arrived = report_arrivals(dataset_uri, record_uri, before_uri, summary_uri, root, device(), progress())
    for line in arrived.sentences:
        terminal.say(f"          {line}")
    show_arrivals(arrived)
    return arrived.page

"""The units of work of each stage, one after the other in this process: what the flows of the pipeline hand to Prefect.

`bilp.config.arms` says for both which units there are; tests/api compares what both publish.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bilp.api.workspace import Place
from bilp.artifacts.run_layout import synthetic_uri
from bilp.config import METHODS, EvaluateConfig, PipelineConfig, PruneConfig, ScoreConfig
from bilp.config.arms import PlannedRun, needs_scores, needs_teacher, teacher_learns
from bilp.config.baselines import ALL_REAL, BASELINES, RANDOM_REAL
from bilp.config.rules import RULES
from bilp.config.suspects import SuspectsConfig
from bilp.data import open_dataset
from bilp.distill import distill_round, finish_run, merge_round, pretrain_network, reselect_round, round_files, start_run
from bilp.distill.checks import check_beforehand
from bilp.distill.pretraining import untrained
from bilp.evaluate import evaluate_baseline, evaluate_synthetic, train_teacher, variants
from bilp.evaluate.robustness import VARIANTS, robustness
from bilp.experts.train_experts import collect_experts, train_expert
from bilp.progress import silent
from bilp.pruning.auto_reselect import found_reselect
from bilp.pruning.chosen import Available, choose
from bilp.pruning.prune import prune
from bilp.pruning.selected import real_pool
from bilp.scoring.extension import extend_scores, extended_summary
from bilp.scoring.summary import summarize
from bilp.scoring.trial import record_predictions, score_trial
from bilp.suspects.fates import adaptive_run
from bilp.suspects.stage import find_suspects, has_predictions
from bilp.teachers.supplied import named

Runs = Mapping[str, Sequence[str]]
"""URIs of runs by arm, one for each experiment."""


def scored(dataset_uri: str, config: ScoreConfig, at: Place) -> str:
    """Every trial, and their summary, whose URI is returned; that of extended scores if the settings name some and they suffice."""
    if config.extend is not None:
        with at.step("scoring what is new") as progress:
            growth = extend_scores(dataset_uri, config, at.root, at.device, progress)
        extended = extended_summary(growth, config)
        if extended is not None:
            return extended
    for trial in range(config.trials):
        with at.step(f"scoring, trial {trial + 1} of {config.trials}") as progress:
            score_trial(dataset_uri, config, trial, at.root, at.device, progress)
    return summarize(dataset_uri, config, at.root)


def with_found_reselect(config: PipelineConfig, dataset_uri: str, scores_uri: str | None, at: Place) -> PipelineConfig:
    """The configuration with numbers where adaptive pruning says auto; real images are scored if there is no summary of scores."""
    if not config.reselect.asks_auto:
        return config
    found = found_reselect(scores_uri or scored(dataset_uri, config.score, at), config.reselect)
    return config.with_found(found.values, found.why)


def scored_with_predictions(dataset_uri: str, config: ScoreConfig, at: Place) -> str:
    """As `scored`; a trial that was scored before predictions were recorded is trained once more.

    Scores that were extended are taken if what they extend had predictions.
    """
    if config.extend is not None and has_predictions(extended := scored(dataset_uri, config, at)):
        return extended
    for trial in range(config.trials):
        with at.step(f"scoring, trial {trial + 1} of {config.trials}") as progress:
            record_predictions(dataset_uri, config, trial, at.root, at.device, progress)
    return summarize(dataset_uri, config, at.root)


def suspects_of_run(
    dataset_uri: str, record_uri: str | None, scores_uri: str | None, selection_uri: str | None, runs: Runs, at: Place
) -> str | None:
    """The list of suspects that a page shows; None where the trials recorded no predictions."""
    if scores_uri is None or not has_predictions(scores_uri):
        return None
    run = adaptive_run(runs)
    with at.step("finding suspects") as progress:
        return find_suspects(dataset_uri, scores_uri, SuspectsConfig(), at.root, record_uri, selection_uri, run, progress)


def chosen(run: PlannedRun, dataset_uri: str, record_uri: str | None, selection_uri: str | None, at: Place) -> str | None:
    """The selection that a run takes its samples from, made if need be; None for all. `selection_uri` is what static pruning keeps."""
    return choose(run.chosen.samples, Available(dataset_uri, record_uri, selection_uri, run.chosen.seed, at.root))


def pruned(dataset_uri: str, scores_uri: str | None, config: PruneConfig, at: Place) -> str:
    """The selection's URI; only rules that need features train, and show that."""
    if not RULES[config.rule].features:
        return prune(dataset_uri, scores_uri, config, at.root, at.device, silent)
    with at.step("pruning, training a network for features") as progress:
        return prune(dataset_uri, scores_uri, config, at.root, at.device, progress)


def distilled(run: PlannedRun, config: PipelineConfig, dataset_uri: str, selection_uri: str | None, at: Place) -> str:
    """Everything that a run of the plan lacks; its URI. `selection_uri` holds the samples that take part, None is all of them.

    The method is the run's own: that of a search's proxies is often another than the configuration's.
    """
    check_beforehand(real_pool(open_dataset(dataset_uri), selection_uri), run.distill, run.reselect)
    method = METHODS[run.distill.method]
    experts = _experts(config, dataset_uri, selection_uri, at) if method.needs_experts else None
    teacher = None
    if run.asks_teacher:
        learned = selection_uri if teacher_learns(config, run.chosen) == run.chosen else None
        teacher = _teacher(dataset_uri, config.evaluate, at, learned)
    ranking = _ranking(config, dataset_uri, at) if run.asks_ranking else None
    uri = start_run(dataset_uri, selection_uri, run.distill, run.reselect, at.root, experts, teacher, ranking)
    shards = [None] if run.distill.shards == 1 else list(range(run.distill.shards))
    if not round_files.is_complete(uri, None):
        for number in untrained(uri) if run.distill.pretrained.networks else ():
            with at.step(f"pretraining, network {number + 1} of {run.distill.pretrained.networks}") as progress:
                pretrain_network(uri, number, at.device, progress)
        for shard in shards:
            _rounds(uri, run, shard, at)
        if shards != [None]:
            for number in range(1, run.distill.rounds + 1):
                merge_round(uri, number)
    finish_run(uri)
    return uri


def _rounds(uri: str, run: PlannedRun, shard: int | None, at: Place) -> None:
    part = "" if shard is None else f", shard {shard + 1} of {run.distill.shards}"
    for number in range(1, run.distill.rounds + 1):
        told = f"distilling {run.arm}{part}, round {number} of {run.distill.rounds}"
        if run.reselect.active:
            with at.step(told) as progress:
                reselect_round(uri, number, at.device, progress, shard)
        with at.step(told) as progress:
            distill_round(uri, number, at.device, progress, shard)


def _experts(config: PipelineConfig, dataset_uri: str, selection_uri: str | None, at: Place) -> str:
    network = config.distill.network
    for number in range(config.experts.count):
        with at.step(f"training experts, {number + 1} of {config.experts.count}") as progress:
            train_expert(dataset_uri, selection_uri, config.experts, network, number, at.root, at.device, progress)
    return collect_experts(dataset_uri, selection_uri, config.experts, network, at.root)


def _ranking(config: PipelineConfig, dataset_uri: str, at: Place) -> str:
    scores = scored(dataset_uri, config.score, at) if needs_scores(config.prune) else None
    return pruned(dataset_uri, scores, config.prune.ranking, at)


def _teacher(dataset_uri: str, config: EvaluateConfig, at: Place, selection_uri: str | None = None) -> str:
    with at.step("training the teacher") as progress:
        return train_teacher(dataset_uri, config.teacher, config.seed, at.root, at.device, progress, selection_uri)


def evaluated(dataset_uri: str, runs: Runs, ipc: int, config: EvaluateConfig, at: Place, selection_uri: str | None = None) -> list[str]:
    """URIs of the evaluations: of the baselines, some of which take images from the selection, then of the set of each run."""
    sets = [(synthetic_uri(run), arm, number) for arm, of_arm in runs.items() for number, run in enumerate(of_arm)]
    return sets_evaluated(dataset_uri, sets, ipc, config, at, selection_uri)


def sets_evaluated(
    dataset_uri: str,
    sets: Sequence[tuple[str, str, int]],
    ipc: int,
    config: EvaluateConfig,
    at: Place,
    selection_uri: str | None = None,
) -> list[str]:
    """The same of sets, each with its arm and its number within it."""
    config = named(config)
    if needs_teacher(config):
        _teacher(dataset_uri, config, at)
    found = []
    for baseline in config.baselines:
        kept = selection_uri if BASELINES[baseline].selected else None
        with at.step(f"evaluating {baseline}") as progress:
            found.append(evaluate_baseline(dataset_uri, baseline, ipc, config, at.root, at.device, progress, kept))
    for uri, arm, number in sets:
        with at.step(f"evaluating {arm}") as progress:
            found.append(evaluate_synthetic(dataset_uri, uri, arm, number, config, at.root, at.device, progress))
    return found


def scores_of_robustness(dataset_uri: str, runs: Runs, ipc: int, config: EvaluateConfig, at: Place) -> str:
    """The URI of the table of DD-Ranking's scores."""
    found = {}
    for variant, changed in variants(config).items():
        baselines = (ALL_REAL,) if variant == "hard" else (RANDOM_REAL,)
        found[variant] = evaluated(dataset_uri, runs, ipc, changed.model_copy(update={"baselines": baselines}), at)
    return robustness({variant: found[variant] for variant in VARIANTS}, at.root)

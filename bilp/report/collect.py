"""Everything the page shows: the artifacts it rests on, and what is read from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor

from bilp.artifacts import tables
from bilp.artifacts.artifact import Artifact, find, manifest_kind, open_artifact
from bilp.artifacts.facts import EvaluationFacts, ReselectFacts, RoundFacts
from bilp.artifacts.run_layout import CHECKPOINT, RESELECT, ROUND, SYNTHETIC, reselect_uri, round_uri, synthetic_uri
from bilp.config.arm_entries import leading
from bilp.config.baselines import BASELINES
from bilp.config.methods import METHODS
from bilp.config.reselect import RESELECT_SCORES, ReselectConfig
from bilp.data import Dataset, open_dataset
from bilp.data.source_record import KIND as RECORD
from bilp.data.store import KIND as DATASET
from bilp.distill import load_synthetic, open_run
from bilp.distill.checkpoint import state_of
from bilp.distill.first_decision import starting_state
from bilp.distill.inputs import open_pool
from bilp.distill.part import Part
from bilp.distill.patches_product import read_tiles
from bilp.distill.pictures import displayable
from bilp.distill.real_part import read_real
from bilp.distill.round_files import round_effects, round_losses
from bilp.distill.snapshot import CLASSES, IMAGES, first_of_each, read_snapshot, shown_classes
from bilp.evaluate.course_files import confusion_rows, course_rows
from bilp.evaluate.results import KIND as EVALUATION
from bilp.evaluate.results import evaluation_rows
from bilp.evaluate.robustness import KIND as ROBUSTNESS
from bilp.evaluate.robustness import Robustness, load_robustness
from bilp.pruning.prune import KIND as SELECTION
from bilp.pruning.prune import selection_rows
from bilp.report.comparison import Training
from bilp.report.decisions import Decisions
from bilp.report.galleries import spread
from bilp.report.ingredients import Ingredients, read_ingredients
from bilp.report.label_rows import MeanLabels, mean_labels
from bilp.report.run_parents import ReportedArtifact, RunSource, run_parents
from bilp.report.wording import arm_place, arm_words
from bilp.scoring.summary import KIND as SUMMARY
from bilp.search.found import KIND as SEARCH
from bilp.suspects.stage import KIND as SUSPECTS
from bilp.truth.table import Truth, open_truth

SHOWN_ROUNDS = 8


@dataclass(frozen=True)
class Sources:
    """What `report` was given, opened but not read yet: enough to know whether the page exists already."""

    artifacts: tuple[ReportedArtifact, ...]
    runs: tuple[RunSource, ...]

    def one(self, role: str) -> Artifact | None:
        """The artifact of a role, if there is one."""
        return next((source.artifact for source in self.artifacts if source.role == role), None)


@dataclass(frozen=True)
class Effects:
    """The causal effects measured at the start of a round: rows of `tables.ITE`."""

    round: int
    table: pd.DataFrame
    effective_share: float | None = None
    """Mode weight: effective size of the weighted samples, as a share of them."""

    @property
    def dropped_share(self) -> float:
        """Part of the measured samples that was dropped."""
        return float(self.table["dropped"].mean())


@dataclass(frozen=True)
class Snapshot:
    """The synthetic images [M, C, H, W] or clips [M, T, C, H, W] (uint8, clipped to the visible range) at some time, and labels [M]."""

    title: str
    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Run:
    """One distillation: its loss over the iterations (rows of `tables.LOSSES`), its effects and its images.

    `snapshots` are only those of an arm's first experiment: one course of images is shown per arm.
    """

    arm: str
    experiment: int
    losses: pd.DataFrame
    effects: tuple[Effects, ...]
    decisions: tuple[Decisions, ...]
    reselect: ReselectConfig
    snapshots: tuple[Snapshot, ...]
    final: Snapshot
    tiles: pd.DataFrame | None = None
    """Where the tiles of the images come from, rows of `bilp.distill.patches_product.TILES`; None of images that are not made of tiles."""
    real: np.ndarray | None = None
    """sample_ids `[M]` of the images of `final`, DISTILLED for those that are not real; None of a set without a real part."""
    mean_labels: MeanLabels | None = None
    """The mean label of the images of each class; None of a set that learned none."""
    ingredients: Ingredients | None = None
    """What the first image of each class is made of; None of a set that is stored as its images."""

    @property
    def signed(self) -> bool:
        """Whether its effects have a sign."""
        return RESELECT_SCORES[self.reselect.score].signed

    @property
    def word(self) -> str:
        """What its effects are called."""
        return RESELECT_SCORES[self.reselect.score].word


@dataclass(frozen=True)
class Collected:
    """The page's material; `selection` holds rows of `tables.SELECTION`.

    `confusion` and `course` hold rows of `tables.CONFUSION` and `tables.COURSE` with arm and experiment, of all evaluations that
    recorded them.
    """

    sources: Sources
    dataset: Dataset
    selection: pd.DataFrame | None
    runs: tuple[Run, ...]
    trainings: tuple[Training, ...]
    confusion: pd.DataFrame
    course: pd.DataFrame
    robustness: tuple[Robustness, ...] = ()
    truth: Truth | None = None
    """What is true of labels that were made wrong on purpose; None where nothing was, or nobody knows."""

    def arms(self) -> list[str]:
        """Distilled arms in the order given."""
        return list(dict.fromkeys(run.arm for run in self.runs))


def of_leading_arm(runs: Sequence[Run]) -> Run:
    """The first run of the arm that the page is about; of several at least."""
    arm = leading(run.arm for run in runs)
    return next((run for run in runs if run.arm == arm), runs[0])


def open_sources(
    dataset_uri: str,
    scores_uri: str | None,
    selection_uri: str | None,
    runs: Mapping[str, Sequence[str]],
    evaluation_uris: Sequence[str],
    record_uri: str | None = None,
    suspects_uri: str | None = None,
    search_uri: str | None = None,
) -> Sources:
    """Open the manifests; raises MissingArtifact or DamagedArtifact naming the first that is not there.

    The order in which arms and evaluations are given makes no difference.

    Args:
        dataset_uri: Real images.
        scores_uri: Summary of scores, if there is one.
        selection_uri: What static pruning kept, likewise.
        runs: URIs of the runs of each arm, by experiment.
        evaluation_uris: Evaluations of sets and baselines; a table of robustness scores may stand among them.
        record_uri: Record of the source of the real images, if it is known.
        suspects_uri: The list of suspicious labels, if there is one.
        search_uri: The search that found some of the settings, if there was one.
    """
    artifacts = [ReportedArtifact("dataset", "Data set", open_artifact(dataset_uri, DATASET))]
    if record_uri is not None:
        artifacts.append(ReportedArtifact("source", "Source of the data set", open_artifact(record_uri, RECORD)))
    if search_uri is not None:
        artifacts.append(ReportedArtifact("search", "Search", open_artifact(search_uri, SEARCH)))
    if scores_uri is not None:
        artifacts.append(ReportedArtifact("scores", "Scores", open_artifact(scores_uri, SUMMARY)))
    if selection_uri is not None:
        artifacts.append(ReportedArtifact("selection", "Static selection", open_artifact(selection_uri, SELECTION)))
    if suspects_uri is not None:
        artifacts.append(ReportedArtifact("suspects", "Suspicious labels", open_artifact(suspects_uri, SUSPECTS)))
    found = [RunSource(arm, experiment, uri) for arm, uris in sorted(runs.items(), key=_place) for experiment, uri in enumerate(uris)]
    several = any(run.experiment > 0 for run in found)
    artifacts += run_parents(found, several)
    for run in found:
        synthetic = open_artifact(synthetic_uri(run.uri), SYNTHETIC)
        stage = f"Synthetic set: {_who(run.arm, run.experiment, several)}"
        artifacts.append(ReportedArtifact(f"synthetic {run.arm} {run.experiment}", stage, synthetic))
    robust: list[str] = []
    evaluations: list[str] = []
    for uri in evaluation_uris:
        (robust if manifest_kind(uri) == ROBUSTNESS else evaluations).append(uri)
    _add_evaluations(artifacts, [open_artifact(uri, EVALUATION) for uri in evaluations], several)
    artifacts += [ReportedArtifact("robustness", "Robustness scores", open_artifact(uri, ROBUSTNESS)) for uri in robust]
    return Sources(tuple(artifacts), tuple(found))


def _add_evaluations(artifacts: list[ReportedArtifact], evaluations: list[Artifact], several: bool) -> None:
    told = [(evaluation.stated(EvaluationFacts), evaluation) for evaluation in evaluations]
    told.sort(key=lambda each: (arm_place(each[0].arm), each[0].experiment, each[1].manifest.key))
    for number, (facts, evaluation) in enumerate(told):
        who = _who(facts.arm, facts.experiment, several and facts.arm not in BASELINES)
        artifacts.append(ReportedArtifact(f"evaluation {number}", f"Evaluation: {who}", evaluation))


def _place(arm_and_runs: tuple[str, Sequence[str]]) -> tuple[int, str]:
    return arm_place(arm_and_runs[0]), arm_and_runs[0]


def _who(arm: str, experiment: int, several: bool) -> str:
    return arm_words(arm).title + (f", experiment {experiment}" if several else "")


def collect(sources: Sources, most_classes: int = CLASSES) -> Collected:
    """Read what the page shows, pictures of `most_classes` classes; raises DamagedArtifact for files that are not what was published."""
    record = sources.one("source")
    dataset = open_dataset(sources.artifacts[0].artifact.uri, None if record is None else record.uri)
    selection, robust = sources.one("selection"), sources.one("robustness")
    shown = shown_classes(dataset.classes, most_classes)
    evaluations = [source.artifact for source in sources.artifacts if source.role.startswith("evaluation ")]
    rows = [row for artifact in evaluations for row in evaluation_rows(artifact)]
    return Collected(
        sources=sources,
        dataset=dataset,
        selection=None if selection is None else selection_rows(selection).to_pandas(),
        runs=tuple(_run(run, dataset, shown) for run in sources.runs),
        trainings=tuple(Training(**row) for row in rows),
        confusion=_with_arms(evaluations, [confusion_rows(artifact, dataset.classes) for artifact in evaluations], tables.CONFUSION.names),
        course=_with_arms(evaluations, [course_rows(artifact) for artifact in evaluations], tables.COURSE.names),
        robustness=() if robust is None else tuple(load_robustness(robust.uri)),
        truth=None if record is None else open_truth(record.uri),
    )


def _with_arms(evaluations: Sequence[Artifact], found: Sequence[pd.DataFrame | None], names: Sequence[str]) -> pd.DataFrame:
    """What the evaluations recorded, one below the other, with the arm and the experiment of each."""
    told = [(evaluation.stated(EvaluationFacts), rows) for evaluation, rows in zip(evaluations, found, strict=True) if rows is not None]
    if not told:
        return pd.DataFrame(columns=["arm", "experiment", *names])
    return pd.concat([rows.assign(arm=facts.arm, experiment=facts.experiment) for facts, rows in told], ignore_index=True)


def _run(source: RunSource, dataset: Dataset, shown: Sequence[int]) -> Run:
    """Rounds whose files were cleared away since the run was finished are passed over."""
    rounds = open_run(source.uri).distill.rounds
    done = {number: find(round_uri(source.uri, number), ROUND) for number in range(1, rounds + 1)}
    there = {number: artifact for number, artifact in done.items() if artifact is not None}
    losses = [round_losses(artifact).to_pandas() for artifact in there.values()]
    labels = dataset.train.labels
    reselected = {number: find(reselect_uri(source.uri, number), RESELECT) for number in there}
    effects = [_effects(n, artifact, labels) for n, artifact in reselected.items() if artifact]
    images, set_labels = load_synthetic(synthetic_uri(source.uri))
    synthetic = open_artifact(synthetic_uri(source.uri), SYNTHETIC)
    return Run(
        arm=source.arm,
        experiment=source.experiment,
        losses=pd.concat(losses, ignore_index=True) if losses else tables.LOSSES.empty_table().to_pandas(),
        effects=tuple(effects),
        decisions=tuple(_decisions(there)),
        reselect=open_run(source.uri).reselect,
        snapshots=tuple(_snapshots(source, list(there.values()), dataset, shown)) if source.experiment == 0 else (),
        final=_snapshot("final", images, set_labels, dataset, shown, None),
        tiles=_tiles(source, len(labels)),
        real=_real(source, set_labels, dataset, shown),
        mean_labels=mean_labels(synthetic),
        ingredients=read_ingredients(synthetic, set_labels, shown),
    )


def _tiles(source: RunSource, samples: int) -> pd.DataFrame | None:
    tiles = read_tiles(open_artifact(synthetic_uri(source.uri), SYNTHETIC), samples)
    return None if tiles is None else tiles.to_pandas()


def _real(source: RunSource, labels: Tensor, dataset: Dataset, shown: Sequence[int]) -> np.ndarray | None:
    real = read_real(open_artifact(synthetic_uri(source.uri), SYNTHETIC), dataset)
    return None if real is None else real[first_of_each(labels, shown, None)].numpy()


def _effects(number: int, artifact: Artifact, labels: Tensor) -> Effects:
    return Effects(number, round_effects(artifact, labels).to_pandas(), artifact.stated(ReselectFacts).effective_share)


def _decisions(rounds: Mapping[int, Artifact]) -> Iterator[Decisions]:
    for number, artifact in rounds.items():
        facts = artifact.stated(RoundFacts)
        if facts.decided_per_class is not None:
            decided, dropped = (np.array(counts, dtype=np.int64) for counts in (facts.decided_per_class, facts.dropped_per_class))
            yield Decisions(number, decided, dropped, facts.quantile_classes or ())


def _snapshots(source: RunSource, rounds: Sequence[Artifact], dataset: Dataset, shown: Sequence[int]) -> list[Snapshot]:
    """The start, which is computed again, and the state after evenly spread rounds; no start of images that others follow from."""
    run = open_run(source.uri)
    whole, pool = Part(source.uri, run, None), open_pool(source.uri, run)
    found = []
    seen = not METHODS[run.distill.method].factors
    if seen and (not run.reselect.decides_first or find(reselect_uri(source.uri, 1), RESELECT) is not None):
        start = starting_state(whole, pool)
        found.append(_snapshot("start", start.images, start.labels, dataset, shown))
    for k in spread(np.arange(len(rounds)), SHOWN_ROUNDS):
        iterations = rounds[k].stated(RoundFacts).iteration
        title = f"after {iterations:,} iteration" + ("" if iterations == 1 else "s")
        kept = read_snapshot(rounds[k], dataset)
        if CHECKPOINT in rounds[k].manifest.files and (kept is None or not set(shown) <= set(kept[1].tolist())):
            state = state_of(rounds[k], whole, pool)
            found.append(_snapshot(title, state.images, state.labels, dataset, shown))
        elif kept is not None:
            found.append(Snapshot(title, kept[0].numpy(), kept[1].numpy()))
    return found


def _snapshot(title: str, images: Tensor, labels: Tensor, dataset: Dataset, shown: Sequence[int], most: int | None = IMAGES) -> Snapshot:
    """Of normalized images `[N, C, H, W]` those of the classes that are shown, `most` of each or all.

    Args:
        title: what the page calls them.
        images: all images.
        labels: their classes, in order.
        dataset: the real images, which tell how they were normalized.
        shown: the classes.
        most: how many of each, or None for all.
    """
    rows = first_of_each(labels, shown, most)
    return Snapshot(title, displayable(images[rows], dataset.mean, dataset.std, dataset.whitening).numpy(), labels[rows].numpy())

"""Published cells: what a paper reports for a method, a dataset and a number of images, and how far from it a run of ours lies."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field, ValidationError

from bilp.artifacts.artifact import content_key, open_artifact
from bilp.artifacts.publication import TableFile, publish_table
from bilp.artifacts.tables import REPRODUCTION
from bilp.config import Arm, Frozen, PipelineConfig
from bilp.config.arm_entries import ARMS, UNPRUNED
from bilp.config.base import Positive
from bilp.config.baselines import BASELINES
from bilp.config.nested import leaves, merge
from bilp.config.recipes import load_recipe, read_recipe
from bilp.config.sources import DEFAULT_SOURCE, SOURCES
from bilp.errors import ConfigError, DamagedArtifact
from bilp.evaluate.metrics import Difference, Measurement, mean_accuracy, measurements, paired_difference, top_words
from bilp.evaluate.published_metrics import ACCURACY, METRICS, TOP_1, MetricName, PublishedMetric, check_recorded, measured
from bilp.registry import AS_TYPED
from bilp.storage import strict_json
from bilp.storage.objects import join
from bilp.storage.verification import again

VERSION = 2
KIND = "reproduction"
TABLE = "reproduction.parquet"
SUMMARY = "reproduction.json"

Percent = Annotated[float, Field(ge=0.0, le=100.0)]

# A paper's numbers do not depend on these settings of ours.
NOT_PROTOCOL = {
    "recipe",
    "recipe_dataset",
    "arms",
    "experiments",
    "seed",
    "distill.rounds",
    "evaluate.baselines",
    "evaluate.full_epochs",
    "ingest.uri",
}


class Published(Frozen):
    """What a recipe states under `published`."""

    later: ClassVar[frozenset[str]] = frozenset({"metric", "unknown"})

    value: Percent
    """Test accuracy in per cent."""
    spread: Percent | None = None
    """The published standard deviation, in points."""
    source: str
    """Where the value was read."""
    arm: Arm = UNPRUNED
    """The arm that it belongs to."""
    unpruned: Percent | None = None
    """The value that the same table gives to the run without pruning."""
    metric: MetricName = TOP_1.name
    """Which accuracy it is: top1, top5, or unknown where the source does not say."""
    unknown: tuple[str, ...] = ()
    """What the source does not tell of the run, so that the recipe's own values stand for it."""


class _Gain(Frozen):
    points: float
    half_width95: float | None
    n: Positive


class _Summary(Frozen):
    """Content of SUMMARY; `results` are the rows of the table once more."""

    recipe: str
    published: Published
    results: tuple[dict[str, Any], ...]
    gains: dict[str, _Gain]
    deviations: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """One arm on one network beside what was published for it; per cent and points, `difference` is ours minus theirs."""

    arm: str
    network: str
    accuracy: float
    half_width95: float
    n: int
    published: float
    spread: float
    difference: float
    k: int = ACCURACY
    """An answer counts as right if the class is among so many likeliest ones."""
    metric: str = TOP_1.name
    """Of the published value."""

    @property
    def sentence(self) -> str:
        """The row in words."""
        ours = f"{self.accuracy:.2f}" + (f" +- {self.half_width95:.2f}" if math.isfinite(self.half_width95) else "")
        text = f"{self.arm} on {self.network}, {top_words(self.k)}: {ours} % (n = {self.n})"
        if math.isnan(self.published):
            return text
        theirs = f"{self.published:g}" + ("" if math.isnan(self.spread) else f" +- {self.spread:g}")
        doubt = "" if METRICS.known(self.metric).sure else f" ({METRICS.known(self.metric).title})"
        sure = math.isfinite(self.half_width95)
        inside = "within our interval" if sure and abs(self.difference) <= self.half_width95 else "outside our interval"
        return f"{text}, published {theirs} %{doubt}: {self.difference:+.2f} points, {inside if sure else 'no interval from one value'}"


def load_published(recipe: str) -> Published:
    """What a recipe states as published. Raises ConfigError if it states nothing, or nonsense."""
    stated = read_recipe(recipe).get("published")
    if stated is None:
        raise ConfigError(f"recipe {recipe!r} states no published value: use one of recipes/published, or add published to it")
    try:
        return Published.model_validate(stated)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise ConfigError(f"recipe {recipe!r}: published.{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error


def scaled(recipe: str, scale: float, changes: dict[str, Any]) -> PipelineConfig:
    """The recipe's configuration with `scale` (0 to 1] of its iterations and evaluation seeds, and `changes` on top.

    Two seeds remain at least. An unpruned and a fully pruned arm take part besides the paper's, so that what pruning does
    is measured on the way; baselines do not. Raises ConfigError for another scale.
    """
    if not 0.0 < scale <= 1.0:
        raise ConfigError(f"scale = {scale:g} is no part of the paper's work: use a number above 0 and up to 1")
    paper = PipelineConfig.model_validate({"recipe": recipe, **_dials(changes)})
    arms = [arm for arm in ARMS if arm in (*paper.arms, UNPRUNED, "bilp")]
    given: dict[str, Any] = {"recipe": recipe, "arms": arms, "evaluate": {"baselines": []}}
    if scale < 1.0:
        given["distill"] = {"iterations": max(1, round(scale * paper.distill.iterations))}
        given["evaluate"]["seeds"] = max(2, round(scale * paper.evaluate.seeds))
    config = PipelineConfig.model_validate(merge(given, changes))
    check_recorded(METRICS[load_published(recipe).metric], config.evaluate.top_k)
    return config


def deviations(recipe: str, config: PipelineConfig, device: str) -> list[str]:
    """Every setting of `config` that is not the recipe's own, and the device where it is not the papers' GPU: one line each."""
    stated = _as_stated(recipe, config)
    paper = dict(leaves(stated.model_dump(mode="json", context=AS_TYPED)))
    ours = dict(leaves(config.model_dump(mode="json", context=AS_TYPED)))
    changed = [path for path in {**paper, **ours} if path not in NOT_PROTOCOL and paper.get(path) != ours.get(path)]
    lines = [f"{path}: {_text(paper.get(path))} in the recipe, {_text(ours.get(path))} here" for path in changed]
    if config.experiments != stated.experiments:
        lines.append(f"experiments: {stated.experiments} in the recipe, {config.experiments} here")
    return lines if device.startswith("cuda") else [*lines, f"device: {device}; the papers used GPUs, whose rounding differs"]


def _as_stated(recipe: str, config: PipelineConfig) -> PipelineConfig:
    """The recipe alone, on the data of `config` where its own lie somewhere, or have no name here, so that only a folder or the like
    can hold them."""
    dataset = load_recipe(recipe).get("dataset", DEFAULT_SOURCE)
    if dataset in SOURCES:
        place = {"ingest": {"uri": config.ingest.uri}} if SOURCES[dataset].needs_uri else {}
        return PipelineConfig.model_validate({"recipe": recipe, **place})
    return PipelineConfig.model_validate({"recipe": recipe, "dataset": config.dataset, "ingest": {"uri": config.ingest.uri}})


def compare(published: Published, evaluation_uris: Sequence[str]) -> list[Comparison]:
    """One row per distilled arm, network and k of the metric; only the paper's arm, and the unpruned one if it is stated, have a
    published value. Raises ConfigError if the metric was not recorded."""
    rows, metric = [row for row in measurements(evaluation_uris) if row.arm not in BASELINES], METRICS[published.metric]
    found = []
    for (arm, network), k in product(dict.fromkeys((row.arm, row.network) for row in rows), metric.ks):
        chosen = measured([row for row in rows if (row.arm, row.network) == (arm, network)], metric, k)
        if chosen is None:
            continue
        ours = _accuracy(chosen)
        theirs = published.value if arm == published.arm else published.unpruned if arm == UNPRUNED else None
        value = math.nan if theirs is None else theirs
        spread = published.spread if arm == published.arm and published.spread is not None else math.nan
        mean, half = 100 * ours.mean, 100 * ours.half_width95
        found.append(Comparison(arm, network, mean, half, ours.n, value, spread, mean - value, k, metric.name))
    return found


def gains(evaluation_uris: Sequence[str], arms: Iterable[str], metric: PublishedMetric = TOP_1) -> dict[str, Difference]:
    """Paired difference (fraction) of each pruned arm to the unpruned one, on the first network, by the first k of the metric."""
    rows, arms = measurements(evaluation_uris), tuple(arms)
    first = rows[0].network
    rows = measured([row for row in rows if row.network == first and row.arm in arms], metric, metric.ks[0]) or []
    by_arm = {arm: found for arm in arms if (found := [row for row in rows if row.arm == arm])}
    if UNPRUNED not in by_arm:
        return {}
    return {arm: paired_difference(own, by_arm[UNPRUNED]) for arm, own in by_arm.items() if arm != UNPRUNED}


def publish_reproduction(recipe: str, config: PipelineConfig, evaluation_uris: Sequence[str], device: str, root: str) -> str:
    """Publish the distance to the published value, what pruning gained, and every deviation; the artifact's URI.

    Args:
        recipe: Name of the published cell.
        config: What was run.
        evaluation_uris: Its evaluations.
        device: Where it was run.
        root: Where results lie.
    """
    published = load_published(recipe)
    keys = [open_artifact(uri, "evaluation").identity for uri in evaluation_uris]
    lines = deviations(recipe, config, device)
    key = content_key(KIND, VERSION, recipe=recipe, published=published, evaluations=keys, config=config, deviations=lines)
    rows = compare(published, evaluation_uris)
    content = {
        "recipe": recipe,
        "published": published.model_dump(mode="json"),
        "results": [_plain(row) for row in rows],
        "gains": {
            arm: {"points": 100 * gain.mean, "half_width95": _finite(100 * gain.half_width95), "n": gain.n}
            for arm, gain in gains(evaluation_uris, config.arms, METRICS[published.metric]).items()
        },
        "deviations": lines,
    }
    table = pa.table({name: [getattr(row, name) for row in rows] for name in Comparison.__dataclass_fields__})
    return publish_table(
        join(root, "reproductions", key),
        KIND,
        key,
        TableFile(TABLE, table, REPRODUCTION),
        config=config,
        parents={f"evaluation {number}": uri for number, uri in enumerate(evaluation_uris)},
        facts={"recipe": recipe},
        others={SUMMARY: json.dumps(content, indent=1, allow_nan=False).encode()},
    )


def load_reproduction(uri: str) -> tuple[list[Comparison], dict[str, Any]]:
    """Rows and summary of a published reproduction. Raises MissingArtifact or DamagedArtifact."""
    artifact = open_artifact(uri, KIND)
    try:
        content = strict_json.read(artifact.read(SUMMARY), _Summary).model_dump(mode="json")
    except ValueError as error:
        raise DamagedArtifact(f"{artifact.place(SUMMARY)} cannot be read ({error}): {again(artifact.uri)}") from error
    return [Comparison(**row) for row in artifact.table(TABLE, REPRODUCTION).to_pylist()], content


def _accuracy(rows: Sequence[Measurement]) -> Difference:
    """Mean accuracy and its interval; n counts the experiments if there are several, else the trainings on one set."""
    experiments, found = len({row.experiment for row in rows}), mean_accuracy(rows)
    return replace(found, n=experiments) if experiments > 1 else found


def _dials(changes: dict[str, Any]) -> dict[str, Any]:
    """The changes that decide which rules apply."""
    return {name: value for name, value in changes.items() if name in ("dataset", "method", "ipc", "ingest", "recipe_dataset")}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _plain(row: Comparison) -> dict[str, Any]:
    return {name: _finite(getattr(row, name)) for name in Comparison.__dataclass_fields__}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Scores that separate what a synthetic set teaches from what labels and augmentation add (DD-Ranking, Li et al. 2025).

All accuracies are fractions in [0, 1]: with per cent, as the published package passes them, the exponential is useless.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, get_args

import pyarrow as pa

from bilp.artifacts.artifact import content_key, open_artifact
from bilp.artifacts.publication import TableFile, publish_table
from bilp.artifacts.tables import ROBUSTNESS
from bilp.config import EvaluateConfig
from bilp.config.augmentations import ALL_FAMILIES, without_mirroring
from bilp.config.baselines import ALL_REAL, BASELINES, RANDOM_REAL
from bilp.config.labels import HARD
from bilp.errors import ConfigError
from bilp.evaluate.metrics import Measurement, measurements
from bilp.storage.objects import Uri, as_uri, join

VERSION = 2
KIND = "robustness"
FILE = "robustness.parquet"
WEIGHT = 0.5

Variant = Literal["given", "hard", "augmented", "plain"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)


@dataclass(frozen=True)
class Robustness:
    """A row of the table: both scores of an arm on a network, and the mean accuracies that they are made of."""

    arm: str
    network: str
    lrs: float
    ars: float
    real_hard: float
    synthetic_hard: float
    synthetic_given: float
    random_given: float
    synthetic_augmented: float
    random_augmented: float
    synthetic_plain: float
    random_plain: float


def variants(config: EvaluateConfig) -> dict[Variant, EvaluateConfig]:
    """The evaluations that the scores need: as configured, with hard labels, and these with and without augmentation.

    Augmented means the configured augmentation, or all families (less flip, which may change the meaning) where there is none;
    a ConvNet with batch norm has its batch_norm_augment_each before them.
    """
    hard = config.model_copy(update={"labels": HARD})
    augmented = any((config.augment, config.augment_always, config.augment_after, config.augment_each, config.cutmix))
    nothing = dict.fromkeys(("augment", "augment_always", "augment_after", "augment_each", "batch_norm_augment_each"), ())
    families = {} if augmented else {"augment": tuple(without_mirroring(ALL_FAMILIES))}
    return {
        "given": config,
        "hard": hard,
        "augmented": config.model_copy(update=families),
        "plain": config.model_copy(update={**nothing, "cutmix": 0.0}),
    }


def label_robust_score(
    real_hard: float, synthetic_hard: float, synthetic_given: float, random_given: float, weight: float = WEIGHT
) -> float:
    """LRS in [0, 1]: how much better than random images a set is (weight), less what hard labels lose to all real data.

    alpha = weight * IOR - (1 - weight) * HLR with IOR = synthetic - random under the method's own labels and HLR = real -
    synthetic under hard labels; LRS = (e^alpha - e^-1) / (e - e^-1). Raises ConfigError for accuracies that are no fractions.

    Args:
        real_hard: Accuracy of all real images with hard labels.
        synthetic_hard: That of the set with hard labels.
        synthetic_given: That of the set with the labels of its method.
        random_given: That of random real images with labels of the same kind.
        weight: Of the gain over random images, in [0, 1].
    """
    _check(real_hard, synthetic_hard, synthetic_given, random_given)
    return _scaled(weight * (synthetic_given - random_given) - (1.0 - weight) * (real_hard - synthetic_hard))


def augmentation_robust_score(
    synthetic_augmented: float, random_augmented: float, synthetic_plain: float, random_plain: float, weight: float = WEIGHT
) -> float:
    """ARS in [0, 1]: the gain over random images with augmentation (weight) and without it (1 - weight), scaled as LRS.

    Raises ConfigError for accuracies that are no fractions.

    Args:
        synthetic_augmented: Accuracy of the set with augmentation.
        random_augmented: That of random real images with it.
        synthetic_plain: That of the set without augmentation.
        random_plain: That of random real images without it.
        weight: Of the gain with augmentation, in [0, 1].
    """
    _check(synthetic_augmented, random_augmented, synthetic_plain, random_plain)
    return _scaled(weight * (synthetic_augmented - random_augmented) + (1.0 - weight) * (synthetic_plain - random_plain))


def robustness(evaluations: Mapping[Variant, Sequence[Uri]], root: Uri) -> str:
    """Publish the scores of every distilled arm and network; the URI of the table.

    `evaluations` holds, by variant, the URIs of the evaluations of the arms and of the baselines random (every variant but
    hard) and full (hard). Raises ConfigError naming what is missing, MissingArtifact or DamagedArtifact.
    """
    root = as_uri(root)
    given = {variant: [as_uri(uri) for uri in uris] for variant, uris in evaluations.items()}
    rows = {variant: measurements(uris) for variant, uris in given.items()}
    missing = [variant for variant in VARIANTS if variant not in rows]
    if missing:
        raise ConfigError(f"the scores need evaluations of {', '.join(missing)}: evaluate these variants too")
    keys = {
        f"{variant} {number}": open_artifact(uri, "evaluation").identity
        for variant, uris in given.items()
        for number, uri in enumerate(uris)
    }
    key = content_key(KIND, VERSION, evaluations=keys)
    scores = [_scores(rows, arm, network) for arm, network in _distilled(rows["given"])]
    columns = {name: [getattr(score, name) for score in scores] for name in Robustness.__dataclass_fields__}
    parents = {f"{variant} {number}": uri for variant, uris in given.items() for number, uri in enumerate(uris)}
    file = TableFile(FILE, pa.table(columns), ROBUSTNESS)
    return publish_table(join(root, "robustness", key), KIND, key, file, config={"weight": WEIGHT}, parents=parents)


def load_robustness(uri: Uri) -> list[Robustness]:
    """The rows of a published table. Raises MissingArtifact or DamagedArtifact."""
    uri = as_uri(uri)
    return [Robustness(**row) for row in open_artifact(uri, KIND).table(FILE, ROBUSTNESS).to_pylist()]


def _distilled(rows: Sequence[Measurement]) -> list[tuple[str, str]]:
    """Arms that are no baselines, with their networks, in order of appearance."""
    return list(dict.fromkeys((row.arm, row.network) for row in rows if row.arm not in BASELINES))


def _scores(rows: Mapping[Variant, Sequence[Measurement]], arm: str, network: str) -> Robustness:
    def mean(variant: Variant, who: str) -> float:
        values = [row.accuracy for row in rows[variant] if (row.arm, row.network) == (who, network)]
        if not values:
            raise ConfigError(f"the scores of {arm} need {who} on {network}, variant {variant}: evaluate it too")
        return fmean(values)

    found = {
        "real_hard": mean("hard", ALL_REAL),
        "synthetic_hard": mean("hard", arm),
        "synthetic_given": mean("given", arm),
        "random_given": mean("given", RANDOM_REAL),
        "synthetic_augmented": mean("augmented", arm),
        "random_augmented": mean("augmented", RANDOM_REAL),
        "synthetic_plain": mean("plain", arm),
        "random_plain": mean("plain", RANDOM_REAL),
    }
    lrs = label_robust_score(*(found[name] for name in ("real_hard", "synthetic_hard", "synthetic_given", "random_given")))
    ars = augmentation_robust_score(
        *(found[name] for name in ("synthetic_augmented", "random_augmented", "synthetic_plain", "random_plain"))
    )
    return Robustness(arm, network, lrs, ars, **found)


def _scaled(value: float) -> float:
    """From [-1, 1] to [0, 1]."""
    return (math.exp(value) - math.exp(-1.0)) / (math.e - math.exp(-1.0))


def _check(*accuracies: float) -> None:
    if not all(0.0 <= value <= 1.0 for value in accuracies):
        raise ConfigError(f"accuracies must be fractions from 0 to 1, not {', '.join(f'{value:g}' for value in accuracies)}")

"""The schema of every table, on one page, and what holds for its rows; `bilp.artifacts.parquet` writes and reads them."""

from __future__ import annotations

import math

import pyarrow as pa

from bilp.artifacts.table_rules import Rules
from bilp.config.criteria import SUMMARIZED

TRAJECTORY = pa.schema(
    {
        "sample_id": pa.int64(),
        "label": pa.int32(),
        "trial": pa.int16(),
        "epoch": pa.int16(),
        "loss": pa.float32(),
        "correct": pa.bool_(),
        "el2n": pa.float32(),
        "margin": pa.float32(),
        "gradient_norm": pa.float32(),
    }
)
"""Static scoring: every sample after every epoch of a trial. gradient_norm is NaN where it was not asked for."""

SUMMARY = pa.schema(
    {
        "sample_id": pa.int64(),
        "label": pa.int32(),
        **{name: pa.float32() for criterion, column in SUMMARIZED.items() for name in (criterion, f"{criterion}_std")[: 1 + column.spread]},
    }
)
"""Static scoring: mean and standard deviation (loss_init, loss_init_std, ...) of each criterion in SUMMARIZED over the trials.

Criteria of gradient norms are NaN unless these were recorded."""

MEASURED = pa.schema({"sample_id": pa.int64(), "label": pa.int32(), "trial": pa.int16(), "score": pa.float32()})
"""Static scoring by other measures than trajectories: what one trial says about the samples that take part in it."""

MEASURED_SUMMARY = pa.schema(
    {"sample_id": pa.int64(), "label": pa.int32(), "score": pa.float32(), "score_std": pa.float32(), "visits": pa.int32()}
)
"""Static scoring by other measures: mean and standard deviation over the trials that a sample took part in, and their number."""

SELECTION = pa.schema(
    {"sample_id": pa.int64(), "label": pa.int32(), "score": pa.float64(), "rank_in_class": pa.int32(), "kept": pa.bool_()}
)
"""Static pruning: which samples were kept, and why."""

ITE = pa.schema(
    {
        "sample_id": pa.int64(),
        "label": pa.int32(),
        "round": pa.int32(),
        "ite": pa.float32(),
        "ite_std": pa.float32(),
        "visits": pa.int32(),
        "dropped": pa.bool_(),
    }
)
"""Adaptive pruning: the causal effect of each candidate at the boundary of a round."""

LOSSES = pa.schema({"iteration": pa.int32(), "loss": pa.float32(), "real_used": pa.int32(), "dropped_share": pa.float32()})
"""Distillation: one row per iteration."""

EXPERTS = pa.schema({"expert": pa.int32(), "epoch": pa.int32(), "loss": pa.float32()})
"""Experts: mean training loss of each expert in each epoch."""

EVALUATION = pa.schema(
    {
        "arm": pa.string(),
        "experiment": pa.int32(),
        "network": pa.string(),
        "seed": pa.int32(),
        "accuracy": pa.float32(),
        "best_accuracy": pa.float32(),
        "train_images": pa.int64(),
        "epochs": pa.int32(),
        "top_k": pa.int32(),
        "top_k_accuracy": pa.float32(),
        "best_top_k_accuracy": pa.float32(),
    }
)
"""Evaluation: one row per trained network; accuracies are fractions.

The last three columns tell of images whose class is among the top_k likeliest: 0 and NaN where there are no more classes than that, and
where it was not recorded yet."""

NOT_RECORDED = 0
"""The top_k of a training without top-k accuracies."""
TOP_K = ("top_k", "top_k_accuracy", "best_top_k_accuracy")

CONFUSION = pa.schema({"network": pa.string(), "seed": pa.int32(), "label": pa.int32(), "predicted": pa.int32(), "images": pa.int64()})
"""Evaluation: how many test images of a class a trained network takes for which; pairs that do not occur are left out."""

COURSE = pa.schema({"network": pa.string(), "seed": pa.int32(), "epoch": pa.int32(), "loss": pa.float32(), "accuracy": pa.float32()})
"""Evaluation: training loss and test accuracy after epochs, which count from 1; NaN where one of them was not recorded.

The loss is the mean since the row before that has one."""

ROBUSTNESS = pa.schema(
    {
        "arm": pa.string(),
        "network": pa.string(),
        **{
            name: pa.float64()
            for name in (
                "lrs",
                "ars",
                "real_hard",
                "synthetic_hard",
                "synthetic_given",
                "random_given",
                "synthetic_augmented",
                "random_augmented",
                "synthetic_plain",
                "random_plain",
            )
        },
    }
)
"""Evaluation: the scores of DD-Ranking per arm and network, and the mean accuracies (fractions) that they are made of."""

REPRODUCTION = pa.schema(
    {
        "arm": pa.string(),
        "network": pa.string(),
        "accuracy": pa.float64(),
        "half_width95": pa.float64(),
        "n": pa.int32(),
        "published": pa.float64(),
        "spread": pa.float64(),
        "difference": pa.float64(),
        "k": pa.int32(),
        "metric": pa.string(),
    }
)
"""Reproduction of a published cell: ours against the published value, all in per cent; NaN where nothing was published.

An answer of ours counts as right if the class is among the k likeliest ones; `metric` is what the published value is stated to be."""

REPORTED = pa.schema(
    {
        "run": pa.string(),
        "dataset": pa.string(),
        "method": pa.string(),
        "ipc": pa.int32(),
        "keep": pa.float64(),
        "beta": pa.float64(),
        "run_seed": pa.int64(),
        "recipe": pa.string(),
        "changed": pa.string(),
        **{field.name: field.type for field in EVALUATION if field.name not in TOP_K},
        "scores": pa.string(),
        **{name: EVALUATION.field(name).type for name in TOP_K},
    }
)
"""Report: the rows of its evaluations with what they belong to, so that the tables of all reports can be read as one.

`run` is the key of the report, `run_seed` the seed of everything; `changed` holds, as JSON, the settings that are not what data set,
method and images per class imply; `scores` is the place of the summary of scores relative to the storage root. Texts are empty where there
is none."""

_COUNT, _LENGTH, _SHARE, _NUMBER = (0, 2**53), (0.0, math.inf), (0.0, 1.0), (0, 2**31)
_SAMPLE = {"sample_id": _COUNT, "label": _NUMBER}
TOP_K_RANGES = {"top_k": _NUMBER, "top_k_accuracy": _SHARE, "best_top_k_accuracy": _SHARE}
TOP_K_ADDED: dict[str, float | bool | str] = {"top_k": NOT_RECORDED, "top_k_accuracy": math.nan, "best_top_k_accuracy": math.nan}
"""What stands for the columns of top-k accuracies where a table was stored without."""

_GRADIENTS = {name for name, column in SUMMARIZED.items() if column.gradients}

RULES: dict[pa.Schema, Rules] = {
    TRAJECTORY: Rules(
        ranges={**_SAMPLE, "trial": _NUMBER, "epoch": _NUMBER, "loss": _LENGTH, "el2n": _LENGTH, "gradient_norm": _LENGTH},
        undefined=frozenset({"gradient_norm"}),
        ascending=("epoch", "sample_id"),
        always=("sample_id", "epoch"),
    ),
    SUMMARY: Rules(
        ranges={
            **_SAMPLE,
            **{f"{name}_std": _LENGTH for name, column in SUMMARIZED.items() if column.spread},
            **{name: (column.lowest, column.highest) for name, column in SUMMARIZED.items()},
        },
        undefined=frozenset(name for name in SUMMARY.names if name.removesuffix("_std") in _GRADIENTS),
        places="sample_id",
        always=("sample_id",),
    ),
    MEASURED: Rules(ranges={**_SAMPLE, "trial": _NUMBER}, ascending=("sample_id",), always=("sample_id",)),
    MEASURED_SUMMARY: Rules(
        ranges={**_SAMPLE, "score_std": _LENGTH, "visits": _NUMBER},
        undefined=frozenset({"score"}),
        places="sample_id",
        always=("sample_id",),
    ),
    SELECTION: Rules(ranges={**_SAMPLE, "rank_in_class": _NUMBER}, places="sample_id", always=("sample_id",)),
    ITE: Rules(
        ranges={**_SAMPLE, "round": (1, 2**31), "ite": (-math.inf, math.inf), "ite_std": _LENGTH, "visits": _NUMBER},
        ascending=("sample_id",),
    ),
    LOSSES: Rules(ranges={"iteration": _NUMBER, "real_used": _NUMBER, "dropped_share": _SHARE}, ascending=("iteration",)),
    EXPERTS: Rules(ranges={"expert": _NUMBER, "epoch": _NUMBER}, ascending=("expert", "epoch")),
    EVALUATION: Rules(
        ranges={
            **dict.fromkeys(("experiment", "seed", "epochs"), _NUMBER),
            **dict.fromkeys(("accuracy", "best_accuracy"), _SHARE),
            "train_images": (1, 2**53),
            **TOP_K_RANGES,
        },
        undefined=frozenset(TOP_K),
        added=TOP_K_ADDED,
        once=("arm", "experiment", "network", "seed"),
        most=100_000,
    ),
    REPORTED: Rules(
        ranges={
            **dict.fromkeys(("experiment", "seed", "epochs"), _NUMBER),
            **dict.fromkeys(("accuracy", "best_accuracy", "keep", "beta"), _SHARE),
            "ipc": (1, 2**31),
            "train_images": (1, 2**53),
            **TOP_K_RANGES,
        },
        undefined=frozenset(TOP_K),
        added=TOP_K_ADDED,
        once=("arm", "experiment", "network", "seed"),
        most=100_000,
    ),
    CONFUSION: Rules(
        ranges={"seed": _NUMBER, "label": _NUMBER, "predicted": _NUMBER, "images": (1, 2**53)},
        once=("network", "seed", "label", "predicted"),
    ),
    COURSE: Rules(
        ranges={"seed": _NUMBER, "epoch": (1, 2**31), "accuracy": _SHARE},
        undefined=frozenset({"loss", "accuracy"}),
        once=("network", "seed", "epoch"),
    ),
    ROBUSTNESS: Rules(ranges=dict.fromkeys(ROBUSTNESS.names[2:], _SHARE), once=("arm", "network"), most=100_000),
    REPRODUCTION: Rules(
        ranges={
            **dict.fromkeys(("accuracy", "published", "spread"), (0.0, 100.0)),
            "half_width95": _LENGTH,
            "n": (1, 2**31),
            "k": (1, 2**31),
        },
        undefined=frozenset({"published", "spread", "difference"}),
        infinite=frozenset({"half_width95"}),
        added={"k": 1, "metric": "top1"},
        once=("arm", "network", "k"),
        most=100_000,
    ),
}
"""What holds for the rows of each table. (A hash of a schema counts its columns and their types.)"""


def declare(schema: pa.Schema, rules: Rules) -> pa.Schema:
    """`schema` itself, for tables of other rooms, which have their rules from here on."""
    RULES[schema] = rules
    return schema

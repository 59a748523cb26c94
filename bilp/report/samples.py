"""The training samples that matter most and least: table of loss, effect and what became of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from bilp.data import Dataset
from bilp.report.charts import figure, number
from bilp.report.collect import Run, of_leading_arm
from bilp.report.effect import relative
from bilp.report.galleries import Picture, picture
from bilp.report.source import origin
from bilp.report.wording import count, of_class

SHOWN = 10


@dataclass(frozen=True)
class SampleRow:
    """One training sample."""

    picture: Picture
    number: str
    name: str
    file: str
    score: str
    effect: str
    fate: str


@dataclass(frozen=True)
class Samples:
    """Both ends of an order: by causal effect where one was measured, else by score."""

    by: str
    most: tuple[SampleRow, ...]
    least: tuple[SampleRow, ...]
    scored: bool
    measured: bool
    named: bool


def samples(selection: pd.DataFrame | None, runs: Sequence[Run], dataset: Dataset, score: str, effect: str) -> Samples | None:
    """None if neither scores nor effects are known.

    Args:
        selection: Rows of `bilp.artifacts.tables.SELECTION`.
        runs: The last round of the first of them that measured effects is what counts.
        dataset: Where the images are from.
        score: What the score is called.
        effect: What the effect is called.
    """
    with_effects = [run for run in runs if run.effects]
    run = of_leading_arm(with_effects) if with_effects else None
    table = joined(selection, run)
    if table.empty:
        return None
    measured = run is not None and bool(table["effect"].notna().any())
    unit = "σ" if run is not None and run.signed else "×"
    by = "effect" if measured else "score"
    ranked = table.dropna(subset=by).sort_values([by, "sample_id"], kind="stable")
    some = min(SHOWN, len(ranked) // 2)
    ends = (ranked.iloc[::-1].iloc[:some], ranked.iloc[:some])
    most, least = (tuple(_row(row, dataset, unit) for row in rows.to_dict("records")) for rows in ends)
    return Samples(effect if measured else score, most, least, selection is not None, measured, dataset.record is not None)


def joined(selection: pd.DataFrame | None, run: Run | None) -> pd.DataFrame:
    """A row for each sample that was scored or measured: sample_id, label, score, kept, effect (÷ median of its class), out, of.

    The effect is that of the last round that measured it, `out` counts the rounds that left it out among the `of` that measured it.
    """
    names = ["sample_id", "label", "score", "kept"]
    static = pd.DataFrame(columns=names) if selection is None else selection[names]
    if run is None:
        return static.assign(effect=float("nan"), out=0, of=0)
    rounds = [effects.table.assign(effect=relative(effects.table, run.signed)) for effects in run.effects]
    every = pd.concat(rounds, ignore_index=True)
    fates = every.groupby("sample_id").agg(
        label=("label", "last"), effect=("effect", "last"), out=("dropped", "sum"), of=("dropped", "size")
    )
    if selection is None:
        return fates.reset_index().assign(score=float("nan"), kept=True)
    return static.merge(fates.drop(columns="label").reset_index(), on="sample_id", how="left").fillna({"out": 0, "of": 0})


def _row(row: Mapping[Hashable, object], dataset: Dataset, unit: str) -> SampleRow:
    sample, label = int(str(row["sample_id"])), int(str(row["label"]))
    kept, score, effect = bool(row["kept"]), float(str(row["score"])), float(str(row["effect"]))
    name = dataset.class_names[label]
    image = dataset.train.images(torch.tensor([sample])).numpy()[0]
    alt = f"sample {sample} of {of_class(name)}, as in this row"
    file = origin(dataset, sample)
    shown = ("–" if score != score else figure(score), "–" if effect != effect else f"{number(effect)} {unit}")
    return SampleRow(
        picture(image, alt), str(sample), name, file, *shown, fate(kept, int(float(str(row["out"]))), int(float(str(row["of"]))))
    )


def fate(kept: bool, out: int, of: int) -> str:
    """What became of a sample that static pruning kept or not, and that `out` of `of` rounds left out."""
    if not kept:
        return "dropped by score"
    if out == 0:
        return "kept" if of == 0 else f"kept, measured in {count(of, 'round')}"
    return f"left out by effect in {out:,} of {count(of, 'round')}"

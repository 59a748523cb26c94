"""What the levels of pruning made of each sample: kept or dropped by score, its causal effect, rounds that left it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bilp.artifacts.artifact import Artifact, find
from bilp.artifacts.run_layout import RESELECT, reselect_uri
from bilp.config.reselect import RESELECT_SCORES
from bilp.distill.round_files import round_effects
from bilp.distill.run import open_run
from bilp.pruning.prune import kept_samples

Column = Any
"""An array `[N]`, masked where nothing is known; None where that is everywhere."""


@dataclass(frozen=True)
class Fates:
    """Columns `[N]` of the table of suspects, None or masked where nothing is known."""

    kept_by_score: Column = None
    effect: Column = None
    signed_effect: Column = None
    rounds_dropped: Column = None
    rounds_measured: Column = None


def adaptive_run(runs: Mapping[str, Sequence[str]]) -> str | None:
    """Of the first runs of all arms the one that both levels prune, or else one that the adaptive level does; None if none does."""
    first = [(uri, open_run(uri)) for uris in runs.values() for uri in uris[:1]]
    adaptive = [(run.selection is None, place, uri) for place, (uri, run) in enumerate(first) if run.reselect.beta != 0]
    return min(adaptive, default=(True, 0, None))[2]


def fates(selection: Artifact | None, run_uri: str | None, labels: torch.Tensor) -> Fates:
    """What a selection and the effects of a run say of the samples with these labels `[N]`."""
    kept = None
    if selection is not None:
        kept = np.zeros(len(labels), dtype=np.bool_)
        kept[kept_samples(selection, labels).numpy()] = True
    if run_uri is None:
        return Fates(kept)
    effect = np.full(len(labels), np.nan)
    dropped, measured = np.zeros(len(labels), dtype=np.int32), np.zeros(len(labels), dtype=np.int32)
    for number in range(1, open_run(run_uri).distill.rounds + 1):
        artifact = find(reselect_uri(run_uri, number), RESELECT)
        if artifact is not None:  # rounds may have been cleared away
            table = round_effects(artifact, labels)
            ids = table["sample_id"].to_numpy()
            effect[ids] = table["ite"].to_numpy()
            measured[ids] += 1
            dropped[ids] += table["dropped"].to_numpy()
    unknown = measured == 0
    if unknown.all():
        return Fates(kept)
    effect, dropped, measured = (np.ma.array(values, mask=unknown) for values in (effect, dropped, measured))
    score = RESELECT_SCORES[open_run(run_uri).reselect.score]
    signed = score.signed
    norm = score.substitute is None and not signed  # what stands in for the effect in a comparison is none
    return Fates(kept, effect if norm else None, effect if signed else None, dropped, measured)

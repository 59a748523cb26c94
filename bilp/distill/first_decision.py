"""The state that the first round begins with; with `reselect.before_initialization` its images come from what the first decision keeps.

The first decision is about effects on initial images that are drawn as always (`bilp.distill.inputs.first_state`), and is published
before the round. Those images are then drawn anew, by streams of their own, from the candidates that the round itself draws its batches
from. All of it follows from the run and that decision, so that a round that is taken up again begins with the same bytes.
"""

from __future__ import annotations

import torch

from bilp.data.pool import RealPool
from bilp.distill.inputs import first_state
from bilp.distill.part import Part
from bilp.distill.round_files import reselected
from bilp.distill.step.initial import require_initial
from bilp.distill.step.state import DistillState
from bilp.pruning.adaptive import AdaptivePruner

STREAM = "initial_kept"
"""Name of the random streams that draw from what the first decision keeps."""


def starting_state(part: Part, pool: RealPool, device: torch.device | str = "cpu") -> DistillState:
    """The state before the first iteration. Raises MissingArtifact if the first decision comes before it and is not there.

    Args:
        part: the run, or the shard of it.
        pool: its real samples.
        device: where experts are asked, if any are.
    """
    run, classes = part.run, part.classes(pool.classes)
    if not run.reselect.decides_first:
        return first_state(part.run_uri, run, pool, classes, device)
    pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, run.reselect)
    pruner.load(reselected(part, 1), classes)
    kept = kept_pool(pool, pruner, classes)
    require_initial(run.distill, kept)
    return first_state(part.run_uri, run, kept, classes, device, STREAM)


def kept_pool(pool: RealPool, pruner: AdaptivePruner, classes: range) -> RealPool:
    """The samples of `classes` that no decision keeps away from the first iteration, and all of the other classes."""
    left = dict(zip(classes, pruner.candidates_of_each([pool.by_class[c] for c in classes], 0), strict=True))
    return RealPool(pool.dataset, torch.cat([left.get(c, ids) for c, ids in enumerate(pool.by_class)]))

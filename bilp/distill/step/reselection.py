"""Reselection at the start of a round: the causal effect of a sample of every class, measured on the state so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.config.reselect import RESELECT_SCORES
from bilp.data.pool import even_chunks
from bilp.distill.step.divergence import Guard
from bilp.distill.step.round_bounds import bounds
from bilp.distill.step.sample_scores import score_pools
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.images import augment
from bilp.progress import Progress
from bilp.pruning.adaptive import AdaptivePruner
from bilp.seeds import generator

Prepare = Callable[[Setting, DistillState, int, int], None]
"""Puts into the setting a network as the method's image steps meet them, for network number `int` of round number `int`."""


@dataclass(frozen=True)
class Decision:
    """What was decided about one class's samples, and by which scores: causal effects, or what `reselect.score` puts in their place."""

    class_index: int
    ids: Tensor
    """sample_ids `[n]`."""
    mean: Tensor
    """Score, mean over the networks, float32 `[n]`."""
    std: Tensor
    """Its standard deviation over the networks (of this population; 0 for a single network), float32 `[n]`."""
    kept: Tensor
    """bool `[n]`."""


def reselect(
    setting: Setting,
    state: DistillState,
    round_number: int,
    pruner: AdaptivePruner,
    guard: Guard,
    progress: Progress,
    prepare: Prepare | None = None,
) -> list[Decision]:
    """Measure the samples of every class whose turn it is, and let `pruner` decide on them until it is their turn again.

    Raises Diverged for a score that is not finite.

    Args:
        setting: what stays fixed.
        state: the state before the round.
        round_number: number of the round, from 1.
        pruner: what decides, and remembers.
        guard: what checks the scores.
        progress: told after every class of every network.
        prepare: gives each of the networks; without it they are those of DM, DC and DSA.
    """
    prepare = prepare or draw_trained_network
    turns = {c: whose_turn(setting, round_number, c) for c in setting.classes}
    scores = {c: torch.empty(setting.reselect.networks, len(ids)) for c, (ids, _) in turns.items()}
    word = RESELECT_SCORES[setting.reselect.score].noun
    total = setting.reselect.networks * len(turns)
    for k in range(setting.reselect.networks):
        prepare(setting, state, round_number, k)
        drawn = augment.send(setting.draw_augmentations(turns, "reselect_augment", round_number, k), setting.side, setting.device)
        pools = ((c, ids, params) for (c, (ids, _)), params in zip(turns.items(), drawn, strict=True))
        found = score_pools(setting, state.images, pools, "round", round_number, k)
        for place, (c, values) in enumerate(zip(turns, found, strict=True)):
            scores[c][k] = values
            guard.check_effects(state.iteration, c, scores[c][k], word)
            progress(k * len(turns) + place + 1, total, f"{word} in class {c}")
    result = []
    for c, (ids, until) in turns.items():
        mean = scores[c].mean(dim=0)
        kept = pruner.decide(ids, mean, c, until)
        result.append(Decision(c, ids, mean, scores[c].std(dim=0, correction=0), kept))
    return result


def draw_trained_network(setting: Setting, state: DistillState, round_number: int, which: int) -> None:
    """A network as the image steps of DM, DC and DSA meet them.

    DM: random. DC, DSA: random, then trained on the current synthetic set for as many stretches of `inner_epochs` as
    a uniformly drawn outer loop would have behind it (inside an iteration the synthetic set moves a little between
    these stretches; here it stands still).
    """
    seed = setting.config.seed
    setting.draw_network("reselect_network", round_number, which)
    stream = generator(seed, "reselect_steps", round_number, which)
    for step in range(int(torch.randint(setting.schedule.outer_loops, (1,), generator=stream))):
        setting.train_network(state.images, state.labels, "reselect", round_number, which, step)
    setting.freeze_statistics("reselect", round_number, which)


def whose_turn(setting: Setting, round_number: int, class_index: int) -> tuple[Tensor, int]:
    """sample_ids of a class to measure in this round, and the iteration until which what is decided on them stands.

    A pool of more than `candidates_per_class` samples is cut once, at random, into parts of about that size that take
    turns, one a round. So every sample is measured equally often, a share beta of the whole pool is away once all had
    their turn, and the cost of a round does not grow with the pool.
    """
    pool = setting.pool.by_class[class_index]
    shuffled = setting.pool.draw(class_index, len(pool), generator(setting.config.seed, "candidates", class_index))
    parts = even_chunks(shuffled, setting.reselect.candidates_per_class or len(pool))
    again = round_number + len(parts)
    until = bounds(setting.config, again)[0] if again <= setting.config.rounds else setting.config.iterations
    return parts[(round_number - 1) % len(parts)], until

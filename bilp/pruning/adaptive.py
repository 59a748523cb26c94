"""Adaptive pruning: trim both ends of the causal effects while distilling (BiLP, level 2).

The smallest effects belong to samples that change nothing, the largest to outliers. Effects are positive, skewed, and
their scale depends on class, network and progress, so they are compared per class and on the logarithm, against a
running mean and variance with two normal quantiles as thresholds. A batch in which these would take the class's share
of dropped samples too far from beta is cut at its own empirical quantiles instead; a class for which they do so beyond
chance changes to empirical quantiles for good.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bilp.config import ReselectConfig
from bilp.config.reselect import RESELECT_MODES, RESELECT_SCORES
from bilp.errors import ConfigError, Diverged, IncompatibleArtifact
from bilp.pruning.weights import penalties, soft_weights, temperature_for

# Largest difference between beta and the share of dropped samples of a class (one sample more if that is less).
TOLERANCE = 0.02
# Standard deviations beyond the tolerance at which the normal thresholds are wrong rather than unlucky.
CHANCE = 2.0
# A batch always keeps this many samples, so that effects can still be measured on what remains.
SMALLEST_BATCH = 2
# Log effects that are closer than this differ by rounding, not by merit.
EQUAL = 1e-5
# Tensors of the state that hold a value for each sample; the others hold values for each class.
PER_SAMPLE = ("last_score", "visits", "dropped_until", "weight")


def kept_at_least(count: int, minimum_per_class: int) -> int:
    """Samples of a batch of `count` that a decision keeps whatever it finds."""
    return min(count, max(SMALLEST_BATCH, minimum_per_class))


def whole_samples(wanted: float, owed: float, most: int) -> tuple[int, float]:
    """Samples that a decision by rank drops where `wanted` are asked for and earlier ones `owed` so many; what it owes the next one.

    A floor that binds is no debt to be paid by later batches.
    """
    wanted += owed
    dropped = min(max(math.floor(wanted + 0.5), 0), most)
    return dropped, max(-0.5, min(wanted - dropped, 0.5))


class AdaptivePruner:
    """Decides which samples sit out, and remembers it: running statistics per class, last score and decision per sample.

    A decision until iteration `until` stands in every iteration before it. The pruner works on the CPU; scores may
    live anywhere.
    """

    def __init__(self, labels: Tensor, classes: int, config: ReselectConfig) -> None:
        """`labels` int64 `[N]` are those of the whole train split, in order of sample_id."""
        if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= classes):
            raise ConfigError(f"labels must lie in 0..{classes - 1} for {classes} classes, found {int(labels.min())}..{int(labels.max())}")
        self._labels = labels.cpu()
        self._config = config
        self._signed = RESELECT_SCORES[config.score].signed
        count = len(labels)
        self._state = {
            "last_score": torch.full((count,), math.nan, dtype=torch.float32),
            "visits": torch.zeros(count, dtype=torch.int32),
            "dropped_until": torch.zeros(count, dtype=torch.int32),
            "log_mean": torch.zeros(classes, dtype=torch.float64),
            "log_variance": torch.zeros(classes, dtype=torch.float64),
            # As states that exist spell it.
            "initialised": torch.zeros(classes, dtype=torch.bool),
            "by_quantile": torch.full((classes,), config.by_rank),
            "decided": torch.zeros(classes, dtype=torch.int64),
            "dropped": torch.zeros(classes, dtype=torch.int64),
            # Samples that the normal thresholds judged, and how many of them they would have dropped.
            "normal": torch.zeros(classes, 2, dtype=torch.int64),
            # What rounding to whole samples left over, in total and at the lower end.
            "remainder": torch.zeros(classes, 2, dtype=torch.float64),
        }
        if RESELECT_MODES[config.mode].weighs:
            self._state["weight"] = torch.ones(count, dtype=torch.float32)

    def decide(self, sample_ids: Tensor, scores: Tensor, class_index: int, until: int) -> Tensor:
        """Keep mask bool `[n]` for `n` distinct samples of one class with effects `scores` `[n]`, on the CPU.

        Updates the class's running statistics first, then decides; an earlier decision on these samples is replaced.
        At least `minimum_per_class` of the batch (and never fewer than 2) are kept, those closest to the center.
        A batch of equal effects is kept whole. A zero effect counts as the smallest of all. Raises Diverged for
        effects that are not finite, ConfigError for samples of another class or negative effects. A score that has a sign is
        compared as it is, and its low end alone is dropped. In mode weight all are kept, and `weights` tells what they count.
        """
        ids, values = sample_ids.cpu(), scores.detach().cpu().double()
        self._check(ids, values, class_index)
        if len(ids) == 0:
            return torch.ones(0, dtype=torch.bool)
        logs = values if self._signed else values.log()
        self._update(logs if self._signed else logs[values > 0], class_index)
        state = self._state
        if "weight" in state:
            keep = torch.ones(len(ids), dtype=torch.bool)
            state["weight"][ids] = self._weigh(logs, class_index).float()
        else:
            keep = self._keep(logs, class_index)
        state["decided"][class_index] += len(ids)
        state["dropped"][class_index] += int((~keep).sum())
        state["last_score"][ids] = values.float()
        state["visits"][ids] += 1
        state["dropped_until"][ids] = torch.where(keep, 0, until).int()
        return keep

    def candidates(self, indices: Tensor, iteration: int) -> Tensor:
        """Those of `indices` `[m]` whose drop does not stand at `iteration`, in their order.

        Of every class among them at least `minimum_per_class` remain (or all, if there are fewer): the dropped ones
        with the least extreme last score come back.
        """
        return indices[self._free(indices.cpu(), iteration).to(indices.device)]

    def candidates_of_each(self, parts: Sequence[Tensor], iteration: int) -> list[Tensor]:
        """`candidates` of each of `parts`, int64 `[m]` on the CPU, no two of them of the same class."""
        ids = torch.cat(list(parts))
        free = self._free(ids, iteration)
        ends = torch.tensor([0, *(len(part) for part in parts)]).cumsum(0)
        kept = torch.cat([ends[:1], free.cumsum(0)])[ends].diff()
        return list(ids[free].split(kept.tolist()))

    def _free(self, ids: Tensor, iteration: int) -> Tensor:
        """Which of the samples are candidates at an iteration, bool `[m]`."""
        free = self._state["dropped_until"][ids] <= iteration
        labels, classes = self._labels[ids], len(self._state["initialised"])
        present = torch.bincount(labels[free], minlength=classes)
        missing = self._config.minimum_per_class - present
        for c in ((missing > 0) & (torch.bincount(labels[~free], minlength=classes) > 0)).nonzero().flatten().tolist():
            waiting = ((labels == c) & ~free).nonzero().flatten()
            order = torch.argsort(self._extremeness(ids[waiting], c), stable=True)
            free[waiting[order[: int(missing[c])]]] = True
        return free

    def weights(self, sample_ids: Tensor) -> Tensor | None:
        """How much these samples count by their last decision, float32 `[n]` on the CPU, 1 before the first; None unless mode is weight."""
        return self._state["weight"][sample_ids.cpu()] if "weight" in self._state else None

    def weights_of_each(self, parts: Sequence[Tensor]) -> list[Tensor | None]:
        """`weights` of each of `parts`."""
        if "weight" not in self._state:
            return [None] * len(parts)
        return list(self._state["weight"][torch.cat(list(parts)).cpu()].split([len(part) for part in parts]))

    def dropped_share(self) -> float:
        """Share of dropped samples among all decisions so far; 0 before the first."""
        decided = int(self._state["decided"].sum())
        return int(self._state["dropped"].sum()) / decided if decided else 0.0

    @property
    def quantile_classes(self) -> Tensor:
        """Classes that use empirical quantiles: all by configuration, or those that the normal thresholds failed, int64."""
        return self._state["by_quantile"].nonzero().flatten()

    def state(self, classes: range | None = None) -> dict[str, Tensor]:
        """Everything that decisions depend on, as tensors; `load` restores it exactly. With `classes`, what is theirs alone.

        Per sample, in order of sample_id: last_score float32 (nan = never), visits int32, dropped_until int32. Per class: log_mean,
        log_variance float64, initialized, by_quantile bool, decided, dropped int64; two values each: normal int64
        (judged by the normal thresholds, dropped by them), remainder float64 (fractions of a sample: total, lower end).
        """
        return {name: value[self._part(name, classes)].clone() for name, value in self._state.items()}

    def load(self, state: Mapping[str, Tensor], classes: range | None = None) -> None:
        """Restore what `state` returned for the same classes; others stay as they are, so that parts come together one by one.

        Raises IncompatibleArtifact if it belongs to other data.
        """
        problems = [f"{name} is missing" for name in sorted(set(self._state) - set(state))]
        problems += [f"{name} is unknown" for name in sorted(set(state) - set(self._state))]
        for name in sorted(set(self._state) & set(state)):
            own, given = self._state[name][self._part(name, classes)], state[name]
            if own.shape != given.shape or own.dtype != given.dtype:
                problems.append(f"{name}: expected {own.dtype} {list(own.shape)}, found {given.dtype} {list(given.shape)}")
            elif not (self._signed and name == "last_score") and not _possible(name, state):
                problems.append(f"{name} holds values that no decision leaves")
        if problems:
            raise IncompatibleArtifact(
                f"this pruner state does not fit the data: {'; '.join(problems)}. Start a new run, or use the dataset of the old one"
            )
        for name, value in self._state.items():
            value[self._part(name, classes)] = state[name].detach().cpu()

    def _part(self, name: str, classes: range | None) -> Tensor | slice:
        """Where in a tensor of the state the values of some classes lie."""
        if classes is None:
            return slice(None)
        if name in PER_SAMPLE:
            return (self._labels >= classes.start) & (self._labels < classes.stop)
        return slice(classes.start, classes.stop)

    def _check(self, ids: Tensor, values: Tensor, class_index: int) -> None:
        if ids.dim() != 1 or values.shape != ids.shape:
            raise ConfigError(f"{tuple(ids.shape)} sample ids need as many scores, not {tuple(values.shape)}")
        foreign = ids[self._labels[ids] != class_index]
        if len(foreign):
            raise ConfigError(f"sample {int(foreign[0])} is not of class {class_index} but {int(self._labels[foreign[0]])}")
        if not bool(values.isfinite().all()):
            raise Diverged(f"{int((~values.isfinite()).sum())} of {len(values)} causal effects of class {class_index} are not finite")
        if not self._signed and bool((values < 0).any()):
            raise ConfigError("a causal effect is a length and cannot be negative: pass the norms that bilp.causal.ite returns")

    def _update(self, logs: Tensor, c: int) -> None:
        """Running mean and variance of the class (exponential, started by its first batch)."""
        if len(logs) == 0:
            return
        mean, variance, started = self._state["log_mean"], self._state["log_variance"], self._state["initialised"]
        old = self._config.momentum if bool(started[c]) else 0.0
        mean[c] = old * mean[c] + (1.0 - old) * logs.mean()
        variance[c] = old * variance[c] + (1.0 - old) * (logs - mean[c]).square().mean()
        started[c] = True

    def _keep(self, logs: Tensor, c: int) -> Tensor:
        keep = torch.ones(len(logs), dtype=torch.bool)
        # Two infinities (zero effects) have no difference; they are equal all the same.
        equal = bool(logs.min() == logs.max()) or (not self._signed and float(logs.max() - logs.min()) <= EQUAL)
        if not self._config.active or equal or not bool(self._state["initialised"][c]):
            return keep
        if not bool(self._state["by_quantile"][c]):
            keep = self._within_normal(logs, c)
            self._judge_normal(keep, c)
            if not self._misses(keep, c):
                return keep
        return self._within_ranks(logs, c)

    def _shares(self) -> tuple[float, float]:
        low = self._config.shares[0] * self._config.low_part
        return low, self._config.shares[0] - low

    def _weigh(self, logs: Tensor, c: int) -> Tensor:
        """Soft weights `[n]` of mean 1; all 1 where the scores are equal."""
        deviation = self._state["log_variance"][c].sqrt()
        equal = bool(logs.min() == logs.max()) or (not self._signed and float(logs.max() - logs.min()) <= EQUAL)
        if equal or not bool(self._state["initialised"][c]) or not float(deviation) > 0.0:
            return torch.ones(len(logs), dtype=torch.float64)
        beta, _ = self._config.shares
        penalty = penalties((logs - self._state["log_mean"][c]) / deviation, self._config.low_part)
        temperature = self._config.temperature
        return soft_weights(penalty, temperature_for(penalty, 1.0 - beta) if temperature is None else temperature)

    def _floor(self, count: int) -> int:
        return kept_at_least(count, self._config.minimum_per_class)

    def _within_normal(self, logs: Tensor, c: int) -> Tensor:
        """Between the normal quantiles of the running statistics, or the closest to their mean if these are too few."""
        low, high = self._shares()
        mean, deviation = self._state["log_mean"][c], self._state["log_variance"][c].sqrt()
        below, above = torch.special.ndtri(torch.tensor([low, 1.0 - high], dtype=torch.float64))
        # An end that drops nothing has an infinite quantile, which times a deviation of zero would be no number.
        keep = torch.ones(len(logs), dtype=torch.bool)
        if low > 0.0:
            keep &= logs >= mean + deviation * below
        if high > 0.0:
            keep &= logs <= mean + deviation * above
        floor = self._floor(len(logs))
        if int(keep.sum()) < floor:
            keep = torch.zeros_like(keep)
            keep[torch.argsort((logs - mean).abs(), stable=True)[:floor]] = True
        return keep

    def _judge_normal(self, keep: Tensor, c: int) -> None:
        """Give up the normal thresholds of a class if what they drop, applied or not, differs from beta beyond chance."""
        judged = self._state["normal"][c]
        judged += torch.tensor([len(keep), int((~keep).sum())])
        count, dropped = judged.tolist()
        beta, _ = self._config.shares
        allowed = TOLERANCE * count + CHANCE * math.sqrt(beta * (1.0 - beta) * count)
        self._state["by_quantile"][c] = abs(dropped - beta * count) > allowed

    def _misses(self, keep: Tensor, c: int) -> bool:
        """Whether the normal thresholds are given up, or this decision would take the class's share too far from beta."""
        decided = int(self._state["decided"][c]) + len(keep)
        dropped = int(self._state["dropped"][c]) + int((~keep).sum())
        return bool(self._state["by_quantile"][c]) or abs(dropped - self._config.shares[0] * decided) > max(TOLERANCE * decided, 1.0)

    def _within_ranks(self, logs: Tensor, c: int) -> Tensor:
        """Exact counts by rank, equal effects in their order; fractions of a sample are carried to the next decision."""
        remainder = self._state["remainder"][c]
        most = len(logs) - self._floor(len(logs))
        dropped, remainder[0] = whole_samples(self._config.shares[0] * len(logs), float(remainder[0]), most)
        low, remainder[1] = whole_samples(self._config.low_part * dropped, float(remainder[1]), dropped)
        order = torch.argsort(logs, stable=True)
        keep = torch.zeros(len(logs), dtype=torch.bool)
        keep[order[low : len(logs) - (dropped - low)]] = True
        return keep

    def _extremeness(self, ids: Tensor, c: int) -> Tensor:
        """Distance of the last score from the class's center; infinite for a score of zero. Of a score with a sign: how low it is."""
        if self._signed:
            return -self._state["last_score"][ids].double()
        return (self._state["last_score"][ids].double().log() - self._state["log_mean"][c]).abs()


def _possible(name: str, state: Mapping[str, Tensor]) -> bool:
    """Whether decisions can have left the values of a tensor of the state. (Statistics of effects that are zero are not finite.)"""
    value = state[name]
    if name == "remainder":
        return bool((value.abs() <= 0.5).all())
    if name == "dropped" and state.get("decided", value).shape == value.shape:
        return bool(((value >= 0) & (value <= state.get("decided", value))).all())
    return name == "log_mean" or not bool((value < 0).any())

"""What a search tries: candidates, the rungs that they go through, and the settings of a proxy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bilp.config import DistillConfig, EvaluateConfig, PipelineConfig, PruneConfig, ReselectConfig
from bilp.config.arms import needs_selection, planned_runs
from bilp.config.base import as_recorded
from bilp.config.criteria import CRITERIA
from bilp.config.methods import DEFAULT_METHOD, METHODS
from bilp.config.pipeline import settings
from bilp.config.reselect import RESELECT_SCORES
from bilp.config.words import is_search, is_word
from bilp.errors import ConfigError
from bilp.text.sample_words import spoken

CHEAPEST = DEFAULT_METHOD
"""The method of proxies unless another is named: it compares mean features, by networks that it need not train."""
HALVED = 2
"""Of the candidates of a rung one in so many goes on, with so many times the iterations."""


@dataclass(frozen=True)
class Candidate:
    """Values to try; None for a setting that is not searched."""

    keep: float | None = None
    drop: str | None = None
    beta: float | None = None
    low_share: float | None = None

    @property
    def words(self) -> str:
        """'keep 0.7, beta 0.1'."""
        told = [("keep", self.keep), ("drop", self.drop), ("beta", self.beta), ("low_share", self.low_share)]
        return ", ".join(f"{name} {value if isinstance(value, str) else format(value, 'g')}" for name, value in told if value is not None)

    @property
    def pruned(self) -> tuple[float, float]:
        """How much it prunes, to be compared with others: by the static level, then by the adaptive one."""
        return (0.0 if self.keep is None else 1 - self.keep, self.beta or 0.0)

    def prune(self, config: PruneConfig) -> PruneConfig:
        """Static pruning as this candidate has it."""
        changed: dict[str, Any] = {"keep": self.keep, "drop": self.drop}
        return config.model_copy(update={name: value for name, value in changed.items() if value is not None})

    def reselect(self, config: ReselectConfig) -> ReselectConfig:
        """Adaptive pruning likewise, as proxies have it: `_of_proxies`."""
        changed = {"beta": self.beta, "low_share": self.low_share}
        return _of_proxies(config).model_copy(update={name: value for name, value in changed.items() if value is not None})


def _of_proxies(config: ReselectConfig) -> ReselectConfig:
    """Settings of adaptive pruning that proxies share.

    Their images begin alike, whatever the run asks for: the share is searched, and not where images begin. A first decision would also
    leave too few real samples to some candidates, and means nothing to some methods of proxies.
    """
    return config.model_copy(update={"before_initialization": False})


@dataclass(frozen=True)
class Rung:
    """One round of the halving: so many candidates are tried with so many iterations."""

    number: int
    candidates: int
    iterations: int


@dataclass(frozen=True)
class Plan:
    """Everything that a search does, as far as its settings tell."""

    candidates: tuple[Candidate, ...]
    reference: int
    """The candidate that prunes least: it takes part in every rung, and the others are compared with it in pairs."""
    rungs: tuple[Rung, ...]
    static: bool
    """Whether proxies are distilled from a selection."""
    adaptive: bool
    """Whether proxies reselect, which they do where settings of that are searched."""
    distill: DistillConfig
    """Of a proxy of the last rung."""
    evaluate: EvaluateConfig

    def most_runs(self, distillations: int) -> int:
        """Proxies that are distilled at most: the reference takes part in every rung, beyond its turn or not."""
        return distillations * sum(min(rung.candidates + (rung.number > 1), len(self.candidates)) for rung in self.rungs)

    def proxy(self, rung: Rung, distillation: int) -> DistillConfig:
        """The settings of a proxy: one round, and the seed that every candidate has in that distillation."""
        return self.distill.model_copy(update={"iterations": rung.iterations, "rounds": 1, "seed": self.distill.seed + distillation})


def asks(config: PipelineConfig) -> bool:
    """Whether anything is to be searched that an arm of this comparison reads."""
    return any(searched(config))


def searched(config: PipelineConfig) -> tuple[bool, bool, bool]:
    """Whether keep, beta and low_share are to be searched."""
    adaptive = METHODS[config.method].adaptive and any(run.reselect.beta != 0 for run in planned_runs(config))
    keep = needs_selection(config) and is_search(config.prune.keep)
    return keep, adaptive and is_search(config.reselect.beta), adaptive and is_search(config.reselect.low_share)


def candidates(config: PipelineConfig) -> list[Candidate]:
    """Every combination of the values to try, those that are the same pruning once. Raises ConfigError for too many."""
    keep, beta, low_share = searched(config)
    grid = config.search
    axes = (
        grid.keep if keep else (None,),
        grid.drop if keep and grid.drop else (None,),
        grid.beta if beta else (None,),
        grid.low_share if low_share else (None,),
    )
    found = dict.fromkeys(_plain(Candidate(*values)) for values in itertools.product(*axes))
    if len(found) > grid.most:
        raise ConfigError(f"the search has {len(found)} candidates and search.most is {grid.most}: list fewer values, or raise that")
    return list(found)


def _plain(candidate: Candidate) -> Candidate:
    """The same pruning in the words that all of its equals have: what is not dropped is dropped at no end."""
    return Candidate(
        candidate.keep,
        None if candidate.keep == 1.0 else candidate.drop,
        candidate.beta,
        None if candidate.beta == 0.0 else candidate.low_share,
    )


def rungs(count: int, iterations: int) -> list[Rung]:
    """Successive halving (Jamieson and Talwalkar 2016) of so many candidates: until two are left, the last rung having all iterations.

    The candidate that all are compared with is counted where it takes part beyond its turn.
    """
    counts = [count]
    while counts[-1] > HALVED:
        counts.append(math.ceil(counts[-1] / HALVED))
    last = len(counts) - 1
    return [Rung(number + 1, n, max(1, round(iterations / HALVED ** (last - number)))) for number, n in enumerate(counts)]


def plan(config: PipelineConfig) -> Plan:
    """The search that a configuration asks for. Raises ConfigError if its proxies cannot be made."""
    tried, grid = candidates(config), config.search
    _, beta, low_share = searched(config)
    distill = _proxy_settings(config)
    reference = min(range(len(tried)), key=lambda number: tried[number].pruned)
    evaluate = config.evaluate.model_copy(
        update={"seeds": grid.trainings, "baselines": (), "robustness": False, "networks": config.evaluate.networks[:1], "pool": None}
    )
    made = Plan(
        candidates=tuple(tried),
        reference=reference,
        rungs=tuple(rungs(len(tried), _longest(config))),
        static=needs_selection(config),
        adaptive=beta or low_share,
        distill=distill,
        evaluate=evaluate,
    )
    _check(made, config)
    return made


def _longest(config: PipelineConfig) -> int:
    """Iterations of a proxy of the last rung."""
    grid, whole = config.search, config.distill.iterations
    return max(1, round(grid.iterations * whole), min(grid.least, whole))


def _check(made: Plan, config: PipelineConfig) -> None:
    without = spoken("a search scores without the images that it holds out")
    if made.static and CRITERIA[config.prune.criterion].from_list:
        raise ConfigError(
            f"{without}, and criterion {config.prune.criterion} has a score of {spoken('every image')}: "
            "use another criterion, or give numbers instead of search"
        )
    if made.static and config.prune.scores is not None:
        raise ConfigError(
            f"{without}, and prune.scores are of {spoken('all images')}: leave out prune.scores, or give numbers instead of search"
        )
    reselect = made.candidates[made.reference].reselect(config.reselect)
    if made.adaptive and (is_word(reselect.beta) or (reselect.beta and is_word(reselect.low_share))):
        raise ConfigError("of reselect.beta and reselect.low_share one is auto and the other search: search both, or give a number")


def _proxy_settings(config: PipelineConfig) -> DistillConfig:
    """Settings of the proxies, for the number of iterations of the run itself."""
    name = config.search.method or CHEAPEST
    method = METHODS[name]
    if method.needs_experts:
        raise ConfigError(f"search.method {name} imitates experts, which would be trained for every candidate: use another method")
    if method.needs_ranking or (name == config.method and config.distill.ranks):
        raise ConfigError(f"search.method {name} asks how hard samples are, of all of them: use another method")
    if method.needs_teacher:
        raise ConfigError(f"search.method {name} asks a teacher, which knows the images that are held out: use another method")
    if any(searched(config)[1:]) and (score := RESELECT_SCORES[config.reselect.score]).needs_teacher:
        raise ConfigError(f"reselect.score {score.name} asks a teacher, which knows the images that are held out: use another score")
    if any(searched(config)[1:]) and not method.adaptive:
        raise ConfigError(f"search.method {name} {method.no_effect}, so it cannot search adaptive pruning: use another method")
    if name == config.method:
        return config.distill.model_copy(update={"shards": 1})
    own = config.distill
    distill: dict[str, Any] = {
        "network": own.network.model_dump(mode="json", exclude_unset=True),
        "iterations": own.iterations,
        "rounds": 1,
    }
    ingest = {"uri": config.ingest.uri} if config.ingest.uri else {}
    dials = {"seed": own.seed, "gpu": own.gpu, "gpu_revision": own.gpu_revision}
    return settings(dataset=config.dataset, method=name, ipc=config.ipc, ingest=ingest, distill=distill, **dials).distill


def identity(found: Plan, config: PipelineConfig) -> dict[str, Any]:
    """What decides the outcome of a search, for its key."""
    prune = as_recorded(config.prune, {"keep": True, "score_list": True})
    return {
        "candidates": [vars(candidate) for candidate in found.candidates],
        "rungs": [vars(rung) for rung in found.rungs],
        "distillations": config.search.distillations,
        "held_out": [config.search.held_out, config.search.seed],
        "prune": {**prune, "keep": config.prune.keep} if found.static else None,
        "reselect": as_recorded(_of_proxies(config.reselect)) if found.adaptive else None,
        "distill": as_recorded(found.distill, {"iterations": True, "rounds": True}),
        "evaluate": as_recorded(found.evaluate),
        "score": as_recorded(config.score) if found.static else None,
    }


def survivors(ranked: Sequence[int], after: int, reference: int) -> list[int]:
    """The best `after` of the candidates, best first, and the reference in any case; in the order of the grid."""
    return sorted({*ranked[:after], reference})

"""Whether settings, real samples and experts go together: asked before a run is registered, and before a pipeline begins."""

from __future__ import annotations

from bilp.config import METHODS, DistillConfig, ReselectConfig
from bilp.config.methods import either, names_of
from bilp.config.reselect import RESELECT_SCORES
from bilp.config.reselectable import asks_ranking, asks_teacher, misfit, no_first_decision, not_whole, without_effects
from bilp.data.pool import RealPool
from bilp.distill.starting_set import open_starting, starting_uri
from bilp.distill.step.initial import require_initial
from bilp.errors import ConfigError
from bilp.nets import build
from bilp.pruning.reach import most_dropped
from bilp.registry import resolve


def check_pool(pool: RealPool, distill: DistillConfig, reselect: ReselectConfig) -> None:
    """Raise ConfigError if a class has too few samples for these settings, the images are not what the method steps, or there
    are more shards than classes."""
    if pool.dataset.whitening_facts is not None and METHODS[distill.method].decodes:
        raise ConfigError(
            f"method {distill.method} steps images as pixels, which those of {pool.dataset.name} are not: use the data set not whitened"
        )
    if distill.shards > pool.classes:
        raise ConfigError(f"{distill.shards} shards cannot share {pool.classes} classes: set distill.shards to {pool.classes} or less")
    pool.require(1, "distillation")
    require_initial(distill, pool)
    if reselect.decides_first and not reselect.words:
        require_initial(distill, pool, lambda count: count - most_dropped(count, reselect))
    if METHODS[distill.method].requires:
        resolve(METHODS[distill.method].requires)(pool, distill)
    if reselect.active:
        pool.require(2, f"adaptive pruning (beta = {reselect.beta})")


def check_beforehand(pool: RealPool, distill: DistillConfig, reselect: ReselectConfig) -> None:
    """Raise what a run of these settings and samples would be refused for, as far as that is known before experts, a teacher or a ranking
    are there: as `check_pool`, for an impossible network, and for a set to start from."""
    build(distill.network, pool.dataset.shape, pool.classes)
    start = starting_uri(distill)
    if start is not None:
        open_starting(start, distill, pool.dataset)
    check_pool(pool, distill, reselect)


def check_method(distill: DistillConfig, reselect: ReselectConfig, experts_uri: str | None, teacher_uri: str | None = None) -> None:
    """Raise ConfigError if a method that needs experts or a teacher has none or shall prune adaptively, or another one has these, or
    for settings of adaptive pruning that it cannot follow, and words in the place of their numbers."""
    method = METHODS[distill.method]
    if not method.needs_experts and experts_uri is not None:
        others = either(names_of(lambda other: other.needs_experts))
        raise ConfigError(f"method {method.name} imitates no experts: leave {experts_uri} out, or use method {others}")
    teaches = asks_teacher(distill, reselect)
    if not teaches and teacher_uri is not None:
        scores = either([name for name, score in RESELECT_SCORES.items() if score.needs_teacher])
        others = f"method {either(names_of(lambda other: other.needs_teacher))}, or reselect.score {scores}"
        raise ConfigError(f"method {method.name} asks no teacher with these settings: leave {teacher_uri} out, or use {others}")
    if not method.adaptive and reselect.active:
        raise ConfigError(
            f"adaptive pruning (beta = {reselect.beta}) does not apply to method {method.name}, which {method.no_effect}: "
            "set beta = 0 and prune statically"
        )
    if distill.real_part.share > 0 and reselect.active:
        raise ConfigError(
            f"adaptive pruning (beta = {reselect.beta}) measures effects on images that are moved, and real_part.share = "
            f"{distill.real_part.share:g} holds some of them: set beta = 0, or share to 0"
        )
    if told := misfit(distill.method, reselect) or without_effects(distill, reselect) or not_whole(distill, reselect):
        raise ConfigError(told)
    if reselect.active:
        if told := no_first_decision(distill, reselect):
            raise ConfigError(told)
        reselect.require_numbers()
    if method.needs_experts and experts_uri is None:
        raise ConfigError(f"method {distill.method} imitates experts: train them (train_expert, collect_experts) and name the buffer")
    if teaches and teacher_uri is None:
        asks = f"method {distill.method}" if method.needs_teacher else f"reselect.score {reselect.score}"
        raise ConfigError(f"{asks} asks a teacher: train one (train_teacher) and name it")


def check_ranking(distill: DistillConfig, reselect: ReselectConfig, ranking_uri: str | None) -> None:
    """Raise ConfigError if a run that asks how hard samples are is not told, or another one is."""
    asked = asks_ranking(distill, reselect)
    if asked and ranking_uri is None:
        asks = f"method {distill.method}" if distill.ranks else f"reselect.score {reselect.score}"
        asks = "real_part.window" if distill.real_part.window is not None else asks
        raise ConfigError(f"{asks} asks how hard samples are: name a selection that ranks them (prune with keep = 1)")
    if not asked and ranking_uri is not None:
        raise ConfigError(f"nothing in this run asks how hard samples are: leave {ranking_uri} out, or set distill.real_part.window")

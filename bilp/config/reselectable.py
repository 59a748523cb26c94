"""Which settings of adaptive pruning, and which teachers, a method can do with: its entry knows."""

from __future__ import annotations

from bilp.config.distill import DistillConfig
from bilp.config.methods import METHODS, either, names_of
from bilp.config.network import NetworkConfig
from bilp.config.reselect import RESELECT_MODES, RESELECT_SCORES, ReselectConfig, ReselectScore


def without_effects(distill: DistillConfig, reselect: ReselectConfig) -> str:
    """What leaves real samples without effects by which they could be pruned adaptively, in one line; empty if nothing does."""
    setting = METHODS[distill.method].no_effect_with(distill)
    if not setting or not reselect.active:
        return ""
    return f"adaptive pruning (beta = {reselect.beta}): with distill.{setting} no real sample has an effect: set beta = 0"


def no_first_decision(distill: DistillConfig, reselect: ReselectConfig) -> str:
    """Why the first decision of adaptive pruning cannot come before the initial images, in one line that says what to do; empty if it
    can, or is not asked for."""
    if not reselect.before_initialization:
        return ""
    setting, method = "reselect.before_initialization", METHODS[distill.method]
    otherwise = f"set {setting} to no"
    if not reselect.active:
        return f"{setting}: nothing is decided with beta = {reselect.beta}: raise beta, or {otherwise}"
    if RESELECT_MODES[reselect.mode].weighs:
        return f"{setting}: reselect.mode {reselect.mode} drops nothing, so that initial images would be drawn from all: {otherwise}"
    if method.begins or not method.begins_at_init(distill):
        return f"{setting}: method {method.name} does not begin at the images of distill.init with these settings: {otherwise}"
    if distill.init == "noise":
        return f"{setting}: images that begin as noise are drawn from no real sample: set distill.init to real, or {otherwise}"
    return ""


def scored_by(name: str, reselect: ReselectConfig) -> ReselectScore | None:
    """What real samples of a method are ranked by while distilling; None where nothing is pruned adaptively."""
    return RESELECT_SCORES[reselect.score] if METHODS[name].adaptive and reselect.active else None


def asks_teacher(distill: DistillConfig, reselect: ReselectConfig) -> bool:
    """Whether a run of these settings asks a teacher: its method does, or what samples are ranked by."""
    score = scored_by(distill.method, reselect)
    return METHODS[distill.method].needs_teacher or (score is not None and score.needs_teacher)


def asks_ranking(distill: DistillConfig, reselect: ReselectConfig) -> bool:
    """Whether a run of these settings asks how hard real samples are, likewise."""
    score = scored_by(distill.method, reselect)
    return distill.ranks or (score is not None and score.needs_ranking)


def not_whole(distill: DistillConfig, reselect: ReselectConfig) -> str:
    """Why samples cannot be ranked by what the whole set teaches, in one line that says what to do; empty if they can, or are not."""
    score = scored_by(distill.method, reselect)
    if score is None or not score.whole:
        return ""
    if distill.shards > 1:
        return f"reselect.score {score.name} needs the images of all classes together: set distill.shards to 1, or use another score"
    if reselect.interval:
        return f"reselect.score {score.name} decides at the boundaries of rounds only: set reselect.interval to 0, or use another score"
    return ""


def untaught(name: str, teacher: NetworkConfig) -> str:
    """Why a method cannot ask a teacher with this network, in one line that says what to do; empty if it can."""
    if not METHODS[name].inverts_teacher or teacher.batch_norm:
        return ""
    instead = "set evaluate.teacher.network.norm to batch" if "batch" in teacher.entry.norms else "use another evaluate.teacher.network"
    network = f"{teacher.name} with norm {teacher.norm}"
    return f"method {name} needs what batch norm keeps of a teacher's training, and {network} has none: {instead}"


def misfit(name: str, reselect: ReselectConfig) -> str:
    """What a method cannot do of these settings, in one line that says what to do; empty if it can, or prunes nothing adaptively."""
    method = METHODS[name]
    if not method.adaptive or not reselect.active:
        return ""
    score, mode = RESELECT_SCORES[reselect.score], RESELECT_MODES[reselect.mode]
    if mode.weighs and not method.weighs:
        others = either(names_of(lambda other: other.weighs))
        return f"reselect.mode {mode.name}: method {name} gives every real sample the same weight: use another mode, or method {others}"
    if score.signed and not method.signed:
        others = either(names_of(lambda other: other.signed))
        return f"reselect.score {score.name}: method {name} has no signed effects: use another score, or method {others}"
    if method.estimators and score.substitute is None and reselect.estimator not in method.estimators:
        return f"reselect.estimator {reselect.estimator}: method {name} measures effects by {either(method.estimators)}"
    return ""

"""Which settings of adaptive pruning, and which teachers, a method can do with: its entry knows."""

from __future__ import annotations

from bilp.config.distill import DistillConfig
from bilp.config.methods import METHODS, either, names_of
from bilp.config.network import NetworkConfig
from bilp.config.reselect import RESELECT_MODES, RESELECT_SCORES, ReselectConfig


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

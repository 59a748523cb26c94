"""Which settings of adaptive pruning a method can follow: its entry knows."""

from __future__ import annotations

from bilp.config.methods import METHODS, either, names_of
from bilp.config.reselect import RESELECT_MODES, RESELECT_SCORES, ReselectConfig


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

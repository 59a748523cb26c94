"""The two components that keep auto fits to the scores of a class, as lines over its histogram."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bilp.artifacts.facts import MixtureFacts, SelectionFacts
from bilp.config.criteria import CRITERIA, Mixed
from bilp.pruning.auto import APART, BELIEVED, believed_share
from bilp.registry import resolve
from bilp.report.wording import share
from bilp.text.sample_words import spoken


@dataclass(frozen=True)
class Components:
    """What a selection with keep auto found, and how its criterion's scores became normal."""

    facts: MixtureFacts
    mixed: Mixed
    sign: float
    """1 if hard samples have high scores, -1 if they have low ones."""

    def expected(self, label: int, count: int, edges: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """Of a class with `count` samples: color class and expected number in each interval between `edges` `[B + 1]`, by component.

        The outermost intervals also hold what lies beyond, as bars do.
        """
        at = self.sign * resolve(self.mixed.normal)(edges)
        at[[0, -1]] = (-self.sign * np.inf, self.sign * np.inf)
        found = []
        for end, css in (("low", "c-kept"), ("high", "c-dropped")):
            weight, mean, std = (float(getattr(self.facts, f"{end}_{name}")[label]) for name in ("weight", "mean", "std"))
            below = np.array([0.5 * (1 + math.erf((value - mean) / (max(std, 1e-12) * math.sqrt(2)))) for value in at])
            found.append((css, count * weight * np.abs(np.diff(below))))
        return found


def components(facts: SelectionFacts) -> Components | None:
    """Those of a selection, None unless its keep was found by a mixture."""
    mixed = CRITERIA[facts.criterion].mixed if facts.criterion in CRITERIA else None
    if facts.mixture is None or mixed is None:
        return None
    return Components(facts.mixture, mixed, 1.0 if facts.drop == "high" else -1.0)


def found_sentence(facts: SelectionFacts) -> str:
    """What keep auto found, in sentences; empty for a share that was given."""
    if facts.mixture is None:
        return ""
    mixture = facts.mixture
    apart = f"{mixture.separation:.1f} deviations apart (Ashman’s D; two populations are told apart from {APART:g} on)"
    if mixture.split:
        return spoken(f"It found two populations, {apart}, and keeps {share(facts.keep)} of the images.")
    sure = ""
    if mixture.agreement is not None:
        sure = f" Where networks are surest, they agree with {share(mixture.agreement)} of the given labels"
        if believed_share(mixture.agreement) is not None:
            return f"Its two components are {apart}.{sure}, so the easiest {share(facts.keep)} stay."
        if mixture.agreement < BELIEVED:
            sure += ": too few to believe them. Score for longer, with a wider network, if some may be wrong."
        else:
            sure += spoken(", which leaves no wrong ones to tell from hard images.")
    return spoken(
        f"It found no second population of images whose class the networks doubt: its components are {apart}.{sure} So every image stays."
    )

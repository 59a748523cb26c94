"""What a page says in numbers, for whoever lists or compares many pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bilp.artifacts.facts import StatedAccuracy, StatedDifference
from bilp.config.arm_entries import UNPRUNED, leading
from bilp.evaluate.metrics import Difference
from bilp.report.comparison import Training, against_arm, mean, of, over_random
from bilp.report.wording import arm_place, is_compared


@dataclass(frozen=True)
class ArmResult:
    """Accuracy of an arm on a network, and its paired difference to the unpruned arm, if there is one."""

    arm: str
    network: str
    accuracy: Difference
    difference: Difference | None
    gain: Difference | None = None
    """Over as many random real images under the same protocol."""


def arm_results(rows: Sequence[Training]) -> tuple[ArmResult, ...]:
    """One for each arm and network: arms from baselines to both prunings, networks in order of appearance."""
    arms = sorted(dict.fromkeys(row.arm for row in rows), key=arm_place)
    networks = dict.fromkeys(row.network for row in rows)
    found = []
    for arm in arms:
        for network in networks:
            if chosen := of(rows, arm, network):
                difference = against_arm(rows, arm, UNPRUNED, network) if is_compared(arm) else None
                found.append(ArmResult(arm, network, mean(chosen), difference, over_random(rows, arm, network)))
    return tuple(found)


def main_result(results: Sequence[ArmResult]) -> ArmResult | None:
    """The result that a page is about: of the most pruned arm, on its first network."""
    arm = leading({result.arm for result in results})
    return next((result for result in results if result.arm == arm), None)


def stated(results: Sequence[ArmResult]) -> list[dict[str, Any]]:
    """The results as facts of a page."""
    return [
        {
            "arm": result.arm,
            "network": result.network,
            **_finite(result.accuracy),
            "difference": None if result.difference is None else _finite(result.difference),
            **({} if result.gain is None else {"gain": _finite(result.gain)}),
        }
        for result in results
    ]


def of_facts(facts: Sequence[StatedAccuracy]) -> tuple[ArmResult, ...]:
    """The results that a page states."""
    return tuple(
        ArmResult(
            fact.arm,
            fact.network,
            _difference(fact),
            None if fact.difference is None else _difference(fact.difference),
            None if fact.gain is None else _difference(fact.gain),
        )
        for fact in facts
    )


def _finite(value: Difference) -> dict[str, Any]:
    return asdict(value) | {"half_width95": value.half_width95 if math.isfinite(value.half_width95) else None}


def _difference(fact: StatedAccuracy | StatedDifference) -> Difference:
    return Difference(fact.mean, math.inf if fact.half_width95 is None else fact.half_width95, fact.n)

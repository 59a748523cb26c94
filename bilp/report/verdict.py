"""The page in one sentence and a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bilp.config.arm_entries import ARMS, UNPRUNED, leading
from bilp.config.baselines import ALL_REAL, RANDOM_REAL
from bilp.report.comparison import Training, against_arm, against_baseline, clear, judgment, mean, network_name, of, percent, points
from bilp.report.wording import arm_words, count, share
from bilp.text.sample_words import spoken


@dataclass(frozen=True)
class Tile:
    """One number at the top of the page."""

    value: str
    label: str


@dataclass(frozen=True)
class Amounts:
    """How many synthetic and real images there are, and the parts of the real ones that pruning left out."""

    synthetic: int
    real: int
    static_share: float | None
    adaptive_share: float | None


def main_arm(rows: Sequence[Training]) -> str | None:
    """The arm the page is about: the most pruned one that was evaluated."""
    return leading({row.arm for row in rows})


def pruned_words(arm: str, amounts: Amounts) -> str:
    """'with 50 % of the data pruned and 9.6 % of the measured rest left out while distilling, '; empty if nothing was."""
    parts = []
    entry = ARMS[arm]
    if entry.choice.after_static and amounts.static_share:
        parts.append(f"{share(amounts.static_share)} of the data {entry.choice.left_out}")
    if entry.adaptive and amounts.adaptive_share:
        rest = "the measured rest" if parts else spoken("the measured images")
        parts.append(f"{share(amounts.adaptive_share)} of {rest} left out while distilling")
    return f"with {' and '.join(parts)}, " if parts else ""


def verdict(rows: Sequence[Training], amounts: Amounts) -> str:
    """One sentence on what the numbers show; a difference is called clear only if its paired interval excludes zero."""
    arm = main_arm(rows)
    if arm is None:
        return f"{count(amounts.synthetic, 'synthetic image')} were made; how well they teach has not been evaluated."
    network = next(row.network for row in rows if row.arm == arm)
    ours = percent(mean(of(rows, arm, network)))
    parts = [f"{count(amounts.synthetic, 'synthetic image')} trained {_a(network)} to {ours} accuracy"]
    random = of(rows, RANDOM_REAL, network)
    if random:
        gap = against_baseline(rows, arm, RANDOM_REAL, network)
        told = f" ({judgment(gap)})" if gap and not (clear(gap) and gap.mean > 0) else ""
        parts.append(f"a random subset of the same size reaches {percent(mean(random))}{told}")
    difference = against_arm(rows, arm, UNPRUNED, network) if arm != UNPRUNED else None
    if difference:
        lead = pruned_words(arm, amounts)
        parts.append(f"{lead}{arm_words(arm).title} is {points(difference)} against the unpruned run: {judgment(difference)}")
    return "; ".join(parts) + "."


def tiles(rows: Sequence[Training], amounts: Amounts) -> list[Tile]:
    """The few numbers a reader looks for first."""
    found = [Tile(f"{amounts.synthetic:,}", spoken(f"synthetic images stand for {amounts.real:,} real ones"))]
    arm = main_arm(rows)
    if arm is None:
        return found
    network = next(row.network for row in rows if row.arm == arm)
    found.append(
        Tile(_in_lines(percent(mean(of(rows, arm, network)))), f"accuracy of {_a(network)} trained on them ({arm_words(arm).title})")
    )
    for baseline, label in ((RANDOM_REAL, "with as many random real images"), (ALL_REAL, "with all real images")):
        if trainings := of(rows, baseline, network):
            found.append(Tile(_in_lines(percent(mean(trainings))), spoken(label)))
    return found


def _in_lines(accuracy: str) -> str:
    """'45.2 % ± 211.8', which may be broken before the interval, where that is too wide for a tile."""
    return accuracy.replace("\u00a0±", " ±")


def _a(network: str) -> str:
    """'a ConvNet', 'an MLP'."""
    title = network_name(network)
    return f"{'an' if title in ('AlexNet', 'MLP') else 'a'} {title}"

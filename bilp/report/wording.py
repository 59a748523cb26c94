"""What things are called on the page, for a reader who did not read the paper."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bilp.config import CRITERIA, PruneConfig, ScoreConfig, arm_entries
from bilp.config.baselines import BASELINES
from bilp.config.rules import RULES
from bilp.config.sources import SOURCES
from bilp.text.sample_words import spoken


@dataclass(frozen=True)
class ArmWords:
    """An arm's name, what its networks learned from, and its color class."""

    title: str
    meaning: str
    css: str


ARMS = {
    **{entry.name: ArmWords(entry.title, entry.meaning, entry.css) for entry in BASELINES.values()},
    **{entry.name: ArmWords(entry.title, entry.meaning, entry.css) for entry in arm_entries.ARMS.values()},
}
ARM_ORDER = tuple(ARMS)


def dataset_title(name: str) -> str:
    """What people call a data set of a known source, else its own name."""
    return SOURCES[name].title if name in SOURCES and not SOURCES[name].any_data else name


def arm_place(arm: str) -> int:
    """Position of an arm in every list of the page: baselines, then the arms from no pruning to both; unknown ones last."""
    return ARM_ORDER.index(arm) if arm in ARM_ORDER else len(ARM_ORDER)


def is_compared(arm: str) -> bool:
    """Whether an arm is compared with the unpruned one in pairs of distillations."""
    return arm in arm_entries.ARMS and arm_entries.ARMS[arm].compared


def arm_words(arm: str, adaptive: bool = True) -> ArmWords:
    """The words of an arm; an arm not known here keeps its name. Without an adaptive level, an arm means what it then equals."""
    otherwise = arm_entries.ARMS[arm].otherwise if arm in arm_entries.ARMS else None
    if otherwise is not None and not adaptive:
        return replace(ARMS[arm], meaning=spoken(ARMS[otherwise].meaning))
    if arm not in ARMS:
        return ArmWords(arm, "", "c-other")
    return replace(ARMS[arm], title=spoken(ARMS[arm].title), meaning=spoken(ARMS[arm].meaning))


def of_class(name: str) -> str:
    """'class cat'; a name that begins with the word needs it no second time: 'class_0007'."""
    return name if name.lower().startswith("class") else f"class {name}"


def count(number: int, one: str, many: str = "") -> str:
    """'1 image', '1,437 images'."""
    return f"{number:,} {spoken(one if number == 1 else many or one + 's')}"


def share(value: float) -> str:
    """A fraction in per cent: '50 %', '9.6 %'."""
    shown = f"{100 * value:.1f}"
    return f"{shown.removesuffix('.0')}\u00a0%"


def data_size(size: int) -> str:
    """Bytes in the unit that reads best."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable: the last unit always returns")


def score_meaning(prune: PruneConfig, score: ScoreConfig) -> tuple[str, str]:
    """The short name of a criterion's score and one sentence that says what it is."""
    criterion = CRITERIA[prune.criterion]
    return criterion.title, spoken(criterion.meaning).format_map(phrases(score))


def phrases(score: ScoreConfig) -> dict[str, str]:
    """What a criterion's meaning may speak of (`bilp.config.criteria.PHRASES`): how long a scoring records, and what."""
    return {
        "trials": count(score.trials, "short training"),
        "subsets": count(score.trials, "subset"),
        "first": _passes(1, score.init_epochs),
        "last": _last_passes(score.converge_epochs),
        "early": _passes(score.early_from, score.early_to),
        "epochs": str(score.epochs),
        "norm_of": {"last_layer": "the last layer", "all": "all weights", "off": "the weights"}[score.gradient_norm],
        "networks": f", averaged over {score.trials} networks" if score.trials > 1 else "",
        "share": share(score.subset_share),
    }


def _passes(first: int, last: int) -> str:
    """'the first pass', 'the first 5 passes', 'pass 20', 'passes 3 to 5'."""
    if first == 1:
        return "the first pass" if last == 1 else f"the first {last} passes"
    return f"pass {first}" if first == last else f"passes {first} to {last}"


def _last_passes(number: int) -> str:
    return "the last pass" if number == 1 else f"the last {number} passes"


def rule_meaning(prune: PruneConfig) -> str:
    """One sentence that says which images stay."""
    scope = "In each class" if prune.per_class else "Over all classes together"
    if prune.band is not None:
        first, last = map(share, prune.band)
        return f"{scope}, the {spoken('images')} ranked between {first} and {last} from the lowest score stay."
    if isinstance(prune.keep, str):
        mixed = f"a mixture of two normal distributions ({prune.keep}) takes for that of a right label"
        return f"{scope}, those {spoken('images')} stay whose score {mixed}."
    rule = RULES[prune.rule]
    if rule.meaning:
        said = {"keep": share(prune.keep), "hardest": share(prune.hardest), "strata": str(prune.strata)}
        return spoken(f"{scope}, {rule.meaning.format_map(said)}.")
    if prune.drop == "both":
        low = (1 - prune.keep) * prune.low_share
        high = 1 - prune.keep - low
        return f"{scope}, the {share(low)} with the lowest and the {share(high)} with the highest scores are dropped."
    end = "highest" if prune.drop == "high" else "lowest"
    floor = f", except that the {prune.floor_per_class} best-ranked of each class stay" if prune.floor_per_class else ""
    return f"{scope}, the {share(1 - prune.keep)} with the {end} scores are dropped{floor}."

"""What is measured for critical shares: which shares of which criteria, and the distillations of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from bilp.config import PipelineConfig
from bilp.config.base import Frozen, Positive, Several, as_recorded
from bilp.config.criteria import DEFAULT_CRITERION, CriterionName
from bilp.config.given import checked
from bilp.config.methods import METHODS
from bilp.config.nested import as_plain, merge
from bilp.errors import ConfigError
from bilp.pruning.static import decimal, round_half_up
from bilp.text.sample_words import spoken

HALVED = 2.0


def _listed(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


class CriticalOptions(Frozen):
    """What is asked about the smallest share that is as good as the whole."""

    criteria: Annotated[tuple[CriterionName, ...], BeforeValidator(_listed), Field(min_length=1)] = (DEFAULT_CRITERION, "random")
    """Criteria of static pruning, separated by commas; random is the control."""
    tolerance: Annotated[float, Field(gt=0.0, lt=100.0)] = 0.5
    """Points of accuracy by which a share may be worse and still count as good."""
    level: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05
    """Probability of taking a share for as good although it is worse by the tolerance."""
    distillations: Several = 5
    """Pairs: independently seeded distillations of each share, and of all samples."""
    fewest: Positive = 2
    """Samples of the smallest class at which the shares end."""


@dataclass(frozen=True)
class Plan:
    """Everything that is measured."""

    options: CriticalOptions
    config: PipelineConfig
    """Of all samples."""
    by_criterion: Mapping[str, PipelineConfig]
    """With what each criterion implies."""
    shares: tuple[float, ...]
    """Below 1, the largest first."""

    def identity(self) -> dict[str, Any]:
        """What decides the outcome, for its key."""
        return {
            "options": self.options.model_dump(mode="json"),
            "shares": list(self.shares),
            "distill": as_recorded(self.config.distill),
            "evaluate": as_recorded(self.config.evaluate, {"baselines": True}),
            "prune": {
                name: as_recorded(each.prune, {"keep": True, "score_list": True, "scores": True})
                for name, each in self.by_criterion.items()
            },
            "score": {name: as_recorded(each.score) for name, each in self.by_criterion.items()},
        }

    @property
    def distillations(self) -> int:
        """How many runs are distilled at most."""
        return self.options.distillations * (1 + len(self.shares) * len(self.by_criterion))

    @property
    def stated(self) -> str:
        """The cost in a sentence, before anything is done."""
        trainings = self.distillations * self.config.evaluate.seeds * len(self.config.evaluate.networks)
        kinds = f"shares {', '.join(f'{100 * share:.3g} %' for share in self.shares)} by {words(self.options.criteria)}, and all samples"
        iterations = self.distillations * self.config.distill.iterations
        return f"{kinds}: at most {self.distillations} distillations ({iterations:,} iterations) and {trainings:,} trainings"


def shares(counts: NDArray[np.int64], fewest: int) -> tuple[float, ...]:
    """1/2, 1/4, ... as long as the smallest of classes with so many samples `[C]` keeps at least `fewest`, as static pruning rounds."""
    found: list[float] = []
    share = 1 / HALVED
    while int((counts - round_half_up(1 - decimal(share), counts)).min()) >= fewest:
        found.append(share)
        share /= HALVED
    return tuple(found)


def configured(given: Mapping[str, Any], options: CriticalOptions) -> tuple[PipelineConfig, dict[str, PipelineConfig]]:
    """The settings of all samples and of each criterion. Raises ConfigError for what cannot be measured in this way."""
    plain = as_plain(given)
    config = checked(merge(plain, {"arms": ["unpruned"]}))
    if METHODS[config.method].needs_experts:
        raise ConfigError(f"method {config.method} imitates experts, which would be trained for every share: use another method")
    if config.distill.ranks:
        raise ConfigError(f"method {config.method} asks how hard samples are, of all of them, whatever the share: use another method")
    if METHODS[config.method].needs_teacher:
        raise ConfigError(f"method {config.method} asks a teacher, which would be trained for every share: use another method")
    if len(set(options.criteria)) < len(options.criteria):
        raise ConfigError("criteria names one twice: name each once")
    wanted = {name: merge(plain, {"arms": ["static"], "prune": {"criterion": name}}) for name in options.criteria}
    return config, {name: checked(each) for name, each in wanted.items()}


def planned(given: Mapping[str, Any], options: CriticalOptions, counts: NDArray[np.int64]) -> Plan:
    """The plan for a data set with so many training images of each class `[C]`. Raises ConfigError if there is no share to try."""
    config, by_criterion = configured(given, options)
    least = max([options.fewest, *(each.prune.minimum_per_class for each in by_criterion.values())])
    found = shares(counts, least)
    if not found:
        raise ConfigError(
            f"half of the smallest class, which has {int(counts.min())} {spoken('images')}, is fewer than {least}: there is no share to try"
        )
    evaluate = config.evaluate.model_copy(update={"baselines": (), "robustness": False})
    config = config.model_copy(update={"evaluate": evaluate})
    return Plan(options, config, by_criterion, found)


def kept(counts: NDArray[np.int64], share: float) -> int:
    """Samples that a share keeps of classes with so many `[C]`."""
    return int((counts - round_half_up(1 - decimal(share), counts)).sum())


def words(criteria: Sequence[str]) -> str:
    """'loss_init and random'."""
    *first, last = criteria
    return f"{', '.join(first)} and {last}" if first else last

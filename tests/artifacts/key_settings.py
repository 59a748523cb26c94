"""What a stage is handed, and how a way to call it is described."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from key_world import NARROW, RECIPE, RESELECT, World
from pydantic import BaseModel

from bilp.config import (
    BaselineName,
    DistillConfig,
    EvaluateConfig,
    ExpertsConfig,
    NetworkConfig,
    PipelineConfig,
    ReselectConfig,
    ScoreConfig,
    TeacherConfig,
)
from bilp.config.base import Frozen


class Trial(Frozen):
    config: ScoreConfig
    trial: int = 0


class Expert(Frozen):
    config: ExpertsConfig
    network: NetworkConfig = NARROW
    expert: int = 0


class Buffer(Frozen):
    config: ExpertsConfig
    network: NetworkConfig = NARROW


class Network(Frozen):
    distill: DistillConfig
    reselect: ReselectConfig = ReselectConfig(beta=0.0)
    number: int = 0


class Run(Frozen):
    distill: DistillConfig
    reselect: ReselectConfig = RESELECT


class Round(Frozen):
    distill: DistillConfig
    reselect: ReselectConfig = RESELECT
    round: int = 1


class Shard(Round):
    shard: int = 0


class Whitening(Frozen):
    epsilon: float = 0.1


class Teacher(Frozen):
    config: TeacherConfig
    seed: int = 0


class Set(Frozen):
    config: EvaluateConfig
    arm: str = "unpruned"
    experiment: int = 0


class Real(Frozen):
    config: EvaluateConfig
    baseline: BaselineName
    ipc: int = 2


class Draw(Frozen):
    seed: int = 0
    kept: tuple[int, ...] = (5,) * 10


class Nothing(Frozen):
    pass


class Page(Frozen):
    config: PipelineConfig


class Cell(Frozen):
    config: PipelineConfig
    recipe: str = RECIPE
    device: str = "cpu"


Settings = Any
Call = Callable[[str, Settings, Mapping[str, Any]], object]
"""Carries a stage out: root, settings, and inputs by name."""


@dataclass(frozen=True)
class Case:
    """A way to call a stage. `left_out` has a reason for each setting that is not in the key; of those, the stage reads
    `read_anyway`, and of the others nothing at all. `others` are other values of the inputs, `same` other forms of equal ones."""

    settings: BaseModel
    inputs: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)
    same: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    read_anyway: frozenset[str] = frozenset()
    single: frozenset[str] = frozenset()
    """Settings that the method of this case takes one value of."""
    about: str = "*"
    """Pattern of the settings that are changed here, where the other cases change the rest and a call takes long."""
    given: Mapping[str, Any] = field(default_factory=dict)
    before: Call | None = None
    """What has to be there before the stage can compute."""
    computed: bool = True
    """Whether it is worth computing this case while it is watched."""


@dataclass(frozen=True)
class Stage:
    """`keys` are the names under which content keys are made for it, `versions` the modules whose VERSION is in them."""

    title: str
    keys: tuple[str, ...]
    place: str
    pattern: str
    call: Call
    cases: Callable[[World], Mapping[str, Case]]
    versions: tuple[str, ...]

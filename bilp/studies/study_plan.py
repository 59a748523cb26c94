"""From a study to pipelines: its cells, the configuration of every arm in every cell and for every seed, and what arms share.

**The order.** Seeds are outermost: every cell gets its first seed, then every cell its second. Within that, a block is a cell with one
seed and all arms. So a study that is stopped at any time, by a budget, a kill or impatience, leaves a table in which all arms of a
cell have met the same seeds and cells differ by one seed at most: what it shows is balanced, merely wider in its intervals. With cells
outermost it would have shown some cells with all seeds and said nothing of the others.

**What is shared.** Arms of a block whose settings differ in which arm alone are one pipeline (a `Group`): data, scores and selection
are made once. Those of different groups share whatever has the same key.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bilp.config import PipelineConfig
from bilp.config.arm_entries import ARMS
from bilp.config.base import as_recorded
from bilp.config.explain import similar
from bilp.config.given import MOST_COMBINATIONS, checked, require_few
from bilp.config.methods import either
from bilp.config.nested import get, merge, nest
from bilp.errors import BilpError, ConfigError
from bilp.studies.definition import Study
from bilp.text.escaping import shown

SEEDED: Mapping[str, tuple[str, ...]] = {
    "data": ("ingest.label_noise.seed", "ingest.long_tail.seed", "ingest.duplicates_added.seed"),
    "scores": ("score.seed", "prune.seed"),
    "distillation": ("distill.seed", "experts.seed"),
    "evaluation": ("evaluate.seed",),
}
"""Settings that a seed of the study sets, by what is drawn anew. Of the data only what a study switches on is drawn."""


ARM = "arm"
"""In a rule of what is left out: arms that are left out of the cells that it names."""


@dataclass(frozen=True)
class Point:
    """A value of an axis: what it is called, and its settings."""

    title: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Axis:
    """One dimension of the grid."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Cell:
    """A combination of values, one of each axis."""

    number: int
    points: tuple[tuple[str, Point], ...]

    @property
    def title(self) -> str:
        """'noise 20 %, ipc 10'; of a study without axes: 'as given'."""
        return ", ".join(_titled(axis, point.title) for axis, point in self.points) or "as given"

    @property
    def settings(self) -> dict[str, Any]:
        """Those of all its values."""
        found: dict[str, Any] = {}
        for _, point in self.points:
            found = merge(found, point.settings)
        return found


@dataclass(frozen=True)
class Group:
    """Arms of a block that one pipeline computes: the study's names for the pipeline's arms and for its baselines."""

    config: PipelineConfig
    arms: Mapping[str, str]
    """Empty where networks are trained on real images alone, and nothing is distilled."""
    baselines: Mapping[str, str]


@dataclass(frozen=True)
class Block:
    """A cell with one seed, all arms of it."""

    number: int
    """Its place in the order of the study, from 0."""
    cell: Cell
    seed: int
    groups: tuple[Group, ...]

    @property
    def title(self) -> str:
        """'noise 20 %, seed 1'."""
        return f"{self.cell.title}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """All of a study, checked."""

    study: Study
    cells: tuple[Cell, ...]
    blocks: tuple[Block, ...]
    first: Mapping[str, PipelineConfig]
    """Each arm's configuration in the first cell, for what the page calls it."""

    @property
    def noun(self) -> str:
        """What samples are called: image, or clip where all arms have clips."""
        nouns = {config.ingest.noun for config in self.first.values()}
        return nouns.pop() if len(nouns) == 1 else "image"

    @property
    def references(self) -> tuple[str, ...]:
        """Arms that others are compared with."""
        from bilp.studies.definition import UNPRUNED

        return self.study.reference or ((UNPRUNED,) if UNPRUNED in self.study.arms else ())

    @property
    def crossed(self) -> bool:
        """Whether the networks that are trained on the sets of all seeds begin alike and meet batches in the same orders."""
        return "evaluation" not in self.study.new_per_seed

    @property
    def main(self) -> str:
        """The arm that the summary speaks of."""
        return self.study.main or list(self.study.arms)[-1]

    def title(self, arm: str) -> str:
        """What tables call an arm."""
        return self.study.arms[arm].title or arm

    @property
    def runs(self) -> int:
        """How often an arm or a baseline is carried out, those left out of cells not counted."""
        return sum(len(group.arms) + len(group.baselines) for block in self.blocks for group in block.groups)


def planned(study: Study, place: str, changes: Mapping[str, Any] = {}) -> Plan:
    """Everything that a study consists of. Raises ConfigError, in one line that names the place, before anything is computed.

    Args:
        study: What its file says.
        place: How an error calls the file.
        changes: Settings that go before those of the study, of the cells and of the arms.
    """
    axes = [axis for name, values in study.grid.items() for axis in _axis(name, values, place)]
    cells = _cells(study, axes, place)
    if len(cells) * study.seeds * len(study.arms) > MOST_COMBINATIONS:
        asked = f"{len(cells)} cells, {study.seeds} seeds and {len(study.arms)} arms"
        raise ConfigError(f"{place}: {asked} are more than {MOST_COMBINATIONS:,} combinations: ask for fewer at once")
    seeds = range(study.first_seed, study.first_seed + study.seeds)
    made = itertools.product(seeds, cells)  # seeds outermost, see above
    blocks = [Block(number, cell, seed, _groups(study, cell, seed, place, changes)) for number, (seed, cell) in enumerate(made)]
    where = {arm: [cell for cell in cells if arm in arms_in(study, cell)] for arm in study.arms}
    nowhere = [arm for arm, found in where.items() if not found]
    if nowhere:
        raise ConfigError(f"{place}: exclude leaves no cell to arm {shown(nowhere[0])}: take the arm out, or some of exclude")
    first = {arm: _config(study, found[0], arm, study.first_seed, place, changes)[1] for arm, found in where.items()}
    return Plan(study, tuple(cells), tuple(blocks), first)


def _axis(name: str, values: Any, place: str) -> Iterator[Axis]:
    """The axes that one entry of the grid says: a group of settings may hold several."""
    where = f"{place}: grid.{shown(name)}"
    if name.partition(".")[0] not in PipelineConfig.model_fields:
        if not isinstance(values, Mapping) or not values:
            meant = [] if isinstance(values, Mapping) else similar(name)
            hint = f"did you mean {either(meant)}?" if meant else "write a name and settings for each value"
            raise ConfigError(f"{where} is the name of no setting: {hint}")
        yield Axis(name, tuple(_point(where, title, settings) for title, settings in values.items()))
    elif isinstance(values, Mapping):
        for inner, below in values.items():
            yield from _axis(f"{name}.{inner}", below, place)
    elif isinstance(values, list) and values:
        yield Axis(name, tuple(Point(_text(value), nest(name, value)) for value in values))
    else:
        raise ConfigError(f"{where} gives no list of values: write {name.rpartition('.')[2]}: [1, 10]")


def _point(where: str, title: str, settings: Any) -> Point:
    if settings is not None and not isinstance(settings, Mapping):
        raise ConfigError(f"{where}.{shown(title)}: give settings, as in {{ipc: 10}}, or {{}} for none")
    return Point(str(title), dict(settings or {}))


def _cells(study: Study, axes: Sequence[Axis], place: str) -> list[Cell]:
    names = [axis.name for axis in axes]
    for rule in study.exclude:
        if ARM in rule:
            unknown = [arm for arm in _listed(rule[ARM]) if arm not in study.arms]
            if unknown:
                raise ConfigError(f"{place}: exclude: no arm is called {shown(unknown[0])!r}; arms: {', '.join(map(shown, study.arms))}")
        for name, values in rule.items():
            if name == ARM:
                continue
            axis = next((axis for axis in axes if axis.name == name), None)
            if axis is None:
                raise ConfigError(f"{place}: exclude: {shown(name)} is no axis of the grid; axes: {', '.join(map(shown, names)) or 'none'}")
            unknown = [value for value in _listed(values) if value not in [point.title for point in axis.points]]
            if unknown:
                raise ConfigError(f"{place}: exclude: {shown(name)} has no value {shown(unknown[0])}")
    require_few({axis.name: axis.points for axis in axes})
    combined = [tuple(zip(names, points, strict=True)) for points in itertools.product(*(axis.points for axis in axes))]
    kept = [points for points in combined if not any(ARM not in rule and _agrees(points, rule) for rule in study.exclude)]
    if not kept:
        raise ConfigError(f"{place}: exclude leaves no cell: take some of it out")
    cells = [Cell(number, points) for number, points in enumerate(kept)]
    titles = [cell.title for cell in cells]
    twice = next((title for title in titles if titles.count(title) > 1), None) if len(set(titles)) < len(titles) else None
    if twice is not None:
        raise ConfigError(f"{place}: grid has two cells that are called {shown(twice)!r}: list each value once, under names of its own")
    return cells


def arms_in(study: Study, cell: Cell) -> list[str]:
    """The arms that are compared in a cell."""
    out = {arm for rule in study.exclude if ARM in rule and _agrees(cell.points, rule) for arm in _listed(rule[ARM])}
    return [arm for arm in study.arms if arm not in out]


def real_images(study: Study, arm: str) -> str | None:
    """The baseline that an arm is: the one that it names, or that of an arm that distills nothing; None for one that distills."""
    entry = study.arms[arm]
    asked = entry.settings.get("arms", study.settings.get("arms", [arm]))
    alone = asked[0] if isinstance(asked, list) and len(asked) == 1 else None
    return entry.baseline or (alone if isinstance(alone, str) and alone in ARMS and not ARMS[alone].distills else None)


def _agrees(points: tuple[tuple[str, Point], ...], rule: Mapping[str, Any]) -> bool:
    """Whether a cell is one that a rule names."""
    return bool(rule) and all(point.title in _listed(rule[name]) for name, point in points if name in rule)


def _listed(values: Any) -> list[str]:
    return [_text(value) for value in (values if isinstance(values, list) else [values])]


def _groups(study: Study, cell: Cell, seed: int, place: str, changes: Mapping[str, Any]) -> tuple[Group, ...]:
    """The arms of a block, those together whose settings differ in which arm alone."""
    found: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, str]]] = {}
    for arm in arms_in(study, cell):
        given, config = _config(study, cell, arm, seed, place, changes)
        baseline = real_images(study, arm)
        recorded = as_recorded(config)
        del recorded["arms"], recorded["evaluate"]["baselines"]
        _, arms, baselines = found.setdefault(json.dumps(recorded, sort_keys=True), (given, {}, {}))
        known, inner = (baselines, baseline) if baseline else (arms, config.arms[0])
        if inner in known:
            raise ConfigError(f"{place}: arms.{shown(arm)} has the same settings as arms.{shown(known[inner])}: remove one of them")
        known[inner] = arm
    groups = []
    for given, arms, baselines in found.values():
        whole = merge(given, {"evaluate": {"baselines": list(baselines)}, **({"arms": list(arms)} if arms else {})})
        groups.append(Group(checked(whole), arms, baselines))
    return tuple(groups)


def _config(study: Study, cell: Cell, arm: str, seed: int, place: str, changes: Mapping[str, Any]) -> tuple[dict[str, Any], PipelineConfig]:
    """What one arm of a cell is given, and the configuration that it leads to; one arm or baseline in each."""
    entry = study.arms[arm]
    given = merge(merge(merge(study.settings, cell.settings), entry.settings), changes)
    baseline = real_images(study, arm)
    if baseline is None:
        given = merge({"arms": [arm]}, given) if "arms" not in entry.settings else given
    else:
        given = {name: value for name, value in given.items() if name != "arms"}
    for part in study.new_per_seed:
        for path in SEEDED[part]:
            if part != "data" or get(given, path.rpartition(".")[0]) is not None:
                given = merge(given, nest(path, seed))
    where = f"{place}: arm {shown(arm)} in cell {shown(cell.title)}"
    try:
        config = checked(given)
    except BilpError as error:
        raise ConfigError(f"{where}: {error}") from None
    if baseline is None and len(config.arms) != 1:
        raise ConfigError(f"{where}: arms = {list(config.arms)}: an arm of a study is one of them, as in arms: [bilp]")
    return given, config


def _titled(axis: str, value: str) -> str:
    """A value with the name of its axis, unless it says more by itself."""
    return f"{axis.rpartition('.')[2]} {value}" if axis.partition(".")[0] in PipelineConfig.model_fields else value


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return str(value)

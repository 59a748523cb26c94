"""What a run says of itself: its name, its tags, what will happen, and what came out. Names from outside are only text in Markdown."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import GRID, SYNTHETIC
from bilp.config import PipelineConfig
from bilp.config.arms import (
    distilled_arms,
    evaluation_of,
    needs_experts,
    needs_scores,
    needs_selection,
    planned_runs,
    runs_ask_ranking,
    samples_of_teachers,
)
from bilp.config.defaults import GIVEN
from bilp.config.explain import DEFAULT, Setting
from bilp.config.nested import leaves
from bilp.config.words import told_share
from bilp.registry import AS_TYPED
from bilp.search.candidates import asks
from bilp.search.candidates import plan as plan_of_search
from bilp.text.escaping import markdown, shortened
from bilp.text.sample_words import spoken

if TYPE_CHECKING:
    from bilp.report.accuracy import AccuracyRow
    from bilp.report.headline import Headline

NAMED = ("dataset", "method", "ipc", "recipe")
"""Dials that every name of a run begins with."""
LARGEST_PICTURE = 150_000  # bytes of a data: URI that the UI still shows without delay
LONGEST_SIDE = 900  # pixels of a picture: smaller ones are enlarged, larger ones reduced
LONGEST_VALUE = 60  # characters
MOST_NAMED = 3  # settings in a name
MOST_ROWS = 80  # settings in a table


def run_name(config: PipelineConfig) -> str:
    """'digits dm ipc 1 keep=0.5': the first dials, and what was given beside them and differs from what follows from these."""
    plain = _values(_usual(config)) | {"ingest.uri": None}
    other = [f"{path}={_value(value)}" for path, value in _given(config) if path not in NAMED and value != plain.get(path)]
    more = [f"and {len(other) - MOST_NAMED} more"] if len(other) > MOST_NAMED else []
    recipe = [config.recipe] if config.recipe else []
    return " ".join([config.dataset, config.method, f"ipc {config.ipc}", *recipe, *other[:MOST_NAMED], *more])


def _usual(config: PipelineConfig) -> PipelineConfig:
    """What follows from the dials in a name alone, on the images that this configuration reads: some sources need to know their place."""
    named = {name: value for name in (*NAMED, "recipe_dataset") if (value := getattr(config, name)) is not None}
    place = {"uri": config.ingest.uri} if config.ingest.uri else {}
    return PipelineConfig.model_validate({**named, "ingest": place})


def varied_name(config: PipelineConfig, varied: Mapping[str, Any]) -> str:
    """'digits dm ipc 1 keep=0.5': the name of a pipeline of a sweep, by what is varied."""
    other = [f"{path}={_value(value)}" for path, value in varied.items() if path not in NAMED]
    return " ".join([config.dataset, config.method, f"ipc {config.ipc}", *other])


def tags(config: PipelineConfig) -> list[str]:
    """By which a list of runs can be filtered."""
    return [f"dataset:{config.dataset}", f"method:{config.method}", f"ipc:{config.ipc}"]


def stages(config: PipelineConfig) -> list[str]:
    """The stages up to the evaluation in words, in their order."""
    found = [f"read {config.dataset}"]
    if asks(config):
        found.append(f"search among {len(plan_of_search(config).candidates)} candidates on {spoken('training images')} that are held out")
    if needs_selection(config):
        trials = f"score in {config.score.trials} trials" if config.score.extend is None else "score what is new"
        scored = f"{trials} and " if needs_scores(config.prune) else ""
        found.append(f"{scored}keep {told_share(config.prune.keep)} by {config.prune.criterion}")
    elif runs_ask_ranking(config):
        found.append(f"score in {config.score.trials} trials" if needs_scores(config.prune) else f"rank by {config.prune.criterion}")
    found += [f"train {config.experts.count} experts for each set of samples"] if needs_experts(config) else []
    runs, teachers = planned_runs(config), samples_of_teachers(config)
    before = teachers if any(run.asks_teacher for run in runs) else []
    if before:
        told = "a teacher" if len(before) == 1 else f"{len(before)} teachers"
        found.append(f"train {told} on {' and '.join(chosen.label for chosen in before)}")
    teacher = "train a teacher, " if teachers and not before else ""
    found.append(f"distill {len(runs)} sets in {config.distill.rounds} rounds each ({', '.join(distilled_arms(config))})")
    sets = len(runs) + len(evaluation_of(config).baselines)
    found.append(f"{teacher}train {config.evaluate.seeds * len(config.evaluate.networks)} networks on each of {sets} sets and test them")
    return found


def plan(config: PipelineConfig, steps: Sequence[str]) -> str:
    """What will happen, and the values that are no plain defaults with where each came from."""
    origins = config.origins or {}
    rows = [Setting(path, value, _origin(path, origins)) for path, value in _values(config).items()]
    # A stage's value that merely repeats a dial is no news.
    rows = [row for row in rows if row.origin != DEFAULT and not row.origin.startswith("dial ")]
    rows.sort(key=lambda row: row.origin != GIVEN)
    lines = [f"{number}. {markdown(step)}" for number, step in enumerate(steps, 1)]
    table = ["| setting | value | where it came from |", "|---|---|---|"]
    table += [
        f"| {markdown(row.path)} | {markdown(shortened(_value(row.value), LONGEST_VALUE))} | {markdown(row.origin)} |" for row in rows
    ]
    more = [f"and {len(rows) - MOST_ROWS} more"] if len(rows) > MOST_ROWS else []
    rest = "Every other setting has its default. What is there already is not computed again."
    return "\n\n".join(["\n".join(lines), "\n".join(table[: MOST_ROWS + 2]), *more, rest])


def result(told: Headline, report_uri: str, link: str | None) -> str:
    """The result of a pipeline: sentence, accuracies, picture, the way to the page, and how to go on."""
    parts = [f"## {markdown(told.title)}", markdown(told.sentence)]
    if told.rows:
        parts.append(accuracy_table(told.rows))
    parts.append(f"**[Open the report]({link})**" if link else f"The report: {markdown(report_uri)}")
    if told.pictured:
        arm = markdown(told.main or "the set")
        parts += [f"{spoken('Synthetic images')}, one row per class ({arm}):", f"![synthetic images]({picture(told.pictured)})"]
    return "\n\n".join([*parts, "### How to go on", "\n".join(_ways_on(told, report_uri))])


def _ways_on(told: Headline, report_uri: str) -> Iterator[str]:
    if told.pictured:
        yield f"- The {spoken('images')} as files: `bilp export --to folder --out exported --synthetic` {markdown(told.pictured)}"
    yield "- Start another run with one value changed: what both share is not computed again."
    yield "- Cancelled or failed: Retry goes on from the last finished round."
    yield f"- The page is one file that opens offline and can be sent to others: {markdown(report_uri)}"


def accuracy_table(rows: Sequence[AccuracyRow]) -> str:
    """As on the page: what was trained on, its images, the accuracy, the difference to the unpruned arm and that to random images."""
    several = len({row.network for row in rows}) > 1
    heads = ["trained on", *(["network"] if several else []), spoken("images"), "accuracy (95 %)", "against unpruned", "over random"]
    lines = [heads, ["---", *(["---"] if several else []), "--:", "--:", "---", "--:"]]
    for row in rows:
        difference = f"{row.difference}: {row.judgment}" if row.difference else ""
        network = [row.network] if several else []
        lines.append([markdown(cell) for cell in (row.words.title, *network, row.images, row.shown, difference, row.gained)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def picture(synthetic_uri: str) -> str:
    """The synthetic images as a data: URI of at most LARGEST_PICTURE bytes, each pixel several ones where they are small."""
    from PIL import Image

    grid = Image.open(io.BytesIO(open_artifact(synthetic_uri, SYNTHETIC).read(GRID)))
    side = max(grid.size)
    scale = float(LONGEST_SIDE // side or LONGEST_SIDE / side)
    while True:
        buffer = io.BytesIO()
        size = (max(1, round(grid.width * scale)), max(1, round(grid.height * scale)))
        grid.resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX).save(buffer, "PNG", optimize=True)
        text = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
        if len(text) <= LARGEST_PICTURE:
            return text
        scale = scale / 2 if scale > 1 else scale * 0.7


def _values(config: PipelineConfig) -> dict[str, Any]:
    return dict(leaves(config.model_dump(mode="json", context=AS_TYPED)))


def _given(config: PipelineConfig) -> Iterator[tuple[str, Any]]:
    origins = config.origins or {}
    return ((path, value) for path, value in _values(config).items() if _origin(path, origins) == GIVEN)


def _origin(path: str, origins: Mapping[str, str]) -> str:
    """The origin of the path or of the list it lies in."""
    while path not in origins and "." in path:
        path = path.rpartition(".")[0]
    return origins.get(path, DEFAULT)


def _value(value: Any) -> str:
    """A value in few letters: what distinguishes a network is its name and what was set on it."""
    if isinstance(value, list):
        return ",".join(map(_value, value))
    if isinstance(value, dict):
        return str(value.get("name", "")) or "..."
    return str(value)

"""Several pipelines that differ in a few values: `sweep({"dataset": "digits"}, {"keep": [0.3, 0.5], "ipc": [1, 10]})`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from bilp.config import PipelineConfig
from bilp.config.given import checked, require_few
from bilp.config.sources import DEFAULT_SOURCE
from bilp.errors import BilpError, ConfigError, StorageError
from bilp.text.unexpected import one_line
from flows.local.flow import flow
from flows.pipeline import pipeline
from flows.started_run import show_text, shown
from flows.workplace import workplace
from tasks import run_progress, run_texts, sweep_table, terminal
from tasks.parameters import Root
from tasks.run_display import display, log
from tasks.run_name import unless_given
from tasks.task import PERMANENT

TABLE = "Accuracy by what was varied"
DEFAULT = {"dataset": DEFAULT_SOURCE}


class SweepFailed(BilpError):
    """Some of the combinations failed; the message names each with its reason."""


def run_name(config: Mapping[str, Any], vary: Mapping[str, Sequence[Any]], root: Root = None) -> str:
    """'sweep digits over keep = 0.3, 0.5'."""
    return f"sweep {config.get('dataset', DEFAULT_SOURCE)} over {', '.join(sweep_table.listed(name, vary[name]) for name in vary)}"


@flow(name="sweep", flow_run_name=unless_given(run_name))
def sweep(config: dict[str, Any] = DEFAULT, vary: dict[str, list[Any]] = {}, root: Root = None) -> list[str]:  # noqa: B006
    """The URIs of the reports, one for each combination of the values in `vary` (dotted names of settings) over `config`.

    Pipelines run one after the other; each has its units side by side where workers carry them out. One that fails leaves the others
    alone; SweepFailed is raised at the end. The run ends with a table of all of them, and a page that compares their reports.

    Args:
        config: What the pipelines have in common, such as {"dataset": "digits", "score": {"trials": 3}}.
        vary: Values by dotted name of the setting, such as {"keep": [0.3, 0.7], "distill.iterations": [500, 1000]}.
    """
    place, chosen = workplace(root), list(zip(choices(vary), combinations(config, vary), strict=True))
    names = [sweep_table.named(values) or "as given" for values, _ in chosen]
    tag = f"sweep:{str(display().run.id)[-8:]}"
    results: list[sweep_table.Outcome] = []
    common = set.intersection(*(set(run_texts.tags(combination)) for _, combination in chosen))
    with shown(names, sweep_table.plan(config, names), [tag, *common], inner=[tag]) as mine:
        for (values, combination), name in zip(chosen, names, strict=True):
            run_progress.stage()
            results.append(_one(sweep_table.Outcome(values), combination, place, name))
            show_text(mine, lambda: sweep_table.as_markdown(results, len(chosen)), TABLE)
        compared = side_by_side([result.report for result in results if result.report])
        if compared:
            show_text(mine, lambda: sweep_table.as_markdown(results, len(chosen), compared), TABLE)
    for line in sweep_table.as_text(results):
        log(line)
        terminal.say(line)
    if compared:
        log(f"side by side: {compared}")
    failed = [f"{name}: {result.failure}" for result, name in zip(results, names, strict=True) if result.failure]
    if failed:
        raise SweepFailed(f"{len(failed)} of {len(results)} combinations failed ({'; '.join(failed)}); the results of the others are kept")
    return [result.report for result in results]


def _one(outcome: sweep_table.Outcome, config: PipelineConfig, root: str, name: str) -> sweep_table.Outcome:
    """What came of a combination. What every other one would meet as well, a server or a storage that is away, is raised."""
    try:
        named = pipeline.with_options(flow_run_name=unless_given(lambda **_: run_texts.varied_name(config, outcome.values)))
        return outcome.finished(named(config, root), config)
    except httpx.HTTPError:
        raise
    except Exception as error:
        if isinstance(error, StorageError) and not isinstance(error, PERMANENT):
            raise
        log(f"{name} failed: {one_line(error)}")
        return outcome.failed(one_line(error))


def side_by_side(reports: Sequence[str]) -> str | None:
    """Write the page that compares the reports; its URI. That it cannot be written is said, and fails nothing: the reports are there."""
    from bilp.results.side_by_side import compare_reports

    try:
        return compare_reports(reports)
    except BilpError as error:
        log(f"the reports were not put on one page: {error}")
        return None


def choices(vary: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """A value of each setting, for every combination. Raises ConfigError for a name without values, and for too many of them."""
    empty = [name for name, values in vary.items() if not values]
    if empty:
        raise ConfigError(f"vary gives no values for {', '.join(empty)}: list at least one each")
    require_few(vary)
    return [dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())]


def combinations(config: Mapping[str, Any], vary: Mapping[str, Sequence[Any]]) -> list[PipelineConfig]:
    """A configuration for every combination, all validated before the first one runs.

    Raises ConfigError, with every wrong value in words, for a name without values and for a combination that cannot be.
    """
    return [checked(_with(config, values)) for values in choices(vary)]


def _with(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    changed = {name: dict(value) if isinstance(value, Mapping) else value for name, value in config.items()}
    for path, value in values.items():
        first, _, rest = path.partition(".")
        changed[first] = _with(changed.get(first) or {}, {rest: value}) if rest else value
    return changed

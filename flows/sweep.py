"""Several pipelines that differ in a few values: `sweep({"dataset": "digits"}, {"keep": [0.3, 0.5], "ipc": [1, 10]})`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from bilp.config import PipelineConfig
from bilp.config.given import checked
from bilp.config.sources import DEFAULT_SOURCE
from bilp.errors import ConfigError
from flows.local.flow import flow
from flows.pipeline import pipeline
from tasks.parameters import Root

DEFAULT = {"dataset": DEFAULT_SOURCE}


@flow(name="sweep", flow_run_name="sweep over {vary}")
def sweep(config: dict[str, Any] = DEFAULT, vary: dict[str, list[Any]] = {}, root: Root = None) -> list[str]:  # noqa: B006
    """The URIs of the reports, one for each combination of the values in `vary` (dotted names of settings) over `config`.

    Pipelines run one after the other; each has its units side by side where workers carry them out.

    Args:
        config: What the pipelines have in common, such as {"dataset": "digits", "score": {"trials": 3}}.
        vary: Values by dotted name of the setting, such as {"keep": [0.3, 0.7], "distill.iterations": [500, 1000]}.
    """
    return [pipeline(combination, root) for combination in combinations(config, vary)]


def combinations(config: Mapping[str, Any], vary: Mapping[str, Sequence[Any]]) -> list[PipelineConfig]:
    """A configuration for every combination, all validated before the first one runs. Raises ConfigError for wrong ones."""
    empty = [name for name, values in vary.items() if not values]
    if empty:
        raise ConfigError(f"vary gives no values for {', '.join(empty)}: list at least one each")
    return [checked(_with(config, dict(zip(vary, values, strict=True)))) for values in itertools.product(*vary.values())]


def _with(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    changed = {name: dict(value) if isinstance(value, Mapping) else value for name, value in config.items()}
    for path, value in values.items():
        first, _, rest = path.partition(".")
        changed[first] = _with(changed.get(first) or {}, {rest: value}) if rest else value
    return changed

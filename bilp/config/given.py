"""What people hand to the functions of bilp: a model of settings, or a mapping that becomes one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bilp.config.explain import problems
from bilp.config.pipeline import PipelineConfig
from bilp.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

MOST_COMBINATIONS = 10_000
"""Pipelines of a sweep, whose settings are all checked before the first one runs."""


def model_of(kind: type[M], given: M | Mapping[str, Any]) -> M:
    """The model itself, or the one that a mapping of settings describes. Raises ConfigError, with a reason for each wrong value."""
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise ConfigError(f"{given!r} is no {kind.__name__}: give {kind.__name__}(...) or a mapping of its settings")
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        wrong = [(".".join(str(part) for part in item["loc"]), str(item["msg"])) for item in error.errors(include_url=False)]
        reasons = [f"{path}: {reason}" if path else reason for path, reason in wrong]
        raise ConfigError(f"{kind.__name__}: {'; '.join(reasons).replace('Value error, ', '')}") from error


def checked(
    given: Mapping[str, Any], make: Callable[[Mapping[str, Any]], PipelineConfig] = PipelineConfig.model_validate
) -> PipelineConfig:
    """The configuration that `make` makes of what was given. Raises ConfigError with everything that is wrong, as a line."""
    try:
        return make(given)
    except ValidationError as error:
        raise ConfigError("; ".join(problems(error, given))) from None


def require_few(vary: Mapping[str, Sequence[Any]]) -> None:
    """Raise ConfigError if the values of these settings have more than MOST_COMBINATIONS combinations."""
    count = math.prod(len(values) for values in vary.values())
    if count > MOST_COMBINATIONS:
        raise ConfigError(
            f"{', '.join(vary)} have {count:,} combinations, and a sweep has at most {MOST_COMBINATIONS:,}: give fewer values at once"
        )

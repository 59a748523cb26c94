"""Results in the words that tables show: escaping is the business of whoever puts them out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bilp.report.comparison import percent, points
from bilp.report.outcome import ArmResult
from bilp.report.wording import arm_words, data_size
from bilp.results.result import Result

FEWEST_DIGITS = 8
NOTHING = "–"


def key_digits(results: Sequence[Result]) -> int:
    """How many digits of each key tell these results apart."""
    keys = {result.key for result in results}
    return next((digits for digits in range(FEWEST_DIGITS, 16) if len({key[:digits] for key in keys}) == len(keys)), 16)


def subject(result: Result) -> str:
    """'digits dm ipc 2', or 'digits dm ipc 2 (20 % symmetric label noise)' where the data set was changed on purpose."""
    ipc = "" if result.ipc is None else f"ipc {result.ipc}"
    version = "" if result.scores_version == 1 else f"scores of version {result.scores_version}"
    told = ", ".join(filter(None, (result.on_purpose.replace("\u00a0", " "), version)))
    return " ".join(filter(None, (result.dataset, result.method, ipc, f"({told})" if told else ""))) or NOTHING


def when(result: Result) -> str:
    """'2026-11-28 13:10', UTC."""
    return result.created[:16].replace("T", " ") or NOTHING


def differences(settings: Mapping[str, Any]) -> str:
    """'keep 0.5, evaluate.seeds 2': settings that are not what others imply."""
    return ", ".join(f"{path} {value(setting)}" for path, setting in settings.items())


def value(setting: Any) -> str:
    """A setting's value as it may be typed, networks by their names and what is unusual about them."""
    if type(setting) in (int, float):  # as most are: JSON says the same of finite ones, and takes longer
        return repr(setting)
    if isinstance(setting, Mapping):
        name = setting.get("name")
        return name if isinstance(name, str) else json.dumps(setting, ensure_ascii=False)
    if isinstance(setting, list):
        return ",".join(map(value, setting)) or "none"
    if setting is None:
        return "none"
    return setting if isinstance(setting, str) else json.dumps(setting)


def accuracy(result: ArmResult | None) -> str:
    """'78.1 % ± 1.2'."""
    return NOTHING if result is None else percent(result.accuracy)


def difference(result: ArmResult | None) -> str:
    """'+0.4 ± 0.9 points', to the unpruned arm."""
    return NOTHING if result is None or result.difference is None else points(result.difference)


def gain(result: ArmResult | None) -> str:
    """'+19.3 ± 9.0 points', over random real images."""
    return NOTHING if result is None or result.gain is None else points(result.gain)


def size(result: Result) -> str:
    """'1.2 MB'."""
    return NOTHING if result.size is None else data_size(result.size)


def arm(result: ArmResult, several_networks: bool) -> str:
    """'BiLP', or 'BiLP on convnet' where several networks were trained."""
    title = arm_words(result.arm).title
    return f"{title} on {result.network}" if several_networks else title


def networks(results: Iterable[Result]) -> set[str]:
    """Networks that were trained."""
    return {each.network for result in results for each in result.results}


def as_json(result: Result) -> dict[str, Any]:
    """Everything about a result, as JSON holds it."""
    return {
        "key": result.key,
        "kind": result.kind,
        "uri": result.uri,
        "status": result.status,
        "problem": result.problem or None,
        "created": result.created or None,
        "dataset": result.dataset or None,
        "on_purpose": result.on_purpose or None,
        "scores_version": result.scores_version,
        "method": result.method or None,
        "ipc": result.ipc,
        "changed": dict(result.changed),
        "size": result.size,
        "report": result.report,
        "results": [
            {
                "arm": each.arm,
                "network": each.network,
                **_numbers("accuracy", each),
                **_numbers("difference", each),
                **_numbers("gain", each),
            }
            for each in result.results
        ],
    }


def _numbers(what: str, result: ArmResult) -> dict[str, Any]:
    number = getattr(result, what)
    if number is None:
        return {what: None, f"{what}_half_width95": None, f"{what}_n": None}
    half = number.half_width95 if number.half_width95 != float("inf") else None
    return {what: number.mean, f"{what}_half_width95": half, f"{what}_n": number.n}

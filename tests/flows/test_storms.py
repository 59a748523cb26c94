"""A storage that refuses every request several times, at every moment of a run: it ends as if nothing had been."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moved_storage import copy, tree
from s3fs.errors import translate_boto_error
from tiny_pipeline import TINY, Finished

from bilp.config import PipelineConfig
from bilp.errors import StorageUnreachable
from bilp.storage import objects, s3, transient
from flows import program, workplace
from flows.pipeline import pipeline

REFUSALS = 3
MADE = ("datasets", "evaluations", "reports")  # what the run under test has to make; the rest it reads

pytestmark = [pytest.mark.slow, pytest.mark.s3]


def busy() -> Exception:
    answer: Any = {"Error": {"Code": "SlowDown", "Message": "busy"}, "ResponseMetadata": {"HTTPStatusCode": 503}}
    refusal: Exception = translate_boto_error(ClientError(answer, "GetObject"))
    return refusal


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """How often each request was refused, by the store's function and the path; nobody sleeps, and a storm lasts no time."""
    counts: Counter[tuple[str, str]] = Counter()
    asked: Counter[tuple[str, str]] = Counter()

    def flaky(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def ask(path: str, *rest: Any, **options: Any) -> Any:
            asked[name, path] += 1
            if asked[name, path] % (REFUSALS + 1):
                counts[name, path] += 1
                raise busy()
            return function(path, *rest, **options)

        return ask

    for name in transient.REQUESTS:
        monkeypatch.setattr(s3, name, flaky(name, getattr(s3, name)))
    monkeypatch.setattr(transient, "outage", transient.Outage(clock=lambda: 0.0, sleep=lambda seconds: None))
    workplace._checked.cache_clear()
    return counts


@pytest.mark.slow
def test_every_request_of_a_run_may_be_refused(finished: Finished, s3_root: str, refused: Counter[tuple[str, str]]) -> None:
    config = PipelineConfig.model_validate(TINY)
    for part in set(objects.children(finished.root)) - set(MADE):
        copy(objects.join(finished.root, part), objects.join(s3_root, part))
    report = pipeline(config, s3_root)
    program.show_report(report)
    there = dict.fromkeys(name for name in tree(s3_root) if not name.endswith("_manifest.json"))
    assert there.keys() == {name for name in tree(finished.root) if not name.endswith("_manifest.json")}
    for name in there:
        if name.startswith(("datasets/", "evaluations/")):
            assert objects.read(objects.join(s3_root, name)) == Path(finished.root, name).read_bytes()
    hit = {path.removeprefix(s3_root.removeprefix("s3://")).strip("/").partition("/")[0].partition("-")[0] for _, path in refused}
    assert hit >= {"", ".probe", "datasets", "scores", "selections", "runs", "evaluations", "reports"}
    assert sum(refused.values()) > 500


def test_a_run_ends_with_one_line_and_without_further_attempts_where_the_storm_does_not_end(
    s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(10**6))
    asked: list[str] = []

    def refuse(path: str, *rest: Any, **options: Any) -> Any:
        asked.append(path)
        raise busy()

    for name in transient.REQUESTS:
        monkeypatch.setattr(s3, name, refuse)
    monkeypatch.setattr(transient, "outage", transient.Outage(clock=lambda: 10.0 * next(times), sleep=lambda seconds: None))
    workplace._checked.cache_clear()
    with pytest.raises(StorageUnreachable, match=f"cannot look for {s3_root}: .*busy"):
        pipeline(PipelineConfig.model_validate(TINY), s3_root)
    assert len(asked) < 10

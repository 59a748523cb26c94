"""What a report says at its top, told without its page: the same words."""

from __future__ import annotations

import html
from dataclasses import replace
from pathlib import Path

import pytest
from small_pipeline import Outcome, run_pipeline, small_config

from bilp.errors import MissingArtifact
from bilp.report.headline import headline
from bilp.storage.objects import join, read

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_pipeline(small_config(), str(tmp_path_factory.mktemp("storage")))


def test_title_sentence_and_accuracies_are_those_of_the_page(outcome: Outcome) -> None:
    uri = outcome.page()
    told, page = headline(uri, outcome.config), html.unescape(read(uri).decode())
    assert f"<h1>{told.title}</h1>" in page
    assert told.sentence in page and "with 30" in told.sentence and "left out while distilling" in told.sentence
    assert [row.words.title for row in told.rows] == ["All real images", "Random real images", "Unpruned", "BiLP"]
    assert all(row.shown in page and row.images in page for row in told.rows)
    assert told.rows[-1].difference in page and told.main == "BiLP"
    assert told.pictured == join(outcome.runs["bilp"][0], "synthetic")
    assert headline(uri.rpartition("/")[0]) == told, "the configuration is in the manifest"


def test_what_was_not_done_is_left_out(outcome: Outcome) -> None:
    alone = replace(outcome, runs={"unpruned": outcome.runs["unpruned"]}, evaluations=[], selection=None, scores=None)
    uri = alone.page()
    told = headline(uri)
    assert told.sentence in html.unescape(read(uri).decode())
    assert (told.rows, told.main, told.pictured) == ((), None, join(outcome.runs["unpruned"][0], "synthetic"))


def test_where_no_report_lies_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact):
        headline(str(tmp_path / "reports" / "0123456789abcdef" / "report.html"))

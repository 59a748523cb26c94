"""A whole search on digits in this process: it reads no test image, goes on after a kill, and decides the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import bilp
from bilp.api.here import Here, resolved
from bilp.api.workspace import place_at
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import SYNTHETIC, synthetic_uri
from bilp.config import PipelineConfig, PruneConfig, ReselectConfig
from bilp.data import ingest, open_dataset
from bilp.errors import ConfigError
from bilp.pruning.prune import prune
from bilp.search.candidates import plan
from bilp.search.carrier import Distillation
from bilp.search.found import FILE, open_search
from bilp.search.halving import PROXY, _selections, search
from bilp.search.held_out import hold_out

NARROW = {"width": 4, "depth": 1}
GIVEN: dict[str, Any] = {
    "keep": "search",
    "arms": ["unpruned", "static"],
    "score": {"trials": 1, "epochs": 1, "init_epochs": 1, "network": NARROW},
    "distill": {"iterations": 20, "rounds": 2, "batch_real": 8, "network": NARROW},
    "evaluate": {"networks": [NARROW], "seeds": 2, "epochs": 2, "full_epochs": 1},
    "search": {"keep": [1.0, 0.6, 0.4], "distillations": 2, "trainings": 2},
}
CONFIG = PipelineConfig.model_validate({"dataset": "digits", **GIVEN})


class Killed(Exception):
    """The process ended."""


class Mortal(Here):
    """Carries out so many distillations and evaluations, then dies; counts what it began."""

    lives = 1000
    begun = 0

    def distill(self, what: str, wanted: Sequence[Distillation]) -> list[str]:
        found = []
        for each in wanted:
            self._live()
            found += super().distill(what, [each])
        return found

    def evaluate(self, what: str, runs: Sequence[tuple[str, Distillation]], config: Any) -> list[str]:
        found = []
        for each in runs:
            self._live()
            found += super().evaluate(what, [each], config)
        return found

    def _live(self) -> None:
        if self.begun == self.lives:
            raise Killed
        self.begun += 1


def blind(uri: str) -> None:
    """Make the test images unreadable."""
    for shard in Path(uri).glob("test-*.arrow"):
        shard.write_bytes(b"\0" * shard.stat().st_size)


@pytest.mark.slow
def test_a_search_reads_no_test_image_and_goes_on_wherever_it_was_killed(tmp_path: Path) -> None:
    outcomes = []
    for lives in (1000, 5, 15):
        root = str(tmp_path / str(lives))
        dataset = ingest(CONFIG.ingest, root)
        blind(dataset)
        with pytest.raises(Exception, match="test-"):
            open_dataset(dataset).test.images()
        held_out = hold_out(dataset, 0.2, 0, root)
        with place_at(root, "cpu") as at:
            carrier = Mortal(CONFIG, at)
            carrier.lives = lives
            if lives < 1000:
                with pytest.raises(Killed):
                    search(CONFIG, dataset, held_out, root, carrier)
                carrier.lives = 1000
            found = open_search(search(CONFIG, dataset, held_out, root, carrier))
        outcomes.append((str(found.rows), found.facts.found, found.artifact.read(FILE)))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    rows = found.rows
    assert [row["rung"] for row in rows] == [1, 1, 1, *[2] * (len(rows) - 3)]
    assert sum(row["chosen"] for row in rows) == 1
    reference = [row for row in rows if row["keep"] == 1.0]
    assert [(row["rung"], row["difference"]) for row in reference] == [(1, 0.0), (2, 0.0)]


@pytest.mark.parametrize("method", ["sre2l", "mtt"])
def test_proxies_are_given_what_their_own_method_asks_for(method: str, tmp_path: Path) -> None:
    """Whatever the method is that is searched for: no teacher and no experts are trained for a proxy of another one."""
    dataset = ingest(CONFIG.ingest, str(tmp_path))
    asked = PipelineConfig.model_validate({"dataset": "digits", "method": method, "keep": "search"})
    proxy = plan(CONFIG).distill.model_copy(update={"iterations": 2, "rounds": 1})
    with place_at(str(tmp_path), "cpu") as at:
        (run,) = Here(asked, at).distill("", [Distillation(dataset, None, proxy, ReselectConfig(beta=0.0), PROXY, "", 0)])
    assert open_artifact(synthetic_uri(run), SYNTHETIC).parents.keys() == {"dataset", "run"}
    assert not list(tmp_path.glob("teachers/*")) + list(tmp_path.glob("experts/*"))


def test_a_candidate_that_leaves_fewer_samples_than_a_set_begins_with_is_not_tried(tmp_path: Path) -> None:
    given = {"keep": "search", "ipc": 30, "prune": {"criterion": "random", "minimum_per_class": 1}, "search": {"keep": [0.9, 0.5, 0.2]}}
    config = PipelineConfig.model_validate({"dataset": "digits", **given})
    held_out, told = hold_out(ingest(config.ingest, str(tmp_path)), 0.2, 0, str(tmp_path)), list[str]()

    class Listening(Here):
        def tell(self, sentence: str) -> None:
            told.append(sentence)

    with place_at(str(tmp_path), "cpu") as at:
        found = _selections(plan(config), config, (held_out, None), str(tmp_path), Listening(config, at))
    assert sorted(found) == [0, 1]
    (sentence,) = told
    assert sentence.startswith("keep 0.2 is not tried: init ") and "ipc = 30 needs 30 real samples" in sentence


@pytest.mark.slow
def test_words_become_numbers_that_name_the_search_and_nothing_is_searched_twice(tmp_path: Path) -> None:
    dataset = ingest(CONFIG.ingest, str(tmp_path))
    with place_at(str(tmp_path), "cpu") as at:
        config, uri = resolved(CONFIG, dataset, at)
        assert uri is not None
        found = open_search(uri)
        assert config.keep == config.prune.keep == found.facts.found["keep"]
        assert config.origins is not None
        assert config.origins["prune.keep"] == f"search {found.artifact.manifest.key[:8]} of {found.artifact.manifest.created_at[:10]}"
        assert config.origins["score.trials"] == "given"
        before = sorted(str(path) for path in tmp_path.rglob("*"))
        assert resolved(CONFIG, dataset, at) == (config, uri)
        assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    scores = bilp.score(bilp.ingest("digits", root=str(tmp_path)), device="cpu", score=GIVEN["score"])
    selection = bilp.prune(scores, device="cpu", **GIVEN)
    assert len(list((tmp_path / "searches").iterdir())) == 1, "as a function of Python it is the same search"
    assert selection.given["keep"] == config.keep
    assert selection.uri == prune(dataset, scores.uri, config.prune, tmp_path)


def test_a_stage_that_meets_a_word_refuses_it(tmp_path: Path) -> None:
    dataset = ingest(CONFIG.ingest, str(tmp_path))
    with pytest.raises(ConfigError, match="keep search stands for a number"):
        prune(dataset, None, PruneConfig(criterion="random", keep="search"), tmp_path)  # type: ignore[arg-type]

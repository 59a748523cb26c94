"""keep auto: what it keeps of clean and of noisy scores, by loss and by margin, in classes of all sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bilp
from bilp.config import PruneConfig
from bilp.pruning import mixture
from bilp.pruning.choice import Choice, Found
from bilp.pruning.rules.tails import choose
from bilp.pruning.static import Tail, ranked, tail


def losses(share: float, sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Losses whose logarithms are skewed as those of clean samples are, labels, and which samples are wrongly labeled."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    wrong = np.zeros(len(labels), dtype=bool)
    for label, size in enumerate(sizes):
        wrong[np.flatnonzero(labels == label)[: round(share * size)]] = True
    clean = np.exp(-3 + rng.gamma(4.0, 0.35, len(labels)))
    return np.where(wrong, np.exp(rng.normal(0.9, 0.2, len(labels))), clean), labels, wrong


def found(scores: np.ndarray, labels: np.ndarray, **settings) -> tuple[np.ndarray, Found]:
    names = [str(label) for label in range(labels.max() + 1)]
    chosen = choose(Choice(ranked(scores, labels, names), PruneConfig(keep="auto", **settings)))
    assert chosen.found is not None
    return chosen.kept, chosen.found


def test_clean_scores_are_all_kept_though_two_components_fit_them_better() -> None:
    scores, labels, _ = losses(0.0, [150] * 10)
    kept, judged = found(scores, labels)
    assert kept.all() and not judged.split
    assert abs(judged.weights[0, 0] - 0.5) < 0.45  # the mixture alone would have cut


def test_hard_clean_scores_are_one_population_though_networks_doubt_many() -> None:
    scores = np.exp(np.random.default_rng(0).gamma(2.0, 0.7, 1500) - 1.0)
    common = mixture.fit(np.log(scores), np.array([1500]))
    assert common.evidence[0] > 0 and common.means[1, 0] > np.log(np.log(2.0))  # all but the distance speaks for two
    kept, judged = found(scores, np.arange(1500) % 10)
    assert kept.all() and not judged.split and 1.0 < judged.separation < 2.0


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
@pytest.mark.parametrize("per_class", [True, False])
def test_of_noisy_scores_about_the_well_labeled_share_is_kept(share: float, per_class: bool) -> None:
    scores, labels, wrong = losses(share, [150] * 10)
    kept, judged = found(scores, labels, per_class=per_class)
    assert judged.split and abs(kept.mean() - (1 - share)) < 0.06 and (~wrong)[kept].mean() > 0.96
    by_class = [kept[labels == label].mean() for label in range(10)]
    assert min(by_class) > (1 - share) - 0.15


def test_classes_that_differ_in_noise_differ_in_what_they_keep() -> None:
    parts = [losses(share, [400], seed) for seed, share in enumerate((0.0, 0.5))]
    scores = np.concatenate([part[0] for part in parts])
    kept, _ = found(scores, np.repeat([0, 1], 400))
    assert kept[:400].mean() > 0.9 and 0.4 < kept[400:].mean() < 0.6


def test_tiny_classes_are_judged_by_the_mixture_of_all_and_keep_the_fewest_that_are_allowed() -> None:
    scores, labels, _ = losses(0.4, [3, 300, 300])
    scores[labels == 0] = 2.5  # all three are doubted
    kept, _ = found(scores, labels, minimum_per_class=2)
    assert kept[labels == 0].tolist() == [True, True, False]
    scores[labels == 0] = 0.05
    assert found(scores, labels)[0][labels == 0].all()


def test_margins_are_judged_at_their_low_end() -> None:
    rng = np.random.default_rng(0)
    wrong = rng.random(1000) < 0.4
    margins = np.where(wrong, rng.normal(-1.5, 0.4, 1000), rng.normal(2.0, 1.0, 1000))
    kept, judged = found(margins, np.arange(1000) % 5, criterion="aum")
    assert judged.split and abs(kept.mean() - (~wrong).mean()) < 0.03
    assert margins[kept].min() > margins[~kept].max() - 1.0
    certain, _ = found(margins + 5.0, np.arange(1000) % 5, criterion="aum")
    assert certain.all()  # two populations, but networks doubt no label of either


@pytest.mark.parametrize("scores", [np.full(40, 0.3), np.zeros(40)])
def test_equal_losses_are_all_kept(scores: np.ndarray) -> None:
    assert found(scores, np.arange(40) % 4)[0].all()


@pytest.mark.parametrize("drop", ["high", "low"])
def test_where_populations_are_not_apart_networks_that_are_sure_decide(drop: str) -> None:
    scores = np.exp(np.random.default_rng(0).normal(size=400)) if drop == "high" else np.random.default_rng(0).normal(size=400)
    config = PruneConfig(criterion="loss_init" if drop == "high" else "aum", keep="auto")
    samples = ranked(scores, np.arange(400) % 4, list("abcd"))
    chosen = choose(Choice(samples, config, agreement=lambda: 0.65))
    assert chosen.found is not None and not chosen.found.split and chosen.found.agreement == 0.65
    assert (chosen.kept == tail(samples, Tail(0.65, config.drop))).all()
    for agreed in (0.9, 1.0, None, 0.49, 0.0):  # the last two say more of the networks than of the labels
        assert choose(Choice(samples, config, agreement=lambda agreed=agreed: agreed)).kept.all()
    assert choose(Choice(samples, config, agreement=lambda: 0.5)).kept.sum() == 200


def test_populations_that_are_apart_ask_nobody_else() -> None:
    scores, labels, _ = losses(0.4, [150] * 2)
    asked: list[None] = []
    choose(Choice(ranked(scores, labels, list("ab")), PruneConfig(keep="auto"), agreement=lambda: asked.append(None)))
    assert asked == []


@pytest.mark.slow
@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0.9, 1.0), (0.2, 0.75, 0.85), (0.4, 0.55, 0.7)])
def test_of_digits_it_keeps_what_is_labeled_rightly(share: float, least: float, most: float, tmp_path: Path) -> None:
    images, true = pytest.importorskip("sklearn.datasets").load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    labels, wrong = true.copy(), rng.permutation(len(true))[: round(share * len(true))]
    labels[wrong] = (true[wrong] + rng.integers(1, 10, len(wrong))) % 10
    pixels = (images.reshape(-1, 8, 8) * 15.9375).round().astype(np.uint8)
    scores = bilp.score(
        bilp.ingest(images=pixels, labels=labels, test=(pixels[:100], true[:100]), root=str(tmp_path)),
        trials=2,
        batch_size=64,
        network={"width": 64},
    )
    for criterion in ("loss_init", "loss_converge", "aum"):
        kept = bilp.prune(scores, keep="auto", criterion=criterion, score={"epochs": 5}).kept
        assert least <= len(kept) / len(true) <= most, criterion
        assert (labels[kept] == true[kept]).mean() > 0.93

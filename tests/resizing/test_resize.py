"""Resizing: which images of a finished set stay, against plain loops; sets of several decoded images; keys, refusals, the function."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

import bilp
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.config import DistillConfig, EvaluateConfig, IngestConfig, NetworkConfig, ReselectConfig, TeacherConfig
from bilp.config.decode import DecodeConfig
from bilp.config.resize import ResizeConfig
from bilp.data import ingest
from bilp.distill import distill_round, finish_run, start_run
from bilp.distill.finish import load_synthetic
from bilp.errors import ConfigError, Diverged
from bilp.evaluate import evaluate_synthetic, summary, train_teacher
from bilp.exchange import export_set
from bilp.exchange.loaded import load_distilled
from bilp.images.multiformation import enlarge_parts, gray
from bilp.nets import build, initialize
from bilp.resizing.image_scores import Decoded, course, error_norms
from bilp.resizing.resize_stage import lowest, resize
from bilp.resizing.stored_parts import check_parts, put_together, taken_apart
from bilp.seeds import generator
from bilp.training.batch_augment import STREAMS, Streams
from bilp.training.train import ImageSet, train
from bilp.training.training_schedule import Schedule
from flows.resize import Options, for_the_smaller_set

NARROW = NetworkConfig(width=4, depth=2)
YOCO = ResizeConfig(ipc=2, epochs=6, best_epochs=3, network=NARROW, learning_rate=0.05, augment=("scale",), cutmix=0.5)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("resized"))


@pytest.fixture(scope="module")
def dataset(root: str) -> str:
    return ingest(IngestConfig(), root)


def distilled(dataset: str, root: str, ipc: int, **more: object) -> str:
    settings = DistillConfig(ipc=ipc, iterations=1, rounds=1, batch_real=8, network=NARROW).model_copy(update=more)
    run = start_run(dataset, None, settings, ReselectConfig(beta=0.0), root)
    distill_round(run, 1)
    return finish_run(run)


@pytest.fixture(scope="module")
def larger(dataset: str, root: str) -> str:
    return distilled(dataset, root, 5)


def test_parts_are_moved_without_a_change() -> None:
    images = torch.rand(6, 3, 4, 8)
    parts = taken_apart(images, 2)
    assert parts.shape == (24, 3, 2, 4) and torch.equal(parts[1], images[0, :, :2, 4:]) and torch.equal(parts[2], images[0, :, 2:, :4])
    assert torch.equal(put_together(parts, 2), images) and torch.equal(taken_apart(images, 1), images)
    clips = torch.rand(2, 5, 1, 6, 6)
    assert torch.equal(put_together(taken_apart(clips, 3), 3), clips)
    enlarged = enlarge_parts(images, 2, gray((0.5,) * 3, (1.0,) * 3))
    alone = put_together(parts[[5, 5, 5, 5]], 2)
    assert torch.equal(enlarge_parts(alone, 2, gray((0.5,) * 3, (1.0,) * 3))[0], enlarged[5])


def test_the_lowest_of_each_class_stay_the_first_among_equal_ones() -> None:
    scores = torch.tensor([[3.0, 1.0, 1.0, 0.5], [2.0, 2.0, 2.0, 2.0]])
    assert lowest(scores, 2).tolist() == [3, 1, 4, 5]


def test_scores_are_error_norms_of_the_most_accurate_epochs() -> None:
    """Against a training and logits of our own, image by image."""
    generator_ = torch.Generator().manual_seed(0)
    images, labels = torch.randn(12, 1, 8, 8, generator=generator_), torch.arange(3).repeat_interleave(4)
    config = YOCO.model_copy(update={"batch_size": 5})
    network = build(NARROW, (1, 8, 8), 3)
    initialize(network, generator(0, "resize", "network"))
    streams = Streams(*(generator(0, "resize", what) for what in STREAMS))
    schedule = Schedule(6, 5, 0.05, 0.9, 5e-4, augment=("scale",), cutmix=0.5, decay="none")
    norms, correct = [], []
    for _ in train(network, ImageSet.of_tensors(images, labels), schedule, streams):
        network.eval()
        with torch.no_grad():
            logits = network(images)
        norms.append((logits.softmax(1) - one_hot(labels, 3)).norm(dim=1).double())
        correct.append(int((logits.argmax(1) == labels).sum()))
    best = sorted(range(6), key=lambda epoch: (-correct[epoch], epoch))[:3]
    found, seen = course(Decoded(images, labels, (1, 8, 8), 3), config)
    assert seen.tolist() == correct and len(set(correct)) > 1
    torch.testing.assert_close(found, torch.stack(norms), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        error_norms(Decoded(images, labels, (1, 8, 8), 3), config), sum(norms[e] for e in best), atol=1e-5, rtol=1e-5
    )


@pytest.mark.slow
def test_a_set_is_resized_and_is_a_set_like_any_other(dataset: str, larger: str, root: str, tmp_path: Path) -> None:
    told: list[str] = []
    uri = resize(larger, YOCO, root, progress=lambda done, total, note="": told.append(note))
    assert told[-1].startswith("epoch 6/6 accuracy on the set ")
    images, labels = load_synthetic(larger)
    smaller, kept_labels = load_synthetic(uri)
    scores = error_norms(Decoded(images, labels, (1, 8, 8), 10), YOCO).view(10, 5)
    assert kept_labels.tolist() == [c for c in range(10) for _ in range(2)]
    for label in range(10):
        order = sorted(range(5), key=lambda k: (float(scores[label, k]), k))[:2]
        assert torch.equal(smaller[2 * label : 2 * label + 2], images[[5 * label + k for k in order]])
    facts, parent = (open_artifact(each, "synthetic") for each in (uri, larger))
    stated = facts.stated(SyntheticFacts)
    assert (stated.ipc, stated.method) == (2, "dm") and facts.parents == {"synthetic": larger}
    assert stated.resized is not None
    assert stated.resized.model_dump() == {"parent": parent.manifest.key, "ipc": 5, "rule": "yoco"}
    evaluation = evaluate_synthetic(dataset, uri, "resized", 0, EvaluateConfig(networks=(NARROW,), seeds=2, epochs=1), root)
    assert summary([evaluation])[0].arm == "resized"
    assert len(export_set(uri, "folder", str(tmp_path / "out"))) == 20
    again = resize(uri, YOCO.model_copy(update={"ipc": 1}), root)
    assert len(load_synthetic(again)[0]) == 10
    assert resize(larger, YOCO.model_dump(), root) == uri


@pytest.mark.slow
def test_soft_labels_stay_behind(dataset: str, root: str) -> None:
    """Nothing states labels that a smaller set does not hold: it is opened, and exported, as any other."""
    teacher = train_teacher(dataset, TeacherConfig(network=NARROW, epochs=1), 0, root)
    settings = DistillConfig(method="rded", ipc=2, iterations=1, rounds=1, network=NARROW, augment=())
    run = start_run(dataset, None, settings, ReselectConfig(beta=0.0), root, None, teacher)
    distill_round(run, 1)
    larger = finish_run(run)
    assert open_artifact(larger, "synthetic").stated(SyntheticFacts).soft_labels is not None
    smaller = resize(larger, ResizeConfig(ipc=1, rule="random"), root)
    assert open_artifact(smaller, "synthetic").stated(SyntheticFacts).soft_labels is None
    assert len(load_distilled(smaller)) == 10 and load_distilled(smaller).logits is None


@pytest.mark.slow
def test_random_images_are_the_control(larger: str, root: str) -> None:
    images, _ = load_synthetic(larger)
    first, second, same = (
        load_synthetic(resize(larger, ResizeConfig(ipc=2, rule="random", seed=seed, epochs=epochs), root))[0]
        for seed, epochs in ((0, 100), (1, 100), (0, 50))
    )
    assert torch.equal(first, same) and not torch.equal(first, second)
    for label in range(10):
        own = images[5 * label : 5 * label + 5]
        places = [int((own == image).flatten(1).all(1).nonzero()[0]) for image in first[2 * label : 2 * label + 2]]
        assert len(set(places)) == 2


@pytest.mark.slow
def test_of_decoded_images_parts_are_chosen_and_put_together(dataset: str, root: str) -> None:
    several = distilled(dataset, root, 2, decode=DecodeConfig(factor=2), method="idc")
    config = ResizeConfig(ipc=1, epochs=3, best_epochs=1, network=NARROW)
    stored, labels = load_synthetic(several)
    smaller, _ = load_synthetic(resize(several, config, root))
    filling = gray(*(open_artifact(several, "synthetic").manifest.facts[name] for name in ("mean", "std")))
    decoded = enlarge_parts(stored, 2, filling)
    scores = error_norms(Decoded(decoded, labels.repeat_interleave(4), (1, 8, 8), 10), config).view(10, 8)
    parts = taken_apart(stored, 2).view(10, 8, 1, 4, 4)
    for label in range(10):
        order = np.argsort(scores[label].numpy(), kind="stable")[:4]
        assert torch.equal(taken_apart(smaller[label : label + 1], 2), parts[label, torch.from_numpy(order)])


@pytest.mark.slow
def test_what_cannot_be_resized_is_refused_before_any_training(larger: str, root: str) -> None:
    with pytest.raises(ConfigError, match="has 5 images of each class, so 5 leave none out: give a smaller ipc"):
        resize(larger, YOCO.model_copy(update={"ipc": 5}), root)
    with pytest.raises(ConfigError, match=r"is decoded in several ways at once \(kind multi\)"):
        check_parts(DecodeConfig(factor=2, kind="multi"), (1, 8, 8), "a set")
    with pytest.raises(ConfigError, match=r"the sides of a set, \[8, 8\] pixels, are no multiples of 3"):
        check_parts(DecodeConfig(factor=3), (1, 8, 8), "a set")
    with pytest.raises(ValueError, match="best_epochs = 10 exceeds epochs = 5"):
        ResizeConfig(ipc=1, epochs=5)
    with pytest.raises(Diverged, match="resizing: the training diverged in epoch .* lower evaluate.learning_rate"):
        resize(larger, YOCO.model_copy(update={"learning_rate": 1e30}), root)


@pytest.mark.slow
def test_resized_in_python_and_found_again(larger: str, root: str) -> None:
    settings = {"network": {"width": 4, "depth": 2}, "epochs": 3, "best_epochs": 2}
    small = bilp.resize(larger, 2, **settings)
    assert len(small) == 20 and small.arm == "resized" and small.made.arm == "unpruned"
    found = bilp.load_distilled(small.uri)
    assert found.made.data.uri == small.made.data.uri and found.larger_uri == larger
    evaluation = bilp.evaluate(found, networks=[settings["network"]], seeds=2, epochs=1, baselines=[])
    assert [row.arm for row in summary(evaluation.uris)] == ["resized"]
    assert len(bilp.resize(found, 1, rule="random")) == 10
    with pytest.raises(ConfigError, match="resize: best_epochs: Input should be greater than or equal to 1"):
        bilp.resize(larger, 1, best_epochs=0)
    with pytest.raises(ConfigError, match="lies in no run, which would tell how it was made"):
        bilp.report(evaluation)


def test_the_command_takes_data_set_and_method_from_the_run(dataset: str, root: str) -> None:
    uri = distilled(dataset, root, 2, method="dsa", outer_loops=1, inner_epochs=1)
    options = Options(synthetic=uri, ipc=1)
    config = for_the_smaller_set({}, options)
    assert (config.dataset, config.method, config.ipc) == ("digits", "dsa", 1)
    assert config.evaluate == bilp.settings(dataset="digits", method="dsa").evaluate
    assert for_the_smaller_set({"method": "dc"}, options).method == "dc"
    typed = for_the_smaller_set({"dataset": "mnist"}, options)
    assert (typed.dataset, typed.method) == ("mnist", "dm"), "who names a data set means its evaluation"

"""Labels that were learned with the images of a set: what networks learn of them, and that sets keep, show and resize them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

import bilp
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.artifacts.publication import publish
from bilp.artifacts.run_layout import SYNTHETIC
from bilp.config import DistillConfig, EvaluateConfig, IngestConfig, NetworkConfig, PipelineConfig, ReselectConfig
from bilp.config.resize import ResizeConfig
from bilp.data import ingest
from bilp.distill import distill_round, finish_run, start_run
from bilp.distill.learned_labels import FILE, label_files, read_learned_labels
from bilp.errors import DamagedArtifact
from bilp.evaluate import evaluate_baseline, evaluate_synthetic
from bilp.evaluate.stacked_training import fresh_stack, train_together
from bilp.exchange import export_set
from bilp.nets import build, initialize
from bilp.resizing.resize_stage import resize
from bilp.seeds import generator
from bilp.training.batch_augment import Streams
from bilp.training.objective import Mixed, centered_labels, squared_loss
from bilp.training.train import ImageSet, train
from bilp.training.training_schedule import Schedule

NARROW = NetworkConfig(width=4, depth=2)


def some(count: int, values: bool) -> ImageSet:
    stream = generator(0, "data", count)
    images = torch.randn(count, 1, 8, 8, generator=stream, dtype=torch.float64)
    labels = torch.randint(10, (count,), generator=stream)
    data = ImageSet.of_tensors(images, labels)
    return replace(data, told=torch.randn(count, 10, generator=stream).double()) if values else data


def test_squared_error_is_that_of_the_values_that_were_wanted() -> None:
    outputs, wanted = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]]), torch.tensor([[[0.0, 0.0], [0.0, -1.0]]])
    assert squared_loss(outputs, wanted).tolist() == [0.5 * (1.0 + 9.0) / 2]
    mixed = Mixed(torch.tensor([0.5], dtype=torch.float64), torch.tensor([[1, 0]]))
    halves = torch.tensor([[[0.0, -0.5], [0.0, -0.5]]])
    assert torch.equal(squared_loss(outputs, wanted, mixed), squared_loss(outputs, halves))
    assert centered_labels(torch.tensor([[2]]), 4).tolist() == [[[-0.25, -0.25, 0.75, -0.25]]]


@pytest.mark.parametrize("values", [True, False])
def test_a_network_learns_values_or_centered_classes(values: bool) -> None:
    """Two steps against plain autograd, and several networks at once against one."""
    data, schedule = some(6, values), Schedule(2, 6, 0.05, 0.0, 0.0, decay="none", regressed=True)
    network, plain = (build(NARROW, (1, 8, 8), 10).double() for _ in range(2))
    for each in (network, plain):
        initialize(each, generator(7, 0))
    stacked = fresh_stack(build(NARROW, (1, 8, 8), 10).double(), [generator(7, k) for k in range(2)])
    held = build(NARROW, (1, 8, 8), 10).double()
    list(train(network, data, schedule, Streams.of(1, "net", 0)))
    list(train_together(held, stacked, [data] * 2, schedule, [Streams.of(1, "net", k) for k in range(2)]))
    everything = torch.arange(6)
    wanted = data.told if data.told is not None else centered_labels(data.labels, 10)
    for _ in range(2):
        loss = 0.5 * (plain(data.images(everything)) - wanted).square().sum(1).mean()
        parameters = list(plain.parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.data -= 0.05 * gradient
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(network.get_parameter(name), parameter, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(stacked[name][0], parameter, rtol=1e-8, atol=1e-10)


def test_the_protocol_of_frepo_makes_the_steps_of_its_program() -> None:
    found = {}
    for dataset, ipc in (("cifar10", 1), ("cifar10", 10), ("cifar10", 50), ("cifar100", 10), ("cifar100", 50)):
        evaluate = PipelineConfig.model_validate({"dataset": dataset, "method": "frepo", "ipc": ipc}).evaluate
        images = ipc * (100 if dataset == "cifar100" else 10)
        found[images] = evaluate.epochs * -(-images // evaluate.batch_size)
        assert (evaluate.protocol, evaluate.labels, evaluate.networks[0].name) == ("frepo", "learned_values", "convnet_frepo")
    assert found == {10: 1000, 100: 2000, 500: 5000, 1000: 10_000, 5000: 40_000}


@pytest.mark.slow
def test_a_set_keeps_its_labels_through_evaluation_export_and_resizing(tmp_path: Path) -> None:
    root = str(tmp_path)
    dataset = ingest(IngestConfig(), root)
    config = PipelineConfig.model_validate(
        {
            "dataset": "digits",
            "method": "frepo",
            "ipc": 3,
            "distill": {
                "iterations": 2,
                "rounds": 1,
                "batch_real": 4,
                "network": {"width": 4, "depth": 2},
                "regression": {"networks": 1},
                "learning_rate": 0.1,
            },
        }
    ).distill
    run = start_run(dataset, None, DistillConfig.model_validate(config.model_dump()), ReselectConfig(beta=0.0), root)
    distill_round(run, 1)
    uri = finish_run(run)
    data = bilp.load_distilled(run)
    assert data.values is not None and data.values.shape == (30, 10)
    assert torch.equal(data.values.argmax(1), data.labels) and not torch.equal(data.values[0], data.values[1])
    facts = open_artifact(uri, SYNTHETIC).stated(SyntheticFacts)
    assert facts.learned_labels is not None and facts.learned_labels.agreement == 1.0
    (file,) = export_set(uri, "safetensors", tmp_path / "out")
    assert torch.equal(safetensors.torch.load_file(file)["values"], data.values)
    found = {}
    for labels in ("hard", "learned_values"):
        evaluate = EvaluateConfig(networks=(NARROW,), seeds=2, epochs=4, labels=labels, baselines=("random",))
        found[labels] = evaluate_synthetic(dataset, uri, "unpruned", 0, evaluate, root)
        evaluate_baseline(dataset, "random", 3, evaluate, root)
    assert found["hard"] != found["learned_values"]
    smaller = resize(uri, ResizeConfig(ipc=1, rule="random"), root)
    kept, left = read_learned_labels(open_artifact(smaller, SYNTHETIC)), bilp.load_distilled(smaller)
    assert kept is not None and left.values is not None and len(kept) == 10
    for image, value in zip(left.images, left.values, strict=True):
        (place,) = [k for k, other in enumerate(data.images) if torch.equal(image, other)]
        assert torch.equal(value, data.values[place])


def test_labels_of_another_set_are_damaged(tmp_path: Path) -> None:
    """Three labels beside a set of two images."""
    files, told = label_files(torch.eye(3), torch.tensor([0, 1, 1]))
    assert told["learned_labels"]["agreement"] == pytest.approx(2 / 3)

    facts = {"dataset": "0" * 16, "class_names": ["a", "b"], "shape": [1, 8, 8], "mean": [0.0], "std": [1.0], "ipc": 1, "method": "x"}
    uri = publish(str(tmp_path / SYNTHETIC), SYNTHETIC, "1" * 16, files, config={}, parents={}, facts=facts | told).uri
    with pytest.raises(DamagedArtifact, match=FILE):
        read_learned_labels(open_artifact(uri, SYNTHETIC))

"""Linear probes: nothing but a linear classifier learns, its features are the encoder's, and tables name the encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import shufflenet_v2_x0_5

import bilp
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.tables import EVALUATION
from bilp.config import EvaluateConfig, NetworkConfig, TeacherConfig
from bilp.config.arms import needs_teacher
from bilp.config.encoder import EncoderConfig
from bilp.data import Dataset
from bilp.errors import ConfigError, DataError, MissingArtifact
from bilp.evaluate import evaluate_baseline, evaluate_synthetic, linear_probe
from bilp.evaluate.linear_probe import LinearProbe, OnFeatures
from bilp.evaluate.results import FILE, KIND
from bilp.nets import Network, build, initialize
from bilp.report.comparison import network_title
from bilp.seeds import generator
from bilp.teachers.supplied import named
from bilp.training.batch_augment import Streams
from bilp.training.train import ImageSet, answers, train
from bilp.training.training_schedule import Schedule

PublishSet = Callable[..., str]
NARROW = NetworkConfig(width=8, norm="batch")
TINY = TeacherConfig(network=NARROW, epochs=2, batch_size=64, learning_rate=0.05)
PLAIN = Schedule(3, 8, 0.05, 0.9, 0.0, decay="cosine", optimizer="adamw")


def encoder(digits: Dataset) -> Network:
    """A network with batch norm and statistics that are not those of its beginning."""
    network = build(NARROW, digits.shape, digits.classes)
    initialize(network, generator(5, "encoder"))
    with torch.no_grad():
        network.train()(digits.train.batch(torch.arange(64)))
    return network.eval()


def test_a_probe_learns_as_a_linear_layer_on_features_and_the_encoder_stays(digits: Dataset) -> None:
    images, labels, frozen = digits.train.batch(torch.arange(21)), digits.train.labels[:21], encoder(digits)
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    probe = LinearProbe(frozen, digits.classes)
    probe.draw(generator(6, "head"))
    with torch.no_grad():
        features = frozen.embed(images)
    reference = nn.Linear(features.shape[1], digits.classes)
    reference.load_state_dict({name: value.clone() for name, value in probe.classifier.state_dict().items()})
    assert 0.008 < float(reference.weight.detach().std()) < 0.012
    assert not reference.bias.any()
    optimizer = torch.optim.AdamW(reference.parameters(), lr=PLAIN.learning_rate, weight_decay=0.0)
    order = Streams.of(0, "probe", 0).order
    for epoch in range(3):
        optimizer.param_groups[0]["lr"] = PLAIN.rate(epoch)
        for rows in torch.randperm(21, generator=order).split(8):
            optimizer.zero_grad()
            functional.cross_entropy(reference(features[rows]), labels[rows]).backward()
            optimizer.step()
    assert list(train(probe, ImageSet.of_tensors(images, labels), PLAIN, Streams.of(0, "probe", 0))) == [0, 1, 2]
    torch.testing.assert_close(probe.classifier.state_dict(), reference.state_dict(), rtol=1e-4, atol=1e-6)
    after = frozen.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items() if not name.startswith("classifier"))
    shown = ImageSet.of_tensors(features[:, :, None, None], labels)
    assert torch.equal(
        answers(OnFeatures(probe.classifier), shown).predicted, answers(probe, ImageSet.of_tensors(images, labels)).predicted
    )


def test_features_of_test_images_are_kept_for_one_encoder_and_one_way_of_showing_them(digits: Dataset, small: EvaluateConfig) -> None:
    linear_probe._features.clear()
    images, labels, another = digits.test.batch(torch.arange(9)), digits.test.labels[:9], build(NARROW, digits.shape, digits.classes)
    initialize(another, generator(7, "encoder"))
    one, other = linear_probe.Encoder(encoder(digits), "one"), linear_probe.Encoder(another.eval(), "other")
    enlarged = small.model_copy(update={"test_enlarged": True})
    for which, shown, config in ((one, images, small), (other, images, small), (one, images + 1.0, enlarged), (other, images, small)):
        found = linear_probe.test_features(which, ImageSet.of_tensors(shown, labels), config, digits)
        with torch.no_grad():
            torch.testing.assert_close(found.images(torch.arange(9)).flatten(1), which.network.embed(shown))
    assert len(linear_probe._features) == linear_probe.REMEMBERED
    linear_probe._features.clear()


def probed(small: EvaluateConfig, **changed: Any) -> EvaluateConfig:
    given = {"linear_probe": True, "networks": (NARROW,), "teacher": TINY, "optimizer": "adamw", "decay": "cosine", "epochs": 20}
    return small.model_copy(update={**given, **changed})


@pytest.mark.slow
def test_sets_and_real_images_are_probed_alike_and_tables_say_the_encoder(
    digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path
) -> None:
    config, root, synthetic = probed(small), str(tmp_path), publish_set("a", 5)
    linear_probe._features.clear()
    uris = [evaluate_synthetic(digits_uri, synthetic, "static", 0, config, root)]
    (kept,) = linear_probe._features.values()
    uris += [evaluate_baseline(digits_uri, name, 5, config, root) for name in ("random", "full")]
    assert list(linear_probe._features.values()) == [kept], "features of the test images are computed once"
    for uri in uris:
        rows = open_artifact(uri, KIND).table(FILE, EVALUATION).to_pylist()
        assert {row["network"] for row in rows} == {"convnet width 8 norm batch linear probe"}
        assert len({row["accuracy"] for row in rows}) == 2, "seeds draw other classifiers"
        assert all(row["accuracy"] > 0.5 for row in rows)
    assert len(list(tmp_path.glob("teachers/*"))) == 1
    assert network_title("convnet width 8 norm batch linear probe") == "ConvNet (width 8, norm batch, linear probe)"
    brief = probed(small, epochs=1)
    others = (
        brief,
        small.model_copy(update={"networks": (NARROW,), "epochs": 1}),
        probed(small, epochs=1, teacher=TINY.model_copy(update={"epochs": 1})),
    )
    assert len({evaluate_synthetic(digits_uri, synthetic, "static", 0, each, root) for each in others}) == 3
    assert needs_teacher(config)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("weights") / "own.safetensors")
    torch.manual_seed(4)
    safetensors.torch.save_file(shufflenet_v2_x0_5(num_classes=3).state_dict(), path)
    return path


@pytest.mark.slow
def test_an_encoder_of_ones_own_is_known_by_the_content_of_its_file(
    digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, weights: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(Path(weights).read_bytes())
    root, synthetic = str(tmp_path), publish_set("a", 1)

    def evaluated(**own: Any) -> str:
        encoder = EncoderConfig(**{"name": "shufflenet_v2_x0_5", "weights": weights, "side": 32, **own})
        return evaluate_synthetic(digits_uri, synthetic, "static", 0, named(probed(small, epochs=1, encoder=encoder)), root)

    uri = evaluated()
    facts = open_artifact(uri, KIND).manifest
    assert facts.facts["networks"] == ["shufflenet_v2_x0_5 linear probe"]
    assert str(weights) not in str(facts.config)
    assert evaluated(weights=str(copy)) == uri
    assert not list(tmp_path.glob("teachers/*"))
    with pytest.raises(MissingArtifact):
        evaluated(weights=str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="is no state of resnet18: it lacks"):
        evaluated(name="resnet18")
    with pytest.raises(ConfigError, match=r"evaluate.encoder.name shufflenet is no classifying network of torchvision: did you mean"):
        evaluated(name="shufflenet")


def test_what_is_refused_and_what_follows() -> None:
    own = {"name": "resnet18", "weights": "w.safetensors"}
    for given, why in (
        ({"encoder": own}, "is that of a linear probe: set linear_probe to true"),
        ({"encoder": {"name": "resnet18"}, "linear_probe": True}, "belong together"),
        (
            {"encoder": own, "linear_probe": True, "networks": ["convnet", "mlp"]},
            "takes the place of networks, of which there are 2: name one",
        ),
    ):
        with pytest.raises(ValueError, match=why):
            EvaluateConfig.model_validate(given)
    linear = {"encoder": "resnet18", "weights": "w.safetensors", "side": 64}
    given = {"dataset": "cifar10", "method": "lgm", "distill": {"linear": linear, "idc": {"pretrained": {"networks": 0}}}}
    assert bilp.settings(**given).evaluate.encoder == EncoderConfig()
    followed = bilp.settings(**given, evaluate={"protocol": "linear_probe"})
    assert followed.evaluate.encoder == EncoderConfig(name="resnet18", weights="w.safetensors", side=64)
    assert (followed.evaluate.learning_rate, followed.evaluate.epochs) == (0.001 * 10 / 256, 1000)
    larger = bilp.settings(**given, ipc=50, evaluate={"protocol": "linear_probe", "encoder": {"name": "mine", "weights": "x"}}).evaluate
    assert (larger.learning_rate, larger.encoder.name) == (0.001 * 100 / 256, "mine")

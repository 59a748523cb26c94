"""The artifact of an evaluation: one table, one row per training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from bilp.artifacts.artifact import content_key, there_already
from bilp.artifacts.publication import TableFile, publish_table
from bilp.artifacts.tables import EVALUATION, NOT_RECORDED, TOP_K
from bilp.config import EvaluateConfig, NetworkConfig
from bilp.config.base import as_recorded, unrevised
from bilp.evaluate import teacher, training_cache
from bilp.evaluate.course_files import course_files
from bilp.evaluate.linear_probe import title
from bilp.evaluate.own import own_settings
from bilp.evaluate.rows import FILE as FILE
from bilp.evaluate.rows import KIND as KIND
from bilp.evaluate.rows import evaluation_rows as evaluation_rows
from bilp.evaluate.training_cache import Parts, Training
from bilp.storage.objects import join
from bilp.teachers.supplied import recorded, require_known, require_named

VERSION = 1
"""Of the table; that of the trainings it holds is added in its key, so that raising either asks for a new one."""

# Which baselines there are and how long others train decides no training's outcome, and how many networks one computation
# holds decides no more than rounding, so it counts where it is given; the name of a protocol stands for the settings that are
# recorded anyway, the teacher counts where it has a say, and what is said about one network where this network is among them.
LEFT_OUT = {
    "protocol",
    "pool",
    "learned_rate",
    "epochs",
    "full_epochs",
    "baselines",
    "robustness",
    "networks_at_once",
    "temperature",
    "temperature_squared",
    "teacher",
    "encoder",
    "batch_norm_augment_each",
    "batch_norm_epochs",
}
# What one training does not depend on.
MANY = ("networks", "seeds", "networks_at_once")


class Publication:
    """Where the evaluation of one set lies and what it holds, known before the work."""

    def __init__(
        self, root: str, config: EvaluateConfig, epochs: int, arm: str, experiment: int, dataset: str, subject: Mapping[str, Any]
    ) -> None:
        """Nothing is read or written.

        Args:
            root: Where results lie.
            config: Settings of the evaluation.
            epochs: Passes over what is trained on, in place of the settings' own.
            arm: What was evaluated, as the table says.
            experiment: Which of its distillations, from 0.
            dataset: Fingerprint of the real images.
            subject: What identifies the images that are trained on.
        """
        self.arm, self.experiment, self.epochs, self.dataset = arm, experiment, epochs, dataset
        self.config = config.model_copy(update={"epochs": epochs})
        self.settings = _settings(self.config)
        special = {title(config, network): changed for network in config.networks if (changed := self._changed(network))}
        if special:
            self.settings |= {"by_network": special}
        self._root, self._subject = root, dict(subject)
        self.subject = {"arm": arm, "experiment": experiment, **subject}
        version = VERSION + training_cache.VERSION + sum(network.revision for network in config.networks)
        self.key = content_key("evaluate", version, dataset=dataset, subject=self.subject, protocol=self.settings)
        self.uri = join(root, "evaluations", self.key)

    def parts_of(self, network: NetworkConfig) -> Parts:
        """Where the trainings of a network lie: those of an evaluation of this network alone with the same settings."""
        one = {name: value for name, value in _settings(own_settings(self.config, network)).items() if name not in MANY}
        return Parts.of(self._root, self.dataset, self._subject, one)

    def exists(self) -> bool:
        """It was computed before. Raises as `there_already`."""
        return there_already(self.uri, KIND, self.key) is not None

    def publish(self, trainings: Sequence[Training], parents: Mapping[str, str], device: str) -> str:
        """Write the table of trainings that were computed on a device; returns its URI."""
        epochs = {title(self.config, network): own_settings(self.config, network).epochs for network in self.config.networks}
        table = pa.table(
            {
                "arm": [self.arm] * len(trainings),
                "experiment": [self.experiment] * len(trainings),
                "network": [training.network for training in trainings],
                "seed": [training.seed for training in trainings],
                "accuracy": [training.accuracy for training in trainings],
                "best_accuracy": [training.best_accuracy for training in trainings],
                "train_images": [training.train_images for training in trainings],
                "epochs": [epochs[training.network] for training in trainings],
                "top_k": [training.top_k or NOT_RECORDED for training in trainings],
                **{name: [_known(getattr(training, name)) for training in trainings] for name in TOP_K[1:]},
            }
        )
        origin = {"dataset": self.dataset, **self.subject}
        facts = {**origin, "networks": list(dict.fromkeys(training.network for training in trainings))}
        file = TableFile(FILE, table, EVALUATION, origin)
        others = course_files(trainings, {"stage": KIND, "key": self.key, **origin})
        return publish_table(
            self.uri, KIND, self.key, file, config=self.settings, parents=parents, facts=facts, device=device, others=others
        )

    def _changed(self, network: NetworkConfig) -> dict[str, Any]:
        """The settings that differ for a network."""
        own = _settings(own_settings(self.config, network))
        return {name: value for name, value in own.items() if value != self.settings[name]}


def _known(accuracy: float | None) -> float:
    return math.nan if accuracy is None else accuracy


def _settings(config: EvaluateConfig) -> dict[str, Any]:
    """What of the settings decides how networks are trained."""
    settings = {**as_recorded(config, dict.fromkeys(LEFT_OUT, True)), "epochs": config.epochs}
    if config.soft:
        squared = {"temperature_squared": True} if config.temperature_squared else {}
        settings |= {"temperature": config.temperature, **squared}
    if config.taught or (config.linear_probe and config.encoder.name is None):
        revised = {"revision": config.teacher.network.revision} if config.teacher.network.revision else {}
        require_named(config.teacher)
        own = config.teacher.model_dump(mode="json", exclude=unrevised(config.teacher) | recorded(config.teacher))
        told = {"teacher": {**own, **revised}}
        settings |= told if teacher.VERSION == 1 else {**told, "teacher_version": teacher.VERSION}  # the first was not recorded
    if config.linear_probe and config.encoder.name is not None:
        require_known(config.encoder)
        settings |= {"encoder": config.encoder.model_dump(mode="json", exclude={"weights"})}
    if not config.linear_probe and config.networks_at_once is not None:
        settings |= {"networks_at_once": config.networks_at_once}
    return settings

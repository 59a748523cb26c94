"""The units of evaluation of a plan: blocks of trainings, as workers share them."""

from __future__ import annotations

from bilp.config import EvaluateConfig, NetworkConfig, PipelineConfig
from bilp.config.arms import evaluation_of, planned_runs, samples_of_teachers
from bilp.config.baselines import BASELINES, BaselineEntry
from bilp.config.labels import LABELS
from bilp.costs.run_units import pool_of
from bilp.costs.speed import Speed
from bilp.costs.work import FORWARD, TRAINING, Unit, Work
from bilp.evaluate.address import epochs_of_as_many_steps
from bilp.evaluate.division import loads_of
from bilp.evaluate.own import own_settings
from bilp.evaluate.train_all import look_epochs
from bilp.evaluate.training_blocks import divided
from bilp.nets import label
from bilp.pruning.static import kept_counts
from bilp.training.train import kept_bytes
from bilp.training.training_schedule import Schedule


def evaluation_units(config: PipelineConfig, speed: Speed) -> list[Unit]:
    """Trainings on every synthetic set and baseline; those of teachers first, if any are trained here."""
    evaluate, units = evaluation_of(config), list[Unit]()
    for learned in () if evaluate.teacher.supplied else samples_of_teachers(config):
        teacher, samples = evaluate.teacher, int(pool_of(config, learned, speed).sum())
        works = [Work("trained", teacher.epochs * samples, TRAINING, stored=True)]
        network, kind = speed.network(teacher.network), kind_of(teacher.network)
        units.append(speed.unit("evaluate", "teacher", network, evaluate.gpu, works, samples, kind=kind))
    for baseline in evaluate.baselines:
        units += _baseline(config, evaluate, BASELINES[baseline], speed)
    images = speed.data.classes * config.distill.decode.count(config.ipc)
    for run in planned_runs(config):
        units += _blocks(evaluate, run.arm, images, speed, real=False)
    return units


def _baseline(config: PipelineConfig, evaluate: EvaluateConfig, entry: BaselineEntry, speed: Speed) -> list[Unit]:
    if not entry.whole:
        return _blocks(evaluate, entry.name, speed.data.classes * config.ipc, speed, real=False)
    images, epochs = speed.data.samples, evaluate.full_epochs
    if entry.selected and not isinstance(config.keep, str):
        images = int(kept_counts(config.keep, speed.data.train).sum())
        epochs = epochs_of_as_many_steps(evaluate, speed.data.samples, images)
    return _blocks(evaluate.model_copy(update={"epochs": epochs, "batch_norm_epochs": None}), entry.name, images, speed, real=True)


def _blocks(config: EvaluateConfig, name: str, images: int, speed: Speed, real: bool) -> list[Unit]:
    """The units that train on one set of so many images; `real` ones are read from the store."""
    loads = loads_of(config, speed.data, images)
    blocks = divided(loads, None) or [[range(load.seeds)] for load in loads]
    tested, units = int(speed.data.test.sum()), []
    for network, seeds_of_blocks in zip(config.networks, blocks, strict=True):
        own = own_settings(config, network)
        for seeds in seeds_of_blocks:
            works = block_works(own, network, images, tested, len(seeds), speed, real)
            held = 0 if real else 4 * images * speed.data.sample_bytes
            read = images if real else 0
            units.append(speed.unit("evaluate", name, speed.network(network), own.gpu, works, read, held, kind_of(network)))
    return units


def block_works(
    own: EvaluateConfig, network: NetworkConfig, images: int, tested: int, seeds: int, speed: Speed, real: bool = False
) -> list[Work]:
    """What trainings of one network do, and the teacher that gives their labels, if one does.

    Args:
        own: Settings as they hold for this network.
        network: That is trained.
        images: That it is trained on.
        tested: Test samples.
        seeds: Trainings.
        speed: Knows what a pass costs.
        real: Whether images are read from the store.
    """
    passes = Schedule.of_config(own, own.epochs).passes
    if own.linear_probe:  # the encoder has no backward pass, and test images pass it once
        return [Work("trained", seeds * passes * images, FORWARD, stored=real), Work("tested", tested, FORWARD)]
    looks = len(look_epochs(passes, images, tested))
    works = [Work("trained", seeds * passes * images, TRAINING, stored=real), Work("tested", seeds * looks * tested, FORWARD)]
    if own.taught:
        teacher = speed.network(own.teacher.network).flops / speed.network(network).flops
        works.append(Work("taught", seeds * _asked(own, passes, images, speed), FORWARD * teacher))
    return works


def _asked(own: EvaluateConfig, passes: int, images: int, speed: Speed) -> int:
    """Images that a training asks the teacher about: those of every mini-batch, or where labels are fixed and fit into memory each once."""
    device = "cuda" if speed.profile.gpu else "cpu"
    fits = 4 * images * speed.data.classes <= kept_bytes(device)
    return images if LABELS[own.labels].fixed and fits else passes * images


def kind_of(network: NetworkConfig) -> str:
    """What is measured of an evaluation: a training of each network."""
    return f"evaluate {label(network)}"

"""What an iteration of each method does to how many samples: the functions that entries name (`Method.work`).

What a pass costs is told in forward passes of the same network, as operations are counted: a forward pass takes one, a derivative with
respect to inputs another, and one with respect to weights a third. The first layer, whose input nobody differentiates in a training,
counts like the others. `tests/costs/test_method_work.py` counts the operations of real iterations.
"""

from __future__ import annotations

from itertools import cycle, islice

from bilp.causal.query_effects import TOGETHER as TOGETHER_BACK
from bilp.causal.query_effects import prefers_sketch
from bilp.config import DistillConfig, ReselectConfig
from bilp.config.estimators import ESTIMATORS
from bilp.config.reselect import RESELECT_SCORES
from bilp.costs.effects_work import HALVES
from bilp.costs.iteration import Iteration, batch_sizes
from bilp.costs.work import FORWARD, IMAGES, TRAINING, Work
from bilp.distill.step.representatives import MOST_CLUSTERED
from bilp.matching.trajectory_by_steps import GRAPH_BYTES
from bilp.matching.trajectory_flat import GRAPH_BYTES as GRAPH_BYTES_ON_GPU
from bilp.matching.unrolled import HELD_BYTES

TOGETHER = 7.0
"""A distance of gradients, differentiated by images, of all classes in one pass (`bilp.matching.batched_classes`)."""
IN_TURN = 8.0
"""The same by autograd, which goes through the gradient's own graph; a step of training likewise."""
BY_BOTH = 9.0
"""A step of training, differentiated by images and by weights."""
ALONG = 3.8
"""The derivatives of losses along a direction of the weights, once their gradient is there."""
GRAPH_MAPS = 3
"""Values that the graph of a differentiable step of training keeps for each value of the network's maps, at most."""
GRAPH_PARAMETERS = 4
"""Likewise for each parameter."""


def features(of: Iteration) -> list[Work]:
    """DM: real samples pass the network forwards, synthetic ones forwards and back to the images."""
    return [Work("real", of.real, FORWARD, stored=True), Work("synthetic", of.synthetic, IMAGES)]


def characteristic(of: Iteration) -> list[Work]:
    """NCFM: real samples pass once for all image steps on a network, synthetic ones in each, and again under the trained network.

    Features are multiplied with the frequencies, and the derivative takes as many products again; cosines and sines are not counted.
    """
    steps, settings = of.config.outer_loops, of.config.characteristic
    products = 2 * of.network.features * settings.frequencies / of.network.flops
    real = FORWARD + steps * products  # with new frequencies in each step
    works = [Work("real", of.real, real, stored=True), Work("synthetic", steps * of.synthetic, IMAGES + 2 * products)]
    if of.config.pretrained.networks > 0 and settings.calibration > 0:
        works.append(Work("calibrated", steps * of.synthetic, IMAGES))
    return works


def crops(of: Iteration) -> list[Work]:
    """RDED and CA2D: one crop of each real image that is looked at passes the teacher."""
    return [Work("real", of.real, FORWARD, stored=True)]


def coarse_to_fine(of: Iteration) -> list[Work]:
    """CCFS: a network is trained on the set so far with the teacher's answers, and both look at all real samples; a mean over rounds."""
    config, settings = of.config, of.config.coarse_to_fine
    sizes = [settings.begins(config.ipc)]
    for number in range(config.iterations - 1):
        sizes.append(sizes[-1] + settings.added(config.ipc, config.iterations, number))
    trained = round(settings.epochs * len(of.classes) * sum(sizes) / len(sizes))
    return [Work("real", of.real, 2 * FORWARD, stored=True), Work("trained", trained, TRAINING + FORWARD)]


def head_gradients(of: Iteration) -> list[Work]:
    """LGM: copies of synthetic images pass the encoder forwards and back to the images; real samples are features that are there."""
    return [Work("real", of.real, 0.0), Work("synthetic", of.config.linear.copies * of.synthetic, IMAGES)]


def encoded(of: Iteration) -> list[Work]:
    """LGM: each real sample passes each encoder once in a round, unless its features are supplied."""
    config = of.config
    if config.linear.features is not None:
        return []
    encoders = min(max(1, config.pretrained.networks), -(-config.iterations // config.rounds))
    return [Work("encoded", encoders * int(of.pool.sum()), FORWARD, stored=True)]


def inversion(of: Iteration) -> list[Work]:
    """SRe2L, CDA and LPLD: synthetic images pass the teacher forwards and back to the images.

    Once in a process, each real sample of LPLD passes the teacher, and after the last iteration the images do; these are not counted here.
    """
    return [Work("real", of.real, 0.0), Work("synthetic", of.synthetic, IMAGES)]


def residual(of: Iteration) -> list[Work]:
    """FADRM: the same, and an iteration's share of the crops that patches are chosen from."""
    crops = FORWARD * of.config.residual.crops / of.config.iterations
    return [*inversion(of), Work("patches", of.real, crops, stored=True)]


def query(of: Iteration) -> list[Work]:
    """LinBa: a network is trained on mini-batches of the synthetic images and asked about real ones, and the way back takes each
    step anew."""
    settings, classes = of.config.memories, len(of.classes)
    trained = settings.steps * classes * min(settings.per_class, of.config.ipc)
    works = [Work("real", of.real, TRAINING, stored=True), Work("synthetic", trained, TRAINING + BY_BOTH)]
    if 2 * 4 * of.network.parameters * settings.steps > HELD_BYTES:
        works.append(Work("repeated", trained, TRAINING))
    return works


def query_effect(distill: DistillConfig, reselect: ReselectConfig, samples: int, classes: int) -> float:
    """LinBa: of each sample a way back through the training, or of some directions, which all samples share, one forwards."""
    settings, estimator = distill.memories, ESTIMATORS[reselect.estimator]
    trained = settings.steps * classes * min(settings.per_class, distill.ipc)
    once = trained * (BY_BOTH - TRAINING + TRAINING / TOGETHER_BACK)
    signed = RESELECT_SCORES[reselect.score].signed
    if signed or (estimator.sketches and (not estimator.exact_where_better or prefers_sketch(samples, reselect.directions))):
        directions = HALVES if signed else reselect.directions
        return directions * (once / samples + ALONG) + TRAINING  # one gradient serves all directions
    return 2 * TRAINING + once


def feature_regression(of: Iteration) -> list[Work]:
    """FRePo: as DM, with mirror images beside the synthetic ones, and a step of a network's training. The solve is not counted."""
    config = of.config
    shown = of.kept * (2 if config.regression.mirrored else 1)
    trained = Work("trained", min(of.kept, config.batch_train), TRAINING)
    return [Work("real", of.real, FORWARD, stored=True), Work("synthetic", shown, IMAGES), trained]


def random_features(of: Iteration) -> list[Work]:
    """RFAD: under each of several networks real samples pass forwards and synthetic ones forwards, and again with the way back.

    Products with the matrix of the images, and the solve, are not counted.
    """
    count = of.config.random_features.networks
    again = FORWARD if count > 1 else 0.0  # memory holds the graph of one network
    return [Work("real", of.real, count * FORWARD, stored=True), Work("synthetic", count * of.kept, IMAGES + again)]


def gradients(of: Iteration) -> list[Work]:
    """DC and DSA: gradients of both, and between image steps training on the synthetic images."""
    steps = of.config.outer_loops
    trained = (steps - 1) * of.config.inner_epochs * of.kept
    return [
        Work("real", steps * of.real, TRAINING, stored=True),
        Work("synthetic", steps * of.synthetic, TOGETHER),
        Work("trained", trained, TRAINING),
    ]


def kernels(of: Iteration) -> list[Work]:
    """IDC: gradients of both, and between image steps training on real samples, in whole mini-batches that go on through the epochs."""
    config, steps = of.config, of.config.outer_loops
    epoch = batch_sizes(int(of.pool.sum()), config.batch_train)
    trained, waiting = config.idc.early_epochs * sum(epoch), cycle(epoch)
    for _ in range(steps - 1 if config.idc.train_samples else 0):
        seen = 0
        for size in islice(waiting, len(epoch)):
            seen += size
            if seen >= config.idc.train_samples:
                break
        trained += seen
    return [
        Work("real", steps * of.real, TRAINING, stored=True),
        Work("synthetic", steps * of.synthetic, TOGETHER if of.on_gpu else IN_TURN),
        Work("trained", trained, TRAINING, stored=True),
    ]


def representatives(of: Iteration) -> list[Work]:
    """DREAM: as IDC, and k-means of the features of each class, here with as many steps as allowed."""
    config, dream = of.config, of.config.dream
    clustered = sum(min(int(count), MOST_CLUSTERED) for count in of.own if count > config.batch_real)
    # Squared distances to all centers at the beginning, after each step and for the nearest samples, and the sums of each step.
    products = 2 * config.batch_real * of.network.features * (2 + 2 * dream.most_steps)
    choices = -(-config.outer_loops // dream.interval)
    return [*kernels(of), Work("clustered", choices * clustered, FORWARD + products / of.network.flops, stored=True)]


def pool(of: Iteration) -> list[Work]:
    """IDM: as DM, a classification of the synthetic images as soon as a network was trained, and training of some networks."""
    config, idm = of.config, of.config.idm
    trained = min(idm.trained, idm.networks + 1, idm.most_networks)
    batches = islice(cycle(batch_sizes(int(of.pool.sum()), config.batch_train)), idm.train_steps)
    judged = of.synthetic if idm.classification > 0 and trained else 0
    return [*features(of), Work("classified", judged, IMAGES), Work("trained", trained * sum(batches), TRAINING, stored=True)]


def alignment(of: Iteration) -> list[Work]:
    """CAFE: rules end an iteration and the trainings within it, so that there is a least and a most."""
    rules = of.config.alignment
    measured = sum(min(int(count), rules.measured_per_class) for count in of.pool)

    def ended(steps: int, epochs: int) -> tuple[int, int, int, int]:
        trained = (steps - 1) * epochs
        return steps * of.real, steps * of.synthetic, trained * of.kept, (steps + trained) * measured

    least = ended(min(rules.watched, rules.most_steps), min(rules.watched, rules.most_epochs))
    most = ended(rules.most_steps, rules.most_epochs)
    kinds = (("real", FORWARD, True), ("synthetic", FORWARD + IMAGES, False), ("trained", TRAINING, False), ("tested", FORWARD, True))
    pairs = zip(kinds, least, most, strict=True)
    return [Work(what, low, forwards, stored=stored, most=high) for (what, forwards, stored), low, high in pairs]


def trajectory(of: Iteration) -> list[Work]:
    """MTT: steps of training on the synthetic images, each differentiated; those whose graphs do not fit are done twice."""
    return _trajectory(of, BY_BOTH, GRAPH_BYTES_ON_GPU if of.on_gpu else GRAPH_BYTES)


def trajectory_in_constant_memory(of: Iteration) -> list[Work]:
    """TESLA: the same by images alone; on a CPU no graph of the first pass is kept."""
    return _trajectory(of, IN_TURN, GRAPH_BYTES_ON_GPU if of.on_gpu else 0)


def hallucinated(of: Iteration) -> list[Work]:
    """HaBa: as MTT for mini-batches of bases, and with several hallucinators two images of each base of a mini-batch pass the extractor
    forwards and back to the images, and two again to train it. What makes images of bases is not counted."""
    own, bases = of.config.hallucinators, of.kept // of.config.hallucinators.count
    works = _trajectory(of, BY_BOTH, GRAPH_BYTES_ON_GPU if of.on_gpu else GRAPH_BYTES, bases)
    if own.count > 1 and own.contrast > 0.0:
        pairs = 2 * min(of.config.trajectory.batch or bases, bases)
        works += [Work("contrasted", pairs, IMAGES), Work("trained", pairs, TRAINING)]
    return works


def _trajectory(of: Iteration, differentiated: float, graph_bytes: int, images: int | None = None) -> list[Work]:
    settings, network, images = of.config.trajectory, of.network, images or of.kept
    sizes = list(islice(cycle(batch_sizes(images, settings.batch or images)), settings.steps))
    graph = 4 * (GRAPH_MAPS * network.maps * max(sizes) + GRAPH_PARAMETERS * network.parameters)
    kept = graph_bytes // graph
    again = sum(sizes[: max(0, len(sizes) - kept)])
    return [Work("synthetic", sum(sizes), differentiated), *([Work("repeated", again, TRAINING)] if again else [])]

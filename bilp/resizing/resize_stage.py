"""Stage resize: a synthetic set of fewer images per class, out of a finished one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bilp.artifacts.artifact import Artifact, content_key, open_artifact, there_already
from bilp.artifacts.facts import SyntheticFacts
from bilp.artifacts.publication import Content, publish
from bilp.artifacts.run_layout import GRID, IMAGES, SYNTHETIC
from bilp.artifacts.tensors import encode_tensors
from bilp.config.base import as_recorded
from bilp.config.decode import DecodeConfig
from bilp.config.given import model_of
from bilp.config.resize import RESIZE_RULES, ResizeConfig
from bilp.data.store import FIT
from bilp.data.whitening import decode as decode_fit
from bilp.distill import real_part
from bilp.distill.learned_labels import label_files, read_learned_labels
from bilp.distill.pictures import grid_png
from bilp.distill.real_part import read_real
from bilp.distill.soft_labels import FILE, exact_labels, read_soft_labels
from bilp.distill.synthetic_set import read_set
from bilp.errors import ConfigError
from bilp.images.decode_stored import decoded
from bilp.nets import build
from bilp.progress import Progress, silent
from bilp.registry import resolve
from bilp.resizing.image_scores import Decoded, Scorer
from bilp.resizing.stored_parts import check_parts, put_together, taken_apart
from bilp.storage.objects import Uri, as_uri, join

VERSION = 1
LEFT = ("soft_labels", "learned_labels", "storage", "real")
"""Facts that are told anew, or tell of what is not taken along."""


def resize(
    synthetic_uri: Uri, config: ResizeConfig | Mapping[str, Any], root: Uri, device: str = "cpu", progress: Progress = silent
) -> str:
    """Publish the images of a synthetic set that a rule keeps, as many of each class; the URI of the set below `root`.

    Where stored images stand for several ones, these are chosen among one by one and put together anew. Images of a class are in the order
    of their scores, so that a set resized twice is the one resized at once, as long as scores are the same. What is read of the parent is
    its images, which of them are real, and labels that were learned with them, so that what a teacher said stays behind: it may have been
    distilled, imported, or resized itself.

    Args:
        synthetic_uri: the finished set.
        config: how many images stay, and which.
        root: the storage's root.
        device: where a network is trained.
        progress: told its epochs.

    Raises ConfigError for a set that has not more images, or whose parts cannot be moved, and Diverged for a training that leaves the
    finite numbers.
    """
    config, root = model_of(ResizeConfig, config), as_uri(root)
    parent = open_artifact(as_uri(synthetic_uri), SYNTHETIC)
    facts = parent.stated(SyntheticFacts)
    if config.ipc >= facts.ipc:
        raise ConfigError(f"{parent.uri} has {facts.ipc} images of each class, so {config.ipc} leave none out: give a smaller ipc")
    settings = identity(config)
    key = content_key("resize", VERSION, synthetic=parent.manifest.key, settings=settings)
    uri = join(root, "resized", key, SYNTHETIC)
    if there_already(uri, SYNTHETIC, key, shown=True) is not None:
        return uri
    decode = DecodeConfig.model_validate(facts.decode or {})
    check_parts(decode, facts.shape, parent.uri)
    if "network" in RESIZE_RULES[config.rule].reads:
        build(config.network, facts.shape, len(facts.class_names))
    stored, labels = read_set(parent)
    images = decoded(stored, labels, parent.manifest.facts, parent.uri)
    scorer: Scorer = resolve(RESIZE_RULES[config.rule].scorer)
    scores = scorer(Decoded(*images, facts.shape, len(facts.class_names)), config, device, progress)
    kept = lowest(scores.view(len(facts.class_names), -1), config.ipc * decode.factor**2)
    chosen = put_together(taken_apart(stored, decode.factor)[kept], decode.factor)
    files, told = _labels(parent, kept, labels, several=decode.factor > 1)
    resized = {"ipc": config.ipc, "resized": {"parent": parent.manifest.key, "ipc": facts.ipc, "rule": config.rule}}
    told = {name: value for name, value in parent.manifest.facts.items() if name not in LEFT} | resized | told
    files = _files(parent, facts, chosen, config.ipc) | files
    return publish(
        uri,
        SYNTHETIC,
        key,
        files,
        config=settings,
        parents={"synthetic": parent.uri},
        facts=told,
        device=device,
    ).uri


def _labels(parent: Artifact, kept: Tensor, labels: Tensor, several: bool) -> tuple[dict[str, Content], dict[str, Any]]:
    """Files and facts of what lies beside the images at positions `kept`, with the labels of all: which are real, and what was learned with
    them; of stored images that stand for several, nothing."""
    files, told = dict[str, Content](), dict[str, Any]()
    if several:
        return files, told
    labels = labels[kept]
    real, values = read_real(parent), read_learned_labels(parent)
    if real is not None and (count := real_part.count_of(real[kept])):
        files[real_part.FILE], told["real"] = real_part.file_of(real[kept], labels), count
    if values is not None:
        more_files, more_facts = label_files(values[kept], labels)
        files, told = files | more_files, told | more_facts
    soft = parent.stated(SyntheticFacts).soft_labels
    logits = read_soft_labels(parent) if soft is not None and soft.learned else None
    if logits is not None:
        files[FILE], stated = exact_labels(logits[kept])
        told["soft_labels"] = stated.model_dump(mode="json", exclude_none=True)
    return files, told


def identity(config: ResizeConfig) -> dict[str, Any]:
    """What the key holds of the settings: those that the rule reads, its version, and the revision of a network that is trained."""
    rule = RESIZE_RULES[config.rule]
    recorded = as_recorded(config)
    settings = {name: value for name, value in recorded.items() if name in {"ipc", "rule", *rule.reads}}
    revision = config.network.revision if "network" in rule.reads else 0
    return {**settings, "version": rule.version, **({"network_revision": revision} if revision else {})}


def lowest(scores: Tensor, count: int) -> Tensor:
    """Positions `[classes * count]` among all images of those with the lowest scores `[classes, n]` of each class, in their order.

    Of equal scores the first image goes first.
    """
    first = torch.argsort(scores, dim=1, stable=True)[:, :count]
    return (first + scores.shape[1] * torch.arange(len(scores)).unsqueeze(1)).flatten()


def _files(parent: Artifact, facts: SyntheticFacts, images: Tensor, ipc: int) -> dict[str, Content]:
    labels = torch.arange(len(facts.class_names)).repeat_interleave(ipc)
    files: dict[str, Content] = {IMAGES: encode_tensors({"images": images.contiguous(), "labels": labels})}
    whitening = None
    if facts.whitening is not None:
        fit = parent.read(FIT)
        whitening = decode_fit(fit, parent.place(FIT), facts.shape)
        files[FIT] = fit
    return {**files, GRID: grid_png(images, ipc, facts.mean, facts.std, whitening)}

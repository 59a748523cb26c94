"""Soft labels of the images of a set: a teacher's answers, stored in few bytes, and how much of them is lost by that; or learned ones.

Labels at a temperature T are softmax(z / T) of the logits z. Form float16 stores every logit in 16 bits. Form top_k stores the k largest of
each image in 16 bits with the numbers of their classes, and one more number that stands for each of the others: T log of the mean of
exp(z / T) over these, so that at T they have, together, the share that they had. Form float32 stores logits as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import SoftLabelFacts, SyntheticFacts
from bilp.artifacts.publication import Content
from bilp.artifacts.tensors import Form, decode_tensors, encode_tensors, require_tensors
from bilp.config.label_storage import LabelStorage
from bilp.errors import DamagedArtifact
from bilp.storage.verification import again

FILE = "labels.safetensors"
LOGITS, CLASSES, OTHERS = "logits", "classes", "others"
"""Tensors of the file: float32 or float16 `[N, C]`, or float16 `[N, k]`;
of top_k also the classes of the k, int16 `[N, k]`, and float16 `[N]`."""
MOST_NUMBERED = 2**15
"""Classes whose numbers fit into 16 bits; those of more take 32."""


def compressed(logits: Tensor, facts: SoftLabelFacts) -> dict[str, Tensor]:
    """Logits `[N, C]` in the form that the facts name."""
    if facts.top_k is None:
        return {LOGITS: _half(logits)}
    values, classes = logits.topk(facts.top_k, dim=1)
    others = (logits / facts.temperature).scatter(1, classes, -torch.inf).double().logsumexp(1)
    spread = logits.shape[1] - facts.top_k
    stands = facts.temperature * (others - torch.tensor(float(spread)).log())
    return {LOGITS: _half(values), CLASSES: classes.to(_numbers(logits.shape[1])), OTHERS: _half(stands)}


def _numbers(classes: int) -> torch.dtype:
    return torch.int16 if classes <= MOST_NUMBERED else torch.int32


def _half(values: Tensor) -> Tensor:
    """The nearest numbers of 16 bits, all of them finite."""
    largest = torch.finfo(torch.float16).max
    return values.clamp(-largest, largest).half()


def restored(tensors: Mapping[str, Tensor], classes: int) -> Tensor:
    """Logits float32 `[N, C]` of what `compressed` made of them."""
    values = tensors[LOGITS].float()
    if CLASSES not in tensors:
        return values
    return tensors[OTHERS].float().unsqueeze(1).repeat(1, classes).scatter(1, tensors[CLASSES].long(), values)


def divergence(logits: Tensor, other: Tensor, temperature: float) -> float:
    """Mean Kullback-Leibler divergence, in nats, of labels by other logits from those by `logits`, both `[N, C]`, at a temperature."""
    true, found = ((value.double() / temperature).log_softmax(1) for value in (logits, other))
    return float((true.exp() * (true - found)).sum(1).mean().clamp(min=0.0))


def soft_labels(logits: Tensor, few: int | None, temperature: float) -> tuple[bytes, SoftLabelFacts]:
    """The file of logits `[N, C]`, and what a manifest states of it: what is lost is measured on these logits.

    Of so many logits that form top_k would take no fewer bytes, form float16 stores all.

    Args:
        logits: of the images of a set, in their order.
        few: logits of an image that form top_k stores; None for form float16.
        temperature: at which labels are told to be used.
    """
    logits = logits.cpu()
    few = None if few is None or 2 * few >= logits.shape[1] else few
    stored_as: Literal["float16", "top_k"] = "float16" if few is None else "top_k"
    facts = SoftLabelFacts(form=stored_as, top_k=few, temperature=temperature, divergence=0.0, agreement=1.0, bytes=1)
    tensors = compressed(logits, facts)
    back, data = restored(tensors, logits.shape[1]), encode_tensors(tensors)
    measured = {
        "divergence": divergence(logits, back, temperature),
        "agreement": float((back.argmax(1) == logits.argmax(1)).double().mean()),
        "bytes": len(data),
    }
    return data, facts.model_copy(update=measured)


def teacher_files(logits: Tensor, settings: LabelStorage) -> tuple[dict[str, Content], dict[str, Any]]:
    """The file by name, and the facts, of a teacher's answers `[N, C]` in the form of the settings; both empty where they say none."""
    if settings.soft_labels == "none":
        return {}, {}
    return label_content(*soft_labels(logits, settings.top_k if settings.soft_labels == "top_k" else None, settings.temperature))


def label_content(data: bytes, stated: SoftLabelFacts) -> tuple[dict[str, Content], dict[str, Any]]:
    """The file of soft labels by name, and what a manifest states of it."""
    return {FILE: data}, {"soft_labels": stated.model_dump(mode="json", exclude_none=True)}


def exact_labels(logits: Tensor) -> tuple[bytes, SoftLabelFacts]:
    """The file of logits `[N, C]` whose labels were learned at temperature 1, and what a manifest states of it: nothing is lost."""
    data = encode_tensors({LOGITS: logits.float().cpu()})
    return data, SoftLabelFacts(form="float32", temperature=1.0, divergence=0.0, agreement=1.0, bytes=len(data))


def read_soft_labels(artifact: Artifact) -> Tensor | None:
    """Logits float32 `[N, C]` that a synthetic set stores, in the order of its images; None for a set without.

    Raises DamagedArtifact unless they are what its facts state.
    """
    facts = artifact.stated(SyntheticFacts)
    if facts.soft_labels is None:
        return None
    told, count, classes = facts.soft_labels, facts.images[0], len(facts.class_names)
    tensors = decode_tensors(artifact.read(FILE), artifact.place(FILE))
    width = classes if told.top_k is None else told.top_k
    kind = torch.float32 if told.form == "float32" else torch.float16
    forms: dict[str, Form] = {LOGITS: (kind, (count, width))}
    if told.top_k is not None:
        forms |= {CLASSES: (_numbers(classes), (count, width)), OTHERS: (torch.float16, (count,))}
    require_tensors(tensors, forms, artifact.place(FILE))
    if CLASSES in tensors and not (int(tensors[CLASSES].min()) >= 0 and int(tensors[CLASSES].max()) < classes):
        raise DamagedArtifact(f"{artifact.place(FILE)} holds logits of classes that the set does not have: {again(artifact.uri)}")
    return restored(tensors, classes)

"""Resizing as a function: a smaller synthetic set out of a finished one."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from bilp.api.distilled import DistilledSet, as_set, load_distilled
from bilp.api.ingested import Dataset, as_data
from bilp.api.keywords import configured, for_device
from bilp.api.workspace import place_at
from bilp.artifacts import layout
from bilp.config.nested import merge
from bilp.config.resize import ResizeConfig
from bilp.errors import ConfigError
from bilp.resizing.resize_stage import resize as resize_stage
from bilp.storage.objects import Uri


def resize(
    synthetic: DistilledSet | Uri,
    ipc: int,
    *,
    data: Dataset | Uri | None = None,
    root: Uri | None = None,
    device: str | None = None,
    **settings: Any,
) -> DistilledSet:
    """The set of `ipc` images per class out of a larger one, without distilling again: `resize(small, ipc=1)`.

    A network is trained as evaluation would train it, and what it is told wrong least stays (YOCO); `rule="random"` is the control.

    Args:
        synthetic: What `distill`, `load_distilled` or this function returned, or a path, URI or key.
        ipc: Images per class that stay.
        data: The data set whose evaluation the training is like; runs know it themselves, and imported sets take the defaults without.
        root: The storage that keys are looked for in, by default BILP_STORAGE.
        device: cpu, cuda, ...; by default BILP_DEVICE, or a GPU if there is one.
        settings: Settings of resizing, such as epochs=50, seed=1 or network={"width": 32}.
    """
    larger = as_set(synthetic, root)
    given: dict[str, Any] = {}
    if data is not None:
        given = dict(as_data(data, root).given)
    elif larger.is_distilled:
        given = merge(larger.made.data.given, larger.made.given)
    evaluate = configured(for_device(given, device)).evaluate
    try:
        config = ResizeConfig.like(evaluate, ipc=ipc, **settings)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        raise ConfigError(f"resize: {'.'.join(map(str, wrong['loc'])) or 'settings'}: {wrong['msg']}") from error
    storage = layout.root_of(larger.uri)
    if storage is None:
        raise ConfigError(f"{larger.uri} lies in no storage: give the path of a run or of a set below a storage's root")
    with place_at(storage, device) as place:
        uri = resize_stage(larger.uri, config, place.root, place.device, place.watch.step(f"resizing to {ipc} images per class"))
    smaller = load_distilled(uri)
    return smaller.made_of(larger.made) if larger.is_distilled else smaller

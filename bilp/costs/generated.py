"""Generated images of the shape of a data set, in a folder that is gone afterwards: what real steps are timed on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.config import IngestConfig
from bilp.config.shapes import is_clip, values_in
from bilp.config.sources import OWN
from bilp.costs.data_counts import DataCounts
from bilp.data import Dataset, ingest, open_dataset
from bilp.data.pool import RealPool
from bilp.data.sources.arrays import hold
from bilp.data.sources.given_arrays import Layout, arrays_of
from bilp.nets.by_device import ByDevice
from bilp.seeds import generator
from bilp.storage.scratch import scratch_folder

SAMPLES = ByDevice(cpu=1024, gpu=4096, large=16384)
"""Of the classes whose steps are timed, at most, unless one class has more: fewer leave a GPU idle, more take a CPU minutes."""
BYTES = 128 * 2**20
"""Of their pixels likewise."""
TEST_SAMPLES = 256


@dataclass(frozen=True)
class Generated:
    """A data set with all classes of the real one, of which the first `few` have many samples and the others one."""

    dataset: Dataset
    uri: str
    root: str
    """Of the storage that it lies in."""
    few: range
    each: int
    """Samples of each of these classes."""

    @property
    def pool(self) -> RealPool:
        """Its samples."""
        return RealPool(self.dataset)

    @property
    def samples(self) -> Tensor:
        """sample_ids of the few classes, int64 `[n]`."""
        return torch.cat(self.dataset.train.by_class()[: len(self.few)])


@contextmanager
def generated(data: DataCounts, each: int, device: torch.device, seed: int) -> Iterator[Generated]:
    """Noise of the shape of the samples of `data`, up to `each` in some of its classes; gone after the block."""
    size = values_in(data.shape)
    each = max(2, min(each, int(data.train.max())))
    few = max(1, min(data.classes, SAMPLES.on(device) // each, BYTES // (each * size)))
    labels = torch.cat([torch.arange(few).repeat_interleave(each), torch.arange(few, data.classes)])
    test = torch.arange(max(data.classes, TEST_SAMPLES)) % data.classes
    images = [
        torch.randint(256, (len(own), *data.shape), dtype=torch.uint8, generator=generator(seed, "plan", split))
        for split, own in (("train", labels), ("test", test))
    ]
    layout: Layout = "NTCHW" if is_clip(data.shape) else "NCHW"
    media = "video" if is_clip(data.shape) else "image"
    source = next(entry.name for entry in OWN if entry.from_python and entry.media == media)
    arrays = arrays_of(images[0], labels, [f"class {number}" for number in range(data.classes)], (images[1], test), layout)
    config = IngestConfig.model_validate({"source": source, "uri": hold(arrays)})
    with scratch_folder("bilp-plan-") as folder:
        uri = ingest(config, str(folder))
        yield Generated(open_dataset(uri), uri, str(folder), range(few), each)

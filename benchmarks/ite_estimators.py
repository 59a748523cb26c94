"""Every estimator of the causal effect on real images: rank agreement with the definition, time and memory.

    python -m benchmarks.ite --data FOLDER                 # Parquet files in the layout of Hugging Face, with train-*
    python -m benchmarks.ite --data FOLDER --widths 32 128 --images 1 10 50 --steps 0 50

The definition itself is taken where its cost allows (`--oracle-up-to`); elsewhere the exact cotangent form stands for it,
which the definition agrees with. Times are of one class batch with everything that belongs to the estimator.
"""

from __future__ import annotations

import argparse
import io
import resource
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from benchmarks.devices import Clock, clock_on, devices
from bilp.causal import ClassBatch, EffectSettings, Estimator, Precision, measure
from bilp.causal.precision import rank_correlation
from bilp.config import MethodName, NetworkConfig
from bilp.matching import Matching, matching_for
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
ESTIMATORS: tuple[Estimator, ...] = ("cotangent", "taylor", "sketch", "auto")


@dataclass(frozen=True)
class Pictures:
    """Encoded images of a training split."""

    encoded: list[bytes]
    labels: Tensor

    def batch(self, ids: Tensor) -> Tensor:
        """Standardized images `[n, 3, H, W]`."""
        arrays = [np.asarray(Image.open(io.BytesIO(self.encoded[i])).convert("RGB")) for i in ids.tolist()]
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        return (torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) / 255 - mean) / std


def read(folder: str) -> Pictures:
    """The training split of a folder of Parquet files with an image column and a label column."""
    files = sorted(Path(folder).glob("train-*.parquet"))
    if not files:
        raise SystemExit(f"{folder}: no train-*.parquet")
    table = pq.read_table(files)
    images = next(name for name in table.column_names if name in ("img", "image"))
    return Pictures([row["bytes"] for row in table[images].to_pylist()], torch.tensor(table["label"].to_pylist()))


def trained(pictures: Pictures, width: int, steps: int, device: torch.device) -> Network:
    """A ConvNet after some steps of SGD on real images."""
    network = build(NetworkConfig(width=width), (3, 32, 32), int(pictures.labels.max()) + 1)
    initialize(network, generator(0, "network"))
    network.to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for step in range(steps):
        ids = torch.randint(len(pictures.labels), (64,), generator=generator(0, "train", step))
        optimizer.zero_grad()
        functional.cross_entropy(network(pictures.batch(ids).to(device)), pictures.labels[ids].to(device)).backward()
        optimizer.step()
    optimizer.zero_grad()
    return network


def compare(method: MethodName, network: Network, real: Tensor, synthetic: Tensor, label: int, clock: Clock, truth: bool) -> None:
    """Print time and rank agreement of every estimator on one class batch."""
    matching: Matching = matching_for(method)
    pairs = [(images, torch.full((len(images),), label, device=images.device)) for images in (real, synthetic)]
    batch, few = ClassBatch(*pairs), ClassBatch((real[:2], pairs[0][1][:2]), pairs[1])

    def timed(estimator: Estimator, precision: Precision = "float32") -> tuple[Tensor, float]:
        start = clock()
        norms = measure(matching, network, batch, EffectSettings(estimator, precision=precision)).norms
        return norms.cpu(), clock() - start

    measure(matching, network, few, EffectSettings("sketch"))  # first use of forward mode
    exact, exact_seconds = timed("oracle" if truth else "cotangent")
    print(f"    {'oracle' if truth else 'exact':10s} {exact_seconds:9.3f} s")
    for estimator in ESTIMATORS:
        norms, seconds = timed(estimator)
        print(f"    {estimator:10s} {seconds:9.3f} s   Spearman {rank_correlation(norms, exact):.4f}")
    norms, seconds = timed("auto", "bfloat16")
    print(f"    {'auto, bf16':10s} {seconds:9.3f} s   Spearman {rank_correlation(norms, exact):.4f}")


def run(arguments: argparse.Namespace, clock: Clock) -> None:
    """All combinations on the CPU, and on a GPU if there is one."""
    pictures = read(arguments.data)
    ids = torch.nonzero(pictures.labels == arguments.label).squeeze(1)
    for device in devices():
        for width in arguments.widths:
            for steps in arguments.steps:
                network = trained(pictures, width, steps, device)
                for images in arguments.images:
                    real, synthetic = pictures.batch(ids[: arguments.batch + images]).to(device).split([arguments.batch, images])
                    for method in arguments.methods:
                        print(f"{method} on {device}: width {width}, {arguments.batch} real, {images} synthetic, {steps} steps trained")
                        compare(
                            method, network, real, synthetic, arguments.label, clock_on(device, clock), images <= arguments.oracle_up_to
                        )
                    print(f"    peak memory so far {_peak(device) / 2**20:.0f} MiB", flush=True)


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

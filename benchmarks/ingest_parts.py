"""python -m benchmarks.ingest_parts [--images 1600] [--clips 48] [--repeats 3]

Ingestion in parts beside bare decoding of the same bytes, as ratios within one run: images of 500 x 375 to 64, and clips of 10 s at
340 x 256 to 8 frames of 64, by CPU seconds; two workers over one, by seconds as a user waits; and an ingestion that goes on after one that
was stopped when half of its parts were there, over a whole one. A row for each, with the least of the repetitions.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import clips
from bilp.config import IngestConfig
from bilp.data import ingest_plan, ingestion
from bilp.data.decode import decode
from bilp.data.decoding_rules import conversion_of
from bilp.data.ingest_part import ingest_part
from bilp.data.ingest_plan import open_plan
from bilp.data.shards import HEADER_BYTES

DISTINCT = 16
"""Files of different content; the others are copies."""
PARTS = 4
"""Of the training split, whatever it holds."""
WORKER = """
import sys, time
from bilp.config import IngestConfig
from bilp.data import convert, open_dataset
from bilp.data.ingest_part import ingest_part
convert.THREADS = 1
config = IngestConfig.model_validate_json(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
begun = time.time()
for number in sys.argv[3:]:
    ingest_part(config, sys.argv[2], int(number))
print(begun, time.time())
"""


def photo(seed: int) -> bytes:
    """A JPEG of 500 x 375 with the spectrum of natural pictures."""
    draw = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(375)[:, None], np.fft.rfftfreq(500)[None])
    frequency[0, 0] = 1.0
    shape = (3, *frequency.shape)
    noise = np.fft.irfft2((draw.standard_normal(shape) + 1j * draw.standard_normal(shape)) / frequency, s=(375, 500), axes=(1, 2))
    pixels = np.clip(128 + 40 * noise / noise.std(), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def folder(root: Path, contents: list[bytes], suffix: str, count: int) -> Path:
    """A folder of two classes with a training split of `count` files and a small test split."""
    for split, number in (("train", count), ("test", 2 * len(contents))):
        for place in range(number):
            file = root / split / ("one" if place % 2 else "other") / f"{place:05d}{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(contents[place % len(contents)])
    return root


def cpu(call: Callable[[], object]) -> float:
    """CPU seconds of a call, of this process and those that it started and that have ended."""
    before = sum(os.times()[:4])
    call()
    return sum(os.times()[:4]) - before


def bare_frames(contents: list[bytes]) -> None:
    """Decode every frame of each file, and nothing else."""
    import av

    for data in contents:
        with av.open(io.BytesIO(data), "r") as file:
            file.streams.video[0].thread_count = 1
            for _ in file.decode(video=0):
                pass


def beside_decoding(config: IngestConfig, bare: Callable[[], object], count: int, options: argparse.Namespace) -> tuple[float, float]:
    """Items per CPU second of an ingestion and of bare decoding of as many; the best of the repetitions of each."""
    taken: dict[str, list[float]] = {"ingestion": [], "bare": []}
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory(prefix="bilp-parts-") as store:
            taken["ingestion"].append(cpu(lambda store=store: ingestion.read_source(config, store)))  # type: ignore[misc]
        taken["bare"].append(cpu(bare))
    return count / min(taken["ingestion"]), count / min(taken["bare"])


def waited(config: IngestConfig, workers: int) -> float:
    """Seconds from the moment at which so many workers begin to decode the parts until the last is done."""
    with tempfile.TemporaryDirectory(prefix="bilp-parts-") as store:
        plan_uri = str(ingestion.plan_source(config, store))
        numbers = [str(part.number) for part in open_plan(plan_uri).parts if part.split == "train"]
        command = [sys.executable, "-c", WORKER, config.model_dump_json(), plan_uri]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        begun = [subprocess.Popen([*command, *numbers[k::workers]], env=environment, text=True, **pipes) for k in range(workers)]  # type: ignore[call-overload]
        for worker in begun:
            assert worker.stdout.readline() == "ready\n"
        told = []
        for worker in begun:
            worker.stdin.write("\n")
            worker.stdin.flush()
        for worker in begun:
            told.append([float(word) for word in worker.communicate()[0].split()])
        return max(end for _, end in told) - min(begin for begin, _ in told)


def resumed(config: IngestConfig) -> tuple[float, float]:
    """CPU seconds of an ingestion, and of one after another that was stopped when half of the parts were there."""
    with tempfile.TemporaryDirectory(prefix="bilp-parts-") as store:
        whole = cpu(lambda: ingestion.read_source(config, store))
    with tempfile.TemporaryDirectory(prefix="bilp-parts-") as store:
        plan_uri = str(ingestion.plan_source(config, store))
        parts = open_plan(plan_uri).parts
        for part in parts[: len(parts) // 2]:
            ingest_part(config, plan_uri, part.number)
        return whole, cpu(lambda: ingestion.read_source(config, store))


def parts_of(count: int, values: int) -> None:
    """Let a part hold a fourth of `count` items of so many values."""
    ingest_plan.PART_BYTES = HEADER_BYTES + -(-count // PARTS) * values
    ingest_plan.LEAST_ITEMS = 0


def main() -> None:
    """Print a row for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1600)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print("| what | measured | beside | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="bilp-sources-") as home:
        pictures = [photo(seed) for seed in range(DISTINCT)]
        config = IngestConfig(source="folder", uri=str(folder(Path(home, "pictures"), pictures, ".jpg", options.images)), resolution=64)
        count, conversion = options.images + 2 * DISTINCT, conversion_of(config)
        parts_of(options.images, 3 * 64 * 64)
        bare = (pictures * (count // DISTINCT + 1))[:count]
        found = beside_decoding(config, lambda: [decode(data, conversion) for data in bare], count, options)  # type: ignore[arg-type]
        print(
            f"| images per CPU-second, ingestion and bare decoding | {found[0]:.0f} | {found[1]:.0f} | {found[0] / found[1]:.2f} |",
            flush=True,
        )
        one, two = (min(waited(config, workers) for _ in range(options.repeats)) for workers in (1, 2))
        print(f"| seconds for all training parts, one worker and two | {one:.2f} | {two:.2f} | {one / two:.2f} |", flush=True)
        whole, rest = (min(column) for column in zip(*(resumed(config) for _ in range(options.repeats)), strict=True))
        print(f"| CPU seconds of the whole, and of the rest after half | {whole:.2f} | {rest:.2f} | {rest / whole:.2f} |", flush=True)
        codec, form, coding = clips.KINDS["H.264, keyframe in 12"]
        files = [clips.clip(codec, form, coding, seed) for seed in range(DISTINCT // 4)]
        source = folder(Path(home, "clips"), files, ".mp4", options.clips)
        config = IngestConfig(source="video_folder", uri=str(source), resolution=64)
        count = options.clips + 2 * len(files)
        parts_of(options.clips, 8 * 3 * 64 * 64)
        found = beside_decoding(config, lambda: bare_frames((files * (count // len(files) + 1))[:count]), count, options)
        print(f"| clips per CPU-second, ingestion and every frame by PyAV | {found[0]:.1f} | {found[1]:.1f} | {found[0] / found[1]:.2f} |")


if __name__ == "__main__":
    main()

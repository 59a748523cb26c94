"""Peak memory of ingesting the worst pictures that are accepted, above that of the process before it starts.

    python benchmarks/ingest_memory.py [CASE ...] [--tree CHECKOUT] [--gigabytes 10]

Each case writes a folder of hostile or merely large pictures and ingests it in a process of its own, which prints what became of it
and the growth of its largest resident set. `--tree` measures another checkout, `--gigabytes` limits the address space of the process.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image

REPOSITORY = Path(__file__).resolve().parent.parent

MEASURED = """
import resource, sys, time
limit = int(float(sys.argv[4]) * 2**30)
from bilp.config import IngestConfig
from bilp.data import read_source
from bilp.errors import BilpError
import bilp.data.ingestion, pyarrow.parquet, torch, PIL.Image
PIL.Image.init()
if sys.argv[5] == "flows":
    import flows
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
base, start = peak(), time.perf_counter()
try:
    settings = {} if sys.argv[3] == "none" else {"resolution": int(sys.argv[3])}
    read_source(IngestConfig(source="folder", uri=sys.argv[1], on_corrupt="skip", **settings), sys.argv[2])
    end = "accepted"
except BilpError as error:
    end = "refused: " + str(error).splitlines()[-1][-120:]
except BaseException as error:
    end = type(error).__name__
print(f"{peak() - base:8.0f} MiB above {base:.0f}  {time.perf_counter() - start:5.1f} s  {end}")
"""


def encoded(mode: str, size: tuple[int, int], form: str, **options: object) -> bytes:
    """A picture of one color."""
    stream = io.BytesIO()
    Image.new(mode, size, 0).save(stream, form, **options)
    return stream.getvalue()


def with_texts(data: bytes, count: int) -> bytes:
    """A PNG with so many compressed texts of almost 1 MiB."""
    body = b"zTXt" + b"key\0\0" + zlib.compress(b"A" * (2**20 - 100), 9)
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return data[:33] + chunk * count + data[33:]


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


# Name -> resolution ("none" keeps the size), how many pictures of each class and split, the picture.
CASES: dict[str, tuple[str, int, Callable[[], bytes]]] = {
    "gray-13000-to-8": ("8", 8, lambda: encoded("L", (13000, 13000), "PNG", compress_level=1)),
    "gray-13000": ("none", 1, lambda: encoded("L", (13000, 13000), "PNG", compress_level=1)),
    "png-rgb-limit": ("none", 2, lambda: encoded("RGB", (9120, 9120), "PNG", compress_level=1)),
    "png-rgba-limit": ("none", 2, lambda: encoded("RGBA", (9120, 9120), "PNG", compress_level=1)),
    "png-rgba-limit-to-64": ("64", 4, lambda: encoded("RGBA", (9120, 9120), "PNG", compress_level=1)),
    "palette-limit": ("none", 1, lambda: encoded("P", (11500, 11500), "PNG", compress_level=1)),
    "jpeg-limit-progressive": ("none", 2, lambda: encoded("RGB", (8180, 8180), "JPEG", progressive=True, subsampling=0)),
    "jpeg-limit-to-64": ("64", 4, lambda: encoded("RGB", (8180, 8180), "JPEG", progressive=True, subsampling=0)),
    "jpeg-turned": ("none", 2, lambda: encoded("RGB", (8180, 8180), "JPEG", exif=turned())),
    "jpeg-12-megapixels": ("none", 12, lambda: encoded("RGB", (4000, 3000), "JPEG")),
    "jpeg-12-megapixels-to-224": ("224", 24, lambda: encoded("RGB", (4000, 3000), "JPEG")),
    "webp-limit-to-64": ("64", 2, lambda: encoded("RGBA", (5900, 5900), "WEBP", lossless=True, quality=0, method=0)),
    "tiff-one-strip-to-64": ("64", 2, lambda: encoded("RGB", (5700, 5700), "TIFF", compression="tiff_adobe_deflate", tiffinfo={278: 5700})),
    "gif-limit-to-64": ("64", 2, lambda: encoded("P", (11500, 11500), "GIF")),
    "png-texts": ("none", 20, lambda: with_texts(encoded("RGB", (8, 8), "PNG"), 63)),
    "one-pixel-wide": ("8", 1, lambda: encoded("L", (1, 170_000_000), "PNG", compress_level=1)),
    "long-to-1024": ("1024", 2, lambda: encoded("RGB", (200, 200_000), "PNG", compress_level=1)),
}


def measure(name: str, tree: Path, gigabytes: float, process: str) -> str:
    """One line about a case."""
    resolution, count, make = CASES[name]
    data = make()
    with tempfile.TemporaryDirectory(prefix="bilp-memory-") as folder:
        for split in ("train", "test"):
            for label in ("one", "two"):
                place = Path(folder, "source", split, label)
                place.mkdir(parents=True)
                for number in range(count):
                    (place / f"{number}.png").write_bytes(data)
        for label in ("one", "two"):  # something of the same kind is always accepted
            (Path(folder, "source") / "test" / label / "small.png").write_bytes(
                encoded("L", (8, 8), "PNG")
            ) if resolution != "none" else None
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            MEASURED,
            f"{folder}/source",
            f"{folder}/store",
            resolution,
            str(gigabytes),
            process,
        ]
        environment = {**os.environ, "PYTHONPATH": str(tree), "TMPDIR": folder, "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False)
    return ended.stdout.strip() or f"ended with {ended.returncode}: {ended.stderr.strip().splitlines()[-1:]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], help="all by default")
    parser.add_argument("--tree", type=Path, default=REPOSITORY)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--process", choices=["library", "flows"], default="library", help="whether memory is kept, as in flows")
    given = parser.parse_args()
    for name in given.cases or CASES:
        print(f"{name:26} {measure(name, given.tree, given.gigabytes, given.process)}", flush=True)


if __name__ == "__main__":
    main()

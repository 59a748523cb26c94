"""python -m benchmarks.clips [--clips 24] [--repeats 3]

CPU milliseconds of decoding 8 frames of clips of 10 s at 340 x 256 and 30 frames a second to 64 x 64, and ratios within one run: decoding
from start to end over decoding what is needed, and the stream of an ingestion, with its processes, over the decoding alone.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
import numpy as np

from bilp.data.clips import container
from bilp.data.clips.conversion import ClipConversion, convert_clip
from bilp.data.clips.decoding import decoded_clips
from bilp.data.clips.frame_size import FrameSize
from bilp.data.clips.sampling import Wanted
from bilp.data.contents import Group
from bilp.data.decode import Depth

WIDTH, HEIGHT, SECONDS, RATE = 340, 256, 10, 30
KINDS = {
    "H.264, keyframe in 12": ("libx264", "mp4", {"g": "12", "preset": "veryfast", "x264-params": "log=-1"}),
    "H.264, keyframe in 250": ("libx264", "mp4", {"g": "250", "preset": "veryfast", "x264-params": "log=-1"}),
    "VP9": ("libvpx-vp9", "webm", {"deadline": "realtime", "cpu-used": "8"}),
    "MPEG-4 AVI": ("mpeg4", "avi", {"b": "1000000"}),
}
CONVERSION = ClipConversion("bilp.data.clips.sampling:middle", Wanted(8, 2.0, 4), FrameSize("auto", 64, stretched=True))


def clip(codec: str, form: str, options: dict[str, str], seed: int) -> bytes:
    """A window that moves over noise with the spectrum of natural pictures."""
    draw = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(HEIGHT + 150)[:, None], np.fft.rfftfreq(WIDTH + 300)[None])
    frequency[0, 0] = 1.0
    shape = (3, *frequency.shape)
    noise = np.fft.irfft2((draw.standard_normal(shape) + 1j * draw.standard_normal(shape)) / frequency, axes=(1, 2))
    picture = np.clip(128 + 40 * (noise - noise.mean()) / noise.std(), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form) as file:
        stream = file.add_stream(codec, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1
        for number in range(SECONDS * RATE):
            window = picture[number // 2 : number // 2 + HEIGHT, number : number + WIDTH]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(window), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return buffer.getvalue()


def cpu(call: Callable[[], object], repeats: int) -> float:
    """The least CPU seconds of a call, of this process and those that it started and that have ended."""
    found = []
    for _ in range(repeats):
        before = sum(os.times()[:4])
        call()
        found.append(sum(os.times()[:4]) - before)
    return min(found)


def in_sequence(files: list[bytes]) -> None:
    """Decode all frames of each file from start to end, as for one whose times cannot be trusted."""
    packets = container._packets
    container._packets = lambda *_: None  # type: ignore[assignment]
    try:
        for data in files:
            convert_clip(data, CONVERSION, 0)
    finally:
        container._packets = packets


def groups(files: list[bytes]) -> Iterator[Group]:
    """A group for each file."""
    for number, data in enumerate(files):
        yield Group([str(number)], [lambda data=data: data], [len(data)])  # type: ignore[misc]


def main() -> None:
    """Print a row for each coding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    columns = ("file", "kB", "needed, ms", "start to end over needed", "stream over needed", "clips/s, 1 process", "2 over 1, wall")
    print(f"| {' | '.join(columns)} |")
    print("|---|---|---|---|---|---|---|")
    for name, (codec, form, coding) in KINDS.items():
        files = [clip(codec, form, coding, seed) for seed in range(4)] * (options.clips // 4)
        needed = cpu(lambda files=files: [convert_clip(data, CONVERSION, 0) for data in files], options.repeats) / len(files)
        whole = cpu(lambda files=files: in_sequence(files), options.repeats) / len(files)
        stream = cpu(lambda files=files: list(decoded_clips(groups(files), CONVERSION, Depth(), 1)), options.repeats) / len(files)
        walls = []
        for processes in (1, 2):
            start = time.perf_counter()
            list(decoded_clips(groups(files * 2), CONVERSION, Depth(), processes))
            walls.append(time.perf_counter() - start)
        size = sum(map(len, files)) / len(files) / 1000
        print(
            f"| {name} | {size:.0f} | {1000 * needed:.1f} | {whole / needed:.2f} | {stream / needed:.2f} | "
            f"{2 * len(files) / walls[0]:.1f} | {walls[0] / walls[1]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

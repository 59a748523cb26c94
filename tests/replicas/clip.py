"""Clips that the tests make: a window that moves over a picture, or frames that carry their own number."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 30
WIDTH, HEIGHT = 96, 72
BITS = 10
"""Bits of a frame's number, drawn as black and white blocks in two rows: compression does not change which."""


@dataclass(frozen=True)
class Coding:
    """How frames become a file: FFmpeg's names of codec and container, options of the encoder and of the container."""

    codec: str = "libx264"
    container: str = "mp4"
    options: dict[str, str] = field(default_factory=dict)
    muxing: dict[str, str] = field(default_factory=dict)
    pixels: str = "yuv420p"


def gop(length: int, b_frames: int = 0) -> Coding:
    """H.264 with a keyframe in every `length` frames, and frames that are coded from later ones."""
    options = {
        "g": str(length),
        "keyint_min": str(length),
        "sc_threshold": "0",
        "bf": str(b_frames),
        "preset": "ultrafast",
        "x264-params": "log=-1:b-adapt=0",
    }
    return Coding(options=options)


MP4 = gop(12)
WEBM = Coding("libvpx-vp9", "webm", {"deadline": "realtime", "cpu-used": "8"})
AVI = Coding("mpeg4", "avi", {"g": "12"})
AVI_B_FRAMES = Coding("mpeg4", "avi", {"g": "12", "bf": "2"})


def encoded(frames: Iterable[np.ndarray], coding: Coding = MP4, times: Sequence[int] | None = None, rate: int = RATE) -> bytes:
    """A video file of frames [H, W, 3], shown at `times` in units of 1/rate of a second (by default one after the other)."""
    with tempfile.TemporaryDirectory() as folder:  # to move its index to the front, FFmpeg opens the file once more
        path = Path(folder) / "clip"
        _write(path, frames, coding, times, rate)
        return path.read_bytes()


def _write(path: Path, frames: Iterable[np.ndarray], coding: Coding, times: Sequence[int] | None, rate: int) -> None:
    with av.open(path, "w", format=coding.container, options=coding.muxing) as container:
        stream: av.VideoStream | None = None
        for number, pixels in enumerate(frames):
            if stream is None:
                added = container.add_stream(coding.codec, rate=rate, options=dict(coding.options))
                assert isinstance(added, av.VideoStream)
                stream = added
                stream.height, stream.width, stream.pix_fmt = *pixels.shape[:2], coding.pixels
                stream.codec_context.thread_count = 1
                stream.codec_context.time_base = Fraction(1, rate)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number if times is None else times[number], Fraction(1, rate)
            container.mux(stream.encode(frame))
        assert stream is not None
        container.mux(stream.encode())


def numbered_frames(count: int, height: int = HEIGHT, width: int = WIDTH) -> list[np.ndarray]:
    """Frames [H, W, 3] each of which shows its number."""
    frames = []
    for number in range(count):
        bits = np.array([number >> bit & 1 for bit in range(BITS)], dtype=np.uint8).reshape(2, BITS // 2)
        blocks = np.kron(bits * 255, np.ones((-(-height // 2), -(-width // (BITS // 2))), dtype=np.uint8))[:height, :width]
        frames.append(np.repeat(blocks[:, :, None], 3, axis=2))
    return frames


def number_of(frame: np.ndarray) -> int:
    """The number that a frame [C, H, W] shows, at any size."""
    _, height, width = frame.shape
    columns = BITS // 2
    across = np.minimum(np.arange(0.5, columns) * -(-width // columns), width - 2).astype(int)
    down = (np.arange(0.5, 2) * height / 2).astype(int)
    bits = (frame[0][np.ix_(down, across)] > 127).ravel()
    return sum(1 << position for position in np.flatnonzero(bits).tolist())


def clip(label: int, number: int, seconds: float, coding: Coding = MP4, rate: int = RATE) -> bytes:
    """A video file: a window moves over a picture of natural statistics in the color of its class, and a bright patch moves in it."""
    draw = np.random.default_rng((label, number))
    picture = _noise(draw, HEIGHT + 48, WIDTH + 64)
    hue = np.array([(label * 83) % 160, (label * 151 + 60) % 160, (label * 37 + 110) % 160], dtype=np.float64) + 40
    picture = np.clip(hue + 28 * picture[..., None] * np.array([1.0, 0.8, 0.6]), 0, 255).astype(np.uint8)
    count = max(1, round(seconds * rate))
    frames = []
    for frame in range(count):
        share = frame / max(1, count - 1)
        top, left = round(48 * share), round(64 * (share if label % 2 else 1 - share))
        view = picture[top : top + HEIGHT, left : left + WIDTH].copy()
        x, y = round((WIDTH - 16) * share), 8 + 6 * (number % 6)
        view[y : y + 12, x : x + 16] = 255 - hue.astype(np.uint8)
        frames.append(view)
    return encoded(frames, coding, rate=rate)


def sound(seconds: float = 1.0, rate: int = 16_000) -> bytes:
    """A file of silence without any picture."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, round(seconds * rate)), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def _noise(draw: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise [H, W] whose amplitude falls with frequency, as that of natural pictures does, of deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1.0
    spectrum = draw.standard_normal(frequency.shape) + 1j * draw.standard_normal(frequency.shape)
    noise: np.ndarray = np.fft.irfft2(spectrum / frequency, (height, width))
    normal: np.ndarray = (noise - noise.mean()) / noise.std()
    return normal

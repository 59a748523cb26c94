"""Decode chosen frames of a video file: the only module that knows PyAV, and imported by the processes that decode alone.

The file is read through once without decoding, which tells when each frame is shown and which are keyframes. Then the wanted
frames are decoded in stretches (`bilp.data.clips.keyframes`). Files whose times cannot be trusted are decoded from start to end:
AVI, which has none, with frames counted, and those in which a frame does not come at the time that its packet says.

Arithmetic is that of FFmpeg's bit-exact code, so that every machine gets the same pixels. Frames are turned as their rotation
says, their sample aspect ratio is not applied. Streams of other places, which playlists and the like name, are not opened.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
from av.codec.context import Flags
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from bilp.data.clips.keyframes import stretches
from bilp.data.clips.sampling import Frames, Timeline
from bilp.data.decode import Pixels
from bilp.data.opening import DecodeError

FORMATS = "mov,avi,matroska,webm,mpegts,mpeg,flv,asf,ogg"
"""FFmpeg's names of the containers that are read; none of them leads to other files."""
COUNTED = "avi"
EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}

av.logging.set_level(av.logging.ERROR)  # or errors would not carry what FFmpeg says of the file

Chosen = tuple[Frames, Mapping[int, Pixels]]
"""Positions of the frames that were taken, and the pixels of each of them."""


class _Unexpected(Exception):
    """A frame does not come at the time that its packet says."""


@dataclass(frozen=True)
class _Packets:
    """What the packets of a stream tell: times of frames [n], ascending, positions of keyframes among them, and how long the last
    frame is shown."""

    pts: NDArray[np.int64]
    keyframes: tuple[int, ...]
    last: int


@dataclass(frozen=True)
class Taking:
    """How frames are taken: `choose` by the times at which they are shown, `convert` makes pixels of one in mode L or RGB, and
    `check` raises DecodeError for frames of a width and height that are not decoded."""

    choose: Callable[[Timeline], Frames]
    convert: Callable[[Image.Image], Pixels]
    check: Callable[[int, int], None]


def decode_frames(data: bytes, taking: Taking) -> Chosen:
    """The frames that are taken of a video file; raises DecodeError."""
    if not data:
        raise DecodeError("empty file")
    try:
        with _opened(data, taking.check) as (container, stream):
            counted = COUNTED in container.format.name.split(",")
            packets = None if counted else _packets(container, stream)
            unit = stream.time_base
        if packets is None:
            return _by_count(data, taking)
        try:
            return _by_times(data, packets, unit, taking)
        except _Unexpected:
            return _by_decoded(data, unit, taking)
    except (DecodeError, MemoryError):
        raise
    except Exception as error:  # PyAV answers damaged bytes with subclasses of OSError, ValueError, IndexError, LookupError, ...
        raise DecodeError(f"damaged or truncated ({_reason(error)})") from error


@contextmanager
def _opened(data: bytes, check: Callable[[int, int], None]) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its first stream of moving pictures; raises DecodeError if there is none."""
    with av.open(io.BytesIO(data), metadata_errors="replace", options={"format_whitelist": FORMATS}) as container:
        assert isinstance(container, InputContainer)  # it was opened to be read
        streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
        if not streams:
            raise DecodeError("holds no video stream" + (", only sound" if container.streams.audio else ""))
        stream = streams[0]
        if stream.codec_context is None:
            raise DecodeError("is of a video codec that is not known")
        check(stream.codec_context.width, stream.codec_context.height)
        stream.codec_context.thread_count = 1  # clips are decoded side by side
        stream.codec_context.flags |= Flags.bitexact
        yield container, stream


def _packets(container: InputContainer, stream: VideoStream) -> _Packets | None:
    """What the packets tell, without decoding; None if that is not when each frame is shown. Raises DecodeError if some are missing."""
    pts: list[int] = []
    keys: list[int] = []
    total = 0
    latest = (np.iinfo(np.int64).min, 0)
    for packet in container.demux(stream):
        if not packet.size:
            continue
        total += 1
        if packet.is_discard:  # before the start that an edit list sets
            continue
        if packet.pts is None:
            return None
        pts.append(packet.pts)
        latest = max(latest, (packet.pts, packet.duration or 0))
        if packet.is_keyframe:
            keys.append(packet.pts)
    if total < stream.frames:
        raise DecodeError(f"truncated ({total:,} of {stream.frames:,} frames are there)")
    times = np.unique(np.array(pts, dtype=np.int64))
    if len(times) < len(pts):
        return None
    if not len(times):
        raise DecodeError("holds no frames")
    keyframes = np.searchsorted(times, np.array(sorted(keys), dtype=np.int64)).tolist()
    return _Packets(times, tuple(keyframes), latest[1])


def _by_times(data: bytes, packets: _Packets, unit: Fraction | None, taking: Taking) -> Chosen:
    """Frames chosen and found by the times of their packets. Raises _Unexpected if one does not come then."""
    taken = taking.choose(Timeline.of_times(packets.pts, packets.last, unit or Fraction(0)))
    pixels: dict[int, Pixels] = {}
    with _opened(data, taking.check) as (container, stream):
        frames, images = container.decode(stream), _Images(taking.convert)
        for stretch in stretches(np.unique(taken).tolist(), packets.keyframes):
            if stretch.start is not None:
                container.seek(int(packets.pts[stretch.start]), stream=stream)  # FFmpeg looks for the time at which it is shown
                frames = container.decode(stream)
            for position in stretch.frames:
                pixels[position] = images.pixels(_at(frames, int(packets.pts[position])))
    return taken, pixels


def _at(frames: Iterator[VideoFrame], pts: int) -> VideoFrame:
    for frame in frames:
        if frame.pts is None or frame.pts > pts:
            break
        if frame.pts == pts:
            return frame
    raise _Unexpected


def _by_decoded(data: bytes, unit: Fraction | None, taking: Taking) -> Chosen:
    """Frames chosen by the times that the decoded ones have, decoded from start to end."""
    with _opened(data, taking.check) as (container, stream):
        shown = [(frame.pts, frame.duration or 0) for frame in container.decode(stream)]
        rate = stream.average_rate
    times = [pts for pts, _ in shown if pts is not None]
    if not shown:
        raise DecodeError("holds no frames")
    ascending = len(times) == len(shown) and all(earlier < later for earlier, later in pairwise(times))
    timeline = Timeline.of_count(len(shown), rate)
    if ascending and unit:
        timeline = Timeline.of_times(np.array(times, dtype=np.int64), shown[-1][1], unit)
    taken = taking.choose(timeline)
    return taken, _in_sequence(data, taken, taking)[0]


def _by_count(data: bytes, taking: Taking) -> Chosen:
    """Frames chosen by their number, decoded from start to end: as many as there are packets, unless decoding shows another number."""
    with _opened(data, taking.check) as (container, stream):
        count = sum(1 for packet in container.demux(stream) if packet.size)
        rate = stream.average_rate or stream.guessed_rate
    while count:
        taken = taking.choose(Timeline.of_count(count, rate))
        pixels, found = _in_sequence(data, taken, taking)
        if found == count:
            return taken, pixels
        count = found
    raise DecodeError("holds no frames")


def _in_sequence(data: bytes, taken: Frames, taking: Taking) -> tuple[dict[int, Pixels], int]:
    """The pixels of those frames that are wanted and there, and the number of all frames."""
    wanted, pixels, count = set(taken.tolist()), {}, 0
    with _opened(data, taking.check) as (container, stream):
        images = _Images(taking.convert)
        for position, frame in enumerate(container.decode(stream)):
            if position in wanted:
                pixels[position] = images.pixels(frame)
            count = position + 1
    return pixels, count


class _Images:
    """Frames in mode L or RGB, turned as their rotation says, and converted."""

    def __init__(self, convert: Callable[[Image.Image], Pixels]) -> None:
        self._convert = convert
        self._reformatter = VideoReformatter()

    def pixels(self, frame: VideoFrame) -> Pixels:
        """The pixels that are made of a frame."""
        form = "gray" if frame.format.name.startswith("gray") else "rgb24"
        plain = self._reformatter.reformat(frame, format=form, interpolation=EXACT, threads=1)
        image = Image.fromarray(plain.to_ndarray())
        turn = TURNS.get(round(frame.rotation) % 360)
        return self._convert(image if turn is None else image.transpose(turn))


def _reason(error: Exception) -> str:
    """What FFmpeg says of it, in one short line."""
    log = getattr(error, "log", None)
    said = log[2] if isinstance(log, tuple) else getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(said).split())[:120]

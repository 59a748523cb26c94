"""Frames that are taken of real files: those that arithmetic says, whatever the file's coding; and decoders that die."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clip_faults import ENDLESS, FATAL
from PIL import Image
from replicas.clip import AVI, AVI_B_FRAMES, WEBM, Coding, clip, encoded, gop, number_of, numbered_frames, sound

from bilp.data.clips import container
from bilp.data.clips.bundle import bundled
from bilp.data.clips.conversion import ClipConversion, convert_clip
from bilp.data.clips.decoding import decoded_clips
from bilp.data.clips.frame_size import FrameSize
from bilp.data.clips.sampling import Wanted
from bilp.data.contents import Group
from bilp.data.decode import Depth
from bilp.data.opening import DecodeError

SAMPLING = "bilp.data.clips.sampling:"
SMALL = FrameSize("auto", 32, stretched=True)
CODINGS = {
    "every frame a keyframe": gop(1),
    "a keyframe in 12": gop(12),
    "one keyframe": gop(250),
    "frames coded from later ones": gop(12, 2),
    "webm": WEBM,
    "avi": AVI,
    "avi with frames coded from later ones": AVI_B_FRAMES,
}


def conversion(sampling: str = "uniform", size: FrameSize = SMALL, **wanted: float) -> ClipConversion:
    return ClipConversion(SAMPLING + sampling, Wanted(**{"frames": 8, "fps": 4.0, "stride": 5} | wanted), size)  # type: ignore[arg-type]


def numbers(data: bytes, how: ClipConversion, draw: int = 0) -> list[int]:
    return [number_of(frame) for frame in convert_clip(data, how, draw).pixels]


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS.keys())
def test_the_frames_are_those_that_arithmetic_says(coding: Coding) -> None:
    data = encoded(numbered_frames(100), coding)
    assert numbers(data, conversion("uniform")) == [6, 18, 31, 43, 56, 68, 81, 93]
    assert numbers(data, conversion("middle")) == [23, 31, 38, 46, 53, 61, 68, 76]
    assert numbers(data, conversion("window"), draw=13) == [13, 18, 23, 28, 33, 38, 43, 48]


def test_jumping_gives_the_pixels_of_decoding_in_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    data = clip(3, 1, 4.0, gop(12, 2))
    jumped = convert_clip(data, conversion("uniform"), 0).pixels
    monkeypatch.setattr(container, "COUNTED", "mov")
    assert np.array_equal(convert_clip(data, conversion("uniform"), 0).pixels, jumped)


@pytest.mark.parametrize("b_frames", [0, 2])
def test_no_frame_is_decoded_that_no_wanted_one_needs(b_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, plain = [], container._at

    def counted(frames: Iterator[Any], pts: int) -> Any:
        def watched() -> Iterator[Any]:
            for frame in frames:
                seen.append(frame.pts)
                yield frame

        return plain(watched(), pts)

    monkeypatch.setattr(container, "_at", counted)
    assert numbers(encoded(numbered_frames(100), gop(12, b_frames)), conversion()) == [6, 18, 31, 43, 56, 68, 81, 93]
    assert len(seen) == sum(frame % 12 + 1 for frame in (6, 18, 31, 43, 56, 68, 81, 93))


def test_times_and_not_numbers_decide_where_the_rate_varies() -> None:
    times = [*range(40), *range(40, 400, 6)]  # 40 frames in the first tenth, 60 in the rest
    data = encoded(numbered_frames(100), gop(12), times)
    centers = [(2 * i + 1) * 395 / 16 for i in range(8)]  # the last one lasts one unit
    assert numbers(data, conversion("uniform")) == [max(n for n, time in enumerate(times) if time <= center) for center in centers]


def test_a_start_after_zero_changes_nothing() -> None:
    data = encoded(numbered_frames(100), gop(12), [time + 77 for time in range(100)])
    assert numbers(data, conversion("uniform")) == [6, 18, 31, 43, 56, 68, 81, 93]


def test_a_short_clip_repeats_its_last_frame_and_is_counted() -> None:
    found = convert_clip(encoded(numbered_frames(12)), conversion("middle", fps=2.0), 0)
    assert found.short and [number_of(frame) for frame in found.pixels] == [0, 2, 5, 7, 10, 11, 11, 11]
    assert not convert_clip(encoded(numbered_frames(40)), conversion("uniform"), 0).short


def _half(coding: Coding) -> bytes:
    whole = clip(0, 0, 1.0, coding)
    return whole[: len(whole) // 2]


DAMAGED = {
    "empty": (lambda: b"", "empty file"),
    "text": (lambda: b"no video at all" * 100, "damaged or truncated"),
    "no index": (lambda: _half(gop(12)), "damaged or truncated .moov atom not found"),
    "cut": (lambda: _half(replace(gop(12), muxing={"movflags": "faststart"})), "truncated .* of 30 frames are there"),
    "sound": (sound, "holds no video stream, only sound"),
}


@pytest.mark.parametrize(("make", "reason"), DAMAGED.values(), ids=DAMAGED.keys())
def test_what_is_damaged_says_how(make: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        convert_clip(make(), conversion(), 0)


def test_a_playlist_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(clip(0, 0, 1.0))
    for text in (f"ffconcat version 1.0\nfile '{tmp_path}/secret.mp4'\n", f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/secret.mp4\n#EXT-X-ENDLIST\n"):
        with pytest.raises(DecodeError, match="damaged"):
            convert_clip(text.encode(), conversion(), 0)


def test_sizes() -> None:
    data = encoded([np.full((72, 96, 3), 90, dtype=np.uint8)] * 8)
    shapes = {
        FrameSize("auto", 32): (8, 3, 32, 32),
        FrameSize("gray", 32, stretched=True): (8, 1, 32, 32),
        FrameSize("auto", 56, before=(64, 64)): (8, 3, 56, 56),
        FrameSize("auto", None): (8, 3, 72, 96),
    }
    for size, shape in shapes.items():
        assert convert_clip(data, conversion(size=size), 0).pixels.shape == shape
    with pytest.raises(DecodeError, match="frames of 96 x 72 = 6,912 pixels, the limit is 5,000.*max_pixels to 6912"):
        convert_clip(data, conversion(size=FrameSize("auto", 32, max_pixels=5000)), 0)


def test_cutting_after_resizing_takes_the_middle() -> None:
    half = np.concatenate([np.zeros((60, 80, 3)), np.full((60, 80, 3), 255)], axis=1).astype(np.uint8)
    pixels = FrameSize("auto", 40, before=(160, 60)).pixels(Image.fromarray(half))
    assert np.array_equal(pixels, half[10:50, 60:100].transpose(2, 0, 1))


def _turned(data: bytes) -> bytes:
    """The same mp4, whose track header asks to show x where y was: a quarter turn clockwise, as telephones write it."""
    place = data.index(b"tkhd") + 4 + 40  # version and flags, times, ids, duration, layer, volume
    matrix = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    assert struct.unpack(">9i", data[place : place + 36]) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    return data[:place] + matrix + data[place + 36 :]


def test_frames_are_turned_as_the_file_says() -> None:
    plain = encoded([np.kron(np.array([[255, 0], [90, 170]], dtype=np.uint8), np.ones((32, 32), np.uint8))[..., None].repeat(3, 2)] * 4)
    upright, turned = (convert_clip(data, conversion(size=SMALL, frames=2), 0).pixels for data in (plain, _turned(plain)))
    assert np.abs(turned.astype(int) - np.rot90(upright, -1, (2, 3))).max() <= 2
    assert np.abs(turned.astype(int) - upright).max() > 50


def test_frames_in_files_of_their_own_are_taken_as_they_are() -> None:
    frames = numbered_frames(5)
    found = convert_clip(bundled([png(frames[number]) for number in (0, 3, 4, 4)]), conversion(), 0)
    assert [number_of(frame) for frame in found.pixels] == [0, 3, 4, 4] and found.short
    with pytest.raises(DecodeError, match="not an image"):
        convert_clip(bundled([b"no picture"]), conversion(), 0)


def _groups(files: list[bytes], draws: list[int] | None = None) -> Iterator[Group]:
    for number, data in enumerate(files):
        yield Group([f"{number}.mp4"], [lambda data=data: data], [len(data)], [] if draws is None else [draws[number]])  # type: ignore[misc]


@pytest.mark.slow
def test_clips_come_in_order_with_the_damaged_ones_in_place() -> None:
    files = [encoded(numbered_frames(20 + number)) for number in range(12)]
    files[3] = b""
    files[7] = files[7][:-300]
    tally = Depth()
    found = list(decoded_clips(_groups(files), conversion("window", stride=4), tally, 2))
    assert [origins for origins, _ in found] == [[f"{number}.mp4"] for number in range(12)]
    bad = {number for number, (_, (clip_or_error,)) in enumerate(found) if isinstance(clip_or_error, DecodeError)}
    assert bad == {3, 7} and tally.short == 5  # of up to 25 frames, the last is taken twice
    assert all(pixels.shape == (8, 3, 32, 32) for _, (pixels,) in found if not isinstance(pixels, DecodeError))


@pytest.mark.slow
def test_a_decoder_that_dies_or_hangs_costs_the_clip_alone() -> None:
    files = [encoded(numbered_frames(40))] * 7
    faulty = replace(conversion(), sampling="clip_faults:choose")
    draws = [0, FATAL, 0, ENDLESS, 0, 0, 0]
    found = [pixels for _, (pixels,) in decoded_clips(_groups(files, draws), faulty, Depth(), 1, seconds=3.0)]
    errors = {number: str(pixels) for number, pixels in enumerate(found) if isinstance(pixels, DecodeError)}
    assert errors == {1: "the decoder crashed (SIGSEGV)", 3: "decoding took more than 3 s"}
    last = found[6]
    assert not isinstance(last, DecodeError)
    assert [number_of(frame) for frame in last] == [2, 7, 12, 17, 22, 27, 32, 37]

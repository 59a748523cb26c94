"""Every stated conversion rule, on real files that Pillow wrote."""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bilp.data import opening
from bilp.data.decode import Conversion, Depth, OutOfRange, decode, from_array
from bilp.data.opening import DecodeError

AUTO = Conversion()
GRAY = Conversion(color="gray")
RGB = Conversion(color="rgb")


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def random_pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_plain_gray_and_color_keep_every_pixel() -> None:
    gray, color = random_pixels(5, 7), random_pixels(5, 7, 3)
    assert np.array_equal(decode(encoded(Image.fromarray(gray)), AUTO), gray[None])
    assert np.array_equal(decode(encoded(Image.fromarray(color)), AUTO), color.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("orientation", "turned"), [(3, lambda x: x[::-1, ::-1]), (6, lambda x: np.rot90(x, -1)), (2, lambda x: x[:, ::-1])]
)
def test_exif_orientation_is_applied(orientation: int, turned: Any) -> None:
    pixels = random_pixels(4, 6, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(pixels), exif=exif.tobytes())
    assert np.array_equal(decode(data, AUTO), turned(pixels).transpose(2, 0, 1))


def test_exif_orientation_is_ignored_where_the_pixels_are_upright_as_they_are() -> None:
    pixels = random_pixels(4, 6, 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(pixels), exif=exif.tobytes())
    assert np.array_equal(decode(data, Conversion(orientation="ignore")), pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("size", [(40, 10), (7, 21), (16, 16), (3, 3000)])
def test_stretching_brings_both_sides_to_the_resolution(size: tuple[int, int]) -> None:
    pixels = random_pixels(size[1], size[0], 3)
    found = decode(encoded(Image.fromarray(pixels)), Conversion(resolution=16, fit="stretch"))
    expected = np.asarray(Image.fromarray(pixels).resize((16, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(found, expected.transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["bilinear", "box", "bicubic", "lanczos"])
@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_the_stated_filter_resizes(name: Any, fit: Any) -> None:
    pixels = random_pixels(40, 40, 3)
    found = decode(encoded(Image.fromarray(pixels)), Conversion(resolution=10, fit=fit, filter=name))
    expected = np.asarray(Image.fromarray(pixels).resize((10, 10), Image.Resampling[name.upper()]))
    assert np.array_equal(found, expected.transpose(2, 0, 1))


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_gray_is_divided_by_257_and_rounded(form: str) -> None:
    values = np.array([[0, 128, 129, 257], [385, 386, 65534, 65535]], dtype=np.uint16)
    expected = np.floor(values / 257 + 0.5).astype(np.uint8)
    assert expected.tolist() == [[0, 0, 1, 1], [1, 2, 255, 255]]
    assert np.array_equal(decode(encoded(Image.fromarray(values), form), AUTO), expected[None])


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 15, 16])
def test_stated_bits_use_the_whole_range(bits: int) -> None:
    top = 2**bits - 1
    values = np.array([[0, 1, top // 3, top // 2, top - 1, top]], dtype=np.uint16)
    expected = np.rint(values / top * 255).astype(np.uint8)
    assert expected[0, -1] == 255
    depth = Depth()
    assert np.array_equal(decode(encoded(Image.fromarray(values)), Conversion(bits=bits), depth), expected[None])
    assert depth.largest == top
    if bits < 16:
        values[0, 0] = top + 1
        with pytest.raises(OutOfRange, match=f"value {top + 1}, but ingest.bits {bits} means values up to {top}: set it to {bits + 1},"):
            decode(encoded(Image.fromarray(values)), Conversion(bits=bits))


def test_the_largest_value_of_all_sixteen_bit_pictures_is_known() -> None:
    depth = Depth()
    decode(encoded(Image.fromarray(random_pixels(3, 3))), AUTO, depth)
    assert depth.largest is None, "8-bit pictures have none"
    for value in (700, 4095, 12):
        decode(encoded(Image.fromarray(np.full((2, 2), value, dtype=np.uint16)), "TIFF"), AUTO, depth)
    decode(encoded(Image.fromarray(np.array([[3, 9000]], dtype=np.uint16)), transparency=9000), Conversion(bits=12), depth)
    assert depth.largest == 4095, "a transparent value is none of the picture's"


def test_sixteen_bit_gray_with_a_transparent_value() -> None:
    values = np.array([[0, 5000, 65535]], dtype=np.uint16)
    assert decode(encoded(Image.fromarray(values), transparency=5000), AUTO).tolist() == [[[0, 255, 255]]]


def test_one_bit_becomes_black_and_white() -> None:
    image = Image.fromarray(np.array([[True, False], [False, True]]))
    assert image.mode == "1"
    assert decode(encoded(image), AUTO).tolist() == [[[255, 0], [0, 255]]]


@pytest.mark.parametrize(("alpha", "expected"), [(0, [255, 255, 255]), (255, [200, 100, 0]), (128, [227, 177, 127])])
def test_alpha_is_composited_on_white(alpha: int, expected: list[int]) -> None:
    data = encoded(Image.new("RGBA", (1, 1), (200, 100, 0, alpha)))
    assert decode(data, AUTO).reshape(3).tolist() == expected


def test_gray_with_alpha_stays_gray() -> None:
    image = Image.fromarray(np.array([[[10, 255], [10, 0]]], dtype=np.uint8), mode=None)
    assert image.mode == "LA"
    assert decode(encoded(image), AUTO).tolist() == [[[10, 255]]]


def test_gray_with_a_transparent_value_stays_gray() -> None:
    image = Image.fromarray(np.array([[10, 20]], dtype=np.uint8))
    assert decode(encoded(image, transparency=20), AUTO).tolist() == [[[10, 255]]]


def test_palette_becomes_rgb_even_if_its_colors_are_gray() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([9, 9, 9, 200, 0, 0])
    image.putdata([0, 1])
    assert decode(encoded(image), AUTO)[:, 0].T.tolist() == [[9, 9, 9], [200, 0, 0]]
    transparent = decode(encoded(image, transparency=1), AUTO)
    assert transparent[:, 0].T.tolist() == [[9, 9, 9], [255, 255, 255]]


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    pixels = decode(encoded(image, "TIFF"), AUTO)
    assert pixels.shape == (3, 8, 8)
    assert pixels[:, 0, 0].tolist() == [255, 0, 0]
    assert decode(encoded(image, "JPEG"), AUTO).shape == (3, 8, 8)


@pytest.mark.parametrize("form", ["GIF", "PNG", "TIFF", "WEBP"])
def test_animations_give_their_first_frame(form: str) -> None:
    frames = [Image.new("RGB", (6, 6), color) for color in ((255, 0, 0), (0, 255, 0))]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], **({"lossless": True} if form == "WEBP" else {}))
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 2
    assert decode(data, AUTO)[:, 3, 3].tolist() == [255, 0, 0]


def test_color_choices() -> None:
    color = random_pixels(3, 4, 3)
    gray = random_pixels(3, 4)
    luma = np.rint(color @ np.array([0.299, 0.587, 0.114]))
    assert np.abs(decode(encoded(Image.fromarray(color)), GRAY)[0] - luma).max() <= 1
    assert np.array_equal(decode(encoded(Image.fromarray(gray)), RGB), np.stack([gray] * 3))
    assert np.array_equal(decode(encoded(Image.fromarray(gray)), GRAY), gray[None])


@pytest.mark.parametrize("size", [(40, 20), (20, 40), (41, 20), (20, 20), (10, 30), (301, 7)])
def test_resize_brings_the_shorter_side_then_crops_the_center(size: tuple[int, int]) -> None:
    width, height = size
    pixels = random_pixels(height, width, 3)
    side, short = 10, min(size)
    whole = Image.fromarray(pixels).resize(
        (max(side, round(width * side / short)), max(side, round(height * side / short))), Image.Resampling.BILINEAR
    )
    left, top = (whole.width - side) // 2, (whole.height - side) // 2
    expected = np.asarray(whole)[top : top + side, left : left + side]
    assert np.array_equal(decode(encoded(Image.fromarray(pixels)), Conversion(resolution=side)), expected.transpose(2, 0, 1))


def test_resize_antialiases() -> None:
    """A checkerboard shrunk eight times is an even gray; sampling without a filter would leave black or white."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    small = decode(encoded(Image.fromarray(board)), Conversion(resolution=8))
    assert np.abs(small.astype(int) - 127.5).max() < 8


def test_pictures_of_the_right_size_are_only_cropped() -> None:
    pixels = random_pixels(8, 12)
    assert np.array_equal(decode(encoded(Image.fromarray(pixels)), Conversion(resolution=8))[0], pixels[:, 2:10])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from(["auto", "gray", "rgb"]),
    st.sampled_from([None, 1, 4, 8]),
    st.integers(0, 99),
)
def test_arrays_and_lossless_files_agree(height: int, width: int, colored: bool, color: Any, resolution: int | None, seed: int) -> None:
    pixels = random_pixels(height, width, *((3,) if colored else ()), seed=seed)
    rules = Conversion(color, resolution)
    assert np.array_equal(from_array(pixels, rules), decode(encoded(Image.fromarray(pixels)), rules))


JPEG = encoded(Image.fromarray(random_pixels(64, 64, 3)), "JPEG")
PNG = encoded(Image.fromarray(random_pixels(64, 64, 3)), "PNG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"not a picture at all", "not an image in a known format"),
        (b"xx", r"^not an image in a known format \(PNG, JPEG, WEBP, GIF, BMP, TIFF, PPM\)$"),  # too short for what some formats look for
        (JPEG[: len(JPEG) // 2], "damaged or truncated"),
        (PNG[: len(PNG) // 2], "damaged or truncated"),
        (PNG[:20], "damaged or truncated|not an image"),
        (PNG[:60] + b"\0\0\0" + PNG[63:], "damaged or truncated"),
        (encoded(Image.new("F", (2, 2)), "TIFF"), "mode F"),
        (encoded(Image.new("I", (2, 2)), "TIFF"), "mode I"),
    ],
)
def test_what_is_no_whole_picture_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason) as caught:
        decode(data, AUTO)
    assert "0x" not in str(caught.value), "an object's address would make the ledger differ between runs"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM"])
def test_a_picture_over_the_limit_is_too_large_and_the_setting_takes_it(form: str) -> None:
    data = encoded(Image.fromarray(random_pixels(6, 5, 3)), form)
    reason = r"too large \(5 x 6 = 30 pixels, the limit is 29\): set ingest.max_pixels to 30 or more to take it"
    with pytest.raises(DecodeError, match=reason):
        decode(data, Conversion(max_pixels=29))
    assert np.array_equal(decode(data, Conversion(max_pixels=30)), decode(data, AUTO))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM"])
@pytest.mark.parametrize("library", [10, 20])  # 30 pixels are three times as many, or between once and twice
def test_what_the_setting_allows_the_library_neither_warns_of_nor_refuses(form: str, library: int, monkeypatch: Any) -> None:
    data = encoded(Image.fromarray(random_pixels(6, 5, 3)), form)
    expected = decode(data, AUTO)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", library)
    monkeypatch.setattr(opening, "LIBRARY_LIMIT", 2 * library)
    if library == 10:
        with pytest.raises(DecodeError, match="^too large"):
            decode(data, AUTO)
    assert np.array_equal(decode(data, Conversion(max_pixels=30)), expected)
    if library == 20:
        assert np.array_equal(decode(data, AUTO), expected)


def test_a_header_over_the_librarys_own_limit_is_no_damage() -> None:
    """A PNG that claims 20000 x 10000 pixels, refused before any is decoded."""
    width, height = 20000, 10000
    head = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x00\x00\x00\x00"
    data = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + head + zlib.crc32(head).to_bytes(4, "big") + bytes(4) + b"IDAT" + bytes(4)
    with pytest.raises(DecodeError, match=r"too large \(20000 x 10000 = 200,000,000 pixels, the limit is 178,956,970\)"):
        decode(data, AUTO)

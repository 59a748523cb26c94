"""Bytes that claim to be pictures, each with what is said about it: truncated, lying, inflating, empty, of other formats."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

DAMAGED, TOO_LARGE, UNKNOWN = "damaged or truncated", "too large", "not an image in a known format"


def encoded(mode: str, size: tuple[int, int], form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, 7).save(stream, form, **options)
    return stream.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def png(width: int, height: int, color: int = 0, depth: int = 8, before: bytes = b"", pixels: bytes | None = None) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = zlib.compress(b"\0" * 64 if pixels is None else pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def tiff(tags: dict[int, tuple[int, int]], data: bytes = b"") -> bytes:
    """A gray TIFF of 16 x 16 with its tags (value, type) replaced by others."""
    found = {
        256: (16, 3),
        257: (16, 3),
        258: (8, 3),
        259: (8, 3),
        262: (1, 3),
        273: (8, 4),
        277: (1, 3),
        278: (16, 3),
        279: (len(data), 4),
    } | tags
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, (value, kind) in sorted(found.items()))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(found)) + entries + bytes(4)


def gif(screen: tuple[int, int], frame: tuple[int, int], frames: int = 1) -> bytes:
    picture = b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + bytes(6) + picture * frames + b";"


def oriented(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


TEXT = chunk(b"zTXt", b"key\0\0" + zlib.compress(b"A" * (2**20 + 1)))
JPEG = encoded("RGB", (64, 64), "JPEG")
PNG = encoded("RGB", (64, 64), "PNG")
WEBP = encoded("RGB", (64, 64), "WEBP")
CMYK = encoded("CMYK", (16, 16), "JPEG", icc_profile=b"no profile" * 30)

REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "^empty file$"),
    "a zero": (b"\0", UNKNOWN),
    "zeros": (bytes(5000), UNKNOWN),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", UNKNOWN),
    "a web page": (b"<!doctype html><html></html>", UNKNOWN),
    "a program": (b"\x7fELF" + bytes(60), UNKNOWN),
    "a pickle": (b"\x80\x04cos\nsystem\n.", UNKNOWN),
    "an archive": (b"PK\x03\x04" + bytes(60), UNKNOWN),
    "PNG of 13000 x 13000": (png(13000, 13000, 2), r"too large \(13000 x 13000 = 169,000,000 pixels, the limit is 83,\d+,\d+\)"),
    "PNG of 13000 x 13000 with a palette": (png(13000, 13000, 3, before=chunk(b"PLTE", bytes(3))), TOO_LARGE),
    "PNG of 13000 x 13000 in 16 bits": (png(13000, 13000, 6, 16), TOO_LARGE),
    "PNG of 1 x 170,000,000": (png(1, 170_000_000), r"too elongated \(1 x 170000000, the limit is 1,000 to 1\)"),
    "PNG of 170,000,000 x 1": (png(170_000_000, 1), "too elongated"),
    "PNG of 2^31 x 2^31": (png(2**31 - 1, 2**31 - 1), TOO_LARGE),
    "PNG of 0 x 5": (png(0, 5), f"{DAMAGED}|holds no pixels|{UNKNOWN}"),
    "PNG of 5 x 0": (png(5, 0), f"{DAMAGED}|holds no pixels|{UNKNOWN}"),
    "PNG cut in its header": (PNG[:20], f"{DAMAGED}|{UNKNOWN}"),
    "PNG cut in its pixels": (PNG[: len(PNG) // 2], DAMAGED),
    "PNG with a wrong checksum": (PNG[:45] + b"\0" + PNG[46:], DAMAGED),
    "PNG with too few pixels": (png(64, 64), DAMAGED),
    "PNG with pixels of another depth": (png(8, 8, depth=7), f"{DAMAGED}|{UNKNOWN}"),
    "PNG with a text of 1 MiB and more": (png(8, 8, before=TEXT, pixels=bytes(72)), DAMAGED),
    "PNG with 70 MiB of texts": (png(8, 8, before=70 * chunk(b"zTXt", b"k\0\0" + zlib.compress(b"A" * 2**20)), pixels=bytes(72)), DAMAGED),
    "PNG with a huge profile": (png(8, 8, before=chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2**21))), pixels=bytes(72)), DAMAGED),
    "APNG whose frame is larger": (
        png(
            8,
            8,
            before=chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
            + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 9999, 9999, 0, 0, 1, 1, 0, 0)),
        ),
        f"{DAMAGED}|{UNKNOWN}",
    ),
    "JPEG cut": (JPEG[: len(JPEG) // 2], DAMAGED),
    "JPEG of 65500 x 65500": (JPEG.replace(b"\x08\x00\x40\x00\x40", b"\x08\xff\xdc\xff\xdc", 1), TOO_LARGE),
    "JPEG of 8500 x 8500": (JPEG.replace(b"\x08\x00\x40\x00\x40", struct.pack(">BHH", 8, 8500, 8500), 1), r"the limit is 6\d,\d+,\d+\)"),
    "JPEG of 0 x 64": (JPEG.replace(b"\x08\x00\x40\x00\x40", b"\x08\x00\x40\x00\x00", 1), f"{DAMAGED}|holds no pixels|{UNKNOWN}"),
    "JPEG that only begins": (b"\xff\xd8\xff\xe0", f"{DAMAGED}|{UNKNOWN}"),
    "JPEG of segments without an end": (b"\xff\xd8" + b"\xff\xe1\xff\xff" * 1000, f"{DAMAGED}|{UNKNOWN}"),
    "WebP cut": (WEBP[: len(WEBP) // 2], DAMAGED),
    "WebP that claims 16383 x 16383": (b"RIFF\x1e\0\0\0WEBPVP8L\x11\0\0\0/\xfe\xff\xff\x0f" + bytes(20), f"{TOO_LARGE}|{DAMAGED}"),
    "WebP with a canvas of 2^24 x 255": (
        b"RIFF\x26\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0\xff\xff\xff\xfe\0\0" + bytes(20),
        f"{TOO_LARGE}|{DAMAGED}|elongated",
    ),
    "GIF with a screen of 65535 x 65535": (gif((65535, 65535), (1, 1)), TOO_LARGE),
    "GIF with a frame beyond its screen": (gif((1, 1), (65535, 65535), 3), TOO_LARGE),
    "GIF without a frame": (b"GIF89a" + bytes(7) + b";", f"{DAMAGED}|{UNKNOWN}"),
    "GIF of 0 x 0": (gif((0, 0), (0, 0)), f"{DAMAGED}|holds no pixels|{UNKNOWN}"),
    "BMP of 60000 x 60000": (b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0), TOO_LARGE),
    "BMP of a negative width": (
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, -5, 5, 1, 24, 0, 0, 0, 0, 0, 0),
        f"{DAMAGED}|{UNKNOWN}|holds no|{TOO_LARGE}|elongated",
    ),
    "BMP with a palette of 2^31 colors": (
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 8, 8, 1, 8, 0, 0, 0, 0, 2**31 - 1, 0),
        f"{DAMAGED}|{UNKNOWN}",
    ),
    "PPM of 99999 x 99999": (b"P6 99999 99999 255\n" + bytes(30), TOO_LARGE),
    "PPM of 30000 x 30000 in plain text": (b"P3 8000 8000 255\n1 2 3", TOO_LARGE),
    "PPM with a number of 5000 digits": (b"P6 " + b"9" * 5000 + b" 1 255\n", f"{DAMAGED}|{UNKNOWN}"),
    "PPM of a negative size": (b"P6 -3 5 255\n" + bytes(45), f"{DAMAGED}|{UNKNOWN}|holds no"),
    "PPM of floating-point numbers": (b"Pf 2 2 -1.0\n" + bytes(16), "mode F"),
    "PPM cut": (b"P5 64 64 255\n" + bytes(30), DAMAGED),
    "TIFF of 60000 x 60000": (tiff({256: (60000, 3), 257: (60000, 3)}), TOO_LARGE),
    "TIFF with a tile of 65520 x 65520": (
        tiff({322: (65520, 3), 323: (65520, 3), 324: (8, 4), 325: (9, 4)}),
        r"damaged \(a tile of 4,292,870,400 pixels|" + DAMAGED,
    ),
    "TIFF with 65535 samples": (tiff({277: (65535, 3)}), f"{DAMAGED}|{UNKNOWN}"),
    "TIFF whose directory leads to itself": (b"II*\0\x08\0\0\0" + b"\x01\0" + bytes(12) + b"\x08\0\0\0", f"{DAMAGED}|{UNKNOWN}"),
    "TIFF whose tags claim 2^32 values": (
        b"II*\0\x08\0\0\0" + b"\x02\0" + struct.pack("<HHII", 256, 4, 2**32 - 1, 8) * 2 + bytes(4),
        f"{DAMAGED}|{UNKNOWN}",
    ),
    "TIFF of 32-bit integers": (encoded("I", (4, 4), "TIFF"), "mode I"),
    "TIFF cut": (encoded("RGB", (64, 64), "TIFF", compression="tiff_adobe_deflate")[:-90], f"{DAMAGED}|{UNKNOWN}"),
    "JPEG 2000": (encoded("RGB", (64, 64), "JPEG2000"), "is JPEG 2000 or JPEG XL, which is not read: convert it to PNG"),
    "AVIF without pictures": (
        b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0\0\0\x08meta",
        "is HEIF, AVIF or a video, which is not read: convert it to PNG",
    ),
}

# What is odd, but a picture: taken, and of this shape.
TAKEN: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "CMYK with a broken profile": (CMYK, (3, 16, 16)),
    "JPEG with an orientation that is none": (encoded("RGB", (8, 4), "JPEG", exif=oriented(99)), (3, 4, 8)),
    "JPEG with broken EXIF": (encoded("RGB", (8, 4), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), (3, 4, 8)),
    "JPEG after which a program follows": (JPEG + b"#!/bin/sh\n", (3, 64, 64)),
    "PNG of 1 x 1000": (png(1, 1000, pixels=bytes(2000)), (1, 1000, 1)),
    "PNG with 40 texts": (png(8, 8, before=40 * chunk(b"zTXt", b"k\0\0" + zlib.compress(b"A" * 2**19)), pixels=bytes(72)), (1, 8, 8)),
    "GIF of 500 frames": (
        encoded("P", (4, 4), "GIF", save_all=True, append_images=[Image.new("P", (4, 4), n % 9) for n in range(500)]),
        (3, 4, 4),
    ),
}

"""What lies beside the pixels in a PNG, JPEG or WebP file: taken out and put in without touching a pixel.

PNG: ISO/IEC 15948; JPEG: ITU-T T.81, annex B; WebP: RFC 9649.  XMP in files: ISO 16684-1 and Adobe's part 3.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from stages.runtime.errors import UserError

PNG_HEAD, JPEG_HEAD = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
PNG_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"  # keyword, not compressed, no language, no translation
JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
# What the pixels need to be seen as they are.  All else (text, EXIF, credentials, thumbnails) may tell of somebody.
PNG_KEPT = frozenset(b"IHDR PLTE tRNS IDAT IEND gAMA cHRM sRGB iCCP cICP sBIT pHYs".split())
WEBP_KEPT = frozenset((b"ICCP", b"ALPH", b"VP8 ", b"VP8L"))
JPEG_DROPPED = frozenset((0xFE, *range(0xE0, 0xF0))) - {0xE0, 0xE2, 0xEE}  # JFIF, colour profile, Adobe's transform
RESTARTS = frozenset(range(0xD0, 0xD8))
MIME = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def find_type(data: bytes) -> str | None:
    """The MIME type of a file's bytes; None: neither PNG nor JPEG nor WebP."""
    if data.startswith(PNG_HEAD):
        return MIME["PNG"]
    if data.startswith(JPEG_HEAD):
        return MIME["JPEG"]
    return MIME["WEBP"] if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def replace_marking(data: bytes, xmp: bytes, path: Path) -> bytes:
    """The same pixels with ``xmp`` as the only thing that is said about them.

    Raises:
        UserError: naming ``path``, when the file is neither PNG nor JPEG nor WebP, or is broken.
    """
    try:
        match find_type(data):
            case "image/png":
                return _png(data, xmp)
            case "image/jpeg":
                return _jpeg(data, xmp)
            case "image/webp":
                return _webp(data, xmp)
    except (struct.error, IndexError, ValueError):
        raise UserError(path, "a broken file", "save the picture anew") from None
    raise UserError(path, "passports are for PNG, JPEG and WebP", "convert it to PNG")


def read_xmp(data: bytes) -> bytes:
    """The XMP packet of a PNG, JPEG or WebP file; empty: it has none, or the file is broken."""
    try:
        match find_type(data):
            case "image/png":
                return b"".join(body.removeprefix(PNG_XMP) for _, body in _png_chunks(data) if body[:22] == PNG_XMP)
            case "image/jpeg":
                parts = _jpeg_parts(data)
                return b"".join(p[4:].removeprefix(JPEG_XMP) for m, p in parts if m == 0xE1 and p[4:33] == JPEG_XMP)
            case "image/webp":
                return b"".join(body for name, body in _webp_chunks(data) if name == b"XMP ")
    except (struct.error, IndexError, ValueError):
        pass
    return b""


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place, name = len(PNG_HEAD), b""
    while name != b"IEND":  # what follows is no picture
        length, name = struct.unpack(">I4s", data[place : place + 8])
        if place + 12 + length > len(data):
            raise ValueError("cut short")
        yield name, data[place + 8 : place + 8 + length]
        place += 12 + length


def _png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png(data: bytes, xmp: bytes) -> bytes:
    written = [PNG_HEAD]
    for name, body in _png_chunks(data):
        if name in PNG_KEPT:
            written.append(_png_chunk(name, body))
        if name == b"IHDR":
            written.append(_png_chunk(b"iTXt", PNG_XMP + xmp))
    return b"".join(written)


def _jpeg_parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and bytes of every segment, a scan's coded data with it; ends with the picture, whatever follows."""
    place = len(JPEG_HEAD)
    while True:
        if data[place] != 0xFF:
            raise ValueError("no marker")
        marker = data[place + 1]
        if marker == 0xD9:
            yield marker, b"\xff\xd9"
            return
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        while marker == 0xDA and not (data[end] == 0xFF and data[end + 1] not in RESTARTS | {0}):
            end = data.index(b"\xff", end + 1)
        yield marker, data[place:end]
        place = end


def _jpeg(data: bytes, xmp: bytes) -> bytes:
    body = JPEG_XMP + xmp
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    kept = [(marker, part) for marker, part in _jpeg_parts(data) if marker not in JPEG_DROPPED]
    leading = 1 if kept[0][0] == 0xE0 else 0  # JFIF comes first, by its standard
    return JPEG_HEAD + b"".join([*(p for _, p in kept[:leading]), segment, *(p for _, p in kept[leading:])])


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 12
    while place + 8 <= len(data):
        name, length = struct.unpack("<4sI", data[place : place + 8])
        if place + 8 + length > len(data):
            raise ValueError("cut short")
        yield name, data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


def _webp_chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _webp(data: bytes, xmp: bytes) -> bytes:
    kept = [(name, body) for name, body in _webp_chunks(data) if name in WEBP_KEPT]
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
        width, height, alpha = image.width, image.height, image.mode == "RGBA"
    profile = any(name == b"ICCP" for name, _ in kept)
    flags = 0x20 * profile | 0x10 * alpha | 0x04
    head = struct.pack("<I", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunks = b"".join(_webp_chunk(*part) for part in [(b"VP8X", head), *kept, (b"XMP ", xmp)])
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks

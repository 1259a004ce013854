"""Which files are read at all: local, regular, of a known container, of a bounded size.

The first bytes decide, never the name. A playlist, which would make a decoder open other files or
addresses, has none of these beginnings.
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

from matinee.errors import MatineeError

PACKET = 188
"""Bytes of a packet of an MPEG transport stream. Each begins with the letter G."""
FILMS = "MP4, MOV, MKV, WebM, AVI or MPEG-TS"
PICTURES = "JPEG, PNG or WebP"
ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
"""What the first box of an MP4 or MOV file is called."""
SEGMENTS = 10_000
"""The most segments of a JPEG file that are looked through for its size."""
SIZES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""The markers of a JPEG file that tell its size: SOF0 to SOF15."""


def regular(path: Path, most: int) -> Path:
    """The path without symbolic links, of a regular file of 1..`most` bytes.

    MatineeError where it is anything else, or where the path climbs with ``..``.
    """
    resolved = straight(path)
    try:
        found = resolved.stat()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise _refused(path, why, "give the path of a file that may be read") from error
    if not stat.S_ISREG(found.st_mode):
        raise _refused(path, "it is not a regular file", "give the path of a file")
    if not found.st_size:
        raise _refused(path, "it is empty", "give the whole file")
    if found.st_size > most:
        why = f"it has {found.st_size:,} bytes, and {most:,} are allowed"
        raise _refused(path, why, "raise the limit, or give a smaller copy")
    if not os.access(resolved, os.R_OK):
        raise _refused(path, "it may not be read", f"chmod +r {path.name}")
    return resolved


def straight(path: Path) -> Path:
    """The path without symbolic links. MatineeError where it climbs with ``..`` or holds NUL.

    >>> straight(Path("/films/../etc/passwd"))
    Traceback (most recent call last):
    matinee.errors.MatineeError: /films/../etc/passwd is not used: it climbs with ... Next: ...
    """
    if ".." in path.parts:
        raise MatineeError(
            f"{path} is not used", why="it climbs with ..", next_step="give the path without .."
        )
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise _refused(path, str(error), "give the path of a file that may be read") from error


def container(head: bytes) -> str | None:
    """Which container begins with these bytes (564 at least); None where none that is read.

    >>> container(bytes(4) + b"ftypisom"), container(b"#EXTM3U")
    ('mov', None)
    """
    if head[4:8] in ATOMS:
        return "mov"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    packets = [head[at : at + 1] for at in (0, PACKET, 2 * PACKET)]
    return "mpegts" if packets == [b"G"] * 3 else None


def film(path: Path, most: int) -> Path:
    """The checked path of a film; MatineeError where it is none."""
    resolved = regular(path, most)
    if container(_head(resolved, 3 * PACKET)) is None:
        raise _refused(path, f"it is not {FILMS}", "give the film's file, or convert it to MP4")
    return resolved


def picture(path: Path, most: int, pixels: int) -> Path:
    """The checked path of a picture, whose declared size is looked at before it is decoded."""
    resolved = regular(path, most)
    with resolved.open("rb") as opened:
        data = opened.read(most)
    try:
        size = picture_size(data)
    except (struct.error, IndexError) as error:
        raise _refused(path, "it breaks off in its header", "give the whole file") from error
    if size is None:
        raise _refused(path, f"it is not {PICTURES}", "convert it to one of them")
    width, height = size
    if not (0 < width * height <= pixels):
        why = f"it says that it is {width:,} x {height:,}, and {pixels:,} pixels are allowed"
        raise _refused(path, why, "give a smaller copy")
    return resolved


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG, PNG or WebP file declares; None of any other.

    >>> size = bytes([0, 0, 2, 0, 0, 0, 1, 0])
    >>> picture_size(b"\\x89PNG\\r\\n\\x1a\\n" + bytes(4) + b"IHDR" + size)
    (512, 256)
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg_size(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_size(data)
    return None


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    for _ in range(SEGMENTS):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker in SIZES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        # Fill bytes and markers without a length come before others.
        bare = marker in (0x01, 0xFF) or 0xD0 <= marker <= 0xD8
        at += (1 if marker == 0xFF else 2) if bare else 2 + int.from_bytes(data[at + 2 : at + 4])
    raise IndexError


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", data[21:25])
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def _head(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as opened:
            return opened.read(size)
    except OSError as error:
        raise _refused(path, error.strerror or str(error), "see that it may be read") from error


def _refused(path: Path, why: str, next_step: str) -> MatineeError:
    return MatineeError(f"{path.name or path} is not read", why=why, next_step=next_step)

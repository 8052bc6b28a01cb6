"""gzip, unpacked: in memory up to a size, beyond that in an unnamed temporary file. RFC 1952, RFC 1951."""

import mmap
from typing import IO, TYPE_CHECKING

from analysis.errors import InputError
from analysis.files.frames import GZIP_MAGIC, READ_WHOLE, Buffer

if TYPE_CHECKING:
    from zlib import _Decompress

HIGHEST_RATIO = 100  # captures of the same frame again and again come to about 50
HARMLESS = 64 << 20  # bytes that may come of any file, however small
STEP_IN, STEP_OUT = 1 << 16, 1 << 20  # bytes at a time: nothing grows with the file


def unpack(data: Buffer, path: str) -> tuple[Buffer, str]:
    """What is in the gzip `data`, as far as that can be unpacked; and the problem with the rest, or nothing.

    `InputError` where nothing, or far too much, comes out of it, or the temporary folder has no room for it.
    """
    from tempfile import SpooledTemporaryFile

    try:
        with SpooledTemporaryFile(READ_WHOLE) as file:
            problem = _unpack_into(file, data, path)
            content = _content(file)
    except OSError as error:
        raise InputError(
            f"{path}: can't be unpacked into a temporary file: {error.strerror}",
            "unpack it with gunzip where there is room, or set TMPDIR to a folder there",
        ) from None
    if not content:
        reason = problem or "holds nothing"
        raise InputError(f"{path}: is gzip-compressed, and {reason}", "copy the file again, or capture again")
    if content[:2] == GZIP_MAGIC:
        raise InputError(f"{path}: is gzip-compressed more than once", "unpack it once, with gunzip")
    return content, problem


def _content(file: IO[bytes]) -> Buffer:
    if file.tell() <= READ_WHOLE:
        file.seek(0)
        return file.read()
    file.flush()
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _unpack_into(file: IO[bytes], data: Buffer, path: str) -> str:
    """Write what is in `data`, member by member (RFC 1952 §2.2); the problem that ended it early."""
    limit = max(HARMLESS, HIGHEST_RATIO * len(data))
    position = 0
    while position < len(data):
        if data[position : position + 2] != GZIP_MAGIC:
            return _padding(data, position)
        position, problem = _member(file, data, position, limit)
        if file.tell() > limit:
            raise InputError(
                f"{path}: unpacks to more than {limit >> 20} MB, over {limit // len(data)} times its size",
                "unpack it with gunzip, if you trust it",
            )
        if problem:
            return problem
    return ""


def _padding(data: Buffer, position: int) -> str:
    """Zeros behind the last member are padding, as on tapes; anything else is a problem."""
    for at in range(position, len(data), STEP_IN):
        if data[at : at + STEP_IN].strip(b"\0"):
            return f"behind its gzip data, at byte {position}, the file has something else: that was not read"
    return ""


def _member(file: IO[bytes], data: Buffer, position: int, limit: int) -> tuple[int, str]:
    """Unpack the member at `position`, or stop beyond `limit`; where it ends, and its problem."""
    import zlib

    stream = zlib.decompressobj(31)
    while not stream.eof and file.tell() <= limit:
        window = data[position : position + STEP_IN]
        before = stream.copy()
        try:
            unpacked = stream.decompress(window, STEP_OUT)
        except zlib.error as error:
            file.write(_until_error(before, window))
            return position, _damage(str(error), file.tell())
        file.write(unpacked)
        position += len(window) - len(stream.unconsumed_tail) - len(stream.unused_data)
        if not (unpacked or window or stream.eof):
            return position, f"its gzip data ends too soon: the file was cut; {file.tell()} bytes could be unpacked"
    return position, ""


def _until_error(stream: "_Decompress", window: bytes) -> bytes:
    """What comes out of `window` before its damage: zlib keeps that for itself, so go there byte by byte."""
    import zlib

    unpacked = bytearray()
    try:
        for at in range(len(window)):
            unpacked += stream.decompress(window[at : at + 1])
    except zlib.error:
        pass
    return bytes(unpacked)


def _damage(error: str, unpacked: int) -> str:
    if "incorrect" in error:  # "incorrect data check", "incorrect length check"
        return "its gzip checksum is wrong: some of what was unpacked is not what was packed; copy the file again"
    return f"its gzip data is damaged: {unpacked} bytes before that could be unpacked; copy the file again"

"""Archives that do harm to whoever unpacks them: links, names that point out, bombs, lies; each as bytes."""

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from functools import cache

CENTRAL, END = b"PK\1\2", b"PK\5\6"


def zipped(files: dict[str, bytes], *, mode: int = 0, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An honest archive of `files`; `mode`: of every entry, as Unix has it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = method
            archive.writestr(info, data)
    return content.getvalue()


def links(_: bytes) -> bytes:
    """A symbolic link called as the capture is."""
    return zipped({"capture.pcap": b"/etc/passwd", "answers.toml": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777)


def device(data: bytes) -> bytes:
    return zipped({"capture.pcap": data}, mode=stat.S_IFCHR | 0o666)


def points_out(data: bytes) -> bytes:
    """Names that lead out of wherever it is unpacked."""
    names = ("../capture.pcap", "/capture.pcap", "a/../../capture.pcap", "..\\capture.pcap", "C:\\capture.pcap")
    return zipped(dict.fromkeys(names, data))


@cache
def _bomb(method: int) -> bytes:
    return zipped({"capture.pcap": bytes(30_000_000)}, method=method)


def bomb(_: bytes) -> bytes:
    """30 MB of nothing in 30 kB."""
    return _bomb(zipfile.ZIP_DEFLATED)


def bomb_that_lies(_: bytes) -> bytes:
    """The same, and it says that it holds 100 bytes."""
    return with_central(bomb(_), 24, struct.pack("<I", 100))


def lzma(data: bytes) -> bytes:
    return zipped({"capture.pcap": data}, method=zipfile.ZIP_LZMA)


def lzma_of_4_gb(data: bytes) -> bytes:
    """LZMA that wants a dictionary of 4 GB: the four bytes behind the first property, APPNOTE 5.8.8."""
    made = bytearray(lzma(data))
    at = 30 + len("capture.pcap")
    made[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    return bytes(made)


def nested(data: bytes) -> bytes:
    """A zip in a zip in a zip."""
    return zipped({"capture.zip": zipped({"capture.zip": zipped({"capture.pcap": data})})})


def overlapping(data: bytes) -> bytes:
    """Two entries of the directory that lead to the same bytes."""
    made = zipped({"capture.pcap": data})
    start = made.index(CENTRAL)
    end = made.index(END)
    entry = made[start:end]
    second = entry.replace(b"capture.pcap", b"another.pcap")
    tail = bytearray(made[end:])
    struct.pack_into("<HHI", tail, 8, 2, 2, 2 * len(entry))
    return made[:end] + second + bytes(tail)


def with_central(made: bytes, at: int, patch: bytes) -> bytes:
    """The archive, with `patch` at an offset in its first entry of the directory."""
    start = made.index(CENTRAL) + at
    return made[:start] + patch + made[start + len(patch) :]


def encrypted(data: bytes) -> bytes:
    return with_central(zipped({"capture.pcap": data}), 8, b"\1\0")


def wrong_crc(data: bytes) -> bytes:
    return with_central(zipped({"capture.pcap": data}), 16, b"\xde\xad\xbe\xef")


def unknown_method(data: bytes) -> bytes:
    return with_central(zipped({"capture.pcap": data}), 10, b"\x63\0")


def duplicates(data: bytes) -> bytes:
    """Two files of one name."""
    return zipped({"capture.pcap": data, "capture.pcaq": data}).replace(b"capture.pcaq", b"capture.pcap")


@cache
def _many() -> bytes:
    return zipped({f"{number}/capture.pcap": b"" for number in range(2_000)})


def many(_: bytes) -> bytes:
    """2,000 files."""
    return _many()


def long_names(data: bytes) -> bytes:
    """Links with names of 60 kB."""
    long = "\x1b[31m<b>" * 6_500
    return zipped({f"{number}{long}": data for number in range(20)}, mode=stat.S_IFLNK | 0o777)


def hostile_names(data: bytes) -> bytes:
    names = ("\x1b[2J.pcap", "=cmd().pcap", "\u202ex.pcap", "a\n::error::b.pcap", "<img src=x>.pcap", "`|`.pcap")
    return zipped(dict.fromkeys(names, data))


def truncated(data: bytes) -> bytes:
    made = zipped({"capture.pcap": data})
    return made[: len(made) // 2]


def tail_alone(data: bytes) -> bytes:
    """The directory without the files."""
    made = zipped({"capture.pcap": data})
    return made[made.index(CENTRAL) :]


def no_zip(_: bytes) -> bytes:
    return b"PK\3\4 this is no zip"


def empty(_: bytes) -> bytes:
    return zipped({})


def honest(data: bytes) -> bytes:
    return zipped({"work/capture.pcap": data, "__MACOSX/._capture.pcap": b"x", "work/notes.txt": b"x"})


ZIPS: tuple[Callable[[bytes], bytes], ...] = (
    *(honest, links, device, points_out, bomb, bomb_that_lies, lzma, lzma_of_4_gb, nested, overlapping, encrypted),
    *(wrong_crc, unknown_method, duplicates, many, long_names, hostile_names, truncated, tail_alone, no_zip, empty),
)

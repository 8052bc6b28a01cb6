"""What a file is that is no capture, as far as its first bytes tell, and how to make a capture of it."""

import codecs

from analysis.files.frames import Buffer
from analysis.text import plural, printable

CONVERT = "make a pcap of it: editcap -F pcap IN OUT"
SAVE_ANEW = "hand in a .pcap or .pcapng as tcpdump or Wireshark save it"

SIGNATURES = (  # first bytes, what they say, the next step
    (b"GMBU", "is a capture of Microsoft's Network Monitor 2, which is not read here", CONVERT),
    (b"RTSS", "is a capture of Microsoft's Network Monitor 1, which is not read here", CONVERT),
    (b"snoop\0\0\0", "is a capture of Solaris' snoop, which is not read here", CONVERT),
    (b"btsnoop\0", "is a capture of Bluetooth (btsnoop), which is not read here", CONVERT),
    (b"\x1c\x00\x01\xac", "is Ixia's variant of pcap, which is not read here", CONVERT),
    (b"\xac\x01\x00\x1c", "is Ixia's variant of pcap, which is not read here", CONVERT),
    (b"\x1c\x00\x01\xab", "is Ixia's variant of pcap, which is not read here", CONVERT),
    (b"\xab\x01\x00\x1c", "is Ixia's variant of pcap, which is not read here", CONVERT),
    (b"\xa1\xb2\x34\xcd", "is a variant of pcap that nothing reads any more", SAVE_ANEW),
    (b"\xcd\x34\xb2\xa1", "is a variant of pcap that nothing reads any more", SAVE_ANEW),
    (b"\xa1\x2b\x3c\x4d", "is Navtel's variant of pcap, which is not read here", SAVE_ANEW),
    (b"\x4d\x3c\x2b\xa1", "is Navtel's variant of pcap, which is not read here", SAVE_ANEW),
    (b"PK\x03\x04", "is a zip archive, no capture", "unpack it: unzip FILE"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive, no capture", "unpack it: 7z x FILE"),
    (b"\xfd7zXZ\0", "is compressed with xz", "unpack it: xz -d FILE"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd", "unpack it: zstd -d FILE"),
    (b"\x04\x22\x4d\x18", "is compressed with lz4", "unpack it: lz4 -d FILE"),
    (b"BZh", "is compressed with bzip2", "unpack it: bzip2 -d FILE"),
)
LOOKED_AT = 512  # bytes: enough to tell text


def describe(data: Buffer) -> tuple[str, str]:
    """What `data`, which is neither pcap nor pcapng, is instead, to go behind a name; and the next step."""
    if not data:
        return "is empty", "capture again"
    for signature, what, next_step in SIGNATURES:
        if data[: len(signature)] == signature:
            return what, next_step
    if len(data) < 4:
        return f"is no capture: it has only {plural(len(data), 'byte')}", SAVE_ANEW
    begins = f"is no capture: it begins with {data[:4].hex(' ')}"
    text = _as_text(data[:LOOKED_AT]).lstrip()
    if text[:14].lower() == "<!doctype html" or text[:5].lower() == "<html":
        return f"{begins}, and is HTML, a web page", "download the file itself, not the page about it"
    if text:
        line = printable(text.splitlines()[0][:40])
        return f"{begins}, and is text: “{line}”", "hand in what `tcpdump -w` or `tshark -w` write, not what they print"
    return f"{begins}, which neither pcap nor pcapng does", SAVE_ANEW


def _as_text(head: bytes) -> str:
    """`head` as text, without a byte-order mark; empty if it isn't. Its last character may be cut."""
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return ""
    return text if all(char.isprintable() or char.isspace() for char in text) else ""

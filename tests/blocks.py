"""pcapng files, block by block: whatever the format allows, and what it forbids.

Written from draft-ietf-opsawg-pcapng-02 alone, so that nobody checks our reader with our reader.
"""

import struct

Options = list[tuple[int, bytes]]


class Blocks:
    """A pcapng file being written; `order` is `<` or `>` and may change before a section."""

    def __init__(self, order: str = "<") -> None:
        self.order = order
        self.content = b""

    def block(self, kind: int, body: bytes, trailer: int | None = None) -> "Blocks":
        """Any block (§3.1); `trailer` is its second length, where that is to lie."""
        body += bytes(-len(body) % 4)
        length = len(body) + 12
        head = struct.pack(self.order + "II", kind, length)
        self.content += head + body + struct.pack(self.order + "I", length if trailer is None else trailer)
        return self

    def options(self, options: Options) -> bytes:
        """An option list (§3.5), with its end; nothing at all for no options."""
        packed = b"".join(
            struct.pack(self.order + "HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in options
        )
        return packed + bytes(4) if packed else b""

    def section(self, options: Options | None = None, *, order: str | None = None, major: int = 1) -> "Blocks":
        """A section header (§4.1), from which on `order` holds."""
        self.order = order or self.order
        body = struct.pack(self.order + "IHHq", 0x1A2B3C4D, major, 0, -1)
        return self.block(0x0A0D0D0A, body + self.options(options or []))

    def interface(self, link_type: int = 1, options: Options | None = None, *, snap: int = 0) -> "Blocks":
        """An interface description (§4.2)."""
        body = struct.pack(self.order + "HHI", link_type, 0, snap)
        return self.block(1, body + self.options(options or []))

    def enhanced(
        self,
        data: bytes,
        ticks: int = 0,
        *,
        interface: int = 0,
        wire: int | None = None,
        captured: int | None = None,
        options: Options | None = None,
    ) -> "Blocks":
        """An enhanced packet block (§4.3)."""
        known = len(data) if captured is None else captured
        body = struct.pack(self.order + "IIIII", interface, ticks >> 32, ticks & 0xFFFF_FFFF, known, wire or known)
        return self.block(6, body + data + bytes(-len(data) % 4) + self.options(options or []))

    def simple(self, data: bytes, wire: int | None = None) -> "Blocks":
        """A simple packet block (§4.4)."""
        return self.block(3, struct.pack(self.order + "I", wire or len(data)) + data)

    def obsolete(
        self,
        data: bytes,
        ticks: int = 0,
        *,
        interface: int = 0,
        drops: int = 0,
        wire: int | None = None,
        options: Options | None = None,
    ) -> "Blocks":
        """A packet block, which enhanced ones replaced (appendix A)."""
        head = struct.pack(self.order + "HHII", interface, drops, ticks >> 32, ticks & 0xFFFF_FFFF)
        body = head + struct.pack(self.order + "II", len(data), wire or len(data))
        return self.block(2, body + data + bytes(-len(data) % 4) + self.options(options or []))

    def statistics(self, options: Options, *, interface: int = 0) -> "Blocks":
        """Interface statistics (§4.6)."""
        return self.block(5, struct.pack(self.order + "III", interface, 0, 0) + self.options(options))

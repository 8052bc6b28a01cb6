"""The text of the server's responses (RFC 9112)."""

from lab.scenario.model import Response
from lab.scenario.server import BODYLESS

HEAD_END = b"\r\n\r\n"


def render_response(response: Response, *, is_head: bool, says_length: bool, says_close: bool) -> bytes:
    """Head and body. A header of the scenario takes the place of the server's own of that name.

    Where it doesn't say its length, the close is its end (RFC 9112 §6.3).
    """
    own = {"Server": "handshake-lab", "Content-Type": "text/plain"}
    if not response.body:
        del own["Content-Type"]
    if says_length and response.status not in BODYLESS:
        own["Content-Length"] = str(len(response.body))
    if says_close:
        own["Connection"] = "close"
    given = {name.lower() for name, _ in response.headers}
    headers = [*((name, value) for name, value in own.items() if name.lower() not in given), *response.headers]
    lines = [f"HTTP/1.1 {response.status} {response.reason}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode("latin-1") + HEAD_END + (b"" if is_head else response.body)


def render_continue() -> bytes:
    """What a client that sent `Expect: 100-continue` waits for (RFC 9110 §10.1.1)."""
    return b"HTTP/1.1 100 Continue" + HEAD_END


def split_response(text: bytes, response: Response) -> list[bytes]:
    """The response in the scenario's number of pieces: the head with the body's first, then as even as can be."""
    start = text.index(HEAD_END) + len(HEAD_END)
    length = len(text) - start
    if response.pieces == 1 or not length:
        return [text]
    cuts = [start + length * number // response.pieces for number in range(1, response.pieces)]
    return [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

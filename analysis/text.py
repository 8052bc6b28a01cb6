"""Text from packets, made safe to print: nothing from a capture may move a cursor or reorder a line."""

import re
from collections.abc import Sequence


def printable(text: str) -> str:
    r"""`text` with every control, format and bidirectional character written as \xNN or \uNNNN."""
    return text if text.isprintable() else "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


COMMAND = re.compile(r"^((?:\s|\x1b\[\d+m)*):(?=:[A-Za-z])|#(?=#\w*\[)", re.MULTILINE)  # colour is no text


def without_commands(text: str) -> str:
    r"""Lines of output, from which a CI system takes no orders: `::error::` and `##[error]` begin with \x3a and \x23.

    GitHub Actions, Azure Pipelines and TeamCity read such commands in whatever a job prints.
    """
    if "::" not in text and "##" not in text:
        return text
    return COMMAND.sub(lambda found: (found[1] or "") + ("\\x23" if found[0] == "#" else "\\x3a"), text)


def json_without_commands(text: str) -> str:
    r"""The same for JSON text, where `#` stands in strings alone and can be written \u0023."""
    return COMMAND.sub(r"\\u0023", text) if "##" in text else text


MOST_LISTED = 20  # runs of frames; a finding about a long download is about hundreds


def listed(frames: tuple[int, ...]) -> str:
    """Frame numbers as a person writes them: `7–9, 12`; of many runs the first ones, and how many more there are."""
    runs: list[list[int]] = []
    for frame in sorted(set(frames)):
        if runs and frame == runs[-1][-1] + 1:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return some([str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs], MOST_LISTED)


def some(items: Sequence[str], most: int = 6, separator: str = ", ") -> str:
    """The first `most` of `items`, and how many more there are: a capture may hold thousands."""
    rest = len(items) - most
    return separator.join(items[:most]) + (f" and {rest} more" if rest > 0 else "")


def plural(count: int, noun: str) -> str:
    """`1 frame`, `2 frames`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

"""Text from captures, students and servers, escaped for where it goes. Each format has one way in, and it is here."""

import re
import unicodedata

from analysis.text import printable

MARKDOWN = re.compile(r"^ |^\d{1,9}[.)]|^[-+=>]|@+|//|(?<=[wW]{3})\.|[\\`*_\[\]<>|~#&!{}$]")
SPECIAL = {"<": "&lt;", ">": "&gt;", "&": "&amp;", " ": "&#32;", "//": "\\/\\/"}
MERMAID = re.compile(r"[^A-Za-z0-9 .,=()/?!+_'→←–-]")
FORMULA = re.compile(r"[\s'\"]*[=+\-@\t\r\n＝＋－＠|%]")
BEHIND_SEPARATOR = re.compile(r"([;,|][\s'\"]*)(?=[=+\-@＝＋－＠])")
ILLEGAL_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 §2.2, Char
LONGEST_CELL = 2_000


def markdown(text: str) -> str:
    r"""`text` as Markdown that shows just that: no markup, no HTML, no link, no mention, on one line.

    CommonMark §2.4 lets a backslash escape any ASCII punctuation, §2.5 has character references for the rest.
    """
    return MARKDOWN.sub(_literal, printable(text))


def _literal(found: re.Match[str]) -> str:
    """What stands for itself. `@` as code: GitHub looks for names in what was rendered, where no escape is left."""
    text = found[0]
    if text[0] == "@":
        return f"`{text}`"
    return SPECIAL.get(text) or f"{text[:-1]}\\{text[-1]}"


def markdown_code(text: str) -> str:
    """`text` as a code span that can stand in a table, too: longer backticks than any in it (CommonMark §6.1)."""
    shown = printable(text).replace("|", "¦") or " "
    ticks = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def markdown_block(lines: tuple[str, ...]) -> list[str]:
    """Lines as a block of code that nothing in them can end: its fence is longer than any of theirs."""
    shown = [printable(line) for line in lines]
    fence = "`" * max(3, 1 + max((len(run) for line in shown for run in re.findall("`+", line)), default=0))
    return [f"{fence}text", *shown, fence]


def mermaid(text: str) -> str:
    """`text` as a label of a Mermaid diagram: whatever could end it, or mean something, as a character's number."""
    return MERMAID.sub(lambda found: f"#{ord(found[0])};", printable(text)) or "#32;"


def csv_cell(text: str) -> str:
    """`text` as a cell that no spreadsheet takes for a formula: an apostrophe before it (OWASP, CSV injection).

    The same behind what is a separator elsewhere: where decimals have commas, spreadsheets split at semicolons.
    """
    shown = BEHIND_SEPARATOR.sub(r"\1'", printable(text)[:LONGEST_CELL])
    return f"'{shown}" if FORMULA.match(shown) or (not shown.isascii() and _is_formula(shown)) else shown


def _is_formula(text: str) -> bool:
    """Whether it begins with a sign once its wide forms are written as plain ones."""
    return bool(FORMULA.match(unicodedata.normalize("NFKC", text)))


def xml(text: str) -> str:
    """`text` without the characters that no XML may hold, not even escaped; the writer escapes the rest."""
    return ILLEGAL_XML.sub("\ufffd", printable(text))


def command_message(text: str) -> str:
    """`text` as the message of a GitHub workflow command: percent, line ends (as actions/toolkit escapes them)."""
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def command_property(text: str) -> str:
    """`text` as a property of such a command: colons and commas, too."""
    return command_message(text).replace(":", "%3A").replace(",", "%2C")

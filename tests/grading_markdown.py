"""Markdown pages about hostile students: parsed as GitHub does, they hold our markup and nothing of theirs."""

import re
from collections.abc import Iterable, Iterator
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

HEADINGS = {"What was marked", "Checks", "For you to look at", "Students"}
OURS = re.compile(r"flag:|[\d.]+ of [\d.]+ points.*")  # what we print in bold
FORBIDDEN = {
    *("html_block", "html_inline", "link_open", "image", "blockquote_open", "hr", "code_block", "ordered_list_open"),
    *("em_open", "s_open", "softbreak", "hardbreak"),
}
AUTOLINK = re.compile(r"https?://|ftp://|www\.|@")  # GFM §6.9, and what GitHub takes for a mention
LABEL = r"(?:[A-Za-z0-9 .,=()/?!+_'→←–-]|#\d+;)+"
ROLE = r"(?:client|resolver|server)"
DIAGRAM = re.compile(rf"    participant {ROLE}|    {ROLE}->>{ROLE}: {LABEL}")
CELL = re.compile(r"(?<!\\)(?:\\\\)*\|")


@cache
def parser() -> MarkdownIt:
    """GitHub's Markdown: tables, strikethrough, links in bare text; pieces of text that were escaped stay apart."""
    made = MarkdownIt("gfm-like").disable("text_join")
    assert made.linkify is not None
    made.linkify.set({"fuzzy_link": False})  # example.com alone is a link nowhere on GitHub
    return made


def check_page(text: str, titles: Iterable[str], first: str = "") -> None:
    """The page is what a program of ours wrote. `titles`: of its checks; `first`: the text of its first heading."""
    assert text.replace("\n", "").isprintable(), [line for line in text.split("\n") if not line.isprintable()]
    lines = text.split("\n")
    tokens = parser().parse(text)
    found = {token.type for token in _all(tokens)}
    assert not found & FORBIDDEN, (found & FORBIDDEN, text)
    assert max((token.level for token in tokens if token.type == "bullet_list_open"), default=0) == 0, text
    _check_headings(tokens, set(titles), first)
    for token in tokens:
        if token.type == "fence":
            _check_fence(token, lines)
        if token.type == "table_open":
            _check_table(token, lines)
        for text_of in _texts(token):
            assert not AUTOLINK.search(text_of), text_of
    _check_bold(tokens)


def _all(tokens: Iterable[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from token.children or ()


def _texts(token: Token) -> Iterator[str]:
    """The pieces of plain text that a renderer may still look for links in."""
    return (child.content for child in token.children or () if child.type == "text")


def plain(token: Token) -> str:
    """What a reader sees of an inline token."""
    return "".join(child.content for child in token.children or ())


def _check_headings(tokens: list[Token], titles: set[str], first: str) -> None:
    is_heading = [(token, tokens[index + 1]) for index, token in enumerate(tokens) if token.type == "heading_open"]
    (tag, text), *rest = [(token.tag, plain(inline)) for token, inline in is_heading]
    assert tag == "h1"
    assert text == (first or text).strip(), (text, first)
    for tag, text in rest:
        assert tag in {"h2", "h3"}
        words = re.sub(r"^[✓✗–?] ", "", text)
        known = text in HEADINGS or any(words == title or words.startswith(f"{title} (") for title in titles)
        assert known, (tag, text)


def _check_bold(tokens: list[Token]) -> None:
    for token in tokens:
        children = token.children or []
        for index, child in enumerate(children):
            if child.type == "strong_open":
                assert OURS.match(children[index + 1].content), children


def _check_fence(token: Token, lines: list[str]) -> None:
    assert token.map is not None
    first, end = token.map
    assert lines[end - 1].strip("`") == "", "it isn't closed"
    assert len(lines[end - 1]) >= len(token.markup)
    assert lines[first] == f"{token.markup}{token.info}"
    assert token.info in {"text", "mermaid"}
    if token.info == "mermaid":
        check_diagram(token.content)


def check_diagram(source: str) -> None:
    """A Mermaid sequence diagram of participants and messages, with nothing in a label that could mean something."""
    head, *rest = source.rstrip("\n").split("\n")
    assert head == "sequenceDiagram"
    for line in rest:
        assert DIAGRAM.fullmatch(line), line


def _check_table(token: Token, lines: list[str]) -> None:
    """Each row has the cells of the head: renderers drop those that are too many without a word."""
    assert token.map is not None
    rows = lines[slice(*token.map)]
    widths = {len(CELL.findall(row)) for row in rows}
    assert len(widths) == 1, (widths, rows)

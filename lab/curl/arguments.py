"""Which of a scenario's arguments make curl read or write files of the machine, or leave the lab by its sockets.

`-` is no file: standard input is empty, and standard output is kept. Writing to /dev/null is let through, too.
"""

import re
from collections.abc import Callable, Sequence

from lab.curl.options import HARMLESS, Used, operations
from lab.curl.urls import MOST_URLS, PROXIES, names_asked, stands_for, urls, with_scheme

__all__ = ["file_arguments", "names_asked", "urls"]

NOWHERE = "/dev/null"
READS, WRITES = "reads a file", "writes a file"
READS_AT = "with @ reads a file"
OWN_FILES = {  # schemes that make curl read files of the machine
    "file": "reads files of the machine",
    "scp": "reads ~/.ssh",
    "sftp": "reads ~/.ssh",
    "ipfs": "reads ~/.ipfs/gateway",
    "ipns": "reads ~/.ipfs/gateway",
}
FAULTY_FLAGS = {
    "remote-name": WRITES,
    "remote-name-all": "writes files",
    "netrc": "reads ~/.netrc",
    "netrc-optional": "reads ~/.netrc",
    "metalink": "writes the files that a Metalink names",
    "ntlm-wb": "runs a program of the machine, ntlm_auth",
}
CHANGES_OUTPUT = ("remote-time", "remove-on-error", "xattr")  # root would remove /dev/null itself
ALWAYS_READ = """
    cacert capath cert crlfile egd-file etag-compare key knownhosts netrc-file proxy-cacert proxy-capath proxy-cert
    proxy-crlfile proxy-key pubkey random-file
"""
DATE = re.compile(r"\d{8}([ T]\d\d(:?\d\d){1,2}(\.\d+)?)?( ?[A-Z+-]\w*)?|\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?")


def file_arguments(arguments: Sequence[str]) -> list[tuple[int, str]]:
    """Each argument at fault: its index, and why in words, such as "-o writes a file".

    An option that isn't known here is at fault, too, and so is a URL pattern that can't be written out.
    """
    return [
        (used.index, f"{used.written} {why}")
        for operation in operations(arguments)
        for used in operation
        if (why := _fault(used, operation))
    ]


def _fault(used: Used, operation: Sequence[Used]) -> str | None:
    if used.name is None:
        return used.value
    if used.name == "clobber" and used.off and _discards(operation):
        return f"with -o {NOWHERE} writes a file beside it"
    if used.name in CHANGES_OUTPUT and not used.off and _discards(operation):
        return f"changes the file that -o names, and {NOWHERE} is the machine's own"
    if used.name in FAULTY_FLAGS and not used.off:
        return FAULTY_FLAGS[used.name]
    if used.value is None or used.name in HARMLESS:
        return None
    if used.expanded and "{{" in used.value:
        return "takes a variable, so that nobody can say what it will do; write it out"
    if used.name == "url":
        return _url_fault(used.value, operation)
    return RULES[used.name](used.value)


def _discards(operation: Sequence[Used]) -> bool:
    return any(used.name == "output" and used.value == NOWHERE for used in operation)


def _url_fault(value: str, operation: Sequence[Used]) -> str | None:
    if value.startswith("@"):
        return None if value == "@-" else "reads a file of URLs"
    written = stands_for(value, operation)
    if written is None:
        return f"is no pattern of at most {MOST_URLS} URLs; with -g curl takes it as it is"
    schemes = (with_scheme(url.lstrip()).partition(":")[0] for url in written)
    return next((OWN_FILES[scheme] for scheme in schemes if scheme in OWN_FILES), None)


def _unless(why: str, *allowed: str) -> Callable[[str], str | None]:
    return lambda value: None if value in allowed else why


def _at(value: str) -> str | None:
    return READS_AT if value.startswith("@") and value != "@-" else None


def _encoded(value: str) -> str | None:
    """`name@file`, unless an = comes first: it makes the rest content."""
    _, at, file = value.partition("@")
    return READS_AT if "=" not in value and at and file != "-" else None


def _query(value: str) -> str | None:
    return None if value.startswith("+") else _encoded(value)


def _form(value: str) -> str | None:
    content = value.partition("=")[2]
    if content.startswith(("@", "<")) and content[1:] != "-":
        return f"with {content[0]} {READS}"
    return f"with headers=@ {READS}" if re.search(r"headers=[@<]", value, re.IGNORECASE) else None


def _write_out(value: str) -> str | None:
    return f"with %output {WRITES}" if "%output{" in value else _at(value)


def _cookie(value: str) -> str | None:
    """Without an = it is a file; after an @ it was always one, up to curl 8."""
    return f"without = {READS}" if value not in ("", "-") and ("=" not in value or value.startswith("@")) else None


def _time(value: str) -> str | None:
    from email.utils import parsedate_tz  # late: seldom asked for, and every run would wait for it

    date = value.lstrip("+-=").strip()
    known = parsedate_tz(date) is not None or DATE.fullmatch(date)
    return None if known else "takes the time of a file; give a date such as 'Tue, 02 Jan 2024 12:00:00 GMT'"


def _pinned(value: str) -> str | None:
    return None if value.startswith("sha256//") else f"without sha256// {READS}"


def _variable(value: str) -> str | None:
    return READS_AT if re.match(r"%?[A-Za-z0-9_]*(\[[\d-]*\])?@(?!-$)", value) else None


def _ech(value: str) -> str | None:
    return READS_AT if re.match(r"ecl:@(?!-$)", value, re.IGNORECASE) else None


def _proxy(value: str) -> str | None:
    found = re.fullmatch(r"(?:\w+:/+)?(?:[^/@]*@)?localhost(?::\d+)?/.+", value, re.IGNORECASE)
    return "with a path reaches a socket of the machine" if found else None


def _protocol(value: str) -> str | None:
    return OWN_FILES.get(value.lower())


def _redirects(value: str) -> str | None:
    for token in value.split(","):
        name = token.lstrip("+-=").lower()
        denied = token[: len(token) - len(name)].endswith("-")
        if not denied and (name == "all" or name in OWN_FILES):
            return f"lets a redirect lead to {'file' if name == 'all' else name}://, which {OWN_FILES.get(name, READS)}"
    return None


def _user(value: str) -> str | None:
    asks = ":" not in value and not value.startswith(";")
    return "without a password asks for it at the terminal; write user:password" if asks else None


RULES: dict[str, Callable[[str], str | None]] = {
    **dict.fromkeys(ALWAYS_READ.split(), _unless(READS)),
    "config": _unless(READS, "-"),
    "upload-file": _unless(READS, "-", ".", ""),
    **dict.fromkeys(("output", "dump-header", "libcurl", "stderr"), _unless(WRITES, "-", NOWHERE)),
    **dict.fromkeys(("trace", "trace-ascii"), _unless(WRITES, "-", "%", NOWHERE)),
    **dict.fromkeys(("cookie-jar", "etag-save"), _unless(WRITES, "-")),  # a jar would be moved over /dev/null
    "output-dir": _unless("writes files"),
    **dict.fromkeys(("alt-svc", "hsts"), _unless("reads and writes a file", "")),
    "ssl-sessions": _unless("reads and writes a file"),
    **dict.fromkeys(("unix-socket", "abstract-unix-socket"), _unless("reaches a socket of the machine")),
    "engine": _unless("loads a library of the machine", "list"),
    **dict.fromkeys(("data", "data-ascii", "data-binary", "json", "header", "proxy-header"), _at),
    "data-urlencode": _encoded,
    "url-query": _query,
    "form": _form,
    "write-out": _write_out,
    "cookie": _cookie,
    "time-cond": _time,
    **dict.fromkeys(("pinnedpubkey", "proxy-pinnedpubkey"), _pinned),
    "variable": _variable,
    "ech": _ech,
    **dict.fromkeys((*PROXIES, "preproxy"), _proxy),
    "proto-default": _protocol,
    "proto-redir": _redirects,
    **dict.fromkeys(("user", "proxy-user"), _user),
}

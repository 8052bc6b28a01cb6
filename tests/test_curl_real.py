"""Which arguments of curl touch files, and which URLs it fetches: what the lab says against what the real curl does."""

import ctypes
import os
import re
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.curl.arguments import FAULTY_FLAGS, RULES, file_arguments, urls
from lab.curl.options import HARMLESS, OPTIONS, SHORT, WITHOUT_ARGUMENT
from lab.curl.urls import host_and_port, stands_for

URL = "http://a.test/"
CHANGES = 0x20 | 0x100 | 0x200 | 0xC0 | 0x4  # IN_OPEN, IN_CREATE, IN_DELETE, IN_MOVE, IN_ATTRIB


def curl(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = ["curl", "-q", "-m", "5", *arguments]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder or "/nowhere")}
    return subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def known_to_curl(option: str) -> bool:
    return "is unknown" not in curl(f"--{option}").stderr


@pytest.mark.needs("curl")
def test_every_option_that_curl_lists_is_known_with_its_letter() -> None:
    listed = re.findall(r"^ (?:-(.),|   ) --(\S+)", curl("--help", "all").stdout, re.MULTILINE)
    assert len(listed) > 200
    names = {name.removeprefix("no-") for _, name in listed}
    assert names - OPTIONS == set()
    letters = {letter: name.removeprefix("no-") for letter, name in listed if letter}
    assert {**letters, "i": SHORT["i"]} == {letter: SHORT.get(letter) for letter in letters}  # --include has a new name


@pytest.mark.needs("curl")
def test_every_option_takes_an_argument_where_curl_says_so() -> None:
    takes = {option for option in OPTIONS if "requires parameter" in curl(f"--{option}").stderr}
    known = {option for option in OPTIONS - {"help"} if option in takes or known_to_curl(option)}
    assert len(known) > 200
    assert takes == known - WITHOUT_ARGUMENT


@contextmanager
def watched(folder: Path) -> Iterator[Callable[[], set[str]]]:
    """Gives what tells the names of files in a folder that were opened, made, changed or removed since (inotify(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert libc.inotify_add_watch(descriptor, os.fsencode(folder), CHANGES) >= 0
    try:
        yield lambda: names_of_events(descriptor)
    finally:
        os.close(descriptor)


def names_of_events(descriptor: int) -> set[str]:
    try:
        events = os.read(descriptor, 1_000_000)
    except BlockingIOError:
        return set()
    names, at = set(), 0
    while at < len(events):
        (length,) = struct.unpack_from("12xI", events, at)
        names.add(events[at + 16 : at + 16 + length].rstrip(b"\0").decode())
        at += 16 + length
    return names - {""}


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        for header in (
            'ETag: "x"',
            "Set-Cookie: n=v",
            "Content-Length: 0",
            "Last-Modified: Tue, 02 Jan 2024 12:00:00 GMT",
        ):
            self.send_header(*header.split(": ", 1))
        self.send_header("Content-Disposition", "attachment; filename=sent")
        self.end_headers()

    do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield str(server.server_port)
        server.shutdown()


FORMS = [
    *("marked", "@marked", "n@marked", "n=@marked", "n=<marked", "n=v;headers=@marked", "%output{marked}", "+n@marked"),
    *(
        "n=(;headers=<marked",
        "@n=marked",
        "ecl:@marked",
        "sha256//marked",
        "@marked=n",
        "-marked",
        "+marked",
        "%n@marked",
    ),
    *("marked:x", "localhost/marked", "/dev/null", "-"),
]


def touched_with(folder: Path, port: str, *arguments: str) -> set[str]:
    for name in ("marked", "n=marked", "marked=n", "-marked", ".netrc"):
        (folder / name).touch()
    with watched(folder) as touched:
        curl(*arguments, f"http://127.0.0.1:{port}/page", folder=folder)
        return touched()


@pytest.mark.needs("curl")
@pytest.mark.parametrize("option", sorted(set(RULES)))
def test_what_is_let_through_of_a_telling_option_touches_no_file(option: str, port: str, tmp_path: Path) -> None:
    for form in FORMS:
        if not file_arguments([f"--{option}", form]):
            assert touched_with(tmp_path, port, f"--{option}", form) == set(), form


@pytest.mark.needs("curl")
def test_an_option_that_never_takes_a_file_takes_none(port: str, tmp_path: Path) -> None:
    for option in sorted(HARMLESS):
        used = [word for form in FORMS for word in (f"--{option}", form)]
        assert touched_with(tmp_path, port, *used) == set(), option
        assert touched_with(tmp_path, port, f"--{option}", "marked") == set(), option


@pytest.mark.needs("curl")
def test_a_flag_touches_files_only_where_it_is_said(port: str, tmp_path: Path) -> None:
    for flag in sorted(WITHOUT_ARGUMENT - FAULTY_FLAGS.keys() - {"manual", "help"}):
        assert touched_with(tmp_path, port, f"--{flag}") == set(), flag
    assert touched_with(tmp_path, port, "-O") == {"page"}
    assert touched_with(tmp_path, port, "-OJ") == {"sent"}
    assert touched_with(tmp_path, port, "-n") == {".netrc"}


@pytest.mark.needs("curl")
@pytest.mark.parametrize(
    "line", ["-o marked", "-d @marked", "-F n=v;headers=@marked", "-K marked", "-b @marked=n", "--trace marked"]
)
def test_what_is_refused_touches_the_file(line: str, port: str, tmp_path: Path) -> None:
    old = "@marked=n" not in line or curl("-V").stdout.startswith("curl 7")
    assert file_arguments(line.split())
    assert bool(touched_with(tmp_path, port, *line.split())) == old


ODD_USES = [
    *(
        "-v",
        "-sS",
        "-vsS",
        "-#",
        "-k",
        "-4",
        "--no-verbose",
        "--no-silent",
        "--compressed",
        "--raw",
        "--no-keepalive",
        "-N",
    ),
    *(
        "-A -v",
        "-sSA agent",
        "-Aagent",
        "-A--next",
        "-A --",
        "-A --url",
        "--user-agent http://no.test/",
        "-e http://no.test/",
    ),
    *(
        "-H X:http://no.test/",
        "-dhttp://no.test/",
        "-d http://no.test/",
        "--data-raw @no",
        "-sX POST",
        "-XPOST",
        "-kXGET",
    ),
    *(
        "-D -",
        "-o /dev/null",
        "-so /dev/null",
        "-m 4",
        "-m4",
        "--retry 0",
        "-g",
        "--globoff",
        "--no-globoff",
        "-b n=v",
        "-u a:b",
    ),
    *(
        "-r 0-1",
        "--max-redirs 3",
        "--http1.1",
        "-0",
        "-L",
        "--path-as-is",
        "-q",
        "--tcp-nodelay",
        "--url b.test/u",
        "--limit-rate 9M",
    ),
]
ODD_URLS = [
    *(
        "http://a.test/x",
        "b.test/y",
        "HTTP://C.test:81/",
        "http://u:p@d.test/",
        "http://[::1]/p",
        "http:/e.test",
        "http:///f.test/",
    ),
    *(
        "http://a.test/{x,y}",
        "http://a.test/{x,y}/[1-3]",
        "a.test/[a-e:2]",
        "a.test/[08-10]",
        "g.test?q=/{1,2}",
        "192.0.2.1/a",
    ),
    *("h.test/[]", "i.test/%7Bx", "j.test:8080", "k.test/{x}", "l.test/{,m}", "n.test/[3-3]"),
]
HOSTS = ["http://{a,b}.test/x", "{a,b}.test:81/[1-2]", "http://[1-3].test/"]
CASES = st.lists(st.sampled_from(ODD_USES + ODD_URLS + ODD_URLS), max_size=7).map(lambda uses: " ".join(uses).split())


def place(url: str) -> tuple[str, tuple[str, str], str]:
    path = re.sub(r"^\w+://[^/?]*|[?].*", "", url)
    return url.partition(":")[0], host_and_port(url), path or "/"


@pytest.mark.needs("curl")
@settings(max_examples=150)
@given(
    parts=st.lists(CASES, min_size=1, max_size=3),
    last=st.lists(st.sampled_from([*ODD_URLS, "-v", "--url"]), max_size=2),
    globs=st.booleans(),
)
def test_urls_are_what_the_real_curl_fetches(parts: list[list[str]], last: list[str], globs: bool, port: str) -> None:
    say = ["-w", "\n<<%{url_effective}>>\n", "--connect-to", f"::127.0.0.1:{port}", "--noproxy", "*"]
    arguments: list[str] = []
    for part in parts:
        hosts = HOSTS if globs and not {"-g", "--globoff"} & {*part} else []
        arguments += [*(["--next"] if arguments else []), *say, *part, *hosts, URL]
    arguments += ["--", *last]
    assert file_arguments(arguments) == []
    done = curl(*arguments)
    assert done.returncode != 2, done.stderr
    assert list(map(place, re.findall(r"<<(.*?)>>", done.stdout))) == list(map(place, urls(arguments)))


PIECES = st.one_of(
    st.sampled_from(["[1-3]", "[a-c:2]", "[01-3]", "{a,b}", "{,c}", "[3-1]", "[[::1]"]), st.sampled_from(r"{}[]-:,\02a")
)


@pytest.mark.needs("curl")
@settings(max_examples=150)
@given(pieces=st.lists(PIECES, max_size=5))
def test_a_pattern_is_written_out_as_the_real_curl_does_or_refused(pieces: list[str], port: str) -> None:
    pattern = f"a.test/{''.join(pieces)}"
    done = curl("-w", "\n<<%{url_effective}>>\n", "--connect-to", f"::127.0.0.1:{port}", "--noproxy", "*", pattern)
    fetched = re.findall("<<(.*?)>>", done.stdout)
    assert ["http://" + url for url in stands_for(pattern, []) or []] == fetched


@pytest.mark.needs("curl")
def test_output_in_a_format_writes_a_file_since_curl_8(port: str, tmp_path: Path) -> None:
    wrote = set() if curl("-V").stdout.startswith("curl 7") else {"marked"}
    assert touched_with(tmp_path, port, "-w", r"\%%output{marked}x") == wrote

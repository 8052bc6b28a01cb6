"""Which arguments of curl touch files, and which URLs it fetches: tables, and the real curl as the judge."""

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

from lab.curl_arguments import FAULTY_FLAGS, RULES, file_arguments, names_asked, urls
from lab.curl_options import ENDINGS, HARMLESS, OPTIONS, SHORT, WITHOUT_ARGUMENT, read_options
from lab.curl_urls import MOST_URLS, host_and_port, stands_for
from lab.scenario import load_scenario, pack

URL = "http://a.test/"
CHANGES = 0x20 | 0x100 | 0x200 | 0xC0 | 0x4  # IN_OPEN, IN_CREATE, IN_DELETE, IN_MOVE, IN_ATTRIB


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("-o x", "-o writes a file"),
        ("-ox", "-o writes a file"),
        ("-sSo x", "-o writes a file"),
        ("-vsox", "-o writes a file"),
        ("--output x", "--output writes a file"),
        ("--OUTPUT x", "--OUTPUT writes a file"),
        ("--output=x", "--output writes a file"),
        ("--dump-h x", "--dump-h writes a file"),
        ("-o /dev/null/x", "-o writes a file"),
        ("-o %", "-o writes a file"),
        ("-O", "-O writes a file"),
        ("-vOJ", "-O writes a file"),
        ("--remote-name-all", "--remote-name-all writes files"),
        ("--output-dir /tmp", "--output-dir writes files"),
        ("-D x", "-D writes a file"),
        ("-c x", "-c writes a file"),
        ("-c /dev/null", "-c writes a file"),
        ("-o /dev/null --remove-on-error", "--remove-on-error changes the file that -o names"),
        ("-R -o /dev/null", "-R changes the file that -o names"),
        ("--no-clobber -o /dev/null", "--no-clobber with -o /dev/null writes a file beside it"),
        ("--stderr x", "--stderr writes a file"),
        ("--trace x", "--trace writes a file"),
        ("--trace-ascii x", "--trace-ascii writes a file"),
        ("--libcurl x", "--libcurl writes a file"),
        ("--etag-save x", "--etag-save writes a file"),
        ("--hsts x", "--hsts reads and writes a file"),
        ("--alt-svc x", "--alt-svc reads and writes a file"),
        ("--ssl-sessions x", "--ssl-sessions reads and writes a file"),
        ("-w @x", "-w with @ reads a file"),
        ("-w a%output{x}", "-w with %output writes a file"),
        (r"-w \%%output{x}", "-w with %output writes a file"),
        ("-b x", "-b without = reads a file"),
        ("-b @a=b", "-b without = reads a file"),
        ("-K x", "-K reads a file"),
        ("-T x", "-T reads a file"),
        ("-T {-,x}", "-T reads a file"),
        ("-d @x", "-d with @ reads a file"),
        ("-d@x", "-d with @ reads a file"),
        ("--data-binary @x", "--data-binary with @ reads a file"),
        ("--json @x", "--json with @ reads a file"),
        ("--data-urlencode n@x", "--data-urlencode with @ reads a file"),
        ("--data-urlencode n@x@-", "--data-urlencode with @ reads a file"),
        ("--url-query n@x", "--url-query with @ reads a file"),
        ("-F n=@x", "-F with @ reads a file"),
        ("-F n=<x", "-F with < reads a file"),
        ("-F n=@-,x", "-F with @ reads a file"),
        ("-F n=v;headers=@x", "-F with headers=@ reads a file"),
        ("-F n=v;HEADERS=<x", "-F with headers=@ reads a file"),
        ("-H @x", "-H with @ reads a file"),
        ("--proxy-header @x", "--proxy-header with @ reads a file"),
        ("-E x", "-E reads a file"),
        ("--cacert x", "--cacert reads a file"),
        ("--proxy-key x", "--proxy-key reads a file"),
        ("--etag-compare -", "--etag-compare reads a file"),
        ("--pinnedpubkey x", "--pinnedpubkey without sha256// reads a file"),
        ("-n", "-n reads ~/.netrc"),
        ("-vn", "-n reads ~/.netrc"),
        ("--netrc-optional", "--netrc-optional reads ~/.netrc"),
        ("--netrc-file x", "--netrc-file reads a file"),
        ("-z x", "-z takes the time of a file"),
        ("--variable n@x", "--variable with @ reads a file"),
        ("--variable %n@x", "--variable with @ reads a file"),
        ("--variable n[0-9]@x", "--variable with @ reads a file"),
        ("--expand-url {{n}}", "--expand-url takes a variable"),
        ("--expand-data {{n}}", "--expand-data takes a variable"),
        ("--ech ecl:@x", "--ech with @ reads a file"),
        ("--engine x", "--engine loads a library"),
        ("--unix-socket x", "--unix-socket reaches a socket"),
        ("--abstract-unix-socket x", "--abstract-unix-socket reaches a socket"),
        ("-x socks5h://localhost/run/x", "-x with a path reaches a socket"),
        ("--socks5 localhost/run/x", "--socks5 with a path reaches a socket"),
        ("-u me", "-u without a password asks for it at the terminal"),
        ("--proto-default FILE", "--proto-default reads files"),
        ("--proto-redir http,+file", "--proto-redir lets a redirect lead to file://"),
        ("--proto-redir =all", "--proto-redir lets a redirect lead to file://"),
        ("file:///etc/hosts", "file:///etc/hosts reads files"),
        ("File:/etc/hosts", "File:/etc/hosts reads files"),
        ("--url file://x/etc/hosts", "--url reads files"),
        ("{http,file}:///etc/hosts", "{http,file}:///etc/hosts reads files"),
        ("[e-g:1]ile:///etc/hosts", "[e-g:1]ile:///etc/hosts reads files"),
        ("sftp://a.test/x", "sftp://a.test/x reads ~/.ssh"),
        ("-- -o file:///x", "file:///x reads files"),
        ("@x", "@x reads a file of URLs"),
        ("--url @x", "--url reads a file of URLs"),
        ("http://a.test/[1-1001]", "http://a.test/[1-1001] is no pattern"),
        ("http://a.test/{x", "http://a.test/{x is no pattern"),
        ("http://a.test/[1-3:3]", "http://a.test/[1-3:3] is no pattern"),
        ("--frobnicate", "--frobnicate is not known here"),
        ("--data-", "--data- can be --data-ascii, --data-binary, --data-raw, --data-urlencode; write it in full"),
        ("--no-output x", "--no-output is no option"),
        ("-v~", "-~ is no option"),
        ("-", "- is no option"),
    ],
)
def test_an_argument_that_touches_files_is_named_with_the_reason(line: str, why: str) -> None:
    (fault,) = file_arguments([URL, *line.split()])
    assert fault[1].startswith(why)
    assert fault[0] > 0


@pytest.mark.parametrize(
    "line",
    [
        "-v -sS -I --http1.1 -L --compressed -J -R --create-dirs --xattr --remove-on-error --no-clobber",
        "-o - -D - -c - --stderr - --trace - --libcurl - --etag-save -",
        "-o /dev/null -D /dev/null --trace-ascii /dev/null --stderr /dev/null",
        "--trace %",
        "-K - -T - -d @- -H @- -w @- -b - -F n=@- --data-urlencode n@- --url-query @-",
        "--data-raw @x --form-string n=@x --data-urlencode n=@x --data-urlencode =@x -d x@y --url-query +n@x",
        "-A @x -e @x -X @x -u me:you -u me: -b n=v -H X-At:@x -F n=v -w %{http_code}%{stderr}",
        "--no-remote-name --no-netrc --no-remote-name-all",
        "--expand-user-agent {{n}} --variable n=v --variable %PATH",
        "--pinnedpubkey sha256//x= --proto =http,https --proto-redir -all,http --proto-redir =https,-file",
        "-z 20240102 -z 2024-01-02 -z -20240102T10:11:12",
        "--resolve a.test:80:192.0.2.1 --connect-to a.test:80:b.test:81 -x http://p.test:3128 --interface eth0",
        "-- -v -o",
        "--output",
        "-V -o x",
        "--user-a -o",
    ],
)
def test_an_argument_that_touches_no_file_is_let_through(line: str) -> None:
    assert file_arguments(line.split()) == []


def test_the_place_of_each_fault_is_its_options() -> None:
    arguments = ["-v", "-o", "x", URL, "--next", "-d", "@y", "-sSn", URL]
    assert [index for index, _ in file_arguments(arguments)] == [1, 5, 7]


def test_a_date_with_spaces_is_no_file() -> None:
    assert file_arguments(["-z", "Tue, 02 Jan 2024 12:00:00 GMT", URL]) == []


def test_the_scenarios_of_the_pack_touch_no_files() -> None:
    for path in pack():
        assert file_arguments(load_scenario(path).client.curl) == []


@pytest.mark.parametrize(
    ("line", "fetched"),
    [
        ("http://a.test/ -v https://b.test/x", ["http://a.test/", "https://b.test/x"]),
        (
            "www.a.test/x ftp.a.test HTTP:/b.test ftp:81/x",
            ["http://www.a.test/x", "ftp://ftp.a.test", "http://b.test", "http://ftp:81/x"],
        ),
        ("--url b.test --url=c.test -A d.test -vAe.test f.test", ["http://b.test", "http://c.test", "http://f.test"]),
        ("-v -- -x.test --next", ["http://-x.test", "http://--next"]),
        ("a.test -: b.test --next c.test", ["http://a.test", "http://b.test", "http://c.test"]),
        ("--proto-default https a.test", ["https://a.test"]),
        ("{a,b}.test/[1-3:2]", ["http://a.test/1", "http://a.test/3", "http://b.test/1", "http://b.test/3"]),
        (
            "a.test/[08-10] b.test/[a-b]",
            [*(f"http://a.test/{x}" for x in ("08", "09", "10")), *(f"http://b.test/{x}" for x in "ab")],
        ),
        (r"a.test/\{x\}{y\,,z}", ["http://a.test/{x}y,", "http://a.test/{x}z"]),
        ("http://[::1]/ http://[fe80::1%25eth0]:81/[] -4", ["http://[::1]/", "http://[fe80::1%25eth0]:81/[]"]),
        ("-g a.test/{x,y} --next a.test/{x,y}", ["http://a.test/{x,y}", "http://a.test/x", "http://a.test/y"]),
        ("-g --no-globoff a.test/{x,y}", ["http://a.test/x", "http://a.test/y"]),
    ],
)
def test_the_urls_are_those_that_curl_fetches(line: str, fetched: list[str]) -> None:
    assert urls(line.split()) == fetched


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("http://A.test./ http://a.test http://me:x@b.test:8080/x?y=@z", ["a.test", "b.test"]),
        ("http://{a,b}.test/[1-9]", ["a.test", "b.test"]),
        ("http://192.0.2.1/ http://[2001:db8::1]/ http://127.1/ http://0x7f.1/", []),
        ("http://a.test?b.test http://c.test#@d.test http://%65.test/", ["a.test", "c.test", "e.test"]),
        ("--resolve a.test:80:192.0.2.1 http://a.test/ https://a.test/x", ["a.test"]),
        ("--resolve a.test:80:192.0.2.1 http://a.test/ http://b.test --next http://a.test", ["b.test"]),
        ("--resolve *:80:192.0.2.1 http://a.test/ http://b.test:81", ["b.test"]),
        ("--resolve +a.test:80:192.0.2.1 --resolve -a.test:80 http://a.test/", ["a.test"]),
        ("--connect-to a.test:80:b.test:81 http://a.test/ http://c.test/", ["b.test", "c.test"]),
        ("--connect-to ::[2001:db8::1]: http://a.test/", []),
        ("--connect-to a.test:443:b.test: http://a.test/", ["a.test"]),
        ("-x p.test http://a.test/", ["a.test"]),
        ("-x p.test --noproxy b.test http://a.test/ http://www.b.test/", ["p.test", "www.b.test"]),
        ("http://a.test/ --next -x http://p.test:3128 http://b.test/", ["a.test", "p.test"]),
        ("--noproxy x --socks5 p.test http://a.test/", ["p.test", "a.test"]),
        ("--noproxy x -x socks5h://p.test --preproxy q.test http://a.test/", ["q.test", "p.test"]),
        ("--doh-url https://d.test/q http://a.test/", ["a.test", "d.test"]),
    ],
)
def test_the_names_asked_are_those_that_the_resolver_must_know(line: str, asked: list[str]) -> None:
    assert names_asked(line.split()) == asked


WORDS = st.text(alphabet="-oOdnw:gvx@={}[]\\,.%/19ab #é\t", max_size=12)


@given(st.lists(st.one_of(WORDS, st.sampled_from(sorted(OPTIONS)).map("--{}".format)), max_size=8))
def test_no_argument_is_too_odd_to_be_read(arguments: list[str]) -> None:
    for index, why in file_arguments(arguments):
        assert 0 <= index < len(arguments)
        assert why
    assert all(isinstance(host_and_port(url), tuple) for url in urls(arguments))
    assert "" not in names_asked(arguments)


@pytest.mark.parametrize(
    "pattern", ["[0-" + "9" * 18 + "]", "[" + "9" * 5000 + "]", "{a,b}" * 11, "\\" * 9000 + "{a}", "[" * 9000]
)
def test_a_huge_pattern_is_not_written_out(pattern: str) -> None:
    assert len(stands_for(pattern, []) or []) <= MOST_URLS
    assert len(urls([pattern])) == 1


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


def test_nothing_after_help_is_read() -> None:
    for ending in ENDINGS:
        assert [used.name for used in read_options([f"--{ending}", "-o", "x"])] == [ending]

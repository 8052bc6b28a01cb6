"""Which arguments of curl are named as touching files, which URLs it fetches, and which names it asks for: tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.curl.arguments import file_arguments, names_asked, urls
from lab.curl.options import ENDINGS, OPTIONS, read_options
from lab.curl.urls import MOST_URLS, host_and_port, stands_for
from lab.scenario.load import load_scenario, pack

URL = "http://a.test/"


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
        assert not any(file_arguments(command) for command in load_scenario(path).client.commands)


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


def test_nothing_after_help_is_read() -> None:
    for ending in ENDINGS:
        assert [used.name for used in read_options([f"--{ending}", "-o", "x"])] == [ending]

"""Scenario files: what is read, and what is refused with file, key and allowed values."""

from pathlib import Path

import pytest

from analysis.errors import InputError
from lab.errors import ScenarioError
from lab.scenario.load import find_scenario, load_scenario, pack
from lab.scenario.model import Response, Scenario, Server

CURL = 'curl = ["http://www.lab.test/"]\n'
NAMES = '[names]\n"www.lab.test" = "192.0.2.80"\n'
MINIMAL = f"[client]\n{CURL}"


def load(tmp_path: Path, text: str | bytes) -> Scenario:
    path = tmp_path / "mine.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_scenario(path)


def test_every_key_of_the_design_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        """
        title = "T"
        look_for = "L"
        [names]
        "WWW.Lab.test." = ["198.51.100.7", "2001:db8::80"]
        "old.lab.test" = { cname = "www.lab.test" }
        "gone.lab.test" = { rcode = "NXDOMAIN" }
        [server]
        port = 8080
        status = 418
        reason = "Short and stout"
        headers = { Location = "/x", Set-Cookie = ["a=1", "b=2"] }
        body = "text"
        close = "server"
        quickack = true
        [server.paths."/home"]
        status = 404
        body = 3
        [client]
        curl = ["-v", "http://old.lab.test:8080/"]
        port = 35944
        deadline = "1.5s"
        [wire]
        delay = "21ms"
        [expect]
        sequence = "client SYN"
        """
    )
    scenario = load_scenario(path)
    assert (scenario.name, scenario.title, scenario.look_for) == ("mine", "T", "L")
    assert [str(address) for address in scenario.names["www.lab.test"].addresses] == ["198.51.100.7", "2001:db8::80"]
    assert scenario.names["old.lab.test"].turns[0].cname == "www.lab.test"
    assert scenario.names["gone.lab.test"].turns[0].rcode == "NXDOMAIN"
    response = scenario.server.response
    assert (scenario.server.port, response.status, response.reason) == (8080, 418, "Short and stout")
    assert response.headers == (("Location", "/x"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))
    assert (response.body, scenario.server.close, scenario.server.route.quickack) == (b"text", "server", True)
    assert scenario.server.answer("/home?q=1") == Response(404, "Not Found", (), b"The")
    assert scenario.server.answer("/") == response
    assert (scenario.client.port, scenario.client.deadline_s, scenario.wire.whole.delay_s) == (35944, 1.5, 0.021)
    assert scenario.host == "old.lab.test"
    assert scenario.expected is not None
    assert scenario.expected.form == "shape"


def test_a_byte_order_mark_and_no_url_at_all_are_survived(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + b'[client]\ncurl = ["--version"]\n')
    assert load_scenario(path).host is None


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL + NAMES)
    scenario = load_scenario(path)
    assert (scenario.server, scenario.server.close) == (Server(), "client")
    assert scenario.expected is None


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "no client": ("", "client.curl: is missing"),
    "an unknown key": (MINIMAL + "prot = 1\n", "client.prot: there is no such key; did you mean 'port'?"),
    "an unknown table": (MINIMAL + "[sever]\n", "sever: there is no such key; did you mean 'server'?"),
    "a close of another kind": (MINIMAL + '[server]\nclose = "sever"\n', "server.close: 'sever' won't do"),
    "a status that isn't final": (MINIMAL + "[server]\nstatus = 100\n", "server.status: 100"),
    "a status as text": (MINIMAL + '[server]\nstatus = "200"\n', "server.status: '200'"),
    "a truth for a number": (MINIMAL + "[server]\nstatus = true\n", "server.status: True"),
    "a body for 204": (MINIMAL + "[server]\nstatus = 204\nbody = 1\n", "server.body: 1 won't do"),
    "a path that is none": (MINIMAL + '[server.paths."home"]\n', "server.paths.home: 'home'"),
    "a path that climbs": (MINIMAL + '[server.paths."/../x"]\n', 'server.paths."/../x"'),
    "a close within a path": (
        MINIMAL + '[server.paths."/x"]\nclose = "reset"\n',
        'paths."/x".close: there is no',
    ),
    "an acknowledgement that is neither": (MINIMAL + "[server]\nquickack = 1\n", "server.quickack: 1"),
    "a header of two lines": (MINIMAL + '[server.headers]\nX = "a\\r\\nb"\n', "server.headers.X"),
    "a header with a space in its name": (MINIMAL + '[server.headers]\n"X Y" = "a"\n', 'server.headers."X Y"'),
    "a negative body": (MINIMAL + "[server]\nbody = -1\n", "server.body: -1"),
    "a command line as one text": ('[client]\ncurl = "http://x/"\n', "client.curl: 'http://x/'"),
    "an empty command line": ("[client]\ncurl = []\n", r"client.curl: \[\]"),
    "a port out of range": (MINIMAL + "port = 65536\n", "client.port: 65536"),
    "a deadline without a unit": (MINIMAL + "deadline = 10\n", "client.deadline: 10"),
    "a deadline of nothing": (MINIMAL + 'deadline = "0s"\n', "client.deadline: '0s'"),
    "a leg's delay too long": (MINIMAL + '[wire.client]\ndelay = "11s"\n', "wire.client.delay: '11s'"),
    "a rate without a unit": (MINIMAL + "[wire]\nbandwidth = 10\n", "wire.bandwidth: 10"),
    "an MTU that no host need take": (MINIMAL + "[wire]\nmtu = 500\n", "wire.mtu: 500"),
    "an MTU too small for IPv6": ("ipv6 = true\n" + MINIMAL + "[wire]\nmtu = 576\n", "wire.mtu: 576"),
    "an order of another kind": (MINIMAL + '[wire]\norder = "any"\n', "wire.order: 'any'"),
    "a fault without an instruction": (MINIMAL + '[[wire.fault]]\nby = "1s"\n', r"wire.fault\[1\]: has 0 of these"),
    "a fault with two instructions": (
        MINIMAL + '[[wire.fault]]\ndrop = "client SYN 1"\ndelay = "client SYN 1"\n',
        r"wire.fault\[1\]: has 2 of these",
    ),
    "a fault for no kind": (
        MINIMAL + '[[wire.fault]]\ndrop = "client HELLO 1"\n',
        r"fault\[1\].drop: .*HELLO",
    ),
    "a delay without a time": (
        MINIMAL + '[[wire.fault]]\ndelay = "client SYN 1"\n',
        r"fault\[1\].by: is missing",
    ),
    "a time for a fault that has none": (
        MINIMAL + '[[wire.fault]]\ndrop = "client SYN 1"\nby = "1s"\n',
        r"fault\[1\].by: there is no such key",
    ),
    "chance without a seed": (
        MINIMAL + '[[wire.fault]]\ndrop = "client SYN all"\nchance = 0.5\n',
        r"fault\[1\].chance: needs seed",
    ),
    "a frame dropped and doubled": (
        MINIMAL + '[[wire.fault]]\ndrop = "client SYN all"\n[[wire.fault]]\nduplicate = "client SYN 2"\n',
        r"mine.toml:6: wire.fault\[2\].duplicate: .*contradicts the fault .drop client SYN all",
    ),
    "one fault twice": (
        MINIMAL + '[[wire.fault]]\ndrop = "client SYN 1"\n[[wire.fault]]\ndrop = "client SYN first 3"\n',
        "both choose the same frames",
    ),
    "requests counted in vain": (
        MINIMAL + "[server]\nrequests = 2\n",
        "server.requests: counts requests",
    ),
    "an end that nobody marks": (MINIMAL + "[server]\ncontent_length = false\n", "server.content_length: is false"),
    "more pieces than bytes": (
        MINIMAL + '[server]\nbody = 3\npieces = 4\npause = "1ms"\n',
        "server.pieces: 4 won't do",
    ),
    "pieces without a pause": (MINIMAL + "[server]\nbody = 30\npieces = 4\n", "server.pieces: and pause go together"),
    "a silence that speaks": (
        MINIMAL + '[names]\na = { silent = true, addresses = ["192.0.2.1"] }\n',
        "names.a: .*silent",
    ),
    "an answer of nothing": (MINIMAL + "[names]\na = { delay = '1s' }\n", "names.a: "),
    "a turn that is none": (MINIMAL + "[names]\na = [{ silent = true }, { rcode = 'NOPE' }]\n", r"names.a\[2\].rcode"),
    "an option of no resolver": (MINIMAL + 'resolver_options = ["slow"]\n', "client.resolver_options: "),
    "IPv6 where it is off": (
        MINIMAL + 'address = ["192.0.2.1", "2001:db8::1"]\n',
        "client.address: has an IPv6 address, but IPv6 is off",
    ),
    "two hosts with one address": (MINIMAL + '[resolver]\naddress = "192.0.2.10"\n', "resolver.address: '192.0.2.10'"),
    "inexact without a reason": ("exact = false\n" + MINIMAL, "exact: needs `because`"),
    "a reason without being inexact": ('because = "x"\n' + MINIMAL, "because: explains"),
    "a name that nobody knows": (
        MINIMAL + '[names]\n"ww.lab.test" = "192.0.2.1"\n',
        "mine.toml:2: client.curl.1.: www.lab.test is a name that nobody knows; did you mean 'ww.lab.test'",
    ),
    "an address that nobody has": (
        NAMES + '[client]\ncurl = ["-v",\n  "http://192.0.2.81/"]\n',
        r"mine.toml:5: client.curl\[2\]: 192.0.2.81 is an address that nobody has",
    ),
    "an address in a spelling of curl's": (
        NAMES + '[client]\ncurl = ["http://127.1/"]\n',
        "mine.toml:4: client.curl.1.: 127.1, which curl takes for 127.0.0.1, is an address that nobody has",
    ),
    "the server's address in a spelling of curl's": (
        NAMES + '[client]\ncurl = ["http://0xc0000250/"]\n',
        "client.curl.1.: 0xc0000250 is a spelling of 192.0.2.80",
    ),
    "the server's IPv6 address in another spelling": (
        "ipv6 = true\n"
        + NAMES.replace('"192.0.2.80"', '"2001:db8::80"')
        + '[client]\ncurl = ["http://[2001:DB8:0::80]/"]\n',
        "client.curl.1.: 2001:db8:0::80 is a spelling of 2001:db8::80",
    ),
    "an address with a final dot": (
        NAMES + '[client]\ncurl = ["http://192.0.2.80./"]\n',
        "client.curl.1.: 192.0.2.80. is a name that nobody knows",
    ),
    "a redirect to a name that nobody knows": (
        NAMES + '[server]\nstatus = 302\nheaders = { location = "http://no.test:81/x" }\n'
        '[client]\ncurl = ["-sL", "http://www.lab.test/"]\n',
        "mine.toml:5: server.headers.location: no.test is a name that nobody knows",
    ),
    "a redirect to an address that nobody has": (
        NAMES + '[server.paths."/a"]\nstatus = 301\nheaders = { Location = "//192.0.2.9/x" }\n'
        '[client]\ncurl = [["http://www.lab.test/"], ["--location", "http://www.lab.test/a"]]\n',
        'mine.toml:5: server.paths."/a".headers.Location: 192.0.2.9 is an address that nobody has',
    ),
    "a mistake behind Windows' line ends": (
        (NAMES + MINIMAL + "[wire]\nmtu = 5\n").replace("\n", "\r\n"),
        "mine.toml:6: wire.mtu: 5 won't do",
    ),
    "a leg that there isn't": (
        MINIMAL + '[wire.cleint]\ndelay = "1ms"\n',
        "wire.cleint: there is no such key; did you mean 'client'",
    ),
    "digits of another script": (MINIMAL + '[wire]\ndelay = "٣ms"\n', "wire.delay: '٣ms'"),
    "a file that curl would write": (
        NAMES + '[client]\ncurl = [["http://www.lab.test/"], ["-O", "http://www.lab.test/x"]]\n',
        r"client.curl\[2\]\[1\]: -O writes a file",
    ),
    "a rule that there isn't": (MINIMAL + '[expect]\nfails = ["tcp.cheksums"]\n', "expect.fails: .*cheksums"),
    "a shape with numbers": (
        MINIMAL + '[expect]\nsequence = "client SYN 0:0(0)"\nshape = "client SYN 0:0(0)"\n',
        "mine.toml:5: expect.shape: has numbers",
    ),
    "a shape of nothing": (MINIMAL + '[expect]\nshape = "client SYN"\n', "expect.shape: needs expect.sequence"),
    "a failure of nothing": (MINIMAL + '[expect]\nfails = ["tcp.close"]\n', "expect.fails: needs expect.sequence"),
    "a port given twice": (
        NAMES + '[client]\nport = 5000\ncurl = ["--local-port", "6000", "http://www.lab.test/"]\n',
        "client.curl: has --local-port",
    ),
    "a delay too long": (MINIMAL + '[wire]\ndelay = "11s"\n', "wire.delay: '11s'"),
    "no address": (MINIMAL + '[names]\n"www.lab.test" = ["300.1.1.1"]\n', 'names."www.lab.test": .300.1.1.1'),
    "a loopback address": (MINIMAL + '[names]\na = ["127.0.0.1"]\n', "names.a: '127.0.0.1'"),
    "the resolver's address": (MINIMAL + '[names]\na = ["192.0.2.53"]\n', "names.a: '192.0.2.53'"),
    "no name": (MINIMAL + '[names]\n"-x..y" = ["192.0.2.1"]\n', 'names."-x..y"'),
    "a name twice": (MINIMAL + '[names]\na = ["192.0.2.1"]\nA = ["192.0.2.2"]\n', "names.A"),
    "an rcode of another kind": (MINIMAL + '[names]\na = { rcode = "NOPE" }\n', "names.a.rcode: 'NOPE'"),
    "both cname and rcode": (MINIMAL + '[names]\na = { cname = "b", rcode = "REFUSED" }\n', "names.a: "),
    "an alias in a circle": (MINIMAL + '[names]\na = { cname = "b" }\nb = { cname = "a" }\n', "names.a: .*cname"),
    "an expectation that is none": (MINIMAL + '[expect]\nsequence = "client SIN"\n', "expect.sequence: line 1"),
    "an expectation of nothing": (MINIMAL + '[expect]\nsequence = "# none"\n', "expect.sequence: '# none'"),
    "a name with dots but no quotes": (MINIMAL + '[names]\nwww.lab = "192.0.2.1"\n', "names.www: .*won't do"),
    "an address with a zone": (MINIMAL + '[names]\na = ["fe80::1%eth0"]\n', "names.a: 'fe80::1%eth0'"),
    "an IPv4 address in IPv6's clothes": (MINIMAL + '[names]\na = ["::ffff:192.0.2.1"]\n', "names.a: "),
    "a command of a million characters": (f'[client]\ncurl = ["{"x" * 1_000_000}"]\n', "client.curl: "),
    "a number of ten thousand digits": (f"a = {'1' * 10_000}\n", "a number too long"),
    "tables nested deeply": ("a = " + "[" * 10_000, "nested too deeply"),
    "no TOML": ("[client\n", "is not TOML: .*line 1"),
    "binary": (b"\xff\xfe\x00", "is not UTF-8"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_nonsense_is_refused_with_file_key_and_what_is_allowed(tmp_path: Path, what: str) -> None:
    text, complaint = REFUSED[what]
    with pytest.raises(ScenarioError, match=complaint) as caught:
        load(tmp_path, text)
    message = f"{caught.value} {caught.value.next_step}"
    assert str(tmp_path / "mine.toml") in message
    assert caught.value.next_step
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("response", "curl"),
    [
        ('status = 302\nheaders = { Location = "http://no.test/" }', '"http://www.lab.test/"'),
        ('status = 200\nheaders = { Location = "http://no.test/" }', '"-L", "http://www.lab.test/"'),
        ('status = 302\nheaders = { Location = "/x" }', '"-L", "http://www.lab.test/"'),
        ('status = 302\nheaders = { Location = "//WWW.lab.test./x" }', '"-L", "http://www.lab.test/"'),
        ('status = 302\nheaders = { Location = "http://192.0.2.80:8080" }', '"-L", "http://www.lab.test/"'),
    ],
)
def test_a_redirect_that_leads_somewhere_or_is_not_followed_is_fine(tmp_path: Path, response: str, curl: str) -> None:
    load(tmp_path, f"{NAMES}[server]\n{response}\n[client]\ncurl = [{curl}]\n")


def test_settling_may_take_what_the_scenario_lets_ends_wait_for(tmp_path: Path) -> None:
    waits = {
        "": 0.0,
        '[server]\nclose_after = "6s"\n': 6.0,
        '[wire]\ndelay = "2s"\n': 8.0,
        '[wire.client]\ndelay = "1s"\n[[wire.fault]]\ndelay = "client FIN 1"\nby = "9s"\n': 13.0,
        '[server]\nrto_min = "8s"\n': 16.0,
    }
    scenarios = [load(tmp_path, NAMES + MINIMAL + text) for text in waits]
    assert [one.settle_s >= 5 + wait for one, wait in zip(scenarios, waits.values(), strict=True)] == [True] * 5


def test_a_missing_file_and_an_unknown_name_are_said(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no such scenario file"):
        load_scenario(tmp_path / "nothing.toml")
    with pytest.raises(InputError, match="did you mean 'baseline'"):
        find_scenario("baselin")


@pytest.mark.parametrize("path", pack(), ids=lambda path: path.stem)
def test_every_scenario_of_the_pack_is_whole(path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.title
    assert scenario.look_for
    assert scenario.expected

"""Scenario files: what is read, and what is refused with file, key and allowed values."""

from pathlib import Path

import pytest

from analysis.errors import InputError
from lab.errors import ScenarioError
from lab.scenario.load import find_scenario, load_scenario, pack
from lab.scenario.model import Response, Server

CURL = 'curl = ["http://www.lab.test/"]\n'
MINIMAL = f"[client]\n{CURL}"


def load(tmp_path: Path, text: str | bytes) -> object:
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


def test_a_byte_order_mark_and_a_url_that_is_none_are_survived(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + b'[client]\ncurl = ["http://["]\n')
    assert load_scenario(path).host is None


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL)
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

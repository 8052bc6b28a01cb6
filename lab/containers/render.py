"""A scenario as configuration of dnsmasq and nginx; and what these can't do, said before anything starts."""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit

from lab.containers.network import Addresses, capacity
from lab.curl.command import resolv_conf
from lab.errors import ScenarioError
from lab.scenario.model import TTL_S, Answer, Name, Response, Route, Scenario, Server, WirePlan
from lab.scenario.server import default_reason

LONGEST_WORD = 1000  # nginx reads its configuration into 4096 bytes, and escaping may double a word
NGINX_SETS = ("connection", "content-length", "date", "keep-alive", "server", "transfer-encoding")
ADDRESS_OPTIONS = ("--resolve", "--connect-to")
HTTP_1_0 = ("-0", "--http1.0")
NUMBER = re.compile(r"(?:0x[0-9a-f]+|\d+)(?:\.(?:0x[0-9a-f]+|\d+))*", re.IGNORECASE)  # what inet_aton(3) takes, too
CLOSE_HEADER = re.compile(r"(?:-H)?connection\s*:.*close", re.IGNORECASE)
DNSMASQ = """\
# The resolver: it knows these names, and that there are no others.
keep-in-foreground
log-facility=-
log-queries
pid-file=
no-resolv
no-hosts
no-round-robin
local=/#/
local-ttl={ttl}
addn-hosts=/config/hosts
"""
NGINX = """\
# The server. Responses are files; `error_page` gives them their status.
daemon off;
pid /tmp/nginx.pid;
error_log stderr notice;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log /dev/stdout;
  client_body_temp_path /tmp/body;
  fastcgi_temp_path /tmp/fastcgi;
  proxy_temp_path /tmp/proxy;
  scgi_temp_path /tmp/scgi;
  uwsgi_temp_path /tmp/uwsgi;
  client_max_body_size 0;
  large_client_header_buffers 4 16k;
  keepalive_requests 1000000;
  etag off;
  if_modified_since off;
  max_ranges 0;
  merge_slashes off;
  default_type text/plain;
  geo $dollar {{ default "$"; }}
  server {{
    listen {port};
{locations}  }}
}}
"""
LOCATION = """\
    location {match} {{ error_page 418 ={status} /.handshake-lab/{number}; return 418; }}
    location = /.handshake-lab/{number} {{
      internal;
      alias /config/responses/{number};
      add_header Last-Modified "";
{headers}    }}
"""


def require_playable(scenario: Scenario) -> None:
    """`ScenarioError` if the Docker backend can't play `scenario`: names the key, and the backend that can."""
    for key, why in unplayable(scenario):
        raise ScenarioError(
            f"{scenario.path}: {key}: {why}, which the docker backend can't do",
            "the netns backend can: --backend netns",
        )


def unplayable(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Each key of `scenario` that dnsmasq, nginx or a plain bridge can't do, with what it asks for."""
    if scenario.ipv6:
        yield "ipv6", "has IPv6 on the wire"
    yield from _unplayable_wire(scenario.wire)
    yield from _unplayable_server(scenario.server)
    yield from _unplayable_names(scenario)
    yield from _unplayable_client(scenario)
    if scenario.expected is not None and scenario.expected_shape is None:
        yield "expect.sequence", "has no shape that follows from it for sure (expect.shape may say it)"


def _unplayable_wire(plan: WirePlan) -> Iterator[tuple[str, str]]:
    for key, leg in (("wire", plan.whole), *((f"wire.{role}", leg) for role, leg in plan.legs.items())):
        if leg.delay_s:
            yield f"{key}.delay", "delays frames"
        if leg.bandwidth:
            yield f"{key}.bandwidth", "limits how fast frames go"
        if leg.mtu:
            yield f"{key}.mtu", "has an MTU of its own"
    if plan.faults:
        yield "wire.fault", f"has faults ({plan.faults[0].text})"
    if plan.order != "lock-step":
        yield "wire.order", "orders deliveries"


def _unplayable_server(server: Server) -> Iterator[tuple[str, str]]:
    if server.close != "client":
        yield "server.close", f"has the server close first ({server.close})"
    if server.close_after_s is not None:
        yield "server.close_after", "has the server wait before it closes"
    if server.route.rto_min_s is not None:
        yield "server.rto_min", "sets a retransmission timeout"
    yield from _unplayable_response("server", server.response)
    for path, response in server.paths.items():
        if len(path) > LONGEST_WORD:
            yield "server.paths", f"has a path of more than {LONGEST_WORD} characters"
        yield from _unplayable_response(f'server.paths."{path}"', response)


def _unplayable_client(scenario: Scenario) -> Iterator[tuple[str, str]]:
    if scenario.client.route != Route():
        yield "client.quickack", "sets the client's route"
    if len(scenario.client.commands) > 1:
        yield "client.curl", "has several commands"
    for argument in scenario.client.commands[0]:
        if _names_address(argument):
            yield "client.curl", f"names an address ({argument})"  # and the lab's are where there is room for them
        if argument in HTTP_1_0 or CLOSE_HEADER.match(argument):
            yield "client.curl", f"asks the server to close first ({argument})"  # nginx does, in a race with curl


def _unplayable_names(scenario: Scenario) -> Iterator[tuple[str, str]]:
    if len(scenario.addresses.server) > capacity():
        yield "names", f"gives the server more than {capacity()} addresses"
    for owner, name in scenario.names.items():
        key = f'names."{owner}"'
        first = name.turns[0]
        if len(name.turns) > 1:
            yield key, "answers differently from query to query"
        if first.silent or first.truncated or first.delay_s or first.ttl_s != TTL_S:
            yield key, "tells the resolver when and how to answer"
        if first.rcode not in (None, "NXDOMAIN"):
            yield f"{key}.rcode", f"answers {first.rcode}"
        elif first.rcode and any(other.endswith(f".{owner}") for other in scenario.names):
            yield f"{key}.rcode", "denies a name that others lie below (RFC 8020)"
        if first == Answer():
            yield key, "exists, but has no address"
        if first.cname is not None and not _leads_to_address(scenario, name):
            yield f"{key}.cname", "is an alias of a name without addresses"


def _leads_to_address(scenario: Scenario, name: Name | None) -> bool:
    while name is not None and name.turns[0].cname is not None:
        name = scenario.names.get(name.turns[0].cname)
    return name is not None and bool(name.addresses)


def _unplayable_response(key: str, response: Response) -> Iterator[tuple[str, str]]:
    if response.reason != default_reason(response.status):
        yield f"{key}.reason", "has a reason phrase of its own"
    if response.think_s or response.pieces > 1:
        yield key, "has the server take its time (think, pieces)"
    for name, value in response.headers:
        if name.lower() in NGINX_SETS:
            yield f"{key}.headers.{name}", "takes the place of a header that nginx sets"
        elif not value:
            yield f"{key}.headers.{name}", "is an empty header"
        elif len(value) > LONGEST_WORD:
            yield f"{key}.headers.{name}", f"is longer than {LONGEST_WORD} characters"
    types = [name for name, _ in response.headers if name.lower() == "content-type"]
    if len(types) > 1:
        yield f"{key}.headers.{types[0]}", "comes more than once"


def _names_address(argument: str) -> bool:
    """Whether a word of curl's command line has an address for its host, or maps one."""
    if argument in ADDRESS_OPTIONS:
        return True
    host = ""
    try:
        host = urlsplit(argument if "://" in argument else f"http://{argument}").hostname or ""
        ip_address(host)
    except ValueError:
        return "://" in argument and bool(NUMBER.fullmatch(host))
    return True


def write_config(scenario: Scenario, addresses: Addresses, folder: Path) -> None:
    """Make `folder`, with all that the containers read: how to resolve, dnsmasq's and nginx's files."""
    server = scenario.server
    responses = [("/", server.response), *((f"= {path}", response) for path, response in server.paths.items())]
    files: dict[str, bytes] = {
        "resolv.conf": resolv_conf(str(addresses.resolver), scenario.client.resolver_options).encode(),
        "client-hosts": f"127.0.0.1 localhost\n{addresses.client} client\n".encode(),
        "dnsmasq.conf": render_dnsmasq(scenario).encode(),
        "hosts": render_hosts(scenario, addresses).encode(),
        "nginx.conf": render_nginx(server.port, responses).encode(),
        **{f"responses/{number}": response.body for number, (_, response) in enumerate(responses)},
    }
    (folder / "responses").mkdir(parents=True)
    for path in (folder, folder / "responses"):
        path.chmod(0o755)  # whatever the umask: the containers' programs are nobody
    for name, content in files.items():
        path = folder / name
        path.write_bytes(content)
        path.chmod(0o644)


def render_dnsmasq(scenario: Scenario) -> str:
    """`dnsmasq.conf` (dnsmasq(8)): aliases here, addresses in `hosts`; a name that is in neither does not exist."""
    aliases = ((owner, name.turns[0].cname) for owner, name in scenario.names.items())
    return DNSMASQ.format(ttl=TTL_S) + "".join(f"cname={owner},{cname}\n" for owner, cname in aliases if cname)


def render_hosts(scenario: Scenario, addresses: Addresses) -> str:
    """`hosts` (hosts(5)): a line for each address, in the scenario's order."""
    return "".join(
        f"{_here(address, addresses)} {owner}\n" for owner, name in scenario.names.items() for address in name.addresses
    )


def _here(address: IPv4Address | IPv6Address, addresses: Addresses) -> IPv4Address | IPv6Address:
    return addresses.server[address] if isinstance(address, IPv4Address) else address


def render_nginx(port: int, responses: list[tuple[str, Response]]) -> str:
    """`nginx.conf`: each (match, response) a location that answers any method with that status, headers and body."""
    locations = (
        LOCATION.format(match=match, status=response.status, number=number, headers=_headers(response))
        for number, (match, response) in enumerate(responses)
    )
    return NGINX.format(port=port, locations="".join(locations))


def _headers(response: Response) -> str:
    lines: list[str] = []
    for name, value in response.headers:
        if name.lower() == "content-type":
            lines.append(f"      default_type {_quoted(value)};\n")
        else:
            lines.append(f"      add_header {_quoted(name)} {_quoted(value).replace('$', '${dollar}')} always;\n")
    return "".join(lines)


def _quoted(text: str) -> str:
    """A string of nginx's. Where nginx looks for variables in it, a dollar sign can only come out of one."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

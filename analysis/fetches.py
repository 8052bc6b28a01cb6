"""Which lookups and connections belong to one fetch.

A lookup belongs to the fetch of its client and name. A connection belongs to the fetch whose name it says (the Host
of its requests, the server name of TLS); one that says nothing, as a refused one, to that whose answer named its
address. What is asked again after a response came is another fetch; what a redirect leads to is the same one.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from analysis.carried import Carried
from analysis.dns.lookups import Lookup
from analysis.dns.pairs import DNS_PORT
from analysis.http import Exchange
from analysis.names import host_in
from analysis.tcp.connection import Connection
from analysis.traffic import Traffic

FOLLOWED_NS = 5_000_000_000  # a client follows a redirect at once; whoever comes later came by himself
WEB_PORTS = (80, 443)  # https is tried before http
MAY_BE_HTTP = (None, "HTTP/1.x", "TLS", "HTTP/2")


class Fetch:
    """One fetch while it is put together: connections by index; `names` in the order in which redirects led there."""

    __slots__ = ("answered", "clients", "connections", "lookups", "names", "ports", "start")

    def __init__(self, name: str) -> None:
        self.names: dict[str, None] = {name: None}
        self.clients: set[str] = set()
        self.lookups: list[Lookup] = []
        self.connections: list[int] = []
        self.start = 0  # its first frame
        self.answered = 0  # the frame in which the first response was complete; 0 while there is none
        self.ports: set[int] = set()  # of connections that say its name

    @property
    def name(self) -> str:
        return next(iter(self.names))

    def add_lookup(self, lookup: Lookup) -> None:
        self.start = self.start or lookup.query_frames[0]
        self.lookups.append(lookup)
        self.clients.add(lookup.client)

    def add_connection(self, index: int, connection: Connection) -> None:
        self.start = min(self.start, connection.frames[0]) if self.start else connection.frames[0]
        self.connections.append(index)
        self.clients.add(connection.client.address)

    def absorb(self, other: "Fetch") -> None:
        """Go on as `other`, which a redirect led to."""
        self.names |= other.names
        self.lookups += other.lookups
        self.connections += other.connections
        self.clients |= other.clients


def find_fetches(traffic: Traffic) -> list[Fetch]:
    """The fetches of looked-up names, in order of their first frame, then those whose name was not looked up."""
    finder = _Finder(traffic)
    finder.walk()
    finder.place_the_rest()
    fetches = [*finder.looked_up, *finder.others]
    absorbed = set(map(id, _follow_redirects(fetches, traffic)))
    return [fetch for fetch in fetches if id(fetch) not in absorbed]


class _Finder:
    """Walks through lookups and connections in order of their first frames."""

    def __init__(self, traffic: Traffic) -> None:
        self.looked_up: list[Fetch] = []
        self.others: list[Fetch] = []
        self._lookups, self._connections, self._carried = traffic.lookups, traffic.connections, traffic.carried
        self._carriers = set(traffic.carrier_in.values())
        self._asking = {lookup.client for lookup in self._lookups}
        self._latest: dict[tuple[str, str], Fetch] = {}  # by client and name
        self._latest_of_any: dict[str, Fetch] = {}
        # by client (None: any) and address: the frame of the answer that names it
        self._naming: dict[tuple[str | None, str], list[tuple[int, Fetch]]] = {}
        self._left: list[int] = []

    def walk(self) -> None:
        """Place each lookup, and each connection that says whose it is."""
        lookups = ((lookup.query_frames[0], 0, number) for number, lookup in enumerate(self._lookups))
        connections = ((one.frames[0], 1, number) for number, one in enumerate(self._connections))
        for _, is_connection, number in sorted(chain(lookups, connections)):
            if not is_connection:
                self._look_up(self._lookups[number])
                continue
            if number not in self._carriers and not self._join_by_name(number):
                self._left.append(number)
            self._connections[number].forget()

    def _look_up(self, lookup: Lookup) -> None:
        key = (lookup.client, lookup.name)
        fetch = self._latest.get(key) or self._asked_by_other_family(lookup)
        if fetch is None or 0 < fetch.answered < lookup.query_frames[0]:
            fetch = Fetch(lookup.name)
            self.looked_up.append(fetch)
        self._latest[key] = fetch
        self._latest_of_any[lookup.name] = fetch
        fetch.add_lookup(lookup)
        for address in lookup.addresses:
            for client in (lookup.client, None):
                self._naming.setdefault((client, address), []).append((lookup.response_frame or 0, fetch))

    def _asked_by_other_family(self, lookup: Lookup) -> Fetch | None:
        """The fetch of a name that its client asks of resolvers of both families: IPv6 first, then IPv4, say."""
        fetch = self._latest_of_any.get(lookup.name)
        if fetch is None or any(_is_ipv6(client) == _is_ipv6(lookup.client) for client in fetch.clients):
            return None
        return fetch if all(one.status == "unanswered" for one in fetch.lookups) else None

    def _join_by_name(self, number: int) -> bool:
        client = self._connections[number].client.address
        for host in self._carried[number].hosts:
            fetch = self._latest.get((client, host))
            if fetch is None and client not in self._asking:
                fetch = self._latest_of_any.get(host)  # it asks from another address: IPv4 for IPv6, or behind a router
            if fetch is not None:
                self._join(fetch, number)
                fetch.ports.add(self._connections[number].server.port)
                fetch.answered = min(filter(None, (fetch.answered, _answered(self._carried[number]))), default=0)
                return True
        return False

    def _join(self, fetch: Fetch, number: int) -> None:
        fetch.add_connection(number, self._connections[number])

    def place_the_rest(self) -> None:
        """Place connections that don't say whose they are, or came before the lookup of their name."""
        for naming in self._naming.values():
            naming.sort(key=lambda entry: entry[0])
        for number in self._left:
            if self._join_by_name(number):
                continue
            connection, carried = self._connections[number], self._carried[number]
            fetch = self._fetch_at(connection)
            if fetch is not None and _may_belong(connection, carried, fetch):
                self._join(fetch, number)
            else:
                fetch = Fetch(next(iter(carried.hosts), connection.server.address))
                fetch.answered = _answered(carried)
                self._join(fetch, number)
                self.others.append(fetch)
            connection.forget()

    def _fetch_at(self, connection: Connection) -> Fetch | None:
        """Whose answer named the connection's server: the last one before it, else the first one after."""
        client = connection.client.address if connection.client.address in self._asking else None
        naming = self._naming.get((client, connection.server.address), [])
        before = bisect_right(naming, connection.frames[0], key=lambda entry: entry[0])
        return naming[max(0, before - 1)][1] if naming else None


def _may_belong(connection: Connection, carried: Carried, fetch: Fetch) -> bool:
    """Whether a connection that doesn't say the name of `fetch` can be part of it: another try, or the only one."""
    if connection.server.port == DNS_PORT or carried.protocol not in MAY_BE_HTTP:
        return False
    if carried.has_data:
        return not fetch.ports
    return not fetch.ports or connection.server.port in (*fetch.ports, *WEB_PORTS)


def _answered(carried: Carried) -> int:
    """The frame with which a connection's first response, or hello of TLS, was complete; 0 without one."""
    if carried.tls is not None:
        return carried.tls.hello_frames[-1] if carried.tls.version else 0
    responses = (one.response_frames for one in carried.exchanges if one.response is not None)
    return min((frames[-1] for frames in responses if frames), default=0)


def _follow_redirects(fetches: Sequence[Fetch], traffic: Traffic) -> Iterator[Fetch]:
    """Let each fetch absorb those that its redirects lead to (RFC 9110 §15.4); give the absorbed ones."""
    by_name: dict[str, list[Fetch]] = {}
    in_order = sorted(fetches, key=lambda fetch: fetch.start)
    for fetch in in_order:
        by_name.setdefault(fetch.name, []).append(fetch)
    absorbed: set[int] = set()
    for fetch in in_order:
        if id(fetch) in absorbed:
            continue
        for number in fetch.connections:  # grows while it is walked through
            for exchange in traffic.carried[number].exchanges:
                other = _led_to(exchange, fetch, by_name, traffic)
                if other is not None and id(other) not in absorbed:
                    absorbed.add(id(other))
                    fetch.absorb(other)
                    yield other


def _led_to(exchange: Exchange, fetch: Fetch, by_name: dict[str, list[Fetch]], traffic: Traffic) -> Fetch | None:
    """The fetch by the same client that begins right after a redirect to its name, or None."""
    response = exchange.response
    location = None if response is None or not 300 <= response.status < 400 else response.header("location")
    if location is None or not exchange.response_frames:
        return None
    host = host_in(location) or next(iter(_hosts(exchange)), fetch.name)
    redirected = exchange.response_frames[-1]
    others = by_name.get(host, [])
    at = bisect_right(others, redirected, key=lambda other: other.start)
    if at == len(others) or others[at] is fetch or not _is_one_client(others[at], fetch):
        return None
    times = traffic.capture.frames.time_ns
    later = int(times[others[at].start - 1]) - int(times[redirected - 1])
    return others[at] if abs(later) <= FOLLOWED_NS else None


def _is_ipv6(address: str) -> bool:
    return ":" in address


def _is_one_client(one: Fetch, other: Fetch) -> bool:
    """Whether two fetches may be of the same client: by an address, or because they are of different families."""
    families = [{_is_ipv6(client) for client in fetch.clients} for fetch in (one, other)]
    return bool(one.clients & other.clients) or not families[0] & families[1]


def _hosts(exchange: Exchange) -> Iterable[str]:
    return Carried("HTTP/1.x", (exchange,), None, has_data=True).hosts

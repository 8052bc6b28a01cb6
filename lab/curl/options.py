"""curl's options, and a command line read as curl reads it: which word is an option, which its argument, which a URL.

The tables are those of curl 7.74 to 8.23. An option that isn't in them can't be vouched for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

# Long names; the letter after "/" is the short one. These take no argument.
FLAGS = """
    alpn anyauth append/a basic buffer/N ca-native cert-status clobber compressed compressed-ssh create-dirs crlf digest
    disable/q disable-eprt disable-epsv disallow-username-in-url doh-cert-status doh-insecure dump-ca-embed eprt epsv
    fail/f fail-early fail-with-body false-start follow form-escape ftp-create-dirs ftp-pasv ftp-pret ftp-skip-pasv-ip
    ftp-ssl ftp-ssl-ccc ftp-ssl-control ftp-ssl-reqd get/G globoff/g haproxy-protocol head/I help/h http0.9 http1.0/0
    http1.1 http2 http2-prior-knowledge http3 http3-only ignore-content-length include insecure/k ipv4/4 ipv6/6
    junk-session-cookies/j keepalive list-only/l location/L location-trusted mail-rcpt-allowfails manual/M metalink
    mptcp negotiate netrc/n netrc-optional next/: npn ntlm ntlm-wb out-null parallel/Z parallel-immediate path-as-is
    post301 post302 post303 progress-bar/# progress-meter proxy-anyauth proxy-basic proxy-ca-native proxy-digest
    proxy-http2 proxy-http3 proxy-insecure proxy-negotiate proxy-ntlm proxy-ssl-allow-beast proxy-ssl-auto-client-cert
    proxy-tlsv1 proxytunnel/p raw remote-header-name/J remote-name/O remote-name-all remote-time/R remove-on-error
    retry-all-errors retry-connrefused sasl-ir sessionid show-error/S show-headers/i silent/s skip-existing socks5-basic
    socks5-gssapi socks5-gssapi-nec ssl ssl-allow-beast ssl-auto-client-cert ssl-no-revoke ssl-reqd
    ssl-revoke-best-effort sslv2/2 sslv3/3 styled-output suppress-connect-headers tcp-fastopen tcp-nodelay
    tftp-no-options tls-earlydata tlsv1/1 tlsv1.0 tlsv1.1 tlsv1.2 tlsv1.3 tr-encoding trace-ids trace-time use-ascii/B
    verbose/v version/V xattr
"""
# These take an argument, which never is a file.
PLAIN = """
    aws-sigv4 cert-type ciphers connect-timeout connect-to continue-at/C create-file-mode curves data-raw delegation
    dns-interface dns-ipv4-addr dns-ipv6-addr dns-servers doh-url expect100-timeout form-string ftp-account
    ftp-alternative-to-user ftp-method ftp-port/P ftp-ssl-ccc-mode happy-eyeballs-timeout-ms haproxy-clientip hostpubmd5
    hostpubsha256 interface ip-tos ipfs-gateway keepalive-cnt keepalive-time key-type krb krb4 limit-rate local-port
    login-options mail-auth mail-from mail-rcpt max-filesize max-redirs max-time/m noproxy oauth2-bearer parallel-max
    parallel-max-host pass proto proxy-cert-type proxy-ciphers proxy-key-type proxy-pass proxy-service-name
    proxy-tls13-ciphers proxy-tlsauthtype proxy-tlspassword proxy-tlsuser quote/Q range/r rate referer/e request/X
    request-target resolve retry retry-delay retry-max-time sasl-authzid service-name sigalgs socks5-gssapi-service
    speed-limit/Y speed-time/y telnet-option/t tftp-blksize tls-max tls13-ciphers tlsauthtype tlspassword tlsuser
    trace-config upload-flags user-agent/A vlan-priority
"""
# These take an argument that is, or can be, a file or the way to one.
TELLING = """
    abstract-unix-socket alt-svc cacert capath cert/E config/K cookie/b cookie-jar/c crlfile data/d data-ascii
    data-binary data-urlencode dump-header/D ech egd-file engine etag-compare etag-save form/F header/H hsts json key
    knownhosts libcurl netrc-file output/o output-dir pinnedpubkey preproxy proto-default proto-redir proxy/x
    proxy-cacert proxy-capath proxy-cert proxy-crlfile proxy-header proxy-key proxy-pinnedpubkey proxy-user/U proxy1.0
    pubkey random-file socks4 socks4a socks5 socks5-hostname ssl-sessions stderr time-cond/z trace trace-ascii
    unix-socket upload-file/T url url-query user/u variable write-out/w
"""
ENDINGS = ("help", "manual", "version")  # curl prints it, and reads no further


def _names(table: str) -> frozenset[str]:
    return frozenset(word.partition("/")[0] for word in table.split())


WITHOUT_ARGUMENT = _names(FLAGS)
HARMLESS = _names(PLAIN)
OPTIONS = WITHOUT_ARGUMENT | HARMLESS | _names(TELLING)
SHORT = {letter: name for name, _, letter in (word.partition("/") for word in (FLAGS + PLAIN + TELLING).split())}
SHORT.pop("")


@dataclass(frozen=True, slots=True)
class Used:
    """One option as used: its full `name`; `index` and `written`: where and how it stands; `value`: its argument.

    A URL is the option "url", as it is for curl. `off`: written with --no-; `expanded`: with --expand-.
    `name` is None where `written` is no option that is known here, and `value` then says why.
    """

    index: int
    written: str
    name: str | None
    value: str | None = None
    off: bool = False
    expanded: bool = False


def read_options(arguments: Sequence[str]) -> list[Used]:
    """All options and URLs in order, up to one that makes curl read no further."""
    found: list[Used] = []
    for used in _all_options(arguments):
        found.append(used)
        if used.name in ENDINGS and not used.off:
            break
    return found


def operations(arguments: Sequence[str]) -> list[list[Used]]:
    """The same, parted at each `--next`, after which curl forgets most of what it was told."""
    parts: list[list[Used]] = [[]]
    for used in read_options(arguments):
        if used.name == "next":
            parts.append([])
        else:
            parts[-1].append(used)
    return parts


def _all_options(arguments: Sequence[str]) -> Iterator[Used]:
    index, options = 0, True
    while index < len(arguments):
        word, following = arguments[index], arguments[index + 1 : index + 2]
        if not (options and word.startswith("-")):
            yield Used(index, word, "url", word)
        elif word == "--":
            options = False
        else:
            found, waits = _long(index, word) if word.startswith("--") else _short(index, word)
            if waits and following:
                found[-1] = replace(found[-1], value=following[0])
                index += 1
            yield from found
        index += 1


def _long(index: int, word: str) -> tuple[list[Used], bool]:
    """The option of a word such as --output, and whether the next word is its argument."""
    name, equals, joined = word[2:].partition("=")  # --name=value: since curl 8.16
    off, expanded = name.startswith("no-"), name.startswith("expand-")
    full, why = full_name(name.removeprefix("no-") if off else name.removeprefix("expand-"))
    bare = full in WITHOUT_ARGUMENT
    if full is None or (off and not bare) or (expanded and bare):
        return [Used(index, f"--{name}", None, why or "is no option of curl's")], False
    value = joined if equals and not bare else None
    return [Used(index, f"--{name}", full, value, off, expanded)], not (bare or equals)


def full_name(name: str) -> tuple[str | None, str]:
    """The option that a long name stands for, which older curls take abbreviated and in any case; or None and why."""
    name = name.lower()
    if name in OPTIONS:
        return name, ""
    near = sorted(option for option in OPTIONS if option.startswith(name))
    if len(near) == 1:
        return near[0], ""
    if near and name:
        return None, f"can be {', '.join(f'--{option}' for option in near[:4])}; write it in full"
    return None, "is not known here, so that nobody can say which files it would touch"


def _short(index: int, word: str) -> tuple[list[Used], bool]:
    """The options of a word such as -sSofile, and whether the next word is the last one's argument."""
    found: list[Used] = []
    for at, letter in enumerate(word[1:] or " ", start=1):  # a dash alone is no option
        name, written, rest = SHORT.get(letter), f"-{letter}".rstrip(), word[at + 1 :]
        if name is None:
            return [*found, Used(index, written, None, "is no option of curl's")], False
        if name not in WITHOUT_ARGUMENT:
            return [*found, Used(index, written, name, rest or None)], not rest
        found.append(Used(index, written, name, off=name == "buffer"))  # -N is --no-buffer
    return found, False

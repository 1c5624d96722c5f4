"""The way through an HTTP proxy: which hosts take it, what is asked of it, and what its answer says. All of it is pure.

The rules of NO_PROXY are those of Go (golang.org/x/net/http/httpproxy), for which clusters write them.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

ANSWER_MAX: Final = 16 * 2**10
"""Bytes of a proxy's answer to CONNECT."""

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\Z")
_HEADER_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\Z")
_HOST: Final = re.compile(r"[A-Za-z0-9._~%:-]+\Z")


class HttpProxy(NamedTuple):
    """A proxy, reached in clear text.

    Attributes:
        host: without brackets.
        port: 80 where the URL names none.
        authorization: the value of Proxy-Authorization; empty: it asks for none. No repr shows it.
    """

    host: str
    port: int
    authorization: bytes = b""

    def __repr__(self) -> str:
        return f"HttpProxy({authority(self.host, self.port)})"


class ProxyError(Exception):
    """The proxy does not lead to the host. The message is for people and quotes nothing of the answer but the status."""


def read_proxy(url: str) -> HttpProxy:
    """The proxy that ``http://[user:password@]host[:port]`` names; the scheme may be missing.

    Raises:
        ValueError: it is no such URL. The message does not show it, as it may hold a password.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("the proxy's URL is not of the form http://[user:password@]host[:port]") from None
    if parts.scheme != "http":
        raise ValueError(
            f"the proxy's URL has the scheme {parts.scheme!r}, and only http is spoken with proxies"
        )
    if not host or not _HOST.match(host) or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("the proxy's URL is not of the form http://[user:password@]host[:port]")
    authorization = b""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        authorization = b"Basic " + base64.b64encode(pair)
    return HttpProxy(host, 80 if port is None else port, authorization)


def proxy_for(scheme: str, host: str, port: int, *, https_proxy: str, no_proxy: str) -> str:
    """The URL of the proxy by which a place is reached; empty: directly.

    Args:
        scheme: only https goes through `https_proxy`.
        host: a name or an address, without brackets.
        port: of the place.
        https_proxy: what HTTPS_PROXY says; empty where it is not set.
        no_proxy: what NO_PROXY says.
    """
    return "" if scheme != "https" or is_direct(host, port, no_proxy) else https_proxy


def is_direct(host: str, port: int, no_proxy: str) -> bool:
    """Whether NO_PROXY exempts a place from the proxy. It is a list with commas between its rules.

    - ``*`` exempts every place.
    - An address or a network (``10.0.0.0/8``) exempts addresses in it, where the host is written as one.
    - A name exempts itself and what ends in it behind a dot; with ``.`` or ``*.`` in front of it only the latter.

    Addresses and names may have a ``:port``. Loopback and ``localhost`` are always reached directly.
    """
    name = host.rstrip(".").lower()
    address = _address(name)
    if name == "localhost" or (address is not None and address.is_loopback):
        return True
    rules = (rule.strip().lower() for rule in no_proxy.split(","))
    return any(_exempts(rule, name, address, port) for rule in rules if rule)


def connect_request(host: str, port: int, proxy: HttpProxy) -> bytes:
    """What asks `proxy` for a tunnel to a place."""
    place = authority(host, port).encode("ascii")
    login = b"proxy-authorization: %b\r\n" % proxy.authorization if proxy.authorization else b""
    return b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (place, place, login)


def is_tunnel(answer: bytes) -> bool:
    """Whether the tunnel stands, by what has come so far; not yet, if there is no whole head.

    Raises:
        ProxyError: the answer is a refusal, too long, no HTTP, or something stands behind it: nobody speaks in a tunnel
            before we do.
    """
    head, blank, rest = answer.partition(b"\r\n\r\n")
    if not blank:
        if len(answer) > ANSWER_MAX:
            raise ProxyError("the proxy's answer is too long")
        return False
    status_line, *lines = head.split(b"\r\n")
    found = _STATUS_LINE.match(status_line)
    if found is None or not all(_HEADER_LINE.match(line) for line in lines) or len(head) > ANSWER_MAX:
        raise ProxyError("the proxy's answer is not HTTP")
    status = int(found[1])
    if status // 100 != 2:  # noqa: PLR2004 - RFC 9110, section 9.3.6: any 2xx
        raise ProxyError(f"the proxy would not lead to it (status {status})")
    if rest:
        raise ProxyError("the proxy's answer is not HTTP")
    return True


def authority(host: str, port: int) -> str:
    """Host and port as a URL has them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _exempts(rule: str, name: str, address: _Address | None, port: int) -> bool:
    if rule == "*":
        return True
    if address is not None and "/" in rule:
        return _holds(rule, address)
    rule, only_port = _split_port(rule)
    if only_port not in (None, port):
        return False
    if address is not None:
        return _address(rule) == address
    rule = rule.removeprefix("*")
    return name == rule or name.endswith(rule if rule.startswith(".") else f".{rule}")


def _holds(network: str, address: _Address) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _split_port(rule: str) -> tuple[str, int | None]:
    if _address(rule) is not None:
        return rule, None  # the colons are IPv6's own
    host, colon, port = rule.rpartition(":")
    return (host, int(port)) if colon and port.isdecimal() else (rule, None)

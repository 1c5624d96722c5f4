"""Who may call: programs of this machine, and no web page.

Any page in a browser may send requests to loopback. It cannot choose the Host header, so a name of its own that leads here
(DNS rebinding) is told by that; and it cannot take back what browsers say of it in Origin and Sec-Fetch-Site.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple, Protocol

from multidict import istr

HOST: Final = istr("Host")
ORIGIN: Final = istr("Origin")
SEC_FETCH_SITE: Final = istr("Sec-Fetch-Site")

REMEMBERED: Final = 256
"""Values of Host that are known to be right; clients send the one of their base URL, again and again."""

LONGEST_REMEMBERED: Final = 300
"""Characters of one: a name of DNS and a port. A port may have any number of zeros before it."""

_NONE: Final = ()
_BAD_REQUEST: Final = 400
_FORBIDDEN: Final = 403

_AUTHORITY: Final = re.compile(r"(?P<name>[^@:/\[\]\s]+|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?")
_ORIGIN: Final = re.compile(r"https?://(?P<authority>[^/]+)")


class HostProblem(NamedTuple):
    """Why a request is refused: status 400 or 403, and words for a person."""

    status: int
    message: str


class Fields(Protocol):
    """Headers by name, in any case."""

    def getall(self, key: str, default: tuple[()], /) -> Sequence[str]:
        """All of that name."""
        ...

    def __contains__(self, key: object, /) -> bool: ...


class Asking(Protocol):
    """A request, as far as this module needs one."""

    @property
    def target(self) -> str: ...

    @property
    def authority(self) -> str:
        """Of a target in absolute form."""
        ...

    @property
    def is_http10(self) -> bool: ...

    @property
    def fields(self) -> Fields: ...


class HostRules:
    """Which requests are for us, and from a program."""

    __slots__ = ("_allowed", "_known")

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """Accept `localhost`, 127.0.0.0/8 and [::1] at any port, and what else is `allowed`.

        Names below `localhost` are not accepted: only browsers promise that they lead to loopback (RFC 6761, 6.3), and
        there they are the names of somebody's page. Nor are 0.0.0.0 and [::], which stand for all addresses where a
        server listens, and for loopback where a page asks.

        Args:
            allowed: further names and addresses, without port: those that are listened on, and those of `--allow-host`.
        """
        self._allowed = frozenset(
            {"localhost", *(name for host in allowed if (name := _canonical(host)) not in {"0.0.0.0", "::"})}
        )
        self._known: set[str] = set()

    def check(self, request: Asking) -> HostProblem | None:
        """None where it may be served."""
        fields = request.fields
        hosts = fields.getall(HOST, _NONE)
        if (
            len(hosts) == 1
            and hosts[0] in self._known
            and ORIGIN not in fields
            and SEC_FETCH_SITE not in fields
            and request.target[:1] == "/"
        ):
            return None
        return self._wrong_host(request, hosts) or check_page(fields)

    def _wrong_host(self, request: Asking, hosts: Sequence[str]) -> HostProblem | None:
        host = _host_of(request, hosts)
        if isinstance(host, HostProblem):
            return host
        name = _name_of(host)
        if not name:
            return HostProblem(
                _BAD_REQUEST, "The request's Host is no name or address with or without a port."
            )
        if name not in self._allowed and not _is_loopback(name):
            return HostProblem(
                _FORBIDDEN,
                "The request's Host is neither loopback nor an address that Tidegate listens on, as if a web page had sent "
                "it. Use localhost or 127.0.0.1 in the base URL, or start Tidegate with --allow-host=NAME.",
            )
        if len(self._known) < REMEMBERED and len(host) <= LONGEST_REMEMBERED:
            self._known.add(host)
        return None


def _host_of(request: Asking, hosts: Sequence[str]) -> str | HostProblem:
    """Whom the request is for, by its target where that says it, and otherwise by its Host."""
    if len(hosts) > 1:
        return HostProblem(_BAD_REQUEST, "The request has more than one Host header.")
    if not hosts and not request.is_http10:
        return HostProblem(_BAD_REQUEST, "The request has no Host header, which HTTP/1.1 wants.")
    if request.target[:1] == "/":
        return hosts[0] if hosts else "localhost"  # no browser is so old that it says nothing
    # RFC 9112, 3.2.2: the authority of a target counts in place of what Host says.
    return request.authority or HostProblem(
        _BAD_REQUEST, "The request's target is no path; nothing is served at any other."
    )


def is_address(host: str) -> bool:
    """Whether a value of Host is an address: no page can have a name of its own lead here by it."""
    return _address(_name_of(host)) is not None


def check_page(fields: Fields) -> HostProblem | None:
    """None where a browser does not say that a page of another site asks."""
    # A page of the same site has an Origin on all that changes anything, and that decides.
    if any(value.strip() == "cross-site" for value in fields.getall(SEC_FETCH_SITE, _NONE)):
        return HostProblem(_FORBIDDEN, "The request comes from a web page of another site (Sec-Fetch-Site).")
    for origin in fields.getall(ORIGIN, _NONE):
        match = _ORIGIN.fullmatch(origin)
        name = _name_of(match["authority"]) if match else ""
        if name != "localhost" and not _is_loopback(name):
            return HostProblem(
                _FORBIDDEN, "The request comes from a web page that is not on loopback (Origin)."
            )
    return None


def _name_of(authority: str) -> str:
    """Its host as it is compared, without the port; empty: it is none."""
    match = _AUTHORITY.fullmatch(authority)
    return _canonical(match["name"]) if match else ""


def _canonical(host: str) -> str:
    """One spelling for each name and address."""
    host = host.removeprefix("[").removesuffix("]").lower()
    return str(_address(host) or host)


def _is_loopback(name: str) -> bool:
    address = _address(name)
    return address is not None and address.is_loopback


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None

"""Where a provider may live: what a baseURL must look like, and which hosts are not on the public internet.

The check sees the text of the URL alone. A public name that resolves to a private address is the sidecar's to refuse,
when it connects (`public_only` of the contract).
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from tidegate_operator.api.fields import Text
from tidegate_policy.addresses import Address, is_public

BaseURL = Annotated[
    str,
    Text(
        expected=(
            "a URL such as https://api.openai.com/v1: http or https, a host and a path, "
            "without user name, password, query or fragment; other scripts as xn--… or %…"
        ),
        # visible ASCII, sign by sign: \s is not the same for Go and for Python
        pattern=r'^https?://[!-"$-.0->A-\[\]-~]+(/[!-"$->@-\[\]-~]*)?$',
        max_length=512,
        secret=True,
    ),
]

_PRIVATE_SUFFIXES: Final = (".localhost", ".local", ".internal", ".svc", ".cluster.local")
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
# What the resolver's inet_aton reads as an address, beyond four decimals: 2130706433, 0x7f.1, 127.1
_ADDRESS_LIKE: Final = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)(\.(0[xX][0-9a-fA-F]*|[0-9]+))*\.?")


def host_problem(url: str) -> str | None:
    """What is wrong with the host or port of a URL that matches `BaseURL`; None when nothing is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"not a URL: {error}"
    if port == 0:
        return "port 0 cannot be connected to; write the port that the provider listens on, or none"
    host = parts.hostname or ""
    if _address(host) is not None:
        return None
    if _ADDRESS_LIKE.fullmatch(host):
        return f"host {host!r} is a disguised IP address; write it as four decimal numbers"
    if not _HOST_NAME.fullmatch(host) or ".." in host:
        return f"{host!r} is not the name of a host; write letters, digits, '-' and '.'"
    return None


def is_private(url: str) -> bool:
    """Whether the host is known, from its text alone, not to be on the public internet.

    So are loopback, link-local and private addresses, names that only a cluster or a local network resolves, and
    names without a dot.
    """
    host = _host(urlsplit(url))
    address = _address(host)
    if address is not None:
        return not is_public(address)
    return "." not in host or host.endswith(_PRIVATE_SUFFIXES)


def _host(parts: SplitResult) -> str:
    return (parts.hostname or "").lower().removesuffix(".")


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None

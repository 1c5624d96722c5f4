"""Names to addresses: asked once for all who want the same, remembered for seconds, and with a choice of public ones.

A pool's author writes a name, and whoever owns the name decides where it leads: to a metadata service, or into the cluster.
So what was looked up is what is connected to, and no later answer counts.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohappyeyeballs import AddrInfoType

from tidegate_policy.addresses import is_public

KEEP_NS: Final = 10 * 1_000_000_000
"""For so long an answer is believed. A name whose addresses change is followed soon, and a burst asks once."""

NAMES_MAX: Final = 256
"""Names that are remembered; the one that was looked up longest ago goes first."""

Lookup = Callable[[str, int], Awaitable[Sequence[AddrInfoType]]]


class UnknownHostError(Exception):
    """There are no addresses. The message is for people."""


class Resolver:
    """Looks names up, each once at a time."""

    def __init__(self, lookup: Lookup, monotonic_ns: Callable[[], int]) -> None:
        self._lookup = lookup
        self._monotonic_ns = monotonic_ns
        self._known: dict[tuple[str, int], tuple[int, Sequence[AddrInfoType]]] = {}
        self._asked: dict[tuple[str, int], asyncio.Future[Sequence[AddrInfoType] | str | None]] = {}

    async def resolve(self, host: str, port: int) -> Sequence[AddrInfoType]:
        """Addresses to connect to, at least one.

        Raises:
            UnknownHostError: there are none, or nobody could say.
        """
        place = (host, port)
        while True:
            until_ns, addresses = self._known.get(place, (0, ()))
            if self._monotonic_ns() < until_ns:
                return addresses
            asked = self._asked.get(place)
            if asked is None:
                return await self._ask(place)
            # Whoever is cancelled here takes nothing from the others.
            found = await asyncio.shield(asked)
            if isinstance(found, str):
                raise UnknownHostError(found)
            if found is not None:
                return found
            # Who asked was cancelled: somebody else has to.

    async def _ask(self, place: tuple[str, int]) -> Sequence[AddrInfoType]:
        asked = self._asked[place] = asyncio.get_running_loop().create_future()
        told: Sequence[AddrInfoType] | str | None = None
        try:
            told = found = await self._look_up(place)
        except UnknownHostError as error:
            told = str(error)
            raise
        finally:
            del self._asked[place]
            asked.set_result(told)
        self._known.pop(place, None)
        if len(self._known) >= NAMES_MAX:
            del self._known[next(iter(self._known))]
        self._known[place] = (self._monotonic_ns() + KEEP_NS, found)
        return found

    async def _look_up(self, place: tuple[str, int]) -> Sequence[AddrInfoType]:
        try:
            found = await self._lookup(*place)
        except socket.gaierror as error:
            if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
                raise UnknownHostError("its host name was not found") from error
            raise UnknownHostError(f"its host name was not found: {error.strerror}") from error
        except OSError as error:
            raise UnknownHostError(f"its host name was not found: {error.strerror or 'no answer'}") from error
        except UnicodeError as error:  # a label is too long, or empty
            raise UnknownHostError("its host name was not found") from error
        if not found:
            raise UnknownHostError("its host name was not found")
        return found


async def system_lookup(host: str, port: int) -> Sequence[AddrInfoType]:
    """As the system has it: files, search domains, name servers."""
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


def public_ones(addresses: Sequence[AddrInfoType]) -> list[AddrInfoType]:
    """Those of `addresses` that are on the public internet."""
    # an address of one link has the name of the link behind it
    return [it for it in addresses if is_public(ipaddress.ip_address(str(it[4][0]).partition("%")[0]))]


def is_private_literal(host: str) -> bool:
    """Whether a host is written as an address that is not public, or is a name for this machine.

    Also in the old ways of writing an IPv4 address (``127.1``, ``0x7f000001``), which whoever resolves it may read.
    """
    try:
        return not is_public(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return not is_public(ipaddress.IPv4Address(socket.inet_aton(name)))
    except (OSError, UnicodeError, ValueError):
        return False

"""Names of providers that may be on the public internet alone: what they resolve to is looked at before it is connected to.

A pool's author writes a name, and whoever owns the name decides where it leads: to a metadata service, or into the cluster.
"""

from __future__ import annotations

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from tidegate_policy.addresses import is_public


class NotPublicError(OSError):
    """A name leads to addresses, and none of them is public."""


class PublicResolver(AbstractResolver):
    """Passes public addresses on, and no others. What is returned is what is connected to, so no later answer counts."""

    def __init__(self, resolver: AbstractResolver) -> None:
        """Ask this one; it is closed with this."""
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The public ones of the host's addresses.

        Raises:
            OSError: there is no such host.
            NotPublicError: it has none that is public.
        """
        found = await self._resolver.resolve(host, port, family)
        # an address of one link has the name of the link behind it
        public = [it for it in found if is_public(ipaddress.ip_address(it["host"].partition("%")[0]))]
        if found and not public:
            raise NotPublicError
        return public

    async def close(self) -> None:
        """Close the one that is asked."""
        await self._resolver.close()

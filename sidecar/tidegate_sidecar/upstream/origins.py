"""Origins: every place that we have connections to."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final
from weakref import WeakValueDictionary

from tidegate_sidecar.clock import Clock
from tidegate_sidecar.upstream.connector import Connector, OriginKey
from tidegate_sidecar.upstream.origin import Origin, OriginLimits
from tidegate_sidecar.upstream.resolver import Lookup, Resolver, system_lookup
from tidegate_sidecar.upstream.tls import TlsContexts

_CLOSE_S: Final = 1.0
"""Closing a socket takes a turn of the loop; nothing is waited for longer than this."""


class Origins:
    """One origin for each key. An origin that no configuration holds any more is forgotten with its last connection.

    Args:
        limits: of each origin.
        clock: for idle times, ages and faults.
        lookup: from names to addresses.
    """

    def __init__(
        self,
        *,
        limits: OriginLimits = OriginLimits(),  # noqa: B008 - immutable
        clock: Clock = Clock(),  # noqa: B008 - immutable
        lookup: Lookup = system_lookup,
    ) -> None:
        self._limits = limits
        self._monotonic_ns = clock.monotonic_ns
        self._resolver = Resolver(lookup, clock.monotonic_ns)
        self._contexts = TlsContexts()
        # Whoever may send to an origin holds it; so do its connections, as the event loop holds them.
        self._origins: WeakValueDictionary[OriginKey, Origin] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._origins)

    @property
    def open_count(self) -> int:
        """Connections that are open or are being made."""
        return sum(origin.open_count for origin in self._origins.values())

    @property
    def idle_count(self) -> int:
        """Those of them that carry nothing."""
        return sum(origin.idle_count for origin in self._origins.values())

    def get(self, key: OriginKey) -> Origin:
        """The origin for `key`, the same as long as anybody holds it. Where it is new, files are read.

        Raises:
            ValueError: the scheme or the proxy's URL is not one.
            TlsFileError: a file of `key.tls` cannot be used.
        """
        origin = self._origins.get(key)
        if origin is None:
            connector = Connector(key, self._resolver, self._contexts)
            origin = self._origins[key] = Origin(key, connector, self._limits, self._monotonic_ns)
        return origin

    def tick(self, now_ns: int) -> None:
        """Close what has been idle or has lingered for too long. To be called every 50 ms."""
        for origin in list(self._origins.values()):
            origin.tick(now_ns)

    async def close(self) -> None:
        """Close all connections, whatever they carry. None is made any more."""
        origins = list(self._origins.values())
        for origin in origins:
            origin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                for origin in origins:
                    await origin.all_lost()

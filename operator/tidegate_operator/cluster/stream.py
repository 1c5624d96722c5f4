"""The HTTP sessions that watches run over, and an ear on those of kopf.

kopf hands on events of objects and nothing else: neither the bookmarks that keep a quiet watch alive, nor that it had
to list again after a gap. Its requests pass through a session of ours, whose tracing tells both, and which renews the
ServiceAccount's token on the way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
from aiohttp.hdrs import AUTHORIZATION
from aiohttp.hdrs import USER_AGENT as USER_AGENT_HEADER

from tidegate_operator.cluster.client import USER_AGENT, Access
from tidegate_operator.cluster.liveness import Liveness

_OK = 200


@asynccontextmanager
async def streaming(
    session: aiohttp.ClientSession, url: str, *, query: Mapping[str, str], headers: Mapping[str, str]
) -> AsyncIterator[aiohttp.ClientResponse]:
    """An answer that is read while it comes. Whoever is cancelled in it leaves no connection behind that is still closing.

    A TLS connection is closed by a message and its answer, for which a loop that ends does not wait: uvloop then fails to close.
    So it is cut instead. Nothing is lost by it: what a watch has not told yet, the next one tells.
    """
    async with session.get(url, params=query, headers=headers) as response:
        try:
            yield response
        except BaseException:
            if response.connection is not None and response.connection.transport is not None:
                response.connection.transport.abort()
                await asyncio.sleep(0)  # the loop has closed it by the next turn
            raise


class WatchSessions:
    """The sessions of one run of kopf, which asks for a new one whenever it thinks that it has to log in again."""

    def __init__(
        self,
        access: Access,
        liveness: Liveness,
        kinds_by_path: Mapping[str, str],
        on_listed: Callable[[str], None],
    ) -> None:
        """Have none yet.

        Args:
            access: where the API server is and who we are.
            liveness: is told when something is asked and answered.
            kinds_by_path: path of a collection to its kind.
            on_listed: called with a kind whenever it has been listed.
        """
        self._access = access
        self._ear = _Ear(access, liveness, kinds_by_path, on_listed)
        self._made: list[aiohttp.ClientSession] = []

    def make(self) -> aiohttp.ClientSession:
        """A session for the loop that this is called in."""
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._ear.request_started)
        trace.on_request_end.append(self._ear.request_answered)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._access.tls()),
            headers={USER_AGENT_HEADER: USER_AGENT},
            trace_configs=[trace],
            trust_env=False,
        )
        # kopf closes those that it has given up
        self._made = [former for former in self._made if not former.closed] + [session]
        return session

    async def close(self) -> None:
        """Close all of it in the loop that it was made in; see `streaming` for why watches are cut."""
        for transport in self._ear.streams.values():
            transport.abort()
        for session in self._made:
            await session.close()
        await asyncio.sleep(0)


class _Ear:
    """Hears requests begin and be answered; a stream counts as answered when its headers are there."""

    def __init__(
        self,
        access: Access,
        liveness: Liveness,
        kinds_by_path: Mapping[str, str],
        on_listed: Callable[[str], None],
    ) -> None:
        self._access = access
        self._liveness = liveness
        self._kinds_by_path = kinds_by_path
        self._on_listed = on_listed
        self.streams: dict[str, asyncio.Transport] = {}
        """Kind to the connection of its newest watch."""

    async def request_started(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestStartParams
    ) -> None:
        """Before a request is sent; its headers can still be changed."""
        authorization = self._access.authorization()
        if authorization is not None:
            params.headers[AUTHORIZATION] = authorization
        kind = self._kinds_by_path.get(params.url.path)
        if kind is not None:
            self._liveness.asked(kind, time.monotonic_ns())

    async def request_answered(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        """The headers of an answer are there."""
        kind = self._kinds_by_path.get(params.url.path)
        if kind is None or params.response.status != _OK:
            return
        self._liveness.heard(kind, time.monotonic_ns())
        if "watch" in params.url.query:
            connection = params.response.connection
            if connection is not None and connection.transport is not None:
                self.streams[kind] = connection.transport
        else:
            self._liveness.listed(kind)
            self._on_listed(kind)

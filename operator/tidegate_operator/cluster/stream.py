"""The HTTP sessions that kopf watches over, with an ear on them.

kopf hands on events of objects and nothing else: neither the bookmarks that keep a quiet watch alive, nor that it had
to list again after a gap. Its requests pass through a session of ours, whose tracing tells both, and which renews the
ServiceAccount's token on the way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace

import aiohttp
from aiohttp.hdrs import AUTHORIZATION
from aiohttp.hdrs import USER_AGENT as USER_AGENT_HEADER

from tidegate_operator.cluster.client import USER_AGENT, Access
from tidegate_operator.cluster.liveness import Liveness

_OK = 200


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
        """Close them, in the loop that they were made in."""
        for session in self._made:
            await session.close()


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
        if "watch" not in params.url.query:
            self._liveness.listed(kind)
            self._on_listed(kind)

"""The HTTP session that watches run over, with an ear on it.

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


def watching_session(
    access: Access,
    liveness: Liveness,
    kinds_by_path: Mapping[str, str],
    on_listed: Callable[[str], None],
) -> aiohttp.ClientSession:
    """Make the session.

    Args:
        access: where the API server is and who we are.
        liveness: is told when something is asked and answered.
        kinds_by_path: path of a collection to its kind.
        on_listed: called with a kind whenever it has been listed.
    """
    ear = _Ear(access, liveness, kinds_by_path, on_listed)
    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(ear.request_started)
    trace.on_request_end.append(ear.request_answered)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=access.tls()),
        headers={USER_AGENT_HEADER: USER_AGENT},
        trace_configs=[trace],
        trust_env=False,
    )


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

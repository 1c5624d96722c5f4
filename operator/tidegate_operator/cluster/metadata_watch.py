"""A watch of a collection by metadata alone, for callers that need to know only that something has changed.

It begins at a moment, not with all there is: a hundred thousand objects cost as much as none. Where it lost changes (it was
away for too long, or etcd was restored) it begins at another moment, and says that anything may have changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import aiohttp
import orjson
from aiohttp.hdrs import ACCEPT, AUTHORIZATION, USER_AGENT

from tidegate_operator.cluster.client import METADATA, METADATA_LIST, Access, ClusterClient, check_moment
from tidegate_operator.cluster.client import USER_AGENT as OUR_NAME
from tidegate_operator.cluster.errors import ClusterError

FIRST_PAUSE_S: Final = 0.1
IDLE_S: Final = 1.0
"""How often `is_wanted` is asked while nothing is watched."""
CONNECT_S: Final = 10.0
MAX_LINE_BYTES: Final = 4 * 2**20
"""Of one event. The API server keeps no object of more than a third of that."""
_OK = 200
_log = logging.getLogger(__name__)


class TooLongError(Exception):
    """An event is longer than the bound."""


class MetadataWatch:
    """`run` is the body of one task."""

    def __init__(
        self,
        access: Access,
        client: ClusterClient,
        path: str,
        *,
        labels: str,
        fields: str,
        is_wanted: Callable[[], bool],
        on_change: Callable[[Mapping[str, Any]], None],
        on_begin: Callable[[], None],
        length_ms: int,
        inactivity_ms: int,
        retry_max_ms: int,
    ) -> None:
        """Nothing is watched yet.

        Args:
            access: where, and as whom.
            client: is asked for the moment to begin at.
            path: of the collection.
            labels: a selector.
            fields: a selector.
            is_wanted: whether changes are needed at the moment.
            on_change: called with an object's metadata when it has come, changed or gone.
            on_begin: called when changes are told from now on, and those before may have been lost.
            length_ms: the API server ends a watch after this.
            inactivity_ms: a watch that brings nothing for so long, not even a bookmark, is begun again.
            retry_max_ms: longest pause between two tries.
        """
        self._access = access
        self._client = client
        self._path = path
        self._selectors = {"labelSelector": labels, "fieldSelector": fields}
        self._is_wanted = is_wanted
        self._on_change = on_change
        self._on_begin = on_begin
        self._length_s = max(1, length_ms // 1_000)
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=CONNECT_S, sock_connect=CONNECT_S, sock_read=inactivity_ms / 1_000
        )
        self._longest_pause_s = retry_max_ms / 1_000
        self._failures = 0
        self._version = ""
        """Changes up to it have been told; empty: it is not known which have."""
        self._is_told = False

    async def run(self) -> None:
        """Watch whenever it is wanted, for as long as the process lives."""
        connector = aiohttp.TCPConnector(limit=1, ssl=self._access.tls())
        async with aiohttp.ClientSession(
            connector=connector, timeout=self._timeout, trust_env=False
        ) as session:
            while True:
                if not self._is_wanted():
                    self._version = ""
                    await asyncio.sleep(IDLE_S)
                    continue
                try:
                    await self._watch(session)
                except (aiohttp.ClientError, TimeoutError, OSError, ClusterError, TooLongError) as error:
                    self._failures += 1
                    # an outage is told by the client, which asks as well
                    _log.debug("the watch of %s: %r", self._path, error)
                except orjson.JSONDecodeError:
                    self._failures, self._version = self._failures + 1, ""
                await asyncio.sleep(min(FIRST_PAUSE_S * 2 ** min(self._failures, 20), self._longest_pause_s))

    async def _watch(self, session: aiohttp.ClientSession) -> None:
        """One watch, until it ends."""
        if not self._version:
            self._version, self._is_told = await self._now(), False
        headers = {ACCEPT: METADATA, USER_AGENT: OUR_NAME}
        authorization = self._access.authorization()
        if authorization is not None:
            headers[AUTHORIZATION] = authorization
        query = {
            **self._selectors,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(self._length_s),
        }
        async with session.get(self._access.server + self._path, params=query, headers=headers) as response:
            if response.status != _OK:
                self._failures += 1
                # 410: too old; 504: later than anything there is, as after a restore
                self._version = ""
                if self._failures == 1:
                    _log.warning("%s cannot be watched (%d); it is tried again", self._path, response.status)
                return
            if not self._is_told:
                self._is_told = True
                self._on_begin()
            async for line in _lines(response.content):
                if not self._take(orjson.loads(line)) or not self._is_wanted():
                    return

    def _take(self, event: Mapping[str, Any]) -> bool:
        """Take in an event; whether others can follow."""
        if event.get("type") == "ERROR":
            self._failures, self._version = self._failures + 1, ""
            return False
        self._failures = 0
        self._version = str(event["object"]["metadata"]["resourceVersion"])
        if event.get("type") != "BOOKMARK":
            self._on_change(event["object"])
        return True

    async def _now(self) -> str:
        """The moment of now, from a list of one object."""
        query = {**self._selectors, "limit": "1"}
        answer = await self._client.request("GET", self._path, query=query, accept=METADATA_LIST)
        version = str((answer.get("metadata") or {}).get("resourceVersion") or "")
        check_moment(self._path, version, version)
        return version


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length up to a bound, which aiohttp's own do not have."""
    rest = bytearray()
    async for chunk in content.iter_any():
        rest += chunk
        *lines, last = rest.split(b"\n")
        for line in lines:
            if line:
                yield bytes(line)
        rest = bytearray(last)
        if len(rest) > MAX_LINE_BYTES:
            raise TooLongError(f"an event of more than {MAX_LINE_BYTES} bytes")

"""A watch of one object by name, for whoever looks at it when something comes.

What comes is not read: that it comes is reason enough to look. So a watch that begins anew, which shows the object once
more, costs one look, and no version has to be remembered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import aiohttp
from aiohttp.hdrs import ACCEPT, AUTHORIZATION, USER_AGENT

from tidegate_operator.cluster.client import METADATA, Access
from tidegate_operator.cluster.client import USER_AGENT as OUR_NAME

FIRST_PAUSE_S: Final = 0.1
CONNECT_S: Final = 10.0
_OK = 200
_log = logging.getLogger(__name__)


class ObjectWatch:
    """`run` is the body of one task."""

    def __init__(
        self,
        access: Access,
        collection: str,
        name: str,
        *,
        on_news: Callable[[], None],
        length_ms: int,
        inactivity_ms: int,
        retry_max_ms: int,
    ) -> None:
        """Nothing is watched yet.

        Args:
            access: where, and as whom.
            collection: path of the object's collection.
            name: of the object.
            on_news: called when the object may have changed.
            length_ms: the API server ends a watch after this.
            inactivity_ms: a watch that brings nothing for so long, not even a bookmark, is begun anew.
            retry_max_ms: longest pause between two tries.
        """
        self._access = access
        self._url = access.server + collection
        self._name = name
        self._on_news = on_news
        self._query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, length_ms // 1_000)),
        }
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=CONNECT_S, sock_connect=CONNECT_S, sock_read=inactivity_ms / 1_000
        )
        self._longest_pause_s = retry_max_ms / 1_000
        self._failures = 0

    async def run(self) -> None:
        """Watch, for as long as the process lives."""
        connector = aiohttp.TCPConnector(limit=1, ssl=self._access.tls())
        async with aiohttp.ClientSession(
            connector=connector, timeout=self._timeout, trust_env=False
        ) as session:
            while True:
                try:
                    await self._watch(session)
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    self._failures += 1
                    # an outage is told by the client, which asks as well
                    _log.debug("the watch of %s: %r", self._name, error)
                await asyncio.sleep(min(FIRST_PAUSE_S * 2 ** min(self._failures, 20), self._longest_pause_s))

    async def _watch(self, session: aiohttp.ClientSession) -> None:
        """One watch, until it ends."""
        headers = {ACCEPT: METADATA, USER_AGENT: OUR_NAME}
        authorization = self._access.authorization()
        if authorization is not None:
            headers[AUTHORIZATION] = authorization
        async with session.get(self._url, params=self._query, headers=headers) as response:
            if response.status != _OK:
                self._failures += 1
                if self._failures == 1:
                    _log.warning(
                        "%s cannot be watched (%d); it is looked at now and then", self._name, response.status
                    )
                return
            self._failures = 0
            async for _ in response.content.iter_any():
                self._on_news()

"""The net under the watches: each kind is listed through our own client, now and then and whenever there is a reason.

A watch that had to begin anew (after 410, or a long outage) tells what is there and not what went away meanwhile; a
watch that died without a sound tells nothing; a sidecar may have seen more than this replica, by way of another one.
In each case a list settles it. It also shows when resourceVersions fall, which they do only when etcd was restored from
a backup: then nothing that is remembered can be compared with anything any more.

The first list has whole objects. Those after it have metadata alone: what is newer than known is read by name, and only
where that is much, everything is listed whole again. A list is of one moment, the newest; one that does not say its
moment is no list (`client.py`), so nothing is taken for gone because of it, and no version for fallen.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from tidegate_operator.api.kinds import NAMESPACE, POD
from tidegate_operator.cluster.client import METADATA_LIST, Answer, ClusterClient
from tidegate_operator.cluster.errors import ClusterError, UnstableListError
from tidegate_operator.handlers.informer import Index, Informer
from tidegate_operator.handlers.watch_engine import INJECTED_PODS
from tidegate_operator.index.pods import NOT_ENDED
from tidegate_operator.telemetry.metrics import Metrics

MAX_READ: Final = 50
"""Objects that are read one by one after a list; more of them are listed whole."""
_SHOWN = 5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """How often; milliseconds."""

    relist_ms: int
    pause_ms: int
    retry_max_ms: int


class Resync:
    """Lists kinds."""

    def __init__(
        self,
        client: ClusterClient,
        informer: Informer,
        metrics: Metrics,
        periods: Periods,
        *,
        paths: Mapping[str, str],
        on_fall: Callable[[str, int, int], None],
    ) -> None:
        """Nothing is listed yet.

        Args:
            client: is asked.
            informer: takes the lists in.
            metrics: count.
            periods: how often.
            paths: kind to the path of its collection.
            on_fall: called with kind, version before and version now, when a kind's versions have fallen.
        """
        self._client = client
        self._informer = informer
        self._metrics = metrics
        self._periods = periods
        self._paths = paths
        self._on_fall = on_fall
        self._asked = {kind: asyncio.Event() for kind in paths}
        self._at_least = dict.fromkeys(paths, 0)
        """The newest versions that operators have told sidecars of: a list that is older is of a backup."""

    def ask(self, kind: str, *, at_least: int = 0) -> None:
        """List a kind soon; some operator has seen the version `at_least`."""
        self._at_least[kind] = max(self._at_least[kind], at_least)
        self._asked[kind].set()

    def relist(self) -> None:
        """List everything now, and forget what versions there were: they are of a history that is over."""
        for kind in self._paths:
            self._at_least[kind] = 0
            self._asked[kind].set()

    async def follow(self, kind: str) -> None:
        """List a kind again and again, for as long as the process lives."""
        failures, due = 0, True
        while True:
            is_asked = await self._wait(kind, 0 if due else self._jittered(self._periods.relist_ms))
            self._asked[kind].clear()
            index = self._informer.filled
            is_first = kind in index.unlisted
            try:
                missed, version = await self._list(index, kind)
            except ClusterError as error:
                failures += 1
                _log.log(error.level, "%s could not be listed (try %d): %s", kind, failures, error)
                self._metrics.lists_failed.labels(kind).inc()
                await asyncio.sleep(self._backoff_s(failures))
                due = True
                continue
            failures, due = 0, False
            await asyncio.sleep(self._periods.pause_ms / 1000)
            if missed and not is_first and not is_asked and index.told_versions[kind] < version:
                self._tell(kind, missed)

    async def _wait(self, kind: str, at_most_s: float) -> bool:
        """Whether somebody asked before the time was over."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._asked[kind].wait()
        except TimeoutError:
            return False
        return True

    async def _list(self, index: Index, kind: str) -> tuple[tuple[str, ...], int]:
        """List once; what was news, and the newest version of it."""
        is_first = kind in index.unlisted
        before = max(index.version(kind), self._at_least[kind])
        answer = await self._read(kind, is_whole=is_first)
        if answer.version < before:
            # a list that began after `before` had been seen cannot be older, in one history; once may be a bad answer
            answer = await self._read(kind, is_whole=is_first)
        if index is not self._informer.filled:
            # begun in a history that is over, so it says nothing of this one
            self._asked[kind].set()
            return (), 0
        if answer.version < before:
            self._on_fall(kind, before, answer.version)
            return (), 0
        if is_first or kind == NAMESPACE:
            missed = self._informer.relisted(index, kind, answer.items, answer.version)
        else:
            answer, missed = await self._take_metadata(index, kind, answer)
        if is_first:
            _log.info("%s: %d objects at version %d", kind, len(answer.items), answer.version)
        return missed, max((int(item["metadata"]["resourceVersion"]) for item in answer.items), default=0)

    def _tell(self, kind: str, missed: tuple[str, ...]) -> None:
        """A periodic list should find what is known. What the watch has not told a while later, it has lost."""
        self._metrics.missed.labels(kind).inc(len(missed))
        more = f" and {len(missed) - _SHOWN} more" if len(missed) > _SHOWN else ""
        _log.warning("the watch of %s had missed: %s%s", kind, ", ".join(missed[:_SHOWN]), more)

    async def _take_metadata(self, index: Index, kind: str, answer: Answer) -> tuple[Answer, tuple[str, ...]]:
        """Read what is newer than known, and take it in; the list, and what had been missed."""
        newer = [item["metadata"] for item in answer.items if index.lacks(kind, item["metadata"])]
        if len(newer) > MAX_READ:
            whole = await self._read(kind, is_whole=True)
            if whole.version < answer.version:
                raise UnstableListError(
                    f"two lists of {kind} in a row fell from {answer.version} to {whole.version}"
                )
            return whole, self._informer.relisted(index, kind, whole.items, whole.version)
        documents = [await self._client.find(self._path_of(kind, metadata)) for metadata in newer]
        unchanged = {str(item["metadata"]["uid"]) for item in answer.items} - {
            str(metadata["uid"]) for metadata in newer
        }
        present = [document for document in documents if document is not None]
        return answer, self._informer.relisted(index, kind, present, answer.version, unchanged)

    def _path_of(self, kind: str, metadata: Mapping[str, Any]) -> str:
        base, _, plural = self._paths[kind].rpartition("/")
        namespace = metadata.get("namespace")
        parts = (*(("namespaces", namespace) if namespace else ()), plural, metadata["name"])
        return "/".join((base, *(quote(str(part), safe="") for part in parts)))

    async def _read(self, kind: str, *, is_whole: bool) -> Answer:
        path = self._paths[kind]
        accept = "application/json" if is_whole and kind != NAMESPACE else METADATA_LIST
        if kind == POD:
            return await self._client.list(path, labels=INJECTED_PODS, fields=NOT_ENDED, accept=accept)
        return await self._client.list(path, accept=accept)

    def _backoff_s(self, failures: int) -> float:
        longest_ms = min(100 * 2 ** min(failures, 20), self._periods.retry_max_ms)
        return self._jittered(longest_ms)

    @staticmethod
    def _jittered(period_ms: int) -> float:
        """Seconds: replicas that start together must not ask together for ever."""
        return period_ms * random.uniform(0.8, 1.0) / 1000  # noqa: S311 - spreads load, no secret

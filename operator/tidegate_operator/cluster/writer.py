"""Writes status: the newest wanted one of each object, at that object's pace, while this replica holds the Lease.

Only the newest matters, so a status that was wanted in between is never written. What is written is merged at that
moment into the newest form that the index holds, and conditional on its resourceVersion: a write that crossed another
one is refused by the API server and merged again. After each write the answer goes into the index, so that the next
merge does not have to wait for the watch.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tidegate_operator.api.kinds import API_VERSION, KINDS
from tidegate_operator.cluster import events
from tidegate_operator.cluster.client import MERGE_PATCH, ClusterClient, object_path
from tidegate_operator.cluster.errors import (
    BusyError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnreachableError,
)
from tidegate_operator.cluster.pace import Pace
from tidegate_operator.index.objects import Objects
from tidegate_operator.status.merge import Transition, merge
from tidegate_operator.status.model import WantedStatus
from tidegate_operator.telemetry.metrics import Metrics
from tidegate_policy.model import ObjectRef

_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000
_LONGEST_PAUSE_MS = 300_000
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class StatusWriter:
    """Brings the status of objects to what it should be.

    Attributes:
        client: writes.
        objects: the index, for the newest form of each object.
        may_write: asked before every write.
        on_written: takes the object as the API server answered it.
        identity: this replica's name, for events.
        pace: how often one object is written.
        retry_ms: pause after a write that failed.
    """

    client: ClusterClient
    objects: Objects
    metrics: Metrics
    may_write: Callable[[], bool]
    on_written: Callable[[str, Mapping[str, Any]], None]
    identity: str
    pace: Pace[ObjectRef]
    retry_ms: int
    _wanted: dict[ObjectRef, WantedStatus] = field(default_factory=dict)
    _due: dict[ObjectRef, None] = field(default_factory=dict)
    """Objects that differ from what is wanted, in the order of their turns."""
    _not_before_ns: dict[ObjectRef, int] = field(default_factory=dict)
    _failures: dict[ObjectRef, int] = field(default_factory=dict)
    _in_vain: dict[ObjectRef, WantedStatus] = field(default_factory=dict)
    """Statuses that the API server has taken without keeping all of them."""
    _fulfilled: dict[ObjectRef, tuple[Mapping[str, Any], WantedStatus]] = field(default_factory=dict)
    """Statuses that say what is wanted, as looked at before: most objects stay as they are."""
    _writing: set[ObjectRef] = field(default_factory=set)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def want(self, statuses: Mapping[ObjectRef, WantedStatus]) -> None:
        """Replace all that was wanted: these are all objects there are."""
        self._wanted = dict(statuses)
        for known in (self._not_before_ns, self._failures, self._in_vain, self._fulfilled):
            for ref in known.keys() - statuses.keys():
                del known[ref]
        self.pace.tidy(time.monotonic_ns())
        self._due = {ref: None for ref in [*self._due, *statuses] if self._differs(ref)}
        self._show_waiting()
        self._wake.set()

    async def work(self) -> None:
        """Write what is due, for as long as the process lives; several do so at the same time."""
        while True:
            self._wake.clear()
            due = self._next() if self.may_write() else None
            if isinstance(due, WantedStatus):
                self._writing.add(due.ref)
                try:
                    await self._write(due)
                finally:
                    self._writing.discard(due.ref)
                if self._differs(due.ref):
                    self._due[due.ref] = None
                self._show_waiting()
                continue
            try:
                async with asyncio.timeout(due):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _show_waiting(self) -> None:
        # one that is being written is not yet as it should be
        self.metrics.status_waiting.set(len(self._due.keys() | self._writing))

    def _differs(self, ref: ObjectRef) -> bool:
        """Whether a write is due that nobody is about to make."""
        held, wanted = self.objects.get(ref), self._wanted.get(ref)
        if held is None or wanted is None or held.uid != wanted.uid:
            return False
        if ref in self._writing or self._in_vain.get(ref) == wanted:
            return False
        status, fulfilled = self._fulfilled.get(ref, (None, None))
        if status is held.status and fulfilled is wanted:
            return False
        if merge(held.status, wanted, "").status is not None:
            return True
        self._fulfilled[ref] = (held.status, wanted)
        return False

    def _next(self) -> WantedStatus | float | None:
        """What to write now, or in how many seconds something will be due; None when nothing is."""
        now_ns = time.monotonic_ns()
        soonest: int | None = None
        for ref in self._due:
            wait_ns = max(self.pace.wait_ns(ref, now_ns), self._not_before_ns.get(ref, 0) - now_ns)
            if wait_ns <= 0:
                del self._due[ref]
                return self._wanted[ref]
            soonest = wait_ns if soonest is None else min(soonest, wait_ns)
        return None if soonest is None else soonest / _NS_PER_S

    async def _write(self, wanted: WantedStatus) -> None:
        ref = wanted.ref
        held = self.objects.get(ref)
        if held is None:
            return
        now = datetime.now(UTC)
        merged = merge(held.status, wanted, now.strftime("%Y-%m-%dT%H:%M:%SZ"))
        if merged.status is None:
            return
        self.pace.take(ref, time.monotonic_ns())
        path = object_path(API_VERSION, KINDS[ref.kind].plural, ref.namespace, ref.name, "status")
        body = {"metadata": {"uid": held.uid, "resourceVersion": str(held.version)}, "status": merged.status}
        result, pause_ms = "written", 0
        try:
            document = await self.client.request("PATCH", path, body=body, content_type=MERGE_PATCH)
        except NotFoundError:
            result = "gone"
        except (ConflictError, BusyError, UnreachableError) as error:
            result = "conflict" if isinstance(error, ConflictError) else "failed"
            _log.debug("the status of %s could not be written: %s", ref, error)
            pause_ms = self.retry_ms
        except ClusterError as error:
            result = "failed"
            _log.warning("the status of %s could not be written: %s", ref, error)
            # the same status will be refused again: each time later, until something else is wanted
            failures = self._failures[ref] = self._failures.get(ref, 0) + 1
            pause_ms = min(self.retry_ms * 2 ** min(failures - 1, 20), _LONGEST_PAUSE_MS)
        self.metrics.status_writes.labels(ref.kind, result).inc()
        self._not_before_ns[ref] = time.monotonic_ns() + pause_ms * _NS_PER_MS
        if result == "written":
            self._failures.pop(ref, None)
            self.on_written(ref.kind, document)
            self._check(wanted, document)
            await self._tell(ref, held.uid, merged.transitions, now)

    def _check(self, wanted: WantedStatus, document: Mapping[str, Any]) -> None:
        """Do not write for ever what the API server does not keep."""
        if merge(document.get("status") or {}, wanted, "").status is not None:
            self._in_vain[wanted.ref] = wanted
            _log.warning(
                "the API server does not keep the whole status of %s: are the CustomResourceDefinitions those of "
                "this release?",
                wanted.ref,
            )

    async def _tell(
        self, ref: ObjectRef, uid: str, transitions: tuple[Transition, ...], now: datetime
    ) -> None:
        for event in events.events_of(ref.kind, transitions):
            document = events.event_document(event, ref, uid, identity=self.identity, now=now)
            try:
                await events.post(self.client, document)
            except (ForbiddenError, NotFoundError) as error:
                # a namespace that is being deleted takes no events any more
                _log.info("no event about %s: %s", ref, error)
            except ClusterError as error:
                _log.log(error.level, "an event about %s could not be posted: %s", ref, error)
            else:
                self.metrics.events.labels(event.type.value).inc()

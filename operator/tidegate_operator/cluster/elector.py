"""Tries to hold the Lease for as long as the process lives, and gives it back at the end; `lease.py` has the rules."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tidegate_operator.cluster.client import MERGE_PATCH, ClusterClient, object_path
from tidegate_operator.cluster.errors import ClusterError, ConflictError
from tidegate_operator.cluster.lease import (
    LEASE_API,
    LEASE_NAME,
    Action,
    Record,
    Terms,
    decide,
    given_back,
    held,
    next_epoch,
    read_record,
)
from tidegate_operator.cluster.replicas import NAMED_EVERY_NS, Roster, annotation, named_in
from tidegate_operator.telemetry.metrics import Metrics

CONFIRMED_MS: Final = 1_000
"""How long the Lease has to be ours yet when something is begun that cannot be undone."""

_NS_PER_MS = 1_000_000
_log = logging.getLogger(__name__)


def _ignore() -> None:
    """Nobody wants to know."""


@dataclass(slots=True)
class Elector:
    """One replica's part.

    Attributes:
        client: reads and writes the Lease; nobody else's calls are before ours in its queue.
        namespace: where the Lease is.
        identity: our name in it, unique among replicas.
        address: where the other replicas reach us.
        terms: periods.
        metrics: count.
        kinds: that this replica watches.
        on_change: called when we begin or cease to hold it.
        on_epoch: called when the epoch is read for the first time, or was raised.
        on_newer: called when a replica that watches further kinds has come, or is gone.
        epoch: the highest epoch that is known; 0 before the Lease was read.
        monotonic_ns: the clock.
        newer_kinds: those that a live replica watches and this one does not: a newer release is at work, too.
    """

    client: ClusterClient
    namespace: str
    identity: str
    address: str
    terms: Terms
    metrics: Metrics
    kinds: frozenset[str] = frozenset()
    on_change: Callable[[], None] = _ignore
    on_epoch: Callable[[], None] = _ignore
    on_newer: Callable[[], None] = _ignore
    epoch: int = 0
    newer_kinds: frozenset[str] = frozenset()
    monotonic_ns: Callable[[], int] = time.monotonic_ns
    _record: Record | None = None
    _unchanged_since_ns: int = 0
    _held_until_ns: int = 0
    _told: tuple[bool, int] = field(default=(False, 0))
    _wanted_epoch: tuple[int, int] = (0, 0)
    """What the epoch is to be raised to, and below which epoch that is still needed."""
    _roster: Roster = field(default_factory=Roster)
    _named_ns: int | None = None
    _is_released: bool = False

    @property
    def is_leading(self) -> bool:
        """Whether we may write at this very moment; asked before every write, since time passes."""
        return self.monotonic_ns() < self._held_until_ns

    @property
    def other_holder(self) -> str:
        """Address of the replica that holds the Lease; empty when nobody does, or we do."""
        if self._record is None or self._record.holder in ("", self.identity):
            return ""
        return self._record.address

    def raise_epoch(self, above: int = 0) -> None:
        """Have the epoch raised with the next renewal; the holder does it, unless it has been raised by then.

        Args:
            above: an epoch that somebody has seen. The Lease that knows of it needs no other. 0: what is known now is over.
        """
        wanted = (above + 1, above) if above else (self.epoch + 1, self.epoch + 1)
        self._wanted_epoch = max(self._wanted_epoch, wanted)

    async def run(self) -> None:
        """Hold the Lease whenever it can be had."""
        while True:
            try:
                await self.look()
            except ClusterError as error:
                self.metrics.lease_failed.inc()
                _log.log(error.level, "the Lease %s/%s: %s", self.namespace, LEASE_NAME, error)
            self._tell()
            pause_s = self.terms.retry_ms * random.uniform(0.8, 1.0) / 1000  # noqa: S311 - no secret
            left_s = (self._held_until_ns - self.monotonic_ns()) / 1e9
            if 0 < left_s < pause_s:
                # whoever may no longer write has to hear it at that moment, not with the next try
                await asyncio.sleep(left_s)
                self._tell()
                pause_s -= left_s
            await asyncio.sleep(pause_s)

    async def release(self) -> None:
        """Give the Lease back if it is ours, and take our name out of it; what goes wrong is only logged.

        All of it runs out by itself, only later: until then nobody leads, and an older release goes on waiting for us.
        """
        was_leading, self._held_until_ns = self.is_leading, 0
        if self._is_released or (self._record is None and not was_leading):
            return
        self._is_released = True
        path = object_path(LEASE_API, "leases", self.namespace, LEASE_NAME)
        key, _ = self._named()
        try:
            async with asyncio.timeout(self.terms.renew_ms / 1000):
                gone = {"metadata": {"annotations": {key: None}}}
                document = await self.client.request("PATCH", path, body=gone, content_type=MERGE_PATCH)
                while was_leading and read_record(document).holder == self.identity:
                    try:
                        await self.client.request("PUT", path, body=given_back(document))
                    except ConflictError:  # another replica has named itself in it between the two
                        document = await self.client.get(path)
                    else:
                        _log.info("the Lease was given back")
                        break
        except ClusterError as error:
            _log.warning("the Lease could not be given back: %s", error)
        except TimeoutError:
            _log.warning("the Lease could not be given back in time")

    async def confirm(self, at_least_ms: int = CONFIRMED_MS) -> bool:
        """Whether the API server itself says that the Lease is ours, and stays it for `at_least_ms`.

        To be asked before what cannot be undone. A process that was stopped for a while believes its own clock, and the
        time for which it holds the Lease may be over before its next request has arrived.

        Raises:
            ClusterError: the API server did not answer.
        """
        path = object_path(LEASE_API, "leases", self.namespace, LEASE_NAME)
        document = await self.client.find(path)
        is_ours = document is not None and read_record(document).holder == self.identity
        return is_ours and self.monotonic_ns() + at_least_ms * _NS_PER_MS < self._held_until_ns

    async def look(self) -> None:
        """Read the Lease once, and do what `decide` says.

        Raises:
            ClusterError: the API server did not answer, or refused.
        """
        started_ns = self.monotonic_ns()
        document = await self._read()
        action = decide(self._record, self.identity, started_ns - self._unchanged_since_ns)
        is_written = action is not Action.WAIT and await self._write(document, action)
        if action is Action.RENEW and not is_written:
            # Another replica may have named itself in it between the two.
            document = await self._read()
            is_written = decide(self._record, self.identity, 0) is action and await self._write(
                document, action
            )
        # counted from before the first request: the others count from later, never from earlier
        self._held_until_ns = started_ns + self.terms.renew_ms * _NS_PER_MS if is_written else 0
        if not is_written and document is not None:
            await self._name_ourselves()

    async def _read(self) -> Mapping[str, Any] | None:
        """Read the Lease, and date what is new in it."""
        document = await self.client.find(object_path(LEASE_API, "leases", self.namespace, LEASE_NAME))
        # Dated after the answer. Before it, the time that the request took would count as one in which the holder did
        # nothing: a slow API server would have a Lease taken from a holder that renews it.
        now_ns = self.monotonic_ns()
        record = read_record(document) if document is not None else None
        self.epoch = max(self.epoch, record.epoch if record is not None else 0)
        if self._record != record:
            self._record, self._unchanged_since_ns = record, now_ns
        self._roster.look(named_in(document) if document is not None else (), now_ns)
        newer_kinds = self._roster.kinds(now_ns) - self.kinds
        if newer_kinds != self.newer_kinds:
            self.newer_kinds = newer_kinds
            self.on_newer()
        return document

    async def _name_ourselves(self) -> None:
        """Write our own annotation and nothing else, every few seconds, while another one holds the Lease."""
        now_ns = self.monotonic_ns()
        if self._named_ns is not None and now_ns - self._named_ns < NAMED_EVERY_NS:
            return
        key, value = self._named()
        path = object_path(LEASE_API, "leases", self.namespace, LEASE_NAME)
        body = {"metadata": {"annotations": {key: value}}}
        await self.client.request("PATCH", path, body=body, content_type=MERGE_PATCH)
        self._named_ns = now_ns

    def _named(self) -> tuple[str, str]:
        return annotation(self.identity, self.kinds, datetime.now(UTC).isoformat(timespec="milliseconds"))

    async def _write(self, document: Mapping[str, Any] | None, action: Action) -> bool:
        """Write the Lease as ours; False when somebody else was faster."""
        now = datetime.now(UTC)
        wanted, below = self._wanted_epoch
        epoch = next_epoch(action, self.epoch, wanted if self.epoch < below else 0, int(now.timestamp()))
        record = Record(
            holder=self.identity,
            duration_ms=self.terms.duration_ms,
            address=self.address,
            epoch=epoch,
        )
        forgotten = self._roster.forgotten(self.monotonic_ns())
        body = held(document, self.namespace, record, now, named=self._named(), forgotten=forgotten)
        try:
            if document is None:
                await self.client.request("POST", object_path(LEASE_API, "leases", self.namespace), body=body)
            else:
                path = object_path(LEASE_API, "leases", self.namespace, LEASE_NAME)
                await self.client.request("PUT", path, body=body)
        except ConflictError:
            return False
        self.epoch = epoch
        return True

    def _tell(self) -> None:
        was_leading, told_epoch = self._told
        self._told = (self.is_leading, self.epoch)
        if self.epoch != told_epoch:
            self.on_epoch()
        if self._told[0] != was_leading:
            self.metrics.leading.set(self._told[0])
            who = "this replica holds" if self._told[0] else "this replica no longer holds"
            _log.info("%s the Lease %s/%s", who, self.namespace, LEASE_NAME)
            self.on_change()

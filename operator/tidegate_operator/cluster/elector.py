"""Tries to hold the Lease for as long as the process lives, and gives it back at the end; `lease.py` has the rules."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tidegate_operator.cluster.client import ClusterClient, object_path
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
from tidegate_operator.telemetry.metrics import Metrics

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
        on_change: called when we begin or cease to hold it.
        on_epoch: called when the epoch is read for the first time, or was raised.
        epoch: the highest epoch that is known; 0 before the Lease was read.
    """

    client: ClusterClient
    namespace: str
    identity: str
    address: str
    terms: Terms
    metrics: Metrics
    on_change: Callable[[], None] = _ignore
    on_epoch: Callable[[], None] = _ignore
    epoch: int = 0
    _record: Record | None = None
    _unchanged_since_ns: int = 0
    _held_until_ns: int = 0
    _told: tuple[bool, int] = field(default=(False, 0))
    _wanted_epoch: int = 0

    @property
    def is_leading(self) -> bool:
        """Whether we may write at this very moment; asked before every write, since time passes."""
        return time.monotonic_ns() < self._held_until_ns

    @property
    def other_holder(self) -> str:
        """Address of the replica that holds the Lease; empty when nobody does, or we do."""
        if self._record is None or self._record.holder in ("", self.identity):
            return ""
        return self._record.address

    def raise_epoch(self) -> None:
        """Have the epoch raised with the next renewal; it is the holder's to do."""
        self._wanted_epoch = self.epoch + 1

    async def run(self) -> None:
        """Hold the Lease whenever it can be had."""
        while True:
            try:
                await self._step()
            except ClusterError as error:
                self.metrics.lease_failed.inc()
                _log.log(error.level, "the Lease %s/%s: %s", self.namespace, LEASE_NAME, error)
            self._tell()
            pause_s = self.terms.retry_ms * random.uniform(0.8, 1.0) / 1000  # noqa: S311 - no secret
            left_s = (self._held_until_ns - time.monotonic_ns()) / 1e9
            if 0 < left_s < pause_s:
                # whoever may no longer write has to hear it at that moment, not with the next try
                await asyncio.sleep(left_s)
                self._tell()
                pause_s -= left_s
            await asyncio.sleep(pause_s)

    async def release(self) -> None:
        """Give the Lease back, if it is ours; what goes wrong is only logged, since it runs out anyway."""
        if not self.is_leading:
            return
        self._held_until_ns = 0
        path = object_path(LEASE_API, "leases", self.namespace, LEASE_NAME)
        try:
            async with asyncio.timeout(self.terms.renew_ms / 1000):
                document = await self.client.get(path)
                if read_record(document).holder == self.identity:
                    await self.client.request("PUT", path, body=given_back(document))
                    _log.info("the Lease was given back")
        except ClusterError as error:
            _log.warning("the Lease could not be given back: %s", error)
        except TimeoutError:
            _log.warning("the Lease could not be given back in time")

    async def _step(self) -> None:
        """Read the Lease and do what `decide` says."""
        started_ns = time.monotonic_ns()
        document = await self.client.find(object_path(LEASE_API, "leases", self.namespace, LEASE_NAME))
        record = read_record(document) if document is not None else None
        self.epoch = max(self.epoch, record.epoch if record is not None else 0)
        if self._record != record:
            self._record, self._unchanged_since_ns = record, started_ns
        action = decide(record, self.identity, started_ns - self._unchanged_since_ns)
        if action is Action.WAIT or not await self._write(document, action):
            self._held_until_ns = 0
            return
        # counted from before the first request: the others count from later, never from earlier
        self._held_until_ns = started_ns + self.terms.renew_ms * _NS_PER_MS

    async def _write(self, document: Mapping[str, Any] | None, action: Action) -> bool:
        """Write the Lease as ours; False when somebody else was faster."""
        now = datetime.now(UTC)
        epoch = next_epoch(action, self.epoch, self._wanted_epoch, int(now.timestamp()))
        record = Record(
            version="",
            holder=self.identity,
            duration_ms=self.terms.duration_ms,
            address=self.address,
            epoch=epoch,
        )
        body = held(document, self.namespace, record, now)
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

"""Who may write: one holder of one Lease among the replicas.

All replicas watch, compile and serve; the holder alone writes status, events, last good forms and certificates. The
rules are those of Kubernetes' own components: a Lease that has not changed for its duration *by the observer's own
clock* is free (clocks of two machines need not agree), every write is conditional on the resourceVersion that was read,
and a holder that could not renew in time stops before anyone else can begin. At the end the Lease is given back, so a
rolling update does not wait for it to run out.

The Lease also says where the holder can be reached, and carries the epoch, which every replica reads on the way: it is raised when resourceVersions fall (etcd
was restored), and tells sidecars that versions of before do not compare.

`decide` is the pure half, `Elector` carries it out.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from tidegate_operator.cluster.client import ClusterClient, object_path
from tidegate_operator.cluster.errors import ClusterError, ConflictError
from tidegate_operator.telemetry.metrics import Metrics

LEASE_NAME: Final = "tidegate-operator"
EPOCH_ANNOTATION: Final = "tidegate.dev/epoch"
ADDRESS_ANNOTATION: Final = "tidegate.dev/address"

_API = "coordination.k8s.io/v1"
_NS_PER_MS = 1_000_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Periods in milliseconds, as in `tidegate_operator.settings`."""

    duration_ms: int
    renew_ms: int
    retry_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The Lease as it was read.

    Attributes:
        version: resourceVersion; changes with every write.
        holder: empty when nobody holds it.
        duration_ms: as its holder said.
        address: where the holder can be reached.
        epoch: 0 when the Lease has none.
        transitions: how often the holder has changed.
    """

    version: str
    holder: str = ""
    duration_ms: int = 0
    address: str = ""
    epoch: int = 0
    transitions: int = 0


class Action(Enum):
    """What a replica does about the Lease."""

    CREATE = "there is none"
    TAKE = "nobody holds it"
    RENEW = "we hold it"
    WAIT = "another one holds it"


def decide(record: Record | None, me: str, unchanged_ns: int) -> Action:
    """What to do.

    Args:
        record: as read just now; None when there is no Lease.
        me: our name in it.
        unchanged_ns: how long, by our own clock, it has not changed.
    """
    if record is None:
        return Action.CREATE
    if record.holder == me:
        return Action.RENEW
    if not record.holder or unchanged_ns > record.duration_ms * _NS_PER_MS:
        return Action.TAKE
    return Action.WAIT


@dataclass(slots=True)
class _Seen:
    """The newest record, and since when by our own clock it has been the newest."""

    record: Record | None = None
    since_ns: int = 0


@dataclass(slots=True)
class Elector:
    """Tries to hold the Lease for as long as the process lives.

    Attributes:
        client: reads and writes the Lease.
        namespace: where the Lease is.
        identity: our name in it, unique among replicas.
        address: where the other replicas reach us.
        epoch: the highest epoch that is known; 0 before the Lease was read.
        on_change: called when we begin or cease to hold it.
        on_epoch: called when the epoch is read for the first time, or was raised.
    """

    client: ClusterClient
    namespace: str
    identity: str
    address: str
    terms: Terms
    metrics: Metrics
    on_change: Callable[[], None] = lambda: None
    on_epoch: Callable[[], None] = lambda: None
    epoch: int = 0
    _seen: _Seen = field(default_factory=_Seen)
    _held_until_ns: int = 0
    _was_leading: bool = False
    _told_epoch: int = 0
    _wanted_epoch: int = 0

    @property
    def is_leading(self) -> bool:
        """Whether we may write at this very moment; asked before every write, since time passes."""
        return time.monotonic_ns() < self._held_until_ns

    @property
    def other_holder(self) -> str:
        """Address of the replica that holds the Lease; empty when nobody does, or we do."""
        record = self._seen.record
        if record is None or not record.holder or record.holder == self.identity:
            return ""
        return record.address

    def raise_epoch(self) -> None:
        """Have the epoch raised with the next renewal; it is the holder's to do."""
        self._wanted_epoch = self.epoch + 1

    async def run(self) -> None:
        """Hold the Lease whenever it can be had."""
        while True:
            try:
                await self.step()
            except ClusterError as error:
                self.metrics.lease_failed.inc()
                _log.log(error.level, "the Lease %s/%s: %s", self.namespace, LEASE_NAME, error)
            self._tell()
            pause_ms = self.terms.retry_ms * random.uniform(0.8, 1.0)  # noqa: S311 - no secret
            left_ms = (self._held_until_ns - time.monotonic_ns()) / _NS_PER_MS
            if self._was_leading and left_ms < pause_ms:
                # what may no longer be written must stop at that moment, not with the next try
                await asyncio.sleep(max(left_ms, 0) / 1000)
                self._tell()
            await asyncio.sleep(pause_ms / 1000)

    async def step(self) -> None:
        """Read the Lease and do what `decide` says."""
        started_ns = time.monotonic_ns()
        document = await self.client.find(object_path(_API, "leases", self.namespace, LEASE_NAME))
        record = read_record(document) if document is not None else None
        if record is not None and record.epoch > self.epoch:
            self.epoch = record.epoch
        if self._seen.record != record:
            self._seen = _Seen(record, started_ns)
        action = decide(record, self.identity, started_ns - self._seen.since_ns)
        if action is Action.WAIT:
            self._held_until_ns = 0
            return
        try:
            await self._write(document, record, action)
        except ConflictError:
            # somebody else was faster; the next step reads what they wrote
            self._held_until_ns = 0
            return
        # counted from before the first request: the others count from later, never from earlier
        self._held_until_ns = started_ns + self.terms.renew_ms * _NS_PER_MS

    async def release(self) -> None:
        """Give the Lease back, if it is ours; what goes wrong is only logged, since it runs out anyway."""
        if not self.is_leading:
            return
        self._held_until_ns = 0
        path = object_path(_API, "leases", self.namespace, LEASE_NAME)
        try:
            async with asyncio.timeout(self.terms.retry_ms / 1000):
                document = await self.client.get(path)
                if read_record(document).holder != self.identity:
                    return
                spec = {**document["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                await self.client.request("PUT", path, body={**document, "spec": spec})
        except (ClusterError, TimeoutError) as error:
            _log.warning("the Lease could not be given back: %s", error or "no answer in time")
        else:
            _log.info("the Lease was given back")

    async def _write(self, document: Mapping[str, Any] | None, record: Record | None, action: Action) -> None:
        now = datetime.now(UTC)
        if record is None:
            # nobody knows what was before, and time is later than every epoch that was given before
            self.epoch = max(self.epoch + 1, int(now.timestamp()))
        elif self._wanted_epoch > self.epoch:
            self.epoch = max(self._wanted_epoch, int(now.timestamp()))
        is_new = action is not Action.RENEW
        stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = dict(document["spec"]) if document is not None else {}
        spec = {
            **before,
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, -(-self.terms.duration_ms // 1000)),
            "renewTime": stamp,
            "acquireTime": stamp if is_new else before.get("acquireTime", stamp),
            "leaseTransitions": (record.transitions if record else 0) + is_new,
        }
        body: dict[str, Any] = {
            "apiVersion": _API,
            "kind": "Lease",
            "metadata": {"name": LEASE_NAME, "namespace": self.namespace},
            "spec": spec,
        }
        if document is not None:
            body["metadata"] = dict(document["metadata"])
        body["metadata"]["annotations"] = {
            **(body["metadata"].get("annotations") or {}),
            EPOCH_ANNOTATION: str(self.epoch),
            ADDRESS_ANNOTATION: self.address,
        }
        if document is None:
            await self.client.request("POST", object_path(_API, "leases", self.namespace), body=body)
        else:
            path = object_path(_API, "leases", self.namespace, LEASE_NAME)
            await self.client.request("PUT", path, body=body)

    def _tell(self) -> None:
        if self.epoch != self._told_epoch:
            self._told_epoch = self.epoch
            self.on_epoch()
        if self.is_leading != self._was_leading:
            self._was_leading = self.is_leading
            self.metrics.leading.set(self._was_leading)
            _log.info(
                "%s holds the Lease %s/%s",
                "this replica" if self._was_leading else "another",
                self.namespace,
                LEASE_NAME,
            )
            self.on_change()


def read_record(document: Mapping[str, Any]) -> Record:
    """The Lease as `decide` needs it; what is missing or strange counts as not said."""
    spec = document.get("spec") or {}
    annotations = document["metadata"].get("annotations") or {}
    epoch = str(annotations.get(EPOCH_ANNOTATION, ""))
    return Record(
        version=str(document["metadata"]["resourceVersion"]),
        holder=str(spec.get("holderIdentity") or ""),
        duration_ms=int(spec.get("leaseDurationSeconds") or 0) * 1000,
        address=str(annotations.get(ADDRESS_ANNOTATION, "")),
        epoch=int(epoch) if epoch.isascii() and epoch.isdigit() else 0,
        transitions=int(spec.get("leaseTransitions") or 0),
    )

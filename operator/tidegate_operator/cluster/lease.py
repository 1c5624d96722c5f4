"""Who may write: one holder of one Lease among the replicas (PURE; `elector.py` carries it out).

All replicas watch, compile and serve; the holder alone writes status, events, last good forms and certificates. The
rules are those of Kubernetes' own components: a Lease that has not changed for its duration *by the observer's own
clock* is free (clocks of two machines need not agree), every write is conditional on the resourceVersion that was read,
and a holder that could not renew in time stops before anyone else can begin.

The Lease also says where the holder can be reached, which replicas live (`replicas.py`), and carries the epoch, which
every replica reads on the way: it is raised when resourceVersions fall (etcd was restored), and tells sidecars that
versions of before do not compare.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

LEASE_API: Final = "coordination.k8s.io/v1"
LEASE_NAME: Final = "tidegate-operator"
EPOCH_ANNOTATION: Final = "tidegate.dev/epoch"
ADDRESS_ANNOTATION: Final = "tidegate.dev/address"

_NS_PER_MS = 1_000_000


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
        renewal: changes whenever the holder writes it. Not the resourceVersion, which changes also when other replicas name
            themselves: a holder that is dead would seem to renew it.
        holder: empty when nobody holds it.
        duration_ms: as its holder said.
        address: where the holder can be reached.
        epoch: 0 when the Lease has none.
    """

    renewal: str = ""
    holder: str = ""
    duration_ms: int = 0
    address: str = ""
    epoch: int = 0


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


def next_epoch(action: Action, known: int, wanted: int, now_s: int) -> int:
    """The epoch that the next write carries.

    Args:
        action: CREATE: nobody knows which epochs there were before, and the time is later than all of them.
        known: the highest epoch that was read.
        wanted: above `known` when versions have fallen.
        now_s: seconds since 1970.
    """
    if action is Action.CREATE:
        return max(known + 1, now_s)
    return max(wanted, now_s) if wanted > known else known


def read_record(document: Mapping[str, Any]) -> Record:
    """The Lease as `decide` needs it; what is missing or strange counts as not said."""
    spec = document.get("spec") or {}
    annotations = document["metadata"].get("annotations") or {}
    epoch = str(annotations.get(EPOCH_ANNOTATION, ""))
    return Record(
        renewal=f"{spec.get('renewTime', '')}/{spec.get('leaseTransitions', 0)}",
        holder=str(spec.get("holderIdentity") or ""),
        duration_ms=int(spec.get("leaseDurationSeconds") or 0) * 1000,
        address=str(annotations.get(ADDRESS_ANNOTATION, "")),
        epoch=int(epoch) if epoch.isascii() and epoch.isdigit() else 0,
    )


def held(
    document: Mapping[str, Any] | None,
    namespace: str,
    record: Record,
    now: datetime,
    *,
    named: tuple[str, str],
    forgotten: Collection[str] = (),
) -> dict[str, Any]:
    """The Lease as its new or old holder writes it.

    Args:
        document: as read; None when there is none.
        namespace: where it is.
        record: what it should say.
        now: in UTC.
        named: the holder's own annotation, see `replicas.py`.
        forgotten: annotations of replicas that are long gone.
    """
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    before: Mapping[str, Any] = (document or {}).get("spec") or {}
    is_new = before.get("holderIdentity") != record.holder
    metadata: dict[str, Any] = dict((document or {}).get("metadata") or {})
    metadata |= {"name": LEASE_NAME, "namespace": namespace}
    kept = {key: it for key, it in (metadata.get("annotations") or {}).items() if key not in forgotten}
    key, value = named
    metadata["annotations"] = {
        **kept,
        EPOCH_ANNOTATION: str(record.epoch),
        ADDRESS_ANNOTATION: record.address,
        key: value,
    }
    return {
        "apiVersion": LEASE_API,
        "kind": "Lease",
        "metadata": metadata,
        "spec": {
            **before,
            "holderIdentity": record.holder,
            # whole seconds, as the API wants; never less than what was promised
            "leaseDurationSeconds": max(1, -(-record.duration_ms // 1000)),
            "renewTime": stamp,
            "acquireTime": stamp if is_new else before.get("acquireTime", stamp),
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + is_new,
        },
    }


def given_back(document: Mapping[str, Any]) -> dict[str, Any]:
    """The Lease without a holder: whoever looks next may take it, and need not wait for it to run out."""
    return {**document, "spec": {**document["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}}

"""Events, which `kubectl describe` shows: one for each transition of a condition that a person would want to know.

What to say is decided by a pure function. An event is posted after the status that it is about was written, by the one
replica whose write succeeded, so a transition is told once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tidegate_operator.api.conditions import ConditionReason, ConditionType
from tidegate_operator.api.kinds import API_VERSION, KINDS
from tidegate_operator.cluster.client import ClusterClient, object_path
from tidegate_operator.status.merge import Transition
from tidegate_policy.model import ObjectRef

COMPONENT = "tidegate-operator"
MAX_NOTE = 1_000
"""Characters; the API server takes 1024 bytes."""

MAX_NAME = 200
"""Characters of the object's name in that of an event; the API server takes 253."""

_ILLEGAL = re.compile(r"[^a-z0-9.-]+")
_NAMESPACE_OF_CLUSTER_OBJECTS = "default"


class EventType(StrEnum):
    """The two that Kubernetes has."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing to tell about an object."""

    type: EventType
    reason: str
    note: str


def events_of(kind: str, transitions: Sequence[Transition]) -> tuple[Event, ...]:
    """What to tell of what changed about an object of this kind: bad news at once, good news only after bad.

    That a new object is fine, its status says; `Ready` is told of the kill switch alone, since all else that it sums up
    has been told; and that sidecars are waited for is no news, since each change of configuration passes through it.
    """
    events = []
    for transition in transitions:
        after, before = transition.after, transition.before
        is_bad = _is_bad(kind, after.type, after.status.value, after.reason.value)
        was_bad = before is not None and _is_bad(kind, after.type, *before)
        is_pending = after.reason is ConditionReason.PENDING
        if is_bad or (was_bad and not is_pending):
            tone = EventType.WARNING if is_bad else EventType.NORMAL
            note = f"{after.type.value}: {after.message}"
            events.append(Event(type=tone, reason=after.reason.value, note=note))
    return tuple(events)


def _is_bad(kind: str, condition: ConditionType, status: str, reason: str) -> bool:
    """Whether a condition is something to tell somebody."""
    if condition is ConditionType.READY:
        return reason == ConditionReason.SUSPENDED
    if reason == ConditionReason.CONFLICTED:
        return True  # also where the rest of the object holds
    return status != KINDS[kind].conditions[condition].good and reason != ConditionReason.PENDING


def event_document(
    event: Event,
    ref: ObjectRef,
    uid: str,
    *,
    identity: str,
    now: datetime,
    api: str = API_VERSION,
    action: str = "Compiled",
    once: str = "",
) -> Mapping[str, Any]:
    """The event as the API server takes it; its name is unique for the object, the reason and the moment.

    Args:
        event: what to tell.
        ref: the object that it is about.
        uid: its uid.
        identity: of this replica.
        now: the moment.
        api: apiVersion of the object.
        action: what was done when this was found, in a word.
        once: takes the place of moment and note in the name, so that whoever tells the same again is refused.
    """
    namespace = ref.namespace or _NAMESPACE_OF_CLUSTER_OBJECTS
    moment = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    what = once or f"{event.note} {moment}"
    digest = hashlib.sha256(f"{uid} {event.reason} {what}".encode()).hexdigest()[:16]
    note = event.note if len(event.note.encode()) <= MAX_NOTE else _cut(event.note)
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": event_name(ref.name, digest), "namespace": namespace},
        "regarding": {
            "apiVersion": api,
            "kind": ref.kind,
            "name": ref.name,
            "namespace": ref.namespace,
            "uid": uid,
        },
        "type": event.type.value,
        "reason": event.reason,
        "note": note,
        "action": action,
        "reportingController": f"tidegate.dev/{COMPONENT}",
        "reportingInstance": identity[:128],
        "eventTime": moment,
    }


def event_name(name: str, digest: str) -> str:
    """A legal name (RFC 1123) for an event about an object, whatever characters that object's kind allows in names."""
    parts = (part.strip("-") for part in _ILLEGAL.sub("-", name.lower())[:MAX_NAME].split("."))
    return ".".join((*(part for part in parts if part), digest))


async def post(client: ClusterClient, document: Mapping[str, Any]) -> None:
    """Create an event.

    Raises:
        ClusterError: it was not created, as in a namespace that is being deleted.
    """
    namespace = document["metadata"]["namespace"]
    await client.request("POST", object_path("events.k8s.io/v1", "events", namespace), body=document)


def _cut(note: str) -> str:
    return note.encode()[: MAX_NOTE - 3].decode(errors="ignore") + "…"

"""The status of an object (PURE): what it should say, merged into what it says.

As in Gateway API: conditions that the kind does not have belong to somebody else and stay; every condition of ours names the
generation it is about; `lastTransitionTime` moves only when the status of the condition does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tidegate_operator.api.kinds import KINDS
from tidegate_operator.status.model import Condition, WantedStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A condition of ours whose status or reason is about to change; `before` is None for a new one."""

    before: tuple[str, str] | None
    after: Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What to write.

    Attributes:
        status: the fields of ours, whole; None when the object says all of it already.
        transitions: conditions that change by it.
    """

    status: Mapping[str, Any] | None
    transitions: tuple[Transition, ...] = ()


def merge(current: Mapping[str, Any], wanted: WantedStatus, now: str) -> Merged:
    """The status to write.

    Args:
        current: the object's status.
        wanted: what it should say.
        now: the time, RFC 3339 in UTC to the second.
    """
    before = {str(it.get("type")): it for it in current.get("conditions") or () if isinstance(it, Mapping)}
    ours = [_condition(it, before.get(it.type.value), wanted.generation, now) for it in wanted.conditions]
    own = {kind.value for kind in KINDS[wanted.ref.kind].conditions}
    others = [it for name, it in before.items() if name not in own]
    fields: dict[str, Any] = {
        "observedGeneration": wanted.generation,
        "conditions": _in_order([*ours, *others], before),
    }
    if wanted.sidecars is not None:
        fields["sidecars"] = {
            "desired": wanted.sidecars.desired,
            "programmed": wanted.sidecars.programmed,
            "rejected": wanted.sidecars.rejected,
        }
    if wanted.targets is not None:
        fields["targets"] = [
            {"group": target.group, "kind": target.kind, "name": target.name, "pods": target.pods}
            for target in wanted.targets
        ]
    fields |= wanted.shown
    if all(_same(current.get(name), value) for name, value in fields.items()):
        return Merged(status=None)
    return Merged(status=fields, transitions=_transitions(before, wanted.conditions))


def _condition(
    wanted: Condition, before: Mapping[str, Any] | None, generation: int, now: str
) -> Mapping[str, Any]:
    since = before.get("lastTransitionTime") if before and before.get("status") == wanted.status else None
    return {
        "type": wanted.type.value,
        "status": wanted.status.value,
        "reason": wanted.reason.value,
        "message": wanted.message,
        "observedGeneration": generation,
        "lastTransitionTime": since or now,
    }


def _in_order(conditions: Sequence[Mapping[str, Any]], before: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """As they stood, new ones at the end: an order of our own would fight with whoever writes the others."""
    places = {name: place for place, name in enumerate(before)}
    return sorted(conditions, key=lambda it: places.get(str(it["type"]), len(places)))


def _transitions(before: Mapping[str, Any], conditions: Sequence[Condition]) -> tuple[Transition, ...]:
    found = []
    for after in conditions:
        known = before.get(after.type.value)
        was = (str(known.get("status")), str(known.get("reason"))) if known is not None else None
        if was != (after.status.value, after.reason.value):
            found.append(Transition(before=was, after=after))
    return tuple(found)


def _same(current: Any, wanted: Any) -> bool:
    """Equal; a field that is not there is an empty list or text."""
    return current == wanted or (current is None and wanted in ([], ""))

"""Which replicas live, and which kinds each of them watches, as the Lease names them (PURE; `elector.py` carries it out).

Each replica has an annotation of its own on the Lease, which it writes anew every few seconds. A replica lives while its
annotation changes, by the observer's own clock: clocks of two machines need not agree. In a rolling upgrade, or after a
rollback, replicas of two releases serve the same sidecars, and the older one has to know that the newer one is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

PREFIX: Final = "replicas.tidegate.dev/"
"""Of the annotations' names."""

NAMED_EVERY_NS: Final = 10_000_000_000
"""How often a replica names itself."""

LIVES_NS: Final = 30_000_000_000
"""How long a replica counts as live after its annotation has changed."""

FORGOTTEN_NS: Final = 600_000_000_000
"""After so long without a change the holder of the Lease takes an annotation away."""

MAX_REPLICAS: Final = 32
"""Annotations that are read. Who may write the Lease could write more of them."""

_MAX_KINDS: Final = 64
_MAX_CHARS: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """What one replica says of itself.

    Attributes:
        key: of its annotation.
        kinds: that it watches.
        beat: another one with each write.
    """

    key: str
    kinds: frozenset[str]
    beat: str


def annotation(identity: str, kinds: Iterable[str], beat: str) -> tuple[str, str]:
    """Name and value of a replica's own annotation."""
    # A pod's name may be longer than the name of an annotation.
    key = PREFIX + hashlib.sha256(identity.encode()).hexdigest()[:16]
    return key, json.dumps({"name": identity, "watches": sorted(kinds), "seen": beat}, separators=(",", ":"))


def named_in(document: Mapping[str, Any]) -> tuple[Replica, ...]:
    """All replicas that the Lease names; what cannot be read counts as not there."""
    annotations = document["metadata"].get("annotations") or {}
    keys = sorted(key for key in annotations if key.startswith(PREFIX))[:MAX_REPLICAS]
    replicas = (_read(key, str(annotations[key])) for key in keys)
    return tuple(replica for replica in replicas if replica is not None)


def _read(key: str, text: str) -> Replica | None:
    if len(text) > _MAX_CHARS:
        return None
    try:
        said = json.loads(text)
        kinds = frozenset(str(kind) for kind in said["watches"][:_MAX_KINDS])
        return Replica(key=key, kinds=kinds, beat=str(said["seen"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


class Roster:
    """When each replica was seen for the last time, by the clock of this one."""

    def __init__(self) -> None:
        """Nobody has been seen."""
        self._seen: dict[str, tuple[Replica, int]] = {}

    def look(self, replicas: Iterable[Replica], now_ns: int) -> None:
        """Take in what the Lease says now."""
        seen = {}
        for replica in replicas:
            known = self._seen.get(replica.key)
            seen[replica.key] = known if known is not None and known[0] == replica else (replica, now_ns)
        self._seen = seen

    def kinds(self, now_ns: int) -> frozenset[str]:
        """All kinds that live replicas watch."""
        live = (replica.kinds for replica, at_ns in self._seen.values() if now_ns - at_ns < LIVES_NS)
        return frozenset().union(*live)

    def forgotten(self, now_ns: int) -> frozenset[str]:
        """Annotations of replicas that are long gone."""
        return frozenset(key for key, (_, at_ns) in self._seen.items() if now_ns - at_ns >= FORGOTTEN_NS)

"""Tells of sidecars that enforce less than before, since the operator that told them more is gone: after a rollback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from tidegate_operator.cluster.client import ClusterClient
from tidegate_operator.cluster.errors import ClusterError, ConflictError
from tidegate_operator.cluster.events import Event, EventType, event_document, post
from tidegate_operator.publish.identity import PodFacts
from tidegate_operator.publish.observe import Sparing
from tidegate_policy.model import ObjectRef

_log = logging.getLogger(__name__)

REASON: Final = "EnforcementReduced"

MAX_DUE: Final = 256
"""Events that wait to be posted; what finds no room is in the log alone."""

_PERIOD_NS: Final = 3_600_000_000_000


class ReductionEvents:
    """Posts an event about one pod of each workload."""

    def __init__(
        self,
        client: ClusterClient,
        identity: str,
        *,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Tell as the replica `identity`."""
        self._client = client
        self._identity = identity
        self._wall = wall
        self._due: asyncio.Queue[tuple[PodFacts, frozenset[str]]] = asyncio.Queue(MAX_DUE)
        self._sparing = Sparing(lines=1, period_ns=_PERIOD_NS)

    def offer(self, pod: PodFacts, kinds: frozenset[str]) -> None:
        """Say that `pod` gets a configuration that knows nothing of `kinds`, which it has enforced so far."""
        if not self._sparing.lets((pod.workload, kinds)):
            return
        _log.warning("%s/%s: %s", pod.workload.namespace, pod.name, _note(kinds))
        if not self._due.full():
            self._due.put_nowait((pod, kinds))

    async def run(self) -> None:
        """Post what is due, for as long as the process lives."""
        while True:
            pod, kinds = await self._due.get()
            document = event_document(
                Event(type=EventType.WARNING, reason=REASON, note=_note(kinds)),
                ObjectRef(kind="Pod", namespace=pod.workload.namespace, name=pod.name),
                pod.uid,
                api="v1",
                action="Served",
                identity=self._identity,
                now=self._wall(),
                once=",".join(sorted(kinds)),
            )
            try:
                await post(self._client, document)
            except ConflictError:
                _log.debug("another replica has told of %s", pod.name)
            except ClusterError as error:
                _log.log(error.level, "no event about %s/%s: %s", pod.workload.namespace, pod.name, error)


def _note(kinds: frozenset[str]) -> str:
    return (
        f"This release of the operator does not watch {', '.join(sorted(kinds))}, and the newer one that did is gone: what "
        "those objects say is no longer enforced. Install the newer release again, or delete them."
    )

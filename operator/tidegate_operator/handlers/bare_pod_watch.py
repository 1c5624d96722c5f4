"""Tells those who count pods without a sidecar where such pods have come, changed or gone: for the holder of the Lease alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from tidegate_operator.cluster.client import Access, ClusterClient, object_path
from tidegate_operator.cluster.metadata_watch import MetadataWatch
from tidegate_operator.handlers.part import Tasks
from tidegate_operator.index.pods import INJECTED_LABEL, NOT_ENDED
from tidegate_operator.settings import Settings

BARE: Final = f"{INJECTED_LABEL}!=true"
"""A label selector: pods without a sidecar."""


class Counter(Protocol):
    """Counts pods without a sidecar."""

    def pod_changed(self, pod: Mapping[str, Any]) -> None:
        """A pod has come, changed or gone; of it there are metadata alone."""
        ...

    def anything_changed(self) -> None:
        """Changes were lost."""
        ...


class BarePodWatch:
    """Watches, while this replica may write."""

    def __init__(
        self,
        settings: Settings,
        access: Access,
        client: ClusterClient,
        may_write: Callable[[], bool],
        counters: tuple[Counter, ...],
    ) -> None:
        """Nothing is watched yet; `client` is for this part alone."""
        self._counters = counters
        self._watch = MetadataWatch(
            access,
            client,
            object_path("v1", "pods", ""),
            labels=BARE,
            fields=NOT_ENDED,
            is_wanted=may_write,
            on_change=self._changed,
            on_begin=self._begun,
            length_ms=settings.watch.length_ms,
            inactivity_ms=settings.watch.inactivity_ms,
            retry_max_ms=settings.api_server.retry_max_ms,
        )

    async def prepare(self) -> None:
        """Nothing: the first count is of everything."""

    def tasks(self) -> Tasks:
        """Watch."""
        yield "watch of pods without a sidecar", self._watch.run()

    def lead_changed(self) -> None:
        """The watch asks whether this replica leads."""

    def _changed(self, pod: Mapping[str, Any]) -> None:
        for counter in self._counters:
            counter.pod_changed(pod)

    def _begun(self) -> None:
        for counter in self._counters:
            counter.anything_changed()

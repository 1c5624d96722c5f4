"""The informer: what watches and lists bring is taken into the index, and who waits for it is told.

A change is marked, never carried: whoever waits looks at the whole index when it wakes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tidegate_operator.api.kinds import POD, WATCHED
from tidegate_operator.index.objects import Change, Objects
from tidegate_operator.index.pods import Pods


class Marks:
    """What has changed since somebody looked; waking is debounced."""

    def __init__(self) -> None:
        """Nothing has changed yet."""
        self._change = Change.NOTHING
        self._event = asyncio.Event()
        self.content_since_ns: int | None = None
        """When the first change of content came that has not been taken, by the monotonic clock."""

    def mark(self, change: Change) -> None:
        """Say that something changed."""
        # What a compile looks at must not wait until nobody writes a status any more: that may take long.
        if change is not Change.NOTHING and change >= self._change:
            self._change = change
            self._event.set()
        if change is Change.CONTENT and self.content_since_ns is None:
            self.content_since_ns = time.monotonic_ns()

    async def settled(self, quiet_s: float, at_most_s: float) -> None:
        """Return when something has changed and nothing as large for `quiet_s`, or `at_most_s` after the first change."""
        await self._event.wait()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + at_most_s
        while (left := deadline - loop.time()) > 0:
            self._event.clear()
            try:
                async with asyncio.timeout(min(quiet_s, left)):
                    await self._event.wait()
            except TimeoutError:
                return

    @property
    def due(self) -> Change:
        """The largest change since the last call of `take`."""
        return self._change

    def take(self) -> Change:
        """The largest change since the last call."""
        change, self._change = self._change, Change.NOTHING
        self.content_since_ns = None
        self._event.clear()
        return change


class Index:
    """What is known of one history of the cluster."""

    def __init__(self, pods: Pods | None = None) -> None:
        """Nothing is known yet; `pods` may know the owners of pods to come."""
        self.objects = Objects()
        self.pods = Pods() if pods is None else pods
        self.listed = asyncio.Event()
        """Set once all objects of every kind are known."""
        self.told_versions = dict.fromkeys(WATCHED, 0)
        """Newest resourceVersion per kind that the watch has told, lists of ours and answers to writes left aside."""

    @property
    def unlisted(self) -> tuple[str, ...]:
        """Kinds of which not all objects are known yet."""
        return (*self.objects.unlisted, *(() if self.pods.is_listed else (POD,)))

    def version(self, kind: str) -> int:
        """Newest resourceVersion of a kind; 0 for pods, of which it is not kept."""
        return self.objects.versions.get(kind, 0)

    def lacks(self, kind: str, metadata: Mapping[str, Any]) -> bool:
        """Whether a list has a newer form of an object than is known."""
        return self.pods.lacks(metadata) if kind == POD else self.objects.lacks(kind, metadata)


class Informer:
    """The index, and the marks for the two who work from it.

    When the history of the cluster has been rewritten (etcd was restored), news goes into a new index, which takes the place of
    the one before only when it is whole: until then that one is worked from, as it was.

    Attributes:
        epoch: the epoch of the Lease that the index belongs to; 0 before the Lease was read.
        filled: what news goes into. News is taken only from lists and watches that were begun for this index.
    """

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._index = self.filled = Index()
        self.objects = self._index.objects
        self.pods = self._index.pods
        self.epoch = 0
        self.compiling = Marks()
        self.pods_changed = asyncio.Event()
        """Set when owners may have to be looked up."""
        self.on_pod_gone: Callable[[str], None] = lambda _: None
        """Called with the uid of a pod that was deleted."""

    def __repr__(self) -> str:
        return f"<Informer {self.objects!r} {self.pods!r} of epoch {self.epoch}>"

    @property
    def listed(self) -> asyncio.Event:
        """Set once all objects of every kind are known."""
        return self._index.listed

    @property
    def unlisted(self) -> tuple[str, ...]:
        """Kinds of which not all objects are known yet."""
        return self._index.unlisted

    def begin_refill(self) -> Index:
        """Fill a new index from now on; what is worked from stays as it is."""
        self.filled = Index(self.pods.successor())
        return self.filled

    def replace(self, epoch: int) -> None:
        """Work from the index that was filled; it belongs to `epoch`."""
        self.objects.become(self.filled.objects)
        gone = self.pods.become(self.filled.pods)
        # other parts hold references to these two, and the watch goes on filling what it has begun to fill
        self.filled.objects, self.filled.pods = self.objects, self.pods
        self._index, self.epoch = self.filled, epoch
        for uid in gone:
            self.on_pod_gone(uid)
        self._pods_changed(is_changed=True)

    def told(self, index: Index, kind: str, event_type: str | None, document: Mapping[str, Any]) -> None:
        """Take in an event of the watch that was begun for `index`."""
        if index is not self.filled:
            return
        version = int(document["metadata"]["resourceVersion"])
        index.told_versions[kind] = max(index.told_versions[kind], version)
        if event_type == "DELETED":
            self.gone(kind, document)
        else:
            self.seen(kind, document)

    def seen(self, kind: str, document: Mapping[str, Any]) -> None:
        """Take in a form of an object."""
        if kind == POD:
            self._pods_changed(is_changed=self.filled.pods.seen(document))
        else:
            self._mark(self.filled.objects.seen(kind, document))

    def gone(self, kind: str, document: Mapping[str, Any]) -> None:
        """Take in a deletion."""
        if kind == POD:
            if self.filled is self._index:
                self.on_pod_gone(str(document["metadata"]["uid"]))
            self._pods_changed(is_changed=self.filled.pods.gone(document))
        else:
            self._mark(self.filled.objects.gone(kind, document))

    def relisted(
        self,
        index: Index,
        kind: str,
        documents: Iterable[Mapping[str, Any]],
        version: int,
        unchanged: Iterable[str] = (),
    ) -> tuple[str, ...]:
        """Take in a list of everything that was begun for `index`; what had been missed, in words.

        Args:
            index: see above.
            kind: of all of them.
            documents: forms.
            version: of the list.
            unchanged: uids of what is known as it is.
        """
        missed: tuple[str, ...] = ()
        if index is not self.filled:
            return missed
        if kind == POD:
            self._pods_changed(is_changed=index.pods.relisted(documents, version, unchanged))
        else:
            relisted = index.objects.relisted(kind, documents, version, unchanged)
            # also without a change: the versions of what is published are higher now
            self._mark(max(relisted.change, Change.STATUS))
            missed = (
                *(f"{ref} changed" for ref in relisted.missed),
                *(f"{ref} is gone" for ref in relisted.gone),
            )
        if not index.unlisted:
            index.listed.set()
        return missed

    def _pods_changed(self, *, is_changed: bool) -> None:
        if is_changed and self.filled is self._index:
            self.pods_changed.set()
            self.compiling.mark(Change.CONTENT)

    def _mark(self, change: Change) -> None:
        """Have a change looked at, unless the index it is in is not worked from yet."""
        if self.filled is self._index:
            self.compiling.mark(change)

"""The informer: what watches and lists bring is taken into the index, and who waits for it is told.

A change is marked, never carried: whoever waits looks at the whole index when it wakes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tidegate_operator.index.objects import WATCHED, Change, Objects
from tidegate_operator.index.pods import Pods

POD: Final = "Pod"
KINDS: Final = (*WATCHED, POD)
"""Everything that is watched."""


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


class Informer:
    """The index, and the marks for the two who work from it."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.objects = Objects()
        self.pods = Pods()
        self.compiling = Marks()
        self.listed = asyncio.Event()
        """Set once all objects of every kind are known."""
        self.pods_changed = asyncio.Event()
        """Set when owners may have to be looked up."""
        self.on_pod_gone: Callable[[str], None] = lambda _: None
        """Called with the uid of a pod that was deleted."""
        self.told_versions = dict.fromkeys(KINDS, 0)
        """Newest resourceVersion per kind that the watch has told, lists of ours and answers to writes left aside."""

    def __repr__(self) -> str:
        return f"<Informer {self.objects!r} {self.pods!r}>"

    @property
    def unlisted(self) -> tuple[str, ...]:
        """Kinds of which not all objects are known yet."""
        return (*self.objects.unlisted, *(() if self.pods.is_listed else (POD,)))

    def told(self, kind: str, event_type: str | None, document: Mapping[str, Any]) -> None:
        """Take in an event of the watch."""
        version = int(document["metadata"]["resourceVersion"])
        self.told_versions[kind] = max(self.told_versions[kind], version)
        if event_type == "DELETED":
            self.gone(kind, document)
        else:
            self.seen(kind, document)

    def seen(self, kind: str, document: Mapping[str, Any]) -> None:
        """Take in a form of an object."""
        if kind == POD:
            self._pods_changed(is_changed=self.pods.seen(document))
        else:
            self.compiling.mark(self.objects.seen(kind, document))

    def gone(self, kind: str, document: Mapping[str, Any]) -> None:
        """Take in a deletion."""
        if kind == POD:
            self.on_pod_gone(str(document["metadata"]["uid"]))
            self._pods_changed(is_changed=self.pods.gone(document))
        else:
            self.compiling.mark(self.objects.gone(kind, document))

    def lacks(self, kind: str, metadata: Mapping[str, Any]) -> bool:
        """Whether a list has a newer form of an object than is known."""
        return self.pods.lacks(metadata) if kind == POD else self.objects.lacks(kind, metadata)

    def relisted(
        self, kind: str, documents: Iterable[Mapping[str, Any]], version: int, unchanged: Iterable[str] = ()
    ) -> tuple[str, ...]:
        """Take in a list of everything: forms, and the uids of what is known as it is; what had been missed, in words."""
        missed: tuple[str, ...] = ()
        if kind == POD:
            self._pods_changed(is_changed=self.pods.relisted(documents, version, unchanged))
        else:
            relisted = self.objects.relisted(kind, documents, version, unchanged)
            # also without a change: the versions of what is published are higher now
            self.compiling.mark(max(relisted.change, Change.STATUS))
            missed = (
                *(f"{ref} changed" for ref in relisted.missed),
                *(f"{ref} is gone" for ref in relisted.gone),
            )
        if not self.unlisted:
            self.listed.set()
        return missed

    def _pods_changed(self, *, is_changed: bool) -> None:
        if is_changed:
            self.pods_changed.set()
            self.compiling.mark(Change.CONTENT)

"""The loop: whenever something has changed, take a snapshot, compile it, publish the result.

Level-triggered: it never learns what changed, only that the index is worth a look. The compile runs in a thread, so
that polls and probes are answered meanwhile; what it works on is immutable. A change that no compile looks at (a status
was written) only raises the versions of what is published, since it has been taken into account as well.

What is published never waits for advice (patterns that match no model, and the like), which can take long where one tenant's
objects are large. It is worked out afterwards, in slices, and left off as soon as there is something to compile.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from tidegate_operator.cluster.errors import ClusterError
from tidegate_operator.cluster.last_good import LastGoodStore
from tidegate_operator.cluster.owners import Owners
from tidegate_operator.compile.compilation import ClassKey, Compilation
from tidegate_operator.compile.compiler import Compiler
from tidegate_operator.compile.unmatched import PassThrough
from tidegate_operator.handlers.informer import Informer
from tidegate_operator.index.objects import Change, Held
from tidegate_operator.index.snapshot import Snapshot, Workload
from tidegate_operator.publish.board import Board, Edition, Published
from tidegate_operator.telemetry.metrics import Metrics
from tidegate_policy.envelope import AsOf
from tidegate_policy.model import ObjectRef

_log = logging.getLogger(__name__)

ADVISE_S: Final = 0.05
"""How long advice is worked out before it is looked whether there is something to compile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What is in force, and what it was made from.

    Attributes:
        held: the objects at the moment of the snapshot.
        in_force: those that have a valid form in force.
        published: what each class of workloads gets.
    """

    compilation: Compilation
    held: Mapping[ObjectRef, Held]
    in_force: frozenset[ObjectRef]
    published: Mapping[ClassKey, Published]

    def published_for(self, workload: Workload) -> Published:
        """What a workload gets; `KeyError` when it was not in the snapshot."""
        return self.published[self.compilation.workloads[workload]]


@dataclass(slots=True)
class Reconciler:
    """Keeps the board up to date.

    Attributes:
        informer: the index.
        owners: targets that have no pod.
        last_good: asked when an object is not valid.
        board: gets the result.
        on_compiled: called after each compile.
        quiet_ms: see settings, `debounce_ms`.
        at_most_ms: see settings, `debounce_max_ms`.
        unmatched: what workloads under no policy get; None: a denial.
        compiled: the newest result; None before the first compile.
        compiler: keeps what an edit does not touch; used by one compile at a time.
        looked_up: invalid forms for which the persisted ones have been read.
        advising: what is left of the advice on the newest compile; None: nothing is.
        behind_since_ns: when the first change came that was taken and is not in force.
    """

    informer: Informer
    owners: Owners
    last_good: LastGoodStore
    board: Board
    metrics: Metrics
    on_compiled: Callable[[], None]
    quiet_ms: int
    at_most_ms: int
    unmatched: PassThrough | None = None
    compiled: Compiled | None = None
    compiler: Compiler = field(init=False)
    looked_up: frozenset[tuple[str, int]] = frozenset()
    advising: Iterator[None] | None = None

    behind_since_ns: int | None = None

    def __post_init__(self) -> None:
        self.compiler = Compiler(self.unmatched)
        self.metrics.compile_behind.set_function(self._behind_s)

    async def run(self) -> None:
        """Reconcile for as long as the process lives; everything has been listed."""
        self.informer.compiling.mark(Change.CONTENT)
        while True:
            await self._advise()
            await self.informer.compiling.settled(self.quiet_ms / 1000, self.at_most_ms / 1000)
            since_ns = self.informer.compiling.content_since_ns
            if self.informer.compiling.take() is Change.CONTENT or self.compiled is None:
                if self.behind_since_ns is None:
                    self.behind_since_ns = since_ns
                await self._compile()
            else:
                self._advance()

    async def _compile(self) -> None:
        await self._find_last_good()
        # no await from here to the snapshot's last part: all of it is of one moment
        held = self.informer.objects.held
        self.informer.objects.last_good.keep({each.uid for each in held.values()})
        as_of = AsOf.of(self.informer.epoch, self.informer.objects.versions)
        snapshot = self.informer.objects.snapshot(self._workloads())
        started_s = time.perf_counter()
        try:
            compilation, published = await asyncio.to_thread(
                _compile, self.compiler, snapshot, self.compiled.published if self.compiled else {}
            )
        except Exception:  # noqa: BLE001
            # an error of ours: what is in force stays in force, and the next change is another try, from nothing
            self.compiler, self.advising = Compiler(self.unmatched), None
            self.metrics.compiles.labels("failed").inc()
            _log.exception("the compile failed; what was published before stays in force")
            return
        self.metrics.compile_seconds.observe(time.perf_counter() - started_s)
        self.metrics.compiles.labels("ok").inc()
        if self.compiled is None:
            # What is there now stays for long. Walking through all of it would make one edit in twenty take 80 ms more.
            gc.collect()
            gc.freeze()
        self.compiled = Compiled(
            compilation=compilation, held=held, in_force=snapshot.in_force, published=published
        )
        self.board.publish(Edition(as_of=as_of, published_for=self.compiled.published_for))
        self.behind_since_ns = None
        self._count(self.compiled)
        self.advising = self.compiler.advise()
        self.on_compiled()

    async def _advise(self) -> None:
        """Work out advice until there is something else to do."""
        while self.advising is not None and self.informer.compiling.due is Change.NOTHING:
            try:
                is_done = await asyncio.to_thread(_some, self.advising)
            except Exception:  # noqa: BLE001
                # an error of ours: there is no advice on what cannot be worked out, and all else goes on
                self.advising = None
                _log.exception("advice could not be worked out")
                return
            if is_done and self.compiled is not None:
                self.advising = None
                self.compiled = replace(self.compiled, compilation=self.compiler.compilation())
                self.on_compiled()

    def _behind_s(self) -> float:
        since_ns = self.behind_since_ns or self.informer.compiling.content_since_ns
        return 0.0 if since_ns is None else (time.monotonic_ns() - since_ns) / 1e9

    def _advance(self) -> None:
        """Say that what is published also takes the newest versions into account."""
        edition = self.board.edition
        as_of = AsOf.of(self.informer.epoch, self.informer.objects.versions)
        if edition is not None and edition.as_of != as_of:
            self.board.publish(replace(edition, as_of=as_of))
        self.on_compiled()

    async def _find_last_good(self) -> None:
        """Read persisted forms before an object counts as having none: another replica may have seen a valid one."""
        invalid = frozenset(
            (held.uid, held.generation)
            for held in self.informer.objects.held.values()
            if held.stored.spec is None
        )
        if invalid <= self.looked_up:
            self.looked_up = invalid
            return
        try:
            await self.last_good.read(self.informer.objects.last_good)
        except ClusterError as error:
            _log.log(error.level, "last good forms could not be read: %s", error)
            return
        self.looked_up = invalid

    def _workloads(self) -> tuple[Workload, ...]:
        with_pods = tuple(self.informer.pods.by_workload())
        names = {(workload.namespace, workload.kind, workload.name) for workload in with_pods}
        others = (
            target
            for target in self.owners.workloads
            if (target.namespace, target.kind, target.name) not in names
        )
        return (*with_pods, *others)

    def _count(self, compiled: Compiled) -> None:
        objects: dict[str, int] = {}
        invalid: dict[tuple[str, str], int] = {}
        for ref, held in compiled.held.items():
            objects[ref.kind] = objects.get(ref.kind, 0) + 1
            if held.stored.problem is not None:
                form = "last_good" if ref in compiled.in_force else "none"
                invalid[ref.kind, form] = invalid.get((ref.kind, form), 0) + 1
        self.metrics.objects.clear()
        self.metrics.invalid.clear()
        for kind, count in objects.items():
            self.metrics.objects.labels(kind).set(count)
        for (kind, form), count in invalid.items():
            self.metrics.invalid.labels(kind, form).set(count)
        self.metrics.classes.set(len(compiled.published))
        self.metrics.pods.set(len(self.informer.pods))


def _compile(
    compiler: Compiler, snapshot: Snapshot, former: Mapping[ClassKey, Published]
) -> tuple[Compilation, Mapping[ClassKey, Published]]:
    """In a thread: compile, and encode what is new."""
    compilation = compiler.begin(snapshot)
    published = {}
    for key, config in compilation.configs.items():
        known = former.get(key)
        published[key] = known if known is not None and known.config is config else Published.of(config)
    return compilation, published


def _some(steps: Iterator[None]) -> bool:
    """In a thread: go on for a moment. Whether there are no further steps."""
    ends_s = time.perf_counter() + ADVISE_S
    return all(time.perf_counter() < ends_s for _ in steps)

"""One poll from its first look to its answer: look, note what the sidecar says, wait for a reason to look again."""

from __future__ import annotations

import asyncio
import logging
import random as chance
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from tidegate_operator.publish.answer import Ask, Decision, Send, Unreadable, Wait, WaitFor, decide
from tidegate_operator.publish.board import Board
from tidegate_operator.publish.identity import PodDirectory, PodFacts
from tidegate_operator.publish.observe import PublishObserver, Sparing, Unobserved
from tidegate_operator.publish.reports import Ack, PodReport, ReportBook
from tidegate_operator.publish.requests import ProblemError
from tidegate_operator.publish.seals import Seals
from tidegate_operator.publish.tokens import Caller
from tidegate_policy.envelope import AsOf
from tidegate_policy.poll import MAX_WAIT_S

_log = logging.getLogger(__name__)

RETRY_SOON_S: Final = 1
"""For what will be there in a moment: a pod that the watch has not brought yet, the first compile."""

RETRY_ELSEWHERE_S: Final = 5
"""Over how many seconds sidecars come back that have lost their replica, each at a moment of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a replica gives at most; times in seconds."""

    wait_s: float = MAX_WAIT_S
    """Longest poll. Up to a tenth less is waited: polls that began together must not end together for ever."""
    polls: int = 20_000
    polls_of_a_pod: int = 8
    """A sidecar has one; more are what a broken network has left behind, or somebody plays."""
    close_one_in: int = 64
    """Of so many answers one closes its connection, about hourly for each pod, so that replicas share the load again
    after one of them was away. 0: none."""


def _ignore(_: object) -> None:
    """Nobody wants to know."""


def _ignore_reduced(_: PodFacts, __: frozenset[str]) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What polls need of the process.

    Attributes:
        board: what is published.
        pods: the pods that are watched.
        book: takes what sidecars say.
        observer: counts.
        on_report: told each word of a pod that came to this replica itself, to forward it.
        on_behind: told, a few times a minute at most, that a sidecar has seen more than this replica.
        on_reduced: told the pod that gets an envelope which knows nothing of kinds that it has enforced, and these kinds.
        seals: the keys of now; None: moments are not sealed, and all are believed.
        newer_kinds: those that a live replica watches and this one does not.
        monotonic_ns: the clock of `book`.
        random: numbers in [0, 1) for jitter.
    """

    board: Board
    pods: PodDirectory
    book: ReportBook
    bounds: Bounds = field(default=Bounds())
    observer: PublishObserver = field(default_factory=Unobserved)
    on_report: Callable[[PodReport], None] = _ignore
    on_behind: Callable[[AsOf], None] = _ignore
    on_reduced: Callable[[PodFacts, frozenset[str]], None] = _ignore_reduced
    newer_kinds: Callable[[], frozenset[str]] = frozenset
    seals: Callable[[], Seals | None] = lambda: None
    monotonic_ns: Callable[[], int] = time.monotonic_ns
    random: Callable[[], float] = chance.random


class Polls:
    """The polls of this replica."""

    def __init__(self, context: Context) -> None:
        """Have none open."""
        self._context = context
        self._log_sparingly = Sparing(monotonic_ns=context.monotonic_ns)
        self._open: Counter[str] = Counter()
        self._idle = asyncio.Event()
        self._idle.set()
        self.count = 0
        """Open now."""
        self.stopping = False

    async def stop(self, grace_s: float) -> None:
        """Answer all with `stopping`; those that take longer than `grace_s` seconds are left to be cut."""
        self.stopping = True
        self._context.board.wake_all()
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("stopping with %d polls cut: they were not answered in time", self.count)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Around all of one poll, the checking of its token included.

        Raises:
            ProblemError: too many are open, or the process stops.
        """
        if self.stopping:
            raise _stopping()
        if self.count >= self._context.bounds.polls:
            raise ProblemError(
                503, "too_many_polls", f"{self.count} polls are open", retry_s=RETRY_ELSEWHERE_S
            )
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    async def decide(self, caller: Caller, ask: Ask) -> Decision:
        """What the caller gets, as soon as there is something to say or its wait is over.

        Raises:
            ProblemError: the pod cannot be served.
        """
        context = self._context
        ask = self._believed(ask)
        now = asyncio.get_running_loop().time
        deadline = now() + min(ask.wait_s, context.bounds.wait_s) * (1 - context.random() / 10)
        is_noted = False
        with self._one_of(caller.pod_uid):
            while True:
                pod = self._find(caller)
                board = context.board
                decision = decide(board.edition, board.trust, pod, ask, context.newer_kinds())
                if not is_noted:
                    self._note(pod, ask, decision)
                    is_noted = True
                if self.stopping:
                    raise _stopping()
                left_s = deadline - now()
                if isinstance(decision, Send) and decision.reduced:
                    context.on_reduced(pod, decision.reduced)
                if not isinstance(decision, Wait) or left_s <= 0:
                    return _settled(decision)
                await context.board.changed(decision.watch, left_s)

    def _believed(self, ask: Ask) -> Ask:
        """What the sidecar says, without a moment that no operator has sealed: nobody can be kept waiting by it."""
        seals = self._context.seals()
        if ask.as_of is None or seals is None or seals.is_genuine(ask.as_of):
            return ask
        self._context.observer.answered("as_of_not_sealed")
        if self._log_sparingly.lets("not sealed"):
            _log.warning("a sidecar says that it has seen a moment which no operator has sealed: passed over")
        return replace(ask, as_of=None)

    def _find(self, caller: Caller) -> PodFacts:
        """The caller as the operator sees it: whose configuration it gets does not depend on its own word."""
        if not caller.pod_uid:
            raise ProblemError(
                403, "not_a_pod", "the token is bound to no pod: a sidecar uses its projected token"
            )
        name = f"{caller.namespace}/{caller.pod_name}"
        pod = self._context.pods.find(caller.namespace, caller.pod_name, caller.pod_uid)
        if pod is None:
            raise ProblemError(
                404,
                "pod_not_found",
                f"no pod {name} with uid {caller.pod_uid}: it was deleted, is not injected, or this replica has not "
                "seen it yet",
                retry_s=RETRY_SOON_S,
            )
        if pod.service_account != caller.service_account:
            message = f"pod {name} runs as {pod.service_account}, not as {caller.service_account}"
            raise ProblemError(403, "wrong_service_account", message)
        return pod

    def _note(self, pod: PodFacts, ask: Ask, decision: Decision) -> None:
        """Take the sidecar's word for what it enforces: it can be wrong about its own pod alone."""
        refused, why = (ask.refused.tag.digest, ask.refused.why) if ask.refused else ("", "")
        if isinstance(decision, Unreadable):
            refused, why = decision.published.digest, decision.why
        now_ns = self._context.monotonic_ns()
        digest = ask.has.digest if ask.has else ""
        ack = Ack(digest=digest, refused=refused, why=why)
        report = PodReport(pod_uid=pod.uid, ack=ack, keys=ask.keys, seen_ns=now_ns)
        self._context.book.take(report)
        self._context.book.expire(now_ns)
        self._context.on_report(report)
        if refused and self._log_sparingly.lets(refused):
            name = f"{pod.workload.namespace}/{pod.name}"
            _log.warning("pod %s cannot use configuration %s: %s", name, refused[:12], why)
        if isinstance(decision, Wait) and decision.reason is WaitFor.NEWER_RELEASE:
            if self._log_sparingly.lets("newer release"):
                _log.info(
                    "a replica of a newer release serves, too: sidecars that it has told of %s keep what they have",
                    decision.lacks,
                )
        elif isinstance(decision, Wait) and decision.watch.ahead and self._log_sparingly.lets("behind"):
            _log.warning(
                "this replica has seen less than a sidecar (%s): who is ahead keeps what it has until this replica "
                "has caught up",
                decision.lacks,
            )
            self._context.on_behind(decision.watch.ahead)

    def _count(self, change: int) -> None:
        self.count += change
        self._context.observer.polls_open(self.count)
        if self.count:
            self._idle.clear()
        else:
            self._idle.set()

    @contextmanager
    def _one_of(self, uid: str) -> Iterator[None]:
        if self._open[uid] >= self._context.bounds.polls_of_a_pod:
            message = f"{self._open[uid]} polls of this pod are open"
            raise ProblemError(429, "too_many_polls_of_a_pod", message, retry_s=RETRY_ELSEWHERE_S)
        self._open[uid] += 1
        try:
            yield
        finally:
            self._open[uid] -= 1
            if not self._open[uid]:
                del self._open[uid]


def _settled(decision: Decision) -> Decision:
    """The decision, where it is one that can be answered with a configuration or with its being unchanged."""
    if isinstance(decision, Unreadable):
        raise ProblemError(406, "schema_version", decision.why)
    if isinstance(decision, Wait) and decision.reason is WaitFor.COMPILE:
        raise ProblemError(
            503,
            "not_compiled",
            "there is no configuration for this workload yet: this replica has just started, or the pod is new",
            retry_s=RETRY_SOON_S,
        )
    return decision


def _stopping() -> ProblemError:
    return ProblemError(
        503, "stopping", "this replica stops: ask again, another one answers", retry_s=RETRY_ELSEWHERE_S
    )

"""Which pod enforces which configuration (PURE): what polls say, summed up for the status of objects.

A book is kept by every replica of the polls that it answers; the leader's has those of the others merged in. Times are
nanoseconds of the process' own monotonic clock; between processes only ages travel.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Generic, TypeVar

from tidegate_policy.model import CompiledConfig, ObjectRef

FORGET_AFTER_NS: Final = 180 * 1_000_000_000
"""A pod that has not polled for so long (three polls and some) is not counted as enforcing anything."""

MAX_PODS: Final = 50_000
MAX_LAGGING: Final = 5

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodAck:
    """What one pod says it does.

    Attributes:
        digest: of the configuration that it enforces; empty: none yet.
        refused: digest of one that it could not use, and `why`; empty: none.
        seen_ns: when it last said so.
    """

    pod_uid: str
    digest: str = ""
    refused: str = ""
    why: str = ""
    seen_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardedAck:
    """A `PodAck` on its way to the leader: clocks differ between processes, so it carries its age."""

    pod_uid: str
    digest: str
    refused: str
    why: str
    age_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AckReport:
    """The body of `POST /v1/acks`."""

    acks: tuple[ForwardedAck, ...]


def to_report(acks: Iterable[PodAck], now_ns: int) -> AckReport:
    """What a replica sends to the leader."""
    return AckReport(
        acks=tuple(
            ForwardedAck(
                pod_uid=ack.pod_uid,
                digest=ack.digest,
                refused=ack.refused,
                why=ack.why,
                age_ms=max(0, (now_ns - ack.seen_ns) // 1_000_000),
            )
            for ack in acks
        )
    )


class AckBook:
    """The latest word of each pod; at most `max_pods`, those unheard for longest go first.

    Attributes:
        revision: raised whenever a summary could have changed.
    """

    def __init__(self, *, forget_after_ns: int = FORGET_AFTER_NS, max_pods: int = MAX_PODS) -> None:
        """Begin empty."""
        self.revision = 0
        self._forget_after_ns = forget_after_ns
        self._max_pods = max_pods
        # In the order in which they were heard, so that forgetting looks at the oldest alone.
        self._acks: OrderedDict[str, PodAck] = OrderedDict()

    def __len__(self) -> int:
        return len(self._acks)

    def __iter__(self) -> Iterator[PodAck]:
        return iter(self._acks.values())

    def __repr__(self) -> str:
        return f"<AckBook {len(self._acks)} pods, revision {self.revision}>"

    def get(self, pod_uid: str) -> PodAck | None:
        """The latest word of a pod."""
        return self._acks.get(pod_uid)

    def take(self, ack: PodAck) -> None:
        """Note what a pod says; an older word than the one that is known changes nothing."""
        known = self._acks.get(ack.pod_uid)
        if known is not None and known.seen_ns > ack.seen_ns:
            return
        if known is None or (known.digest, known.refused, known.why) != (ack.digest, ack.refused, ack.why):
            self.revision += 1
        self._acks[ack.pod_uid] = ack
        self._acks.move_to_end(ack.pod_uid)
        while len(self._acks) > self._max_pods:
            self._acks.popitem(last=False)
            self.revision += 1

    def merge(self, report: AckReport, now_ns: int) -> None:
        """Note what another replica has heard."""
        for ack in report.acks:
            self.take(
                PodAck(
                    pod_uid=ack.pod_uid,
                    digest=ack.digest,
                    refused=ack.refused,
                    why=ack.why,
                    seen_ns=now_ns - max(0, ack.age_ms) * 1_000_000,
                )
            )

    def forget(self, pod_uid: str) -> None:
        """The pod was deleted."""
        if self._acks.pop(pod_uid, None) is not None:
            self.revision += 1

    def expire(self, now_ns: int) -> None:
        """Forget pods that have not been heard for too long."""
        while self._acks:
            oldest = next(iter(self._acks.values()))
            if now_ns - oldest.seen_ns <= self._forget_after_ns:
                return
            self.forget(oldest.pod_uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected(Generic[K]):
    """What a pod should enforce.

    Attributes:
        pod: `namespace/name`, as people read it.
        digests: any of them is right: one per schema version.
        counts_for: whose summaries the pod is counted in, e.g. its class, or the objects of its configuration.
        is_starting: it may be silent, and as long as it is, it is not counted.
    """

    pod_uid: str
    pod: str
    digests: frozenset[str]
    counts_for: tuple[K, ...]
    is_starting: bool = False


class Lag(IntEnum):
    """Why a pod is not counted as programmed; what needs a person comes first."""

    REFUSED = 0
    OUTDATED = 1
    EMPTY = 2
    UNHEARD = 3


_SILENT: Final = (Lag.EMPTY, Lag.UNHEARD)
"""What a pod that starts may be."""


@dataclass(frozen=True, slots=True, order=True)
class Lagging:
    """A pod that does not enforce what it should; `why` is set for those that refused it."""

    lag: Lag
    pod: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """`status.sidecars`, and up to five pods to look at.

    Attributes:
        unheard: of the desired ones, those of which nothing is known.
        starting: pods that are not counted yet.
    """

    desired: int = 0
    programmed: int = 0
    rejected: int = 0
    unheard: int = 0
    starting: int = 0
    lagging: tuple[Lagging, ...] = ()


def objects_in(config: CompiledConfig) -> tuple[ObjectRef, ...]:
    """The objects that a configuration carries out: policies, pools and credentials. For `Expected.counts_for`."""
    pools = {pool.source for pool in config.pools}
    credentials = {
        it.source for pool in config.pools for provider in pool.providers for it in provider.credentials
    }
    return tuple(sorted({*config.sources, *pools, *credentials}))


def summarise(
    book: AckBook, expected: Iterable[Expected[K]], *, fresh_ns: int | None = None
) -> dict[K, Summary]:
    """One summary for each thing that some pod counts for.

    Args:
        book: what pods said.
        expected: what they should enforce.
        fresh_ns: who said before this that it lags may have said better since, elsewhere: it counts as unheard.
    """
    pods: dict[K, list[Lagging | None]] = {}
    starting: dict[K, int] = {}
    for pod in expected:
        lag = _lag(book.get(pod.pod_uid), pod, fresh_ns)
        is_starting = pod.is_starting and lag is not None and lag.lag in _SILENT
        for key in pod.counts_for:
            lags = pods.setdefault(key, [])
            if is_starting:
                starting[key] = starting.get(key, 0) + 1
            else:
                lags.append(lag)
    return {key: _sum(lags, starting.get(key, 0)) for key, lags in pods.items()}


def _lag(ack: PodAck | None, expected: Expected[K], fresh_ns: int | None) -> Lagging | None:
    """None: the pod enforces what it should."""
    if ack is None:
        return Lagging(Lag.UNHEARD, expected.pod)
    if ack.refused in expected.digests:
        return Lagging(Lag.REFUSED, expected.pod, ack.why)
    if ack.digest in expected.digests:
        return None
    if fresh_ns is not None and ack.seen_ns < fresh_ns:
        return Lagging(Lag.UNHEARD, expected.pod)
    return Lagging(Lag.OUTDATED if ack.digest else Lag.EMPTY, expected.pod)


def _sum(lags: list[Lagging | None], starting: int) -> Summary:
    lagging = sorted(lag for lag in lags if lag is not None)
    return Summary(
        desired=len(lags),
        programmed=len(lags) - len(lagging),
        rejected=sum(lag.lag is Lag.REFUSED for lag in lagging),
        unheard=sum(lag.lag is Lag.UNHEARD for lag in lagging),
        starting=starting,
        lagging=tuple(lagging[:MAX_LAGGING]),
    )

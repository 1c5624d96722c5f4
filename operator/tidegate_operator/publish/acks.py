"""Which pod enforces which configuration (PURE): what pods report, summed up for the status of objects."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Generic, TypeVar

from tidegate_operator.publish.reports import PodReport, ReportBook
from tidegate_policy.model import CompiledConfig, ObjectRef

MAX_LAGGING: Final = 5

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected(Generic[K]):
    """What a pod should enforce.

    Attributes:
        pod: `namespace/name`, as people read it.
        digest: of the configuration that is published for it.
        counts_for: whose summaries the pod is counted in, e.g. its class, or the objects of its configuration.
        is_starting: it may be silent, and as long as it is, it is not counted.
    """

    pod_uid: str
    pod: str
    digest: str
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
    book: ReportBook, expected: Iterable[Expected[K]], *, fresh_ns: int | None = None
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


def _lag(report: PodReport | None, expected: Expected[K], fresh_ns: int | None) -> Lagging | None:
    """None: the pod enforces what it should."""
    if report is None:
        return Lagging(Lag.UNHEARD, expected.pod)
    ack = report.ack
    if ack.refused == expected.digest:
        return Lagging(Lag.REFUSED, expected.pod, ack.why)
    if ack.digest == expected.digest:
        return None
    if fresh_ns is not None and report.seen_ns < fresh_ns:
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

"""What pods say of themselves (PURE): a report of parts, each with a revision; kept, and brought to the holder of the Lease.

A book is kept by every replica of the polls that it answers; the leader's has those of the others merged in. Times are
nanoseconds of the process' own monotonic clock; between processes only ages travel. Thousands of pods say the same, so a
replica sends each part once, under its revision, and of each pod only which revisions it has.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from tidegate_policy import wire
from tidegate_policy.errors import DecodeError
from tidegate_policy.keys import KeyReport, LackingKey
from tidegate_policy.model import added

FORGET_AFTER_NS: Final = 180 * 1_000_000_000
"""A pod that has not polled for so long (three polls and some) is not counted as enforcing anything."""

MAX_PODS: Final = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """The part about the configuration.

    Attributes:
        digest: of the one that the pod enforces; empty: none yet.
        refused: digest of one that it could not use, and `why`; empty: none.
    """

    digest: str = ""
    refused: str = ""
    why: str = ""


def revision_of(part: Ack | KeyReport) -> str:
    """Names the content of a part: equal on every replica, another for any other content."""
    return hashlib.sha256(wire.encode(part)).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodReport:
    """The latest word of one pod; each part changes at its own time.

    Attributes:
        ack: what it does with its configuration.
        keys: which provider keys it lacks.
        seen_ns: when it last said so.
    """

    pod_uid: str
    ack: Ack = field(default=Ack())
    keys: KeyReport = field(default=KeyReport())
    seen_ns: int = 0

    @property
    def parts(self) -> tuple[Ack, KeyReport]:
        """All that is said, without who says it and when."""
        return (self.ack, self.keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentAck:
    """An `Ack` on its way, under its revision."""

    revision: str
    digest: str
    refused: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SentKeys:
    """A `KeyReport` on its way, under its revision."""

    revision: str
    lacking: tuple[LackingKey, ...]
    left_out: int = added(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentPod:
    """A pod on its way: clocks differ between processes, so it carries its age; of each part the revision.

    Attributes:
        keys: empty: it lacks none.
    """

    pod_uid: str
    age_ms: int
    ack: str
    keys: str = added("")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReport:
    """The body of `POST /v1/acks`: each part once, and which pods have it."""

    acks: tuple[SentAck, ...]
    pods: tuple[SentPod, ...]
    keys: tuple[SentKeys, ...] = added(())


def to_report(reports: Iterable[PodReport], now_ns: int) -> ReplicaReport:
    """What a replica sends to the leader."""
    acks: dict[Ack, str] = {}
    keys: dict[KeyReport, str] = {KeyReport(): ""}
    pods = []
    for report in reports:
        if report.ack not in acks:
            acks[report.ack] = revision_of(report.ack)
        if report.keys not in keys:
            keys[report.keys] = revision_of(report.keys)
        age_ms = max(0, (now_ns - report.seen_ns) // 1_000_000)
        pods.append(
            SentPod(pod_uid=report.pod_uid, age_ms=age_ms, ack=acks[report.ack], keys=keys[report.keys])
        )
    return ReplicaReport(
        acks=tuple(
            SentAck(revision=revision, digest=ack.digest, refused=ack.refused, why=ack.why)
            for ack, revision in acks.items()
        ),
        pods=tuple(pods),
        keys=tuple(
            SentKeys(revision=revision, lacking=part.lacking, left_out=part.left_out)
            for part, revision in keys.items()
            if revision
        ),
    )


def from_report(report: ReplicaReport, now_ns: int) -> tuple[PodReport, ...]:
    """What another replica has heard.

    Raises:
        DecodeError: a pod has a revision that is not in the report.
    """
    acks = {
        sent.revision: Ack(digest=sent.digest, refused=sent.refused, why=sent.why) for sent in report.acks
    }
    keys = {sent.revision: KeyReport(lacking=sent.lacking, left_out=sent.left_out) for sent in report.keys}
    keys[""] = KeyReport()
    reports = []
    for number, pod in enumerate(report.pods):
        for member, revision, listed, parts in (
            ("ack", pod.ack, "acks", acks),
            ("keys", pod.keys, "keys", keys),
        ):
            if revision not in parts:
                raise DecodeError(f"pods[{number}].{member}", f"{revision[:40]!r} is no revision in {listed}")
        seen_ns = now_ns - max(0, pod.age_ms) * 1_000_000
        reports.append(
            PodReport(pod_uid=pod.pod_uid, ack=acks[pod.ack], keys=keys[pod.keys], seen_ns=seen_ns)
        )
    return tuple(reports)


class ReportBook:
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
        self._reports: OrderedDict[str, PodReport] = OrderedDict()

    def __len__(self) -> int:
        return len(self._reports)

    def __iter__(self) -> Iterator[PodReport]:
        return iter(self._reports.values())

    def __repr__(self) -> str:
        return f"<ReportBook {len(self._reports)} pods, revision {self.revision}>"

    def get(self, pod_uid: str) -> PodReport | None:
        """The latest word of a pod."""
        return self._reports.get(pod_uid)

    def take(self, report: PodReport) -> None:
        """Note what a pod says; an older word than the one that is known changes nothing."""
        known = self._reports.get(report.pod_uid)
        if known is not None and known.seen_ns > report.seen_ns:
            return
        if known is None or known.parts != report.parts:
            self.revision += 1
        self._reports[report.pod_uid] = report
        self._reports.move_to_end(report.pod_uid)
        while len(self._reports) > self._max_pods:
            self._reports.popitem(last=False)
            self.revision += 1

    def merge(self, report: ReplicaReport, now_ns: int) -> None:
        """Note what another replica has heard.

        Raises:
            DecodeError: the report does not fit together; nothing of it is noted.
        """
        for pod_report in from_report(report, now_ns):
            self.take(pod_report)

    def forget(self, pod_uid: str) -> None:
        """The pod was deleted."""
        if self._reports.pop(pod_uid, None) is not None:
            self.revision += 1

    def expire(self, now_ns: int) -> None:
        """Forget pods that have not been heard for too long."""
        while self._reports:
            oldest = next(iter(self._reports.values()))
            if now_ns - oldest.seen_ns <= self._forget_after_ns:
                return
            self.forget(oldest.pod_uid)

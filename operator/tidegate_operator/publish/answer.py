"""What one poll gets (PURE): of what is published, who asks, and what they have."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from tidegate_operator.publish.board import Edition, Published, Watch
from tidegate_operator.publish.identity import PodFacts
from tidegate_policy.envelope import AsOf, Tag, generation_of
from tidegate_policy.keys import KeyReport
from tidegate_policy.model import WorkloadIdentity
from tidegate_policy.poll import Nack


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a sidecar says in its poll.

    Attributes:
        has: the envelope that it enforces; None: none.
        refused: the one that it could not use.
        as_of: of what moment the configuration is that it enforces.
        versions: schema versions that it reads.
        keys: which keys it lacks.
        wait_s: how long it likes to wait for something new.
    """

    versions: tuple[int, ...]
    has: Tag | None = None
    refused: Nack | None = None
    as_of: AsOf | None = None
    keys: KeyReport = field(default=KeyReport())
    wait_s: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """An envelope that the sidecar does not have."""

    published: Published
    tag: Tag
    identity: WorkloadIdentity
    reduced: frozenset[str] = frozenset()
    """Kinds of a newer release that the sidecar has enforced so far, and of which this envelope knows nothing."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """It has what there is, and hears so at once: it had refused something that is not published any more."""

    tag: Tag


class WaitFor(Enum):
    """Why there is nothing to send."""

    CHANGE = "it has what there is"
    MENDING = "it could not use what there is"
    CATCHING_UP = "it has seen more than this replica"
    NEWER_RELEASE = "a replica of a newer release has told it things that this one knows nothing of"
    COMPILE = "its workload has not been compiled yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing to send: look again when `watch` is over, and when the wait is over answer as `reason` demands.

    Attributes:
        watch: None while there is no edition at all.
        tag: of what is published, where the sidecar may know.
        lacks: what this replica has not seen, for the log.
    """

    reason: WaitFor
    watch: Watch
    tag: Tag | None = None
    lacks: str = ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The configuration is published in a schema version that the sidecar does not read."""

    published: Published
    versions: tuple[int, ...]

    @property
    def why(self) -> str:
        """Both sides, the object that is the reason, and who has to act."""
        read = ", ".join(str(version) for version in self.versions)
        because = f" because of {self.published.needs}" if self.published.needs else ""
        return (
            f"the operator writes schema version {self.published.version}{because}, the sidecar reads {read}; "
            "run the same release of operator and sidecar, or one release apart"
        )


Decision = Send | Unchanged | Wait | Unreadable


def decide(
    edition: Edition | None,
    trust: str,
    pod: PodFacts,
    ask: Ask,
    newer_kinds: frozenset[str] = frozenset(),
) -> Decision:
    """What a poll gets at this moment; the same on every replica that has seen as much.

    Args:
        edition: what this replica serves.
        trust: PEM of the authorities that the sidecar is to trust.
        pod: who asks.
        ask: what it says.
        newer_kinds: kinds that a live replica watches and this one does not. While it is there, nothing that it has told a
            sidecar is taken back.
    """
    workload = pod.workload
    if edition is None:
        return Wait(reason=WaitFor.COMPILE, watch=Watch(workload))
    if ask.as_of is not None and (lacks := edition.as_of.lacks(ask.as_of)):
        # Before anything else: a replica that lags knows neither whether the sidecar is up to date nor what it refused.
        return Wait(reason=WaitFor.CATCHING_UP, watch=Watch(workload, ahead=ask.as_of), lacks=lacks)
    unwatched = edition.as_of.unwatched(ask.as_of) if ask.as_of is not None else frozenset()
    if unwatched & newer_kinds:
        return Wait(
            reason=WaitFor.NEWER_RELEASE,
            watch=Watch(workload, edition.digest_for(workload)),
            lacks=_listed(unwatched),
        )
    try:
        published = edition.published_for(workload)
    except KeyError:
        return Wait(reason=WaitFor.COMPILE, watch=Watch(workload))
    if published.version not in ask.versions:
        return Unreadable(published, ask.versions)
    identity = pod.identity
    tag = Tag(published.digest, generation_of(identity, edition.secrets_for(identity.namespace), trust))
    return _compare(
        ask,
        Send(published=published, tag=tag, identity=identity, reduced=unwatched),
        watch=Watch(workload, published.digest),
    )


def _listed(kinds: frozenset[str]) -> str:
    return ", ".join(sorted(kinds))


def _compare(ask: Ask, newest: Send, *, watch: Watch) -> Decision:
    """Whether the newest is news to the sidecar."""
    if ask.refused is not None and ask.refused.tag == newest.tag:
        # Sending it again would be refused again, and again.
        return Wait(reason=WaitFor.MENDING, watch=watch, tag=newest.tag)
    if ask.has != newest.tag:
        return newest
    if ask.refused is not None:
        return Unchanged(newest.tag)
    return Wait(reason=WaitFor.CHANGE, watch=watch, tag=newest.tag)

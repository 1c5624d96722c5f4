"""What a policy is: it grants a call or an attempt, or says in a value why not.

A policy is asked with facts that never change and the time. What it grants it is told about exactly once, by `settle` of
the grant, with what became of it. Policies are pure; whatever has to be waited for (rights from a store, a turn in a
queue) is a value too, and the shell of admission waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping
from enum import Enum
from typing import Final, NamedTuple, Protocol

from tidegate_policy.model import Mode, ObjectRef
from tidegate_sidecar.dialects.base import NO_USAGE, Usage
from tidegate_sidecar.messages.message import Message


class Facts(NamedTuple):
    """What policies see of a call, and of an attempt of it. Immutable: what is granted by them is settled by them.

    Attributes:
        model: the canonical name.
        consumer: on whose behalf; "anonymous" where nobody is named.
        headers: of the request, names in lower case, values as text.
        provider: who is asked; empty for facts of the call.
        body_bytes: of the request as it is sent; 0 for facts of the call.
        message: the same, as far as it is read; None for facts of the call.
    """

    model: str
    consumer: str
    headers: Mapping[str, str]
    provider: str = ""
    body_bytes: int = 0
    message: Message | None = None


class Sent(Enum):
    """How far an admitted call or attempt came."""

    NOT_ADMITTED = "NotAdmitted"
    """Another decision refused it in the same instant: what it took is given back, exactly."""
    NOT_SENT = "NotSent"
    """It was admitted, and no provider has seen any of it."""
    SENT = "Sent"
    """A provider may have seen some of it, and may charge for it."""


class UsageClass(Enum):
    """Where the usage of an outcome comes from."""

    REPORTED = "reported"
    """The provider's terminal word."""
    UNREPORTED = "unreported"
    """A provider answered or may have worked, and did not say what it used."""
    NONE = "none"
    """Nothing was used: nothing was sent, or every attempt was refused."""


class Outcome(NamedTuple):
    """What became of what was granted. Integers; money in nano-USD, None where it is not known."""

    sent: Sent
    usage: Usage = NO_USAGE
    usage_class: UsageClass = UsageClass.NONE
    cost_nano_usd: int | None = None


NOT_ADMITTED: Final = Outcome(Sent.NOT_ADMITTED)
NOT_SENT: Final = Outcome(Sent.NOT_SENT)


class Grant(Protocol):
    """Something that was taken for one call or attempt."""

    def settle(self, outcome: Outcome, now_ns: int) -> None:
        """Take note of what became of it; exactly once. `NOT_ADMITTED` comes with the `now_ns` of its `admit`."""
        ...


class Rejected(NamedTuple):
    """A policy says no. An expected answer, hence a value and no exception.

    Attributes:
        rule: the rule's name within `source`.
        source: the object that the rule comes from.
        retry_after_ms: after this time the same call would be admitted if no other came; rounded up. None: never.
        limit: the limit in words, such as ``60 per 1m, burst 1``.
        remaining: what the limit would still admit now, in the limit's own unit.
        never: the call asks for more than the limit ever allows, so waiting does not help.
    """

    rule: str
    source: ObjectRef
    retry_after_ms: int | None
    limit: str
    remaining: int
    never: bool = False


class Needs(NamedTuple):
    """Rights that are not here have to be got from elsewhere before the policy can say yes or no.

    Attributes:
        key: calls that need the same are served by one acquisition.
        acquire: gets them; the shell bounds it in time. After it the policies are asked again.
        otherwise: what the call is told when they were not to be had in time.
    """

    key: Hashable
    acquire: Callable[[], Awaitable[None]]
    otherwise: Rejected


class Wait(NamedTuple):
    """The call may stand in a queue.

    Attributes:
        join: takes what is called when it is the call's turn, and returns what leaves the queue again.
        max_wait_ms: how long it may stand there.
        otherwise: what the call is told when its turn did not come.
    """

    join: Callable[[Callable[[], None]], Callable[[], None]]
    max_wait_ms: int
    otherwise: Rejected


class Policy(Protocol):
    """One admission rule."""

    @property
    def mode(self) -> Mode:
        """Whether a refusal counts, or is only noted. The policy decides the same in both modes."""
        ...

    def admit(self, facts: Facts, now_ns: int) -> Grant | Rejected | Needs | Wait:
        """A grant, to be settled exactly once; anything else leaves no trace."""
        ...


class Admitted(NamedTuple):
    """Every policy of a set has granted.

    Attributes:
        grants: in the order in which they were taken.
        would_reject: refusals by policies in Shadow mode, to be counted and logged.
    """

    grants: tuple[Grant, ...]
    would_reject: tuple[Rejected, ...]


_NO_GRANTS: Final = (Rejected, Needs, Wait)  # a union made for each call costs as much as a rule

NOTHING_ADMITTED: Final = Admitted((), ())


class PolicySet:
    """Policies that all have to grant, asked in the order given.

    Those in Shadow mode come after all others: they see only what is really admitted, so that what they count is what
    they would count if they were enforced. A Shadow policy that needs rights or would queue is passed over.
    """

    __slots__ = ("_enforced", "_shadows", "policies")

    def __init__(self, policies: tuple[Policy, ...] = ()) -> None:
        """Keep the order of `policies` within each mode."""
        self.policies = policies
        self._enforced = tuple(policy for policy in policies if policy.mode is Mode.ENFORCE)
        self._shadows = tuple(policy for policy in policies if policy.mode is Mode.SHADOW)

    def admit(self, facts: Facts, now_ns: int) -> Admitted | Rejected | Needs | Wait:
        """Ask all; at the first that does not grant give back what those before it took, the last one first."""
        grants: list[Grant] = []
        for policy in self._enforced:
            granted = policy.admit(facts, now_ns)
            if isinstance(granted, _NO_GRANTS):
                settle_all(grants, NOT_ADMITTED, now_ns)
                return granted
            grants.append(granted)
        if not self._shadows:
            return Admitted(tuple(grants), ())
        refusals: list[Rejected] = []
        for policy in self._shadows:
            granted = policy.admit(facts, now_ns)
            if isinstance(granted, Rejected):
                refusals.append(granted)
            elif not isinstance(granted, _NO_GRANTS):
                grants.append(granted)
        return Admitted(tuple(grants), tuple(refusals))


def settle_all(grants: list[Grant] | tuple[Grant, ...], outcome: Outcome, now_ns: int) -> None:
    """Settle every grant, the last one first."""
    for grant in reversed(grants):
        grant.settle(outcome, now_ns)

"""What a policy is, and how several of them decide about one call together.

A policy admits a call or refuses it with a value, and is told once what became of each call it admitted. The
protocol has no cost on purpose: a policy that weighs calls reads the weight from the call when it admits and the
true amount when it settles, and those that count calls stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from tidegate_policy.model import Mode, ObjectRef


@dataclass(slots=True)
class Call:
    """What policies see of one call.

    Attributes:
        model: the canonical name.
        consumer: on whose behalf; "anonymous" where nobody is named.
        headers: of the request, names in lower case.
        provider: who is asked; set anew for each try, empty before the first.
        passed_over: policies in Shadow mode that would have refused this call, so that they hold nothing of it;
            kept by `PolicySet`.
    """

    model: str
    consumer: str
    headers: Mapping[str, str]
    provider: str = ""
    passed_over: tuple[Policy, ...] = ()


@dataclass(slots=True)
class Rejected:
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


class Settlement(Enum):
    """What became of an admitted call."""

    NOT_ADMITTED = "NotAdmitted"
    """Another decision refused it in the same instant: whatever it took is given back, exactly."""
    NOT_SENT = "NotSent"
    """It was admitted, and no provider has seen any of it."""
    SENT = "Sent"
    """A provider may have seen some of it."""


class Policy(Protocol):
    """One admission rule."""

    @property
    def mode(self) -> Mode:
        """Whether a refusal counts, or is only noted. The policy decides the same in both modes."""
        ...

    def admit(self, call: Call, now_ns: int) -> Rejected | None:
        """None: the call may go, and `settle` follows exactly once. A refusal leaves no trace."""
        ...

    def settle(self, call: Call, settlement: Settlement, now_ns: int) -> None:
        """Take note of what became of an admitted call; `NOT_ADMITTED` comes with the `now_ns` of its `admit`."""
        ...


class AdmitResult(NamedTuple):
    """What the policies of a set say together.

    Attributes:
        rejected: the refusal that counts; None when the call may go and has to be settled.
        would_reject: refusals by policies in Shadow mode, to be counted and logged; empty for a refused call.
    """

    rejected: Rejected | None
    would_reject: tuple[Rejected, ...]


_ADMITTED = AdmitResult(None, ())


class PolicySet:
    """Policies that all have to admit a call, asked in the order given.

    Those in Shadow mode come after all others: they see only calls that are really admitted, so that what they
    count is what they would count if they were enforced.
    """

    __slots__ = ("_enforced", "_settling", "_shadows")

    def __init__(self, policies: Iterable[Policy] = ()) -> None:
        """Keep the order of `policies` within each mode."""
        policies = tuple(policies)
        self._enforced = tuple(policy for policy in policies if policy.mode is Mode.ENFORCE)
        self._shadows = tuple(policy for policy in policies if policy.mode is Mode.SHADOW)
        self._settling = tuple(reversed(self._enforced + self._shadows))

    def admit(self, call: Call, now_ns: int) -> AdmitResult:
        """Ask all; at the first refusal give back what those before it took, the last one first."""
        for index, policy in enumerate(self._enforced):
            rejected = policy.admit(call, now_ns)
            if rejected is not None:
                for earlier in reversed(self._enforced[:index]):
                    earlier.settle(call, Settlement.NOT_ADMITTED, now_ns)
                return AdmitResult(rejected, ())
        return self._ask_shadows(call, now_ns) if self._shadows else _ADMITTED

    def settle(self, call: Call, settlement: Settlement, now_ns: int) -> None:
        """Tell every policy that holds something of `call`; exactly once for each `admit` without a refusal.

        `call.provider` must be what it was at `admit`.
        """
        if not call.passed_over:
            for policy in self._settling:
                policy.settle(call, settlement, now_ns)
            return
        # The call rules and the attempt rules share the call: each set takes out only its own.
        for policy in self._settling:
            if policy not in call.passed_over:
                policy.settle(call, settlement, now_ns)
        call.passed_over = tuple(policy for policy in call.passed_over if policy not in self._shadows)

    def _ask_shadows(self, call: Call, now_ns: int) -> AdmitResult:
        refusals: tuple[Rejected, ...] = ()
        for policy in self._shadows:
            rejected = policy.admit(call, now_ns)
            if rejected is not None:
                refusals += (rejected,)
                call.passed_over += (policy,)
        return AdmitResult(None, refusals) if refusals else _ADMITTED

"""Refusals: every way in which Tidegate itself answers a call, as a value.

Whoever finds a reason to refuse says which case it is and the words, nothing about HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Final

from tidegate_policy.model import Denial, DenialCode, ObjectRef
from tidegate_sidecar.policies.base import Rejected


class Case(Enum):
    """Every way in which Tidegate itself answers a call: (status, code)."""

    RATE_LIMITED = (429, "rate_limit_exceeded")
    HOST_REFUSED = (403, "host_not_allowed")
    MODEL_NOT_ALLOWED = (403, "model_not_allowed")
    MODEL_NOT_FOUND = (404, "model_not_found")
    NO_POLICY = (403, "no_policy")
    SUSPENDED = (403, "suspended")
    INVALID = (400, "invalid_request")
    TOO_SLOW = (408, "invalid_request")
    TOO_LARGE = (413, "invalid_request")
    UNKNOWN_ENCODING = (415, "invalid_request")
    HEAD_TOO_LARGE = (431, "invalid_request")
    NOT_IMPLEMENTED = (501, "invalid_request")
    OTHER_VERSION = (505, "invalid_request")
    UNKNOWN_PATH = (404, "invalid_request")
    NOT_SUPPORTED = (400, "not_supported")
    UNAVAILABLE = (503, "provider_unavailable")
    TIMEOUT = (504, "provider_timeout")
    UNREACHABLE = (502, "provider_unreachable")
    CONFIG_PENDING = (503, "config_pending")
    INTERNAL = (500, "internal_error")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value[0]

    @property
    def code(self) -> str:
        """The word that programs look at."""
        return self.value[1]


_MAY_HELP: Final = frozenset(
    {"rate_limit_exceeded", "provider_timeout", "provider_unreachable", "internal_error"}
)
"""Codes after which the same call may succeed although nobody knows when."""

_HEAD_FAULTS: Final = {
    408: Case.TOO_SLOW,
    431: Case.HEAD_TOO_LARGE,
    501: Case.NOT_IMPLEMENTED,
    505: Case.OTHER_VERSION,
}

_SHOWN: Final = 20
"""Names of models in a message; more would be a page, not an answer."""
_SHOWN_CHARACTERS: Final = 256

FAULTS: Final = frozenset({Case.UNAVAILABLE, Case.TIMEOUT, Case.UNREACHABLE, Case.INTERNAL})
"""Cases in which no rule said no: something is broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a call gets no answer from a provider.

    Attributes:
        case: which row of the table.
        message: for a person: what, where, what would be right.
        source: the object whose word it is, where there is one.
        rule: the rule's name within the object.
        retry_after_ms: when the same call may go through; None when waiting does not help, or nobody knows.
        is_final: the same call can never succeed: SDKs are told not to send it again.
        details: further facts for programs: limit, remaining, allowed models.
    """

    case: Case
    message: str
    source: ObjectRef | None = None
    rule: str = ""
    retry_after_ms: int | None = None
    details: dict[str, object] = field(default_factory=dict)
    is_final: bool = False

    @property
    def forbids_retry(self) -> bool:
        """Whether sending the same call again is in vain."""
        return self.is_final or (self.retry_after_ms is None and self.case.code not in _MAY_HELP)


def rate_limited(limit: Rejected) -> Refusal:
    """The refusal of a call beyond a limit."""
    if limit.never:
        wait = "It asks for more than the limit ever allows."
    else:
        wait = f"Try again in {-(-(limit.retry_after_ms or 0) // 1_000)} s."
    return Refusal(
        case=Case.RATE_LIMITED,
        message=f"The limit {limit.rule!r} of {limit.source} is reached: {limit.limit}. {wait}",
        source=limit.source,
        rule=limit.rule,
        retry_after_ms=limit.retry_after_ms,
        details={"limit": limit.limit, "remaining": limit.remaining},
        is_final=limit.never,
    )


def denied(denial: Denial) -> Refusal:
    """The refusal of every call."""
    case = Case.SUSPENDED if denial.code is DenialCode.SUSPENDED else Case.NO_POLICY
    return Refusal(case=case, message=denial.reason, source=denial.source)


def no_key_of_its_own(source: ObjectRef) -> Refusal:
    """The refusal of a call that is let through, and carries nothing but the placeholder that the injector set."""
    return Refusal(
        case=Case.NO_POLICY,
        message="No policy applies to this workload, and the application has no key of its own that its calls could go "
        "out with: the one it sends is the placeholder that was set at injection. Create an AIPolicy for the workload, "
        "or give the application its key (OPENAI_API_KEY, ANTHROPIC_API_KEY).",
        source=source,
    )


def of_one_account(member: str, source: ObjectRef, accounts: int) -> Refusal:
    """The refusal of a call that names what one account knows, where several are asked."""
    return Refusal(
        case=Case.NOT_SUPPORTED,
        message=f"`{member}` names what is kept in one account of a provider, and {source} asks any of {accounts} accounts for "
        "this model. Send the conversation itself, or use a pool that has one provider with one credential for the model.",
        source=source,
        details={"param": member, "accounts": accounts},
    )


def suspended(source: ObjectRef) -> Refusal:
    """The refusal of a call through a suspended object."""
    return Refusal(
        case=Case.SUSPENDED,
        message=f"{source} is suspended (spec.suspend): no call goes through it until that is taken back.",
        source=source,
    )


def config_pending(problem: str, *, is_refused: bool) -> Refusal:
    """The refusal while there is no configuration at all, or one that is refused for `problem`."""
    why = f" The newest one is refused: {problem}" if is_refused else f" {problem}" if problem else ""
    return Refusal(
        case=Case.CONFIG_PENDING, message=f"There is no configuration yet.{why}", retry_after_ms=1_000
    )


def too_many_calls(limit: int) -> Refusal:
    """The refusal of a call beyond what one process takes at a time."""
    return Refusal(
        case=Case.UNAVAILABLE,
        message=f"This sidecar has {limit} calls in flight, the most that it takes (TIDEGATE_MAX_CALLS_IN_FLIGHT).",
        retry_after_ms=1_000,
        details={"limit": limit},
    )


def no_room(limit: int) -> Refusal:
    """The refusal of a body that there is no room for beside those of other calls."""
    return Refusal(
        case=Case.UNAVAILABLE,
        message=f"The calls in flight hold so many bytes of bodies that this one would make them more than {limit}, "
        "which is what this sidecar has memory for (TIDEGATE_MAX_HELD_BYTES). Send fewer at a time, or give it more: "
        "in a pod by the annotation tidegate.dev/memory-limit.",
        retry_after_ms=1_000,
        details={"limit_bytes": limit},
    )


def host_refused(status: int, message: str) -> Refusal:
    """The refusal of a request that no program of this machine sent."""
    return Refusal(
        case=Case.INVALID if status == HTTPStatus.BAD_REQUEST else Case.HOST_REFUSED, message=message
    )


def head_fault(status: int, message: str) -> Refusal:
    """The refusal of what is no request."""
    return Refusal(case=_HEAD_FAULTS.get(status, Case.INVALID), message=message)


def not_served(method: str, path: str, served: Sequence[str]) -> Refusal:
    """The refusal of a method and path that ask for nothing that is served."""
    if path in served:
        message = f"{path} is served for POST, not for {method[:20]}."
    else:
        message = f"Nothing is served at {path[:200]!r}. Served are: POST {', POST '.join(served)}."
    return Refusal(case=Case.UNKNOWN_PATH, message=message)


def model_not_listed(name: str, names: Sequence[str]) -> Refusal:
    """The refusal to say something of a model that no call may use, or that nobody lists."""
    listed = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return Refusal(
        case=Case.MODEL_NOT_FOUND,
        message=f"No model {name[:_SHOWN_CHARACTERS]!r} is listed for this workload. "
        + (f"Listed are: {listed}." if names else "None is listed."),
        details={"param": "model", "allowed": list(names[:_SHOWN])},
    )


def nothing_let_through(path: str, mounts: Sequence[str]) -> Refusal:
    """The refusal of a path below which no provider is, where calls are let through."""
    return Refusal(
        case=Case.UNKNOWN_PATH,
        message=f"Nothing is served at {path[:200]!r}. Calls are let through below {', '.join(mounts)}.",
    )


def method_not_let_through(method: str, methods: Sequence[str]) -> Refusal:
    """The refusal of a method that is not let through."""
    return Refusal(
        case=Case.UNKNOWN_PATH,
        message=f"{method[:20]!r} is not let through; these are: {', '.join(methods)}.",
    )


def internal_error(request_id: str) -> Refusal:
    """A fault of ours; what it was stands in the log, not in the answer."""
    return Refusal(
        case=Case.INTERNAL,
        message=f"Tidegate failed to handle the call; its log has the reason under {request_id}.",
    )

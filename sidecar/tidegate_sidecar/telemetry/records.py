"""One record per call: what was asked, what was decided and why, what came of it.

A record never holds a prompt, an answer or a key. Free text from the application (consumer, model) is cut to `MAX_TEXT`
where it is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from tidegate_sidecar.telemetry.cells import Cells

MAX_TEXT: Final = 256
"""Characters of any text in a record that comes from outside."""

NO_MODEL: Final = "none"
"""`model_label` of a call that was over before its model was known."""

OTHER: Final = "other"
"""`model_label` of a model that the configuration does not name."""


class Ending(StrEnum):
    """How a call ended."""

    SERVED = "served"
    """The provider's answer reached the application, whole."""
    PROVIDER_ERROR = "provider_error"
    """The provider's own error was passed on."""
    REFUSED = "refused"
    """A rule said no: `code`, `object` and `rule` tell which."""
    FAILED = "failed"
    """No provider could serve it, or the stream was cut."""
    CLIENT_GONE = "client_gone"
    """The application hung up."""
    INTERNAL = "internal_error"
    """A fault of ours."""


class UsageState(StrEnum):
    """Where the token counts of a record come from."""

    REPORTED = "reported"
    UNREPORTED = "unreported"
    NONE = "none"
    """No provider began to answer: nothing was sent, or every attempt failed."""


# Every call makes AttemptRecord and CallRecord. Without `__init__` that costs a quarter of what it costs with one, and
# only what differs from the defaults, which stand on the class, is assigned. Hence no lists among the defaults.


@dataclass(init=False, eq=False)
class AttemptRecord:
    """One attempt: what one provider was asked. Made without arguments, then filled in."""

    provider: str = ""
    result: str = "Cancelled"
    """`ok`, the kind of its failure, or that the call ended before it did."""
    status: int = 0
    """The provider's HTTP status, 0 where there was none."""
    reason: str = ""
    duration_ms: int = 0
    sent: bool = True
    """False: no byte of the request left, so nobody can have charged for it."""


@dataclass(frozen=True, slots=True)
class ShadowRefusal:
    """A rule in Shadow mode that would have refused the call."""

    object: str
    rule: str
    code: str


@dataclass(init=False, eq=False)
class CallRecord:
    """Everything about one call. Made without arguments, then filled in as things happen. Times in milliseconds."""

    request_id: str = ""
    started_wall_ns: int = 0
    dialect: str = ""
    operation: str = ""
    stream: bool = False
    consumer: str = ""
    requested_model: str = ""
    model: str = ""
    model_label: str = NO_MODEL
    """`model` for metrics: only names that the configuration has, else `OTHER`."""
    cells: Cells | None = None
    """Those of `pool`, `provider`, `model_label` and `operation`, found when the configuration was built; None: metrics
    look them up."""
    pool: str = ""
    provider: str = ""
    """Whom the last attempt asked."""
    status: int = 0
    """What the application got; 0 when it got nothing."""
    ending: Ending = Ending.INTERNAL
    code: str = ""
    object: str = ""
    rule: str = ""
    reason: str = ""
    would_refuse: tuple[ShadowRefusal, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()
    """In the order in which they were made."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    """Input that the provider read from its cache; None, as for all tokens: it did not say."""
    cache_write_tokens: int | None = None
    """Input that the provider wrote to its cache."""
    reasoning_tokens: int | None = None
    """The part of the output that was thought and not said."""
    usage: UsageState = UsageState.NONE
    first_token_ms: int | None = None
    duration_ms: int = 0
    policy: str = ""
    """`none` where no policy applies to the workload, and its calls are let through."""
    pass_through: bool | None = None
    """True for a call that was let through; None, and not written, for any other."""
    config: str = ""
    """Digest of the configuration that decided, its first twelve characters."""
    namespace: str = ""
    workload: str = ""


class RecordSink(Protocol):
    """Takes finished records; must return at once."""

    def __call__(self, record: CallRecord) -> None:
        """Take one."""
        ...

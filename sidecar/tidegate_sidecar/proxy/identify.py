"""On whose behalf a call is made, from its head (PURE). What cannot be understood is a `Refusal`, never a guess."""

from __future__ import annotations

import re
from typing import Final, Protocol

from tidegate_policy.model import ConsumerIdentity, OnMissing
from tidegate_sidecar.routing.refusal import Case, Refusal

ANONYMOUS: Final = "anonymous"
"""The one consumer that all calls without a name share."""

MAX_CONSUMER_LENGTH: Final = 256

# Half of a surrogate pair is what a header that is not UTF-8 is read as.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class Fields(Protocol):
    """Headers as text, by name in any case."""

    def getall(self, key: str, default: list[str], /) -> list[str]:
        """All values of that name."""
        ...


def consumer_of(identity: ConsumerIdentity, headers: Fields) -> tuple[str, Refusal | None]:
    """The consumer of a call, and the refusal for a call that does not say it.

    A refusal beside a `Shadow` identity is only what would have happened: the caller looks at the mode.
    """
    values = headers.getall(identity.header, [])
    if len(values) > 1:
        # Two readers could take two values for the one that counts.
        return ANONYMOUS, _refusal(identity, "is given more than once")
    value = values[0].strip() if values else ""
    if value and len(value) <= MAX_CONSUMER_LENGTH and not _UNPRINTABLE.search(value):
        return value, None
    if not value and identity.on_missing is OnMissing.ANONYMOUS:
        return ANONYMOUS, None
    problem = f"is longer than {MAX_CONSUMER_LENGTH} characters or not printable" if value else "is missing"
    return ANONYMOUS, _refusal(identity, problem)


def _refusal(identity: ConsumerIdentity, problem: str) -> Refusal:
    return Refusal(
        case=Case.INVALID,
        message=f"The header {identity.header}, which says on whose behalf a call is made, {problem}; "
        f"{identity.source} demands it.",
        source=identity.source,
        rule="identity",
        details={"param": identity.header},
    )

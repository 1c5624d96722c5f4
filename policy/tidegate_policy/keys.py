"""Names around provider keys that both planes must agree on, and which keys a sidecar says it lacks; never a key."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tidegate_policy.model import added

KEYS_SECRET: Final = "tidegate-keys"  # noqa: S105 - a name
"""The Secret in each namespace whose keys the sidecars of its pods may use."""

PLACEHOLDER_KEY: Final = "tidegate-placeholder"
"""What an SDK gets as its key where it will not start without one. It opens nothing; sidecars take it for no key."""


class KeyProblem(StrEnum):
    """Why a credential has no key in a sidecar."""

    MISSING = "Missing"
    """There is no such key: no Secret, none of that name in it, or no such variable."""
    UNUSABLE = "Unusable"
    """What is there is empty, or holds characters that no header can carry."""
    NOT_MOUNTED = "NotMounted"
    """The sidecar has no folder with keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LackingKey:
    """A ProviderCredential whose key a sidecar cannot use.

    Attributes:
        problem: one of `KeyProblem`, or a word of a later release.
    """

    namespace: str
    name: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReport:
    """What a sidecar says of the keys that its configuration asks for.

    Attributes:
        lacking: credentials without a usable key, in the order of their names. Suspended ones are not among them.
        left_out: how many more there are.
    """

    lacking: tuple[LackingKey, ...] = ()
    left_out: int = added(0)

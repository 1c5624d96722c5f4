"""Rate limits: which calls a rule counts, what it counts apart, and how a call beyond it is refused."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from tidegate_policy.model import KeyType, Mode, RateLimit, WorkloadIdentity
from tidegate_policy.patterns import STAR, matches_any
from tidegate_policy.units import format_duration
from tidegate_sidecar.policies.base import Call, Rejected, Settlement
from tidegate_sidecar.policies.cells import MAX_KEYS, Cells, Key

MAX_VALUE_LENGTH: Final = 64
"""Longer values of a key (a header can have kilobytes) are kept as a digest, so that memory stays bounded."""

MAX_MODELS_REMEMBERED: Final = 1_024
"""Model names whose match is remembered; the application may invent names without end."""

_ATTRIBUTES: Final = {
    KeyType.CONSUMER: "consumer",
    KeyType.MODEL: "model",
    KeyType.PROVIDER: "provider",
    KeyType.HEADER: "",
}
"""Parts of a key that come from the call, by the attribute of `Call`; a header has none."""

_NOT_ADMITTED: Final = Settlement.NOT_ADMITTED  # members of an enum are slow to look up

_MS_NS: Final = 1_000_000


class RateLimiter:
    """One `RateLimit` as it runs.

    The pod's own facts are the same for every call of a process: they decide whether counts may be carried over,
    and what tells calls apart here is only the parts of the key that come from the call.

    Attributes:
        limit: the rule.
        mode: Shadow rules count as if they were enforced, so that a change to Enforce starts from the truth.
        per_attempt: the key has the provider in it, so each try counts rather than each call.
        outstanding: calls admitted and not settled yet.
    """

    __slots__ = (
        "_cells",
        "_counted",
        "_patterns",
        "_scope",
        "_text",
        "_varying",
        "limit",
        "mode",
        "outstanding",
        "per_attempt",
    )

    def __init__(self, limit: RateLimit, identity: WorkloadIdentity, *, max_keys: int = MAX_KEYS) -> None:
        """Count for the workload `identity`, with nothing used yet.

        Raises:
            ValueError: a number of `limit` is below 1.
        """
        self.limit = limit
        self.mode: Mode = limit.mode
        self.per_attempt = any(part.type is KeyType.PROVIDER for part in limit.key)
        self.outstanding = 0
        self._scope = tuple(
            (part.type, _fact(part.type, identity)) for part in limit.key if part.type not in _ATTRIBUTES
        )
        self._varying = tuple(
            (_ATTRIBUTES[part.type], part.header) for part in limit.key if part.type in _ATTRIBUTES
        )
        # None: every model counts, the usual case, and nothing needs to be looked up.
        self._patterns = None if STAR in limit.models else limit.models
        self._counted: dict[str, bool] = {}
        self._text = f"{limit.requests} per {format_duration(limit.per_ms)}, burst {limit.burst}"
        self._cells = Cells(
            count=limit.requests, per_ns=limit.per_ms * _MS_NS, burst=limit.burst, max_keys=max_keys
        )

    def __repr__(self) -> str:
        return (
            f"<RateLimiter {self.limit.name!r} of {self.limit.source}: {self._text}; "
            f"{self.keys} keys, {self.outstanding} outstanding>"
        )

    @property
    def keys(self) -> int:
        """Values of the key that are counted apart at the moment."""
        return len(self._cells)

    @property
    def overflowed(self) -> int:
        """Calls admitted through the counter that keys share when there are too many of them."""
        return self._cells.overflowed

    def admit(self, call: Call, now_ns: int) -> Rejected | None:
        """Use one cell of the call's key, or say when there will be one."""
        if self._patterns is None or self._counts(call.model):
            wait_ms = self._cells.take(self.key_of(call), now_ns)
            if wait_ms is not None:
                limit = self.limit
                return Rejected(
                    rule=limit.name,
                    source=limit.source,
                    retry_after_ms=wait_ms,
                    limit=self._text,
                    remaining=0,
                )
        self.outstanding += 1
        return None

    def settle(self, call: Call, settlement: Settlement, now_ns: int) -> None:
        """Only `NOT_ADMITTED` gives the cell back; a call that was admitted counts, whatever became of it."""
        self.outstanding -= 1
        if settlement is not _NOT_ADMITTED:
            return
        if self._patterns is None or self._counts(call.model):
            self._cells.give_back(self.key_of(call), now_ns)

    def remaining(self, key: Key, now_ns: int) -> int:
        """Calls with this key that would be admitted now, all at once."""
        return self._cells.remaining(key, now_ns)

    def key_of(self, call: Call) -> Key:
        """What the limit counts `call` under: the one value that varies, or a tuple of them; empty for none."""
        varying = self._varying
        if not varying:
            return ""
        if len(varying) == 1:
            attribute, header = varying[0]
            return _value(call, attribute, header)
        return tuple([_value(call, attribute, header) for attribute, header in varying])

    def carry(self, previous: RateLimiter, now_ns: int) -> None:
        """Go on counting where `previous`, the same rule of the configuration before, is now.

        Both count together from here on, by the numbers of this one, since calls that began before the reload may
        still be admitted by `previous`. Where the key has changed nothing is carried over: what was used under one
        key says nothing about another.
        """
        if (self._scope, self._varying) != (previous._scope, previous._varying):
            return
        limit = self.limit
        self._cells = previous._cells
        self._cells.reshape(
            count=limit.requests, per_ns=limit.per_ms * _MS_NS, burst=limit.burst, now_ns=now_ns
        )

    def _counts(self, model: str) -> bool:
        counted = self._counted.get(model)
        if counted is None:
            if len(self._counted) >= MAX_MODELS_REMEMBERED:
                self._counted.clear()
            counted = self._counted[model] = matches_any(self._patterns or (), model)
        return counted


def _fact(kind: KeyType, identity: WorkloadIdentity) -> tuple[str, ...]:
    if kind is KeyType.NAMESPACE:
        return (identity.namespace,)
    if kind is KeyType.SERVICE_ACCOUNT:
        return (identity.namespace, identity.service_account)
    if kind is KeyType.WORKLOAD:
        return (identity.namespace, identity.workload_kind, identity.workload_name)
    return (identity.namespace, identity.pod)


def _value(call: Call, attribute: str, header: str) -> str:
    value: str = getattr(call, attribute) if attribute else call.headers.get(header, "")
    if len(value) <= MAX_VALUE_LENGTH:
        return value
    # A digest with its "#" is longer than any value kept as it is, so the two are never taken for each other.
    # Headers that are not UTF-8 come with surrogates.
    digest = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=MAX_VALUE_LENGTH // 2)
    return f"#{digest.hexdigest()}"

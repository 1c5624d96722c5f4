"""Rate limits: which calls a rule counts, what it counts apart, and how a call beyond it is refused."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from operator import attrgetter
from typing import Final

from tidegate_policy.model import KeyPart, KeyType, Mode, RateLimit, WorkloadIdentity
from tidegate_policy.patterns import STAR, matches_any
from tidegate_policy.units import format_duration
from tidegate_sidecar.policies.base import Facts, Outcome, Rejected, Sent
from tidegate_sidecar.policies.gcra import MAX_KEYS, Gcra, Key

MAX_VALUE_LENGTH: Final = 64
"""Longer values of a key (a header can have kilobytes) are kept as a digest, so that memory stays bounded."""

MAX_MODELS_REMEMBERED: Final = 1_024
"""Model names whose match is remembered; the application may invent names without end."""

_VARYING: Final = frozenset({KeyType.CONSUMER, KeyType.MODEL, KeyType.PROVIDER, KeyType.HEADER})
"""Parts of a key that come from the facts; the others are what the pod is."""

_NOT_ADMITTED: Final = Sent.NOT_ADMITTED  # members of an enum are slow to look up

_MS_NS: Final = 1_000_000


class RateGrant:
    """One unit of a limit, used by a call. It knows its key, so the facts need not be kept for it.

    It holds nothing else: where a limit has no key that varies, all its grants are one object.
    """

    __slots__ = ("_key", "_limiter")

    def __init__(self, limiter: RateLimiter, key: Key | None) -> None:
        """Key None: the limit does not count this call, and nothing was used."""
        self._limiter = limiter
        self._key = key

    def settle(self, outcome: Outcome, now_ns: int) -> None:
        """Only `NOT_ADMITTED` gives the unit back; a call that was admitted counts, whatever became of it."""
        self._limiter.outstanding -= 1
        if outcome.sent is _NOT_ADMITTED and self._key is not None:
            self._limiter.gcra.refund(self._key, now_ns)


class RateLimiter:
    """One `RateLimit` as it runs.

    The pod's own facts are the same for every call of a process: they decide whether counts may be carried over,
    and what tells calls apart here is only the parts of the key that come from the facts.

    Attributes:
        limit: the rule.
        mode: Shadow rules count as if they were enforced, so that a change to Enforce starts from the truth.
        per_attempt: the key has the provider in it, so each attempt counts rather than each call.
        gcra: what was used; two limiters have the same one after a reload.
        outstanding: grants that are not settled yet.
    """

    __slots__ = (
        "_counted",
        "_patterns",
        "_readers",
        "_scope",
        "_text",
        "_uncounted",
        "_varying",
        "_without_key",
        "gcra",
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
        self.gcra = Gcra(
            count=limit.requests, per_ns=limit.per_ms * _MS_NS, burst=limit.burst, max_keys=max_keys
        )
        self.outstanding = 0
        self._scope = tuple(
            (part.type, _fact(part.type, identity)) for part in limit.key if part.type not in _VARYING
        )
        self._varying = tuple(part for part in limit.key if part.type in _VARYING)
        self._readers = tuple(_reader(part) for part in self._varying)
        self._without_key = RateGrant(self, "")
        self._uncounted = RateGrant(self, None)
        # None: every model counts, the usual case, and nothing needs to be looked up.
        self._patterns = None if STAR in limit.models else limit.models
        self._counted: dict[str, bool] = {}
        self._text = f"{limit.requests} per {format_duration(limit.per_ms)}, burst {limit.burst}"

    def __repr__(self) -> str:
        return (
            f"<RateLimiter {self.limit.name!r} of {self.limit.source}: {self._text}; "
            f"{self.keys} keys, {self.outstanding} outstanding>"
        )

    @property
    def keys(self) -> int:
        """Values of the key that are counted apart at the moment."""
        return len(self.gcra)

    @property
    def overflowed(self) -> int:
        """Calls admitted through the counter that keys share when there are too many of them."""
        return self.gcra.overflowed

    def admit(self, facts: Facts, now_ns: int) -> RateGrant | Rejected:
        """Use one unit of the facts' key, or say when there will be one."""
        if self._patterns is not None and not self._counts(facts.model):
            self.outstanding += 1
            return self._uncounted
        key = self.key_of(facts) if self._readers else ""
        wait_ms = self.gcra.acquire(key, now_ns)
        if wait_ms:
            return Rejected(
                rule=self.limit.name,
                source=self.limit.source,
                retry_after_ms=wait_ms,
                limit=self._text,
                remaining=0,
            )
        self.outstanding += 1
        return RateGrant(self, key) if key else self._without_key

    def remaining(self, key: Key, now_ns: int) -> int:
        """Calls with this key that would be admitted now, all at once."""
        return self.gcra.remaining(key, now_ns)

    def key_of(self, facts: Facts) -> Key:
        """What the limit counts under: the one value that varies, or a tuple of them; empty for none."""
        readers = self._readers
        if len(readers) == 1:
            return _bounded(readers[0](facts))
        return tuple([_bounded(read(facts)) for read in readers]) if readers else ""

    def carry(self, previous: RateLimiter, now_ns: int) -> None:
        """Go on counting where `previous`, the same rule of the configuration before, is now.

        Both count together from here on, by the numbers of this one, since calls that began before the reload may
        still be admitted by `previous`. Where the key has changed nothing is carried over: what was used under one
        key says nothing about another.
        """
        if (self._scope, self._varying) != (previous._scope, previous._varying):
            return
        limit = self.limit
        self.gcra = previous.gcra
        self.gcra.reshape(
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


def _reader(part: KeyPart) -> Callable[[Facts], str]:
    if part.type is KeyType.CONSUMER:
        return attrgetter("consumer")
    if part.type is KeyType.MODEL:
        return attrgetter("model")
    if part.type is KeyType.PROVIDER:
        return attrgetter("provider")
    name = part.header
    return lambda facts: facts.headers.get(name, "")


def _bounded(value: str) -> str:
    if len(value) <= MAX_VALUE_LENGTH:
        return value
    # A digest with its "#" is longer than any value kept as it is, so the two are never taken for each other.
    # Headers that are not UTF-8 come with surrogates.
    digest = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=MAX_VALUE_LENGTH // 2)
    return f"#{digest.hexdigest()}"

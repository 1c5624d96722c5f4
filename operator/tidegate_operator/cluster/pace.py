"""How often one object may be written to (PURE): a bucket of tokens per object."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_NS_PER_MS = 1_000_000


class Pace(Generic[K]):
    """Grants `burst` at once to each key, and another one every `interval_ms`."""

    def __init__(self, *, burst: int, interval_ms: int) -> None:
        """Every key begins with a full bucket."""
        self._burst_ns = burst * interval_ms * _NS_PER_MS
        self._interval_ns = interval_ms * _NS_PER_MS
        self._full_at_ns: dict[K, int] = {}
        """When the bucket of a key will be full again; a key that is not here has a full one."""

    def __len__(self) -> int:
        return len(self._full_at_ns)

    def wait_ns(self, key: K, now_ns: int) -> int:
        """How long until the key may go; 0 when it may now."""
        used_ns = max(0, self._full_at_ns.get(key, 0) - now_ns)
        return max(0, used_ns + self._interval_ns - self._burst_ns)

    def take(self, key: K, now_ns: int) -> None:
        """Note that the key goes now."""
        self._full_at_ns[key] = max(self._full_at_ns.get(key, 0), now_ns) + self._interval_ns

    def tidy(self, now_ns: int) -> None:
        """Forget keys whose bucket is full."""
        self._full_at_ns = {key: at for key, at in self._full_at_ns.items() if at > now_ns}

"""The cluster's signing keys and issuers, cached: read again when a token names one that is not among them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

import jwt

from tidegate_operator.publish.identity import KeySet, KeySource

_log = logging.getLogger(__name__)

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a private key alone: with a shared-secret algorithm the public key itself could sign."""

REFETCH_AFTER_NS: Final = 10 * 1_000_000_000
"""Keys are read at most this often, however many tokens name unknown ones."""

FETCH_S: Final = 5.0


class KeysUnavailableError(Exception):
    """The cluster's keys cannot be had at the moment; the message says why."""


class SigningKeys:
    """Finds the key that a token names."""

    def __init__(
        self,
        source: KeySource,
        *,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        refetch_after_ns: int = REFETCH_AFTER_NS,
        fetch_s: float = FETCH_S,
    ) -> None:
        """Read nothing yet."""
        self._source = source
        self._monotonic_ns = monotonic_ns
        self._refetch_after_ns = refetch_after_ns
        self._fetch_s = fetch_s
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._tried_ns: int | None = None
        self._problem = ""
        self._fetching = asyncio.Lock()
        self.issuers: tuple[str, ...] = ()
        """Who may have issued a token; empty until keys were read."""

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key of this id; None when the cluster has no such key.

        Raises:
            KeysUnavailableError: no keys were ever read.
        """
        key = self._keys.get(key_id)
        if key is None:
            await self._read_again(lambda: key_id in self._keys)
            key = self._keys.get(key_id)
        if key is None and not self._keys:
            raise KeysUnavailableError(self._problem)
        return key

    async def knows_issuer(self, issuer: str) -> bool:
        """Whether the cluster says that it issues tokens under this name; it may have changed its mind since the last look."""
        if issuer not in self.issuers:
            await self._read_again(lambda: issuer in self.issuers)
        return issuer in self.issuers

    async def _read_again(self, is_there: Callable[[], bool]) -> None:
        # Under the lock, so that ten thousand tokens that arrive at once read the keys once.
        async with self._fetching:
            if not is_there() and self._may_fetch():
                await self._fetch()

    def _may_fetch(self) -> bool:
        return self._tried_ns is None or self._monotonic_ns() - self._tried_ns >= self._refetch_after_ns

    async def _fetch(self) -> None:
        """Replace the keys; those that are known stay when that fails."""
        self._tried_ns = self._monotonic_ns()
        try:
            async with asyncio.timeout(self._fetch_s):
                key_set = await self._source.keys()
            self._keys = _usable(key_set)
        except Exception as error:  # noqa: BLE001 - whatever a source fails with, tokens signed by known keys still hold
            self._problem = f"{type(error).__name__}: {error}"
            _log.warning("the cluster's signing keys cannot be read: %s", self._problem)
            return
        self.issuers = key_set.issuers
        self._problem = "the cluster published no key that this process can use"
        _log.info("signing keys of %s: %d", ", ".join(key_set.issuers), len(self._keys))


def _usable(key_set: KeySet) -> dict[str, jwt.PyJWK]:
    keys = jwt.PyJWKSet.from_dict(dict(key_set.jwks)).keys
    return {key.key_id: key for key in keys if key.key_id and key.algorithm_name in ALGORITHMS}

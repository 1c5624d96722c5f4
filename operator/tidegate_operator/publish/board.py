"""The board: the newest edition of all configurations, and the polls that wait for the next one.

A poll waits in a group with all others that would be woken by the same change, so publishing costs one look per group
and an idle poll costs one future. Those who are woken go a few at a time: ten thousand answers must not keep the loop
from whatever else has to happen.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from tidegate_operator.index.snapshot import Workload
from tidegate_policy import wire
from tidegate_policy.envelope import AsOf, Secrets
from tidegate_policy.model import SCHEMA_VERSION, CompiledConfig

WAKE_AT_ONCE: Final = 64
"""Polls woken in one turn of the loop: about ten milliseconds of answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A configuration, encoded once for all who get it.

    Attributes:
        digest: of `body`.
        body: canonical JSON.
        version: schema version of `body`: the oldest that says all of the configuration, so that sidecars of former releases
            read what needs nothing newer.
        needs: the field and the object that ask for a later version than the first; empty: none does.
    """

    config: CompiledConfig
    digest: str
    body: bytes = field(repr=False)
    version: int = SCHEMA_VERSION
    needs: str = ""

    @classmethod
    def of(cls, config: CompiledConfig) -> Published:
        """Encode `config`."""
        need = wire.need(config)
        version = max(need.version, config.schema_version)
        written = config if version == config.schema_version else replace(config, schema_version=version)
        body = wire.encode(written)
        return cls(
            config=config,
            digest=hashlib.sha256(body).hexdigest(),
            body=body,
            version=version,
            needs=need.why,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """Everything that a replica serves at one moment; replaced as a whole.

    Attributes:
        as_of: of what moment of the cluster.
        published_for: what a workload gets. `KeyError`: the edition does not know the workload, a later one will.
        secrets: what the sidecars of a namespace get beside their configuration, by namespace; no other gets it.
    """

    as_of: AsOf
    published_for: Callable[[Workload], Published]
    secrets: Mapping[str, Secrets] = field(default_factory=dict)

    def secrets_for(self, namespace: str) -> Secrets:
        """What the sidecars of one namespace get."""
        return self.secrets.get(namespace, Secrets())

    def digest_for(self, workload: Workload) -> str:
        """The digest of what a workload gets; empty when the edition does not know it."""
        try:
            return self.published_for(workload).digest
        except KeyError:
            return ""


def _renewed(former: Edition | None, newest: Edition) -> frozenset[str]:
    """The namespaces whose secrets differ."""
    if former is None or former.secrets is newest.secrets:
        return frozenset()
    namespaces = former.secrets.keys() | newest.secrets.keys()
    return frozenset(it for it in namespaces if former.secrets_for(it) != newest.secrets_for(it))


class Watch(NamedTuple):
    """What a poll waits for.

    Attributes:
        workload: whose configuration.
        digest: it has seen this one; another wakes it. Empty: any wakes it.
        ahead: not None: the sidecar has seen more than this replica, which therefore has nothing to say to it; the
            replica's having caught up wakes it.
    """

    workload: Workload
    digest: str = ""
    ahead: AsOf | None = None

    def is_over(self, edition: Edition) -> bool:
        """Whether `edition` is worth a look."""
        if self.ahead is not None:
            return not edition.as_of.is_behind(self.ahead)
        return edition.digest_for(self.workload) != self.digest


class Board:
    """Holds the newest edition; wakes polls."""

    def __init__(self, *, wake_at_once: int = WAKE_AT_ONCE) -> None:
        """Have no edition yet; wake `wake_at_once` polls in each turn of the loop."""
        self.edition: Edition | None = None
        self.trust = ""
        """PEM of the authorities that sidecars are to trust."""
        self._wake_at_once = wake_at_once
        self._waiting: dict[Watch, set[asyncio.Future[None]]] = {}
        self._due: deque[asyncio.Future[None]] = deque()

    def __repr__(self) -> str:
        as_of = self.edition.as_of if self.edition else None
        return f"<Board {as_of}: {self.waiting} polls in {len(self._waiting)} groups>"

    @property
    def waiting(self) -> int:
        """Polls that wait."""
        return sum(len(group) for group in self._waiting.values())

    def publish(self, edition: Edition) -> None:
        """Serve `edition` from now on, and wake the polls that it has something for."""
        former, self.edition = self.edition, edition
        concerned = _renewed(former, edition)
        self._wake([it for it in self._waiting if it.workload.namespace in concerned or it.is_over(edition)])

    def announce(self, trust: str) -> None:
        """Tell every sidecar which authorities to trust from now on."""
        if trust != self.trust:
            self.trust = trust
            self.wake_all()

    def wake_all(self) -> None:
        """Let every poll look again."""
        self._wake(list(self._waiting))

    async def changed(self, watch: Watch, wait_s: float) -> None:
        """Return when there is something to look at, or after `wait_s` seconds.

        Whoever calls has looked at `edition` in the same turn of the loop, so no change gets lost in between.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(wait_s, _finish, future)
        group = self._waiting.setdefault(watch, set())
        group.add(future)
        try:
            await future
        finally:
            timer.cancel()
            group.discard(future)
            # Those who are woken leave together: a group that is found here later is another one.
            if not group and self._waiting.get(watch) is group:
                del self._waiting[watch]

    def _wake(self, watches: Iterable[Watch]) -> None:
        is_idle = not self._due
        for watch in watches:
            self._due.extend(self._waiting.pop(watch))
        if is_idle and self._due:
            self._wake_some()

    def _wake_some(self) -> None:
        for _ in range(min(self._wake_at_once, len(self._due))):
            _finish(self._due.popleft())
        if self._due:
            # The next turn of the loop, after the answers of these and whatever else has become due.
            asyncio.get_running_loop().call_soon(self._wake_some)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

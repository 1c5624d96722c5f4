"""Reports of pods on their way to the leader, who alone writes the status of objects.

The latest word of each pod is kept until the leader has it: what is newer replaces what is older, so there is never more
to send than there are pods. A new leader is told everything that this replica has heard.
"""

from __future__ import annotations

import asyncio
import logging
import random as chance
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import aiohttp

from tidegate_operator.publish.observe import PublishObserver, Unobserved
from tidegate_operator.publish.reports import MAX_PODS, PodReport, to_report
from tidegate_operator.publish.tls import trusting_context
from tidegate_policy import wire
from tidegate_policy.poll import ACKS_PATH

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """Where reports go.

    Attributes:
        url: `https://HOST:PORT`, of the one pod.
        server_name: a name that the operator's certificate has; that of the pod is not in it.
    """

    url: str
    server_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardSettings:
    """Times in seconds."""

    interval_s: float = 0.5
    """How long reports are gathered: a status follows one within this time."""
    retry_max_s: float = 10.0
    """Longest pause after failures; the first is one interval, each one doubles."""
    request_s: float = 5.0
    batch: int = 500
    """Pods in one request, about 90 KiB: what many of them say is sent once."""
    pending: int = MAX_PODS
    """Pods whose word is kept while there is no leader."""


class Forwarder:
    """Brings reports to the leader; `run` is the body of one task."""

    def __init__(
        self,
        *,
        leader: Callable[[], Leader | None],
        token: Callable[[], str],
        trust: Callable[[], str],
        heard: Callable[[], tuple[PodReport, ...]],
        settings: ForwardSettings | None = None,
        observer: PublishObserver | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        random: Callable[[], float] = chance.random,
    ) -> None:
        """Have nothing to say yet.

        Args:
            leader: None: there is none, or it is this process.
            token: the operator's own ServiceAccount token for our audience, read anew each time.
            trust: PEM of the authorities that may have signed the leader's certificate.
            heard: all that this replica has heard itself, for a new leader.
            settings: bounds.
            observer: counts.
            monotonic_ns: the clock of the reports.
            random: numbers in [0, 1) for jitter.
        """
        self._leader = leader
        self._token = token
        self._trust = trust
        self._heard = heard
        self._settings = settings or ForwardSettings()
        self._observer = observer or Unobserved()
        self._monotonic_ns = monotonic_ns
        self._random = random
        self._pending: dict[str, PodReport] = {}
        self._told: Leader | None = None
        self._trusted: tuple[str, ssl.SSLContext] | None = None
        self._news = asyncio.Event()

    @property
    def pending(self) -> int:
        """Pods whose latest word the leader does not have."""
        return len(self._pending)

    def offer(self, report: PodReport) -> None:
        """Send it with the next batch; the oldest give way when there are too many."""
        self._pending.pop(report.pod_uid, None)
        self._pending[report.pod_uid] = report
        while len(self._pending) > self._settings.pending:
            del self._pending[next(iter(self._pending))]
        self._news.set()

    async def run(self) -> None:
        """Send what is offered, for ever."""
        failures = 0
        timeout = aiohttp.ClientTimeout(total=self._settings.request_s)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                pause_s = self._settings.interval_s * 2 ** min(failures, 16)
                await asyncio.sleep(min(pause_s, self._settings.retry_max_s) * (0.5 + self._random() / 2))
                if self._leader() == self._told and not failures:
                    # Nothing to do until somebody polls, or until another leads, which is looked at now and then.
                    await self._wait_for_news()
                failures = 0 if await self._flush(session) else failures + 1

    async def _wait_for_news(self) -> None:
        try:
            async with asyncio.timeout(self._settings.retry_max_s):
                await self._news.wait()
        except TimeoutError:
            return

    async def _flush(self, session: aiohttp.ClientSession) -> bool:
        """Send all that is pending; False when it did not get there."""
        self._news.clear()
        leader = self._leader()
        if leader != self._told:
            self._told = leader
            for report in self._heard() if leader is not None else ():
                self._pending.setdefault(report.pod_uid, report)
        if leader is None:
            # Whoever leads next is told everything; until then nothing has to be kept.
            self._pending.clear()
            return True
        while self._pending:
            batch = tuple(islice(self._pending.values(), self._settings.batch))
            problem = await self._post(session, leader, batch)
            self._observer.forwarded("failed" if problem else "taken")
            if problem:
                _log.warning(
                    "reports of %d pods wait for the leader at %s: %s",
                    len(self._pending),
                    leader.url,
                    problem,
                )
                self._news.set()
                return False
            for report in batch:
                # A newer word may have come while this one was on its way.
                if self._pending.get(report.pod_uid) is report:
                    del self._pending[report.pod_uid]
        return True

    async def _post(
        self, session: aiohttp.ClientSession, leader: Leader, batch: tuple[PodReport, ...]
    ) -> str:
        """Send one batch; why it was not taken, or nothing."""
        token = self._token()
        try:
            response = await session.post(
                leader.url + ACKS_PATH,
                data=wire.encode(to_report(batch, self._monotonic_ns())),
                headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
                ssl=self._context(),
                server_hostname=leader.server_name,
                allow_redirects=False,
            )
            async with response:
                return "" if response.ok else f"{response.status} {(await response.text())[:300]}"
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # A header that cannot be sent quotes its value.
            text = str(error).replace(token, "…") if token else str(error)
            return f"{type(error).__name__}: {text}"

    def _context(self) -> ssl.SSLContext:
        trust = self._trust()
        if self._trusted is None or self._trusted[0] != trust:
            self._trusted = (trust, trusting_context(trust))
        return self._trusted[1]

"""A provider, an exchange that calls it, and the proof that nothing is left of a call."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate_cluster.certificates import CertificateAuthority
from tidegate_testing.clock import FakeClock
from tidegate_testing.exchange import RunningExchange, running_exchange
from tidegate_testing.provider import ProviderCall, RawProvider, raw_provider
from tidegate_testing.tasks import until
from tidegate_testing.wire import DEADLINE_S, Connection

from cancelling_site.rights import Counted
from tidegate_sidecar.config.pipeline import Pipeline
from tidegate_sidecar.config.registry import DEFAULT
from tidegate_sidecar.downstream.server import AppHandler
from tidegate_sidecar.policies.rate import RateLimiter

if TYPE_CHECKING:
    from cancelling_site.scenarios import Scenario

AGES_MS = 11_000
"""Names are looked up anew after this time, and nothing lingers for so long."""


class Authority:
    """Certificates for providers on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        authority = CertificateAuthority()
        pair = authority.server(("localhost",), ("127.0.0.1",))
        self.file = self._write("ca.pem", authority.certificate_pem)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(
            self._write("server.pem", pair.certificate_pem), self._write("server.key", pair.key_pem)
        )

    def _write(self, name: str, data: bytes) -> str:
        path = self._folder / name
        path.write_bytes(data)
        return str(path)


class Stage:
    """What one scenario is played on.

    Attributes:
        clock: of the exchange.
        running: the exchange.
        raw: the provider.
        calls: how many there have been.
    """

    def __init__(
        self, scenario: Scenario, raw: RawProvider, running: RunningExchange, clock: FakeClock
    ) -> None:
        self._scenario = scenario
        self.raw = raw
        self.running = running
        self.clock = clock
        self.calls = 0

    @property
    def pipeline(self) -> Pipeline:
        pipeline = self.running.services.live.pipeline
        assert pipeline is not None
        return pipeline

    def pass_time(self, ms: int) -> None:
        """It is later, and whoever waits for that is told."""
        self.clock.advance(ms=ms)
        self.running.services.ticker.tick()

    async def send(self, app: Connection) -> None:
        """The scenario's request, as its application writes it."""
        data = json.dumps(self._scenario.body).encode()
        head = f"POST {self._scenario.path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(data)}\r\n\r\n"
        size = -(-len(data) // self._scenario.pieces)
        await app.send(head.encode())
        for at in range(0, len(data), size):
            await app.send(data[at : at + size])
            if self._scenario.pieces > 1:
                await pause()

    async def one_call(self) -> bytes:
        """Ask, and read slowly all that comes back before the connection is closed."""
        self.calls += 1
        received = bytearray()
        async with await Connection.open(*self.running.address, receive_buffer=2**16) as app:
            # What uvloop says of a connection that the other side has closed is a RuntimeError.
            with suppress(ConnectionError, RuntimeError):
                await self.send(app)
                async with asyncio.timeout(DEADLINE_S):
                    while piece := await app.reader.read(2**18):
                        received += piece
                        await asyncio.sleep(0)
        return bytes(received)

    async def settled(self) -> None:
        """One record per call, nothing reserved, nothing in flight, nobody waited for, no connection held."""
        services, pipeline = self.running.services, self.pipeline
        await self.running.records.wait(self.calls)
        assert len(self.running.records.all) == self.calls
        assert (services.in_flight.count, services.held.count, services.ticker.count) == (0, 0, 0)
        for rule in pipeline.rules:
            assert isinstance(rule, RateLimiter | Counted)
            assert rule.outstanding == 0
            assert not isinstance(rule, Counted) or rule.is_settled
        for state in pipeline.pools[0].providers:
            for name, breaker in state.breakers.each():
                assert not breaker._is_probing, f"a probe of {name!r} is left"
        self.pass_time(AGES_MS)
        # A connection that was being made when its call was cancelled is closed in the loop's next turns.
        await until(lambda: services.origins.open_count == services.origins.idle_count)
        # The provider sees that, too, and goes on to the next call.
        await until(lambda: not any(call.is_open for call in self.raw.calls))
        await until(lambda: self.raw.open_count == services.origins.open_count)
        self.raw.calls.clear()


@asynccontextmanager
async def staged(
    scenario: Scenario, authority: Authority, wrap: Callable[[AppHandler], AppHandler] = lambda it: it
) -> AsyncIterator[Stage]:
    """An exchange and a provider for `scenario`; `wrap` may stand between the server and the exchange."""
    clock = FakeClock()
    stage: Stage | None = None

    async def play(call: ProviderCall) -> None:
        assert stage is not None
        await scenario.provider(call, stage)

    settings: dict[str, Any] = {"provider_ca_file": authority.file} if scenario.has_tls else {}
    async with (
        raw_provider(play, tls=authority.context if scenario.has_tls else None) as raw,
        running_exchange(
            scenario.config(raw),
            wrap=wrap,
            clock=clock.clock,
            registry=DEFAULT if scenario.registry is None else scenario.registry(),
            **settings,
            **scenario.settings,
        ) as running,
    ):
        stage = Stage(scenario, raw, running, clock)
        yield stage


async def pause() -> None:
    """Let the other side see what has been sent so far."""
    for _ in range(5):
        await asyncio.sleep(0)

"""What calls can be in the middle of."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from tidegate_testing.configs import BREAKER, RETRY, TIMEOUTS, config, limit, model, pool, provider
from tidegate_testing.provider import COMPLETION, DONE, ProviderCall, RawProvider, delta
from tidegate_testing.wire import ask

from cancelling_site.rights import Afar, Queue, registry_with
from cancelling_site.stage import Stage, pause
from tidegate_operator.compile.unmatched import pass_through
from tidegate_policy.model import CompiledConfig, KeyPart, KeyType, ProviderType
from tidegate_sidecar.config.registry import Phase, Registry

RULES = (
    limit("per-call", requests=100_000, burst=100_000),
    limit("per-attempt", requests=100_000, burst=100_000, key=(KeyPart(type=KeyType.PROVIDER),)),
)
ENDLESS = replace(TIMEOUTS, first_token_ms=10**9, stream_idle_ms=10**9, request_ms=10**9, stream_ms=10**9)

Play = Callable[[ProviderCall, Stage], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One kind of call.

    Attributes:
        name: what it is in the middle of.
        provider: what the provider does.
        body: of the request.
        path: of the request.
        ends: what an answer holds that was not cancelled.
        settings: of the process.
        pool: changes of the pool.
        registry: what configurations are made of, made anew for each run.
        pieces: in which the request is sent.
        at_least: suspensions that the call has at the least: fewer would mean that nothing was tried.
        is_let_through: no policy applies, and the call goes out as it is.
        has_tls: the provider is spoken to over TLS.
        by_name: the provider has a name that is looked up, not an address.
        finds_connection: a call before it leaves a connection that it uses.
    """

    name: str
    provider: Play
    body: dict[str, Any]
    path: str = "/openai/v1/chat/completions"
    ends: bytes = b" 200 "
    settings: Mapping[str, Any] = field(default_factory=dict)
    pool: Mapping[str, Any] = field(default_factory=dict)
    registry: Callable[[], Registry] | None = None
    pieces: int = 1
    at_least: int = 2
    is_let_through: bool = False
    has_tls: bool = False
    by_name: bool = False
    finds_connection: bool = False

    def config(self, raw: RawProvider) -> CompiledConfig:
        url = raw.url.replace("127.0.0.1", "localhost") if self.by_name else raw.url
        if self.is_let_through:
            return pass_through({ProviderType.OPENAI: url}).config
        failing = (model("failing", "first"),)
        return config(
            pool(
                provider("only", url),
                provider("first", url.replace("/v1", "/first/v1"), models=failing),
                provider("second", url, priority=1, models=failing),
                **{
                    # Each of the many attempts has to be like the first.
                    "breaker": replace(BREAKER, consecutive_failures=10**6, minimum_requests=10**6),
                    "retry": replace(RETRY, budget_percent=10_000),
                    **self.pool,
                },
            ),
            rate_limits=RULES,
        )


HEAD = b"HTTP/1.1 %d X\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'


async def whole(call: ProviderCall, _: Stage) -> None:
    body = json.dumps(COMPLETION).encode()
    await call.send(HEAD % (200, len(body)))
    await pause()
    await call.send(body[:9])
    await pause()
    await call.send(body[9:])
    call.close()


async def streaming(call: ProviderCall, _: Stage) -> None:
    """An opening of which the application sees nothing, then content."""
    await call.begin_stream()
    for opening in (b": working\n\n", ROLE):
        await pause()
        await call.event(opening)
    for number in range(3):
        await pause()
        await call.event(delta(f"word {number}"))
    await pause()
    await call.event(delta("", "stop") + DONE)
    await pause()
    await call.end_stream()


async def cut_in_the_middle(call: ProviderCall, _: Stage) -> None:
    await call.begin_stream()
    await call.event(delta("half"))
    await pause()
    call.cut()


async def silent_in_the_end(call: ProviderCall, _: Stage) -> None:
    await call.begin_stream()
    await call.event(delta("all", "stop") + DONE)
    with suppress(TimeoutError):
        await call.gone()


async def saying_nothing(call: ProviderCall, stage: Stage) -> None:
    await pause()
    stage.pass_time(TIMEOUTS.request_ms)
    await call.gone()


async def falling_silent(call: ProviderCall, stage: Stage) -> None:
    await call.begin_stream()
    await call.event(delta("half"))
    await pause()
    stage.pass_time(TIMEOUTS.stream_idle_ms)
    await call.gone()


async def slow_to_begin(call: ProviderCall, stage: Stage) -> None:
    """A stream that is silent for so long that the application is told that it lives."""
    await call.begin_stream()
    await call.event(ROLE)
    for _ in range(2):
        await pause()
        stage.pass_time(16_000)
    await pause()
    await call.event(delta("at last", "stop") + DONE)
    await call.end_stream()


async def failing_at_first(call: ProviderCall, _: Stage) -> None:
    """The first provider; the second answers."""
    if "first" in call.target:
        await call.send(HEAD % (503, 2))
        await pause()
        await call.send(b"{}")
        call.close()
    else:
        await call.answer(COMPLETION)


async def closing_what_is_used_again(call: ProviderCall, _: Stage) -> None:
    if call.nth > 1:
        call.cut()
    else:
        await call.answer(COMPLETION)


async def overloaded(call: ProviderCall, _: Stage) -> None:
    await call.answer(b"{}", status=503)


async def flood(call: ProviderCall, _: Stage) -> None:
    await call.answer(b'{"usage":' + b" " * 4 * 2**20 + b"{}}")


SCENARIOS = [
    Scenario(name="a whole answer", provider=whole, body=ask()),
    Scenario(name="a body in pieces", provider=whole, body=ask(padding="x" * 100), pieces=3, at_least=3),
    Scenario(name="a large body", provider=whole, body=ask(padding="x" * 2**20), at_least=3),
    Scenario(name="a stream", provider=streaming, body=ask(stream=True), at_least=3),
    Scenario(
        name="a stream that is cut",
        provider=cut_in_the_middle,
        body=ask(stream=True),
        ends=b"provider_unreachable",
    ),
    Scenario(
        name="a provider that says nothing",
        provider=saying_nothing,
        body=ask(),
        ends=b" 504 ",
        pool={"retry": replace(RETRY, max_attempts=1)},
    ),
    Scenario(
        name="a stream that falls silent",
        provider=falling_silent,
        body=ask(stream=True),
        ends=b"provider_timeout",
    ),
    Scenario(name="a stream that lingers", provider=silent_in_the_end, body=ask(stream=True)),
    Scenario(
        name="a stream that is slow to begin",
        provider=slow_to_begin,
        body=ask(stream=True),
        ends=b"at last",
        pool={"timeouts": ENDLESS, "retry": replace(RETRY, max_attempts=1)},
        at_least=3,
    ),
    Scenario(name="a name", provider=whole, body=ask(), by_name=True, at_least=3),
    Scenario(name="TLS", provider=whole, body=ask(), has_tls=True, at_least=3),
    Scenario(
        name="a name and TLS",
        provider=streaming,
        body=ask(stream=True),
        by_name=True,
        has_tls=True,
        at_least=5,
    ),
    Scenario(
        name="a connection that had ended",
        provider=closing_what_is_used_again,
        body=ask(),
        finds_connection=True,
        at_least=3,
    ),
    Scenario(name="a failover", provider=failing_at_first, body=ask("failing"), at_least=4),
    Scenario(name="attempts with pauses", provider=overloaded, body=ask(), ends=b" 503 ", at_least=5),
    Scenario(
        name="rights for a call",
        provider=whole,
        body=ask(),
        registry=lambda: registry_with(Afar(), Phase.CALL),
        at_least=5,
    ),
    Scenario(
        name="rights for each attempt",
        provider=failing_at_first,
        body=ask("failing"),
        registry=lambda: registry_with(Afar(), Phase.ATTEMPT),
        at_least=8,
    ),
    Scenario(
        name="a queue for a call",
        provider=whole,
        body=ask(),
        registry=lambda: registry_with(Queue(), Phase.CALL),
        at_least=3,
    ),
    Scenario(
        name="a queue for each attempt",
        provider=failing_at_first,
        body=ask("failing"),
        registry=lambda: registry_with(Queue(), Phase.ATTEMPT),
        at_least=5,
    ),
    Scenario(name="a large answer to a slow reader", provider=flood, body=ask(), at_least=4),
    Scenario(
        name="an answer larger than is held",
        provider=flood,
        body=ask(),
        settings={"max_response_bytes": 2**16},
        at_least=3,
    ),
    Scenario(name="a whole answer, let through", provider=whole, body=ask(), is_let_through=True),
    Scenario(
        name="a stream, let through",
        provider=streaming,
        body=ask(stream=True),
        at_least=3,
        is_let_through=True,
    ),
    Scenario(
        name="an answer larger than is held, let through",
        provider=flood,
        body=ask(),
        settings={"max_response_bytes": 2**16},
        at_least=3,
        is_let_through=True,
    ),
    Scenario(name="a refusal", provider=whole, body=ask("unknown"), pieces=3, ends=b" 404 ", at_least=1),
]

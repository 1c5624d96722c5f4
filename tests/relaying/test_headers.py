"""Which headers go on, in either direction."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator

import pytest
from tidegate_testing.configs import config, consumer, pool, provider
from tidegate_testing.provider import COMPLETION, DONE, ProviderCall, RawProvider, delta, raw_provider
from tidegate_testing.sidecar import running_sidecar
from tidegate_testing.wire import ask

from tidegate_policy.model import Header
from tidegate_sidecar.proxy.headers import MAX_NAMES, answer_names


@pytest.fixture
async def raw() -> AsyncIterator[RawProvider]:
    async def answer(call: ProviderCall) -> None:
        await call.answer(
            COMPLETION,
            headers={
                "x-request-id": "req-1",
                "openai-processing-ms": "7",
                "x-ratelimit-remaining-requests": "59",
                "set-cookie": "session=1",
                "server": "upstream",
                "date": "Tue, 15 Nov 1994 08:12:31 GMT",
                "x-tidegate-provider": "impostor",
                "x-internal": "for this connection",
                "connection": "keep-alive, X-Internal",
                "keep-alive": "timeout=5",
            },
        )

    async with raw_provider(answer) as provider:
        yield provider


async def test_headers_of_the_application_go_on_and_those_of_its_connection_do_not(raw: RawProvider) -> None:
    async with (
        running_sidecar(config(pool(provider("only", raw.url)), consumer=consumer())) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.post(
            ask(),
            head="user-agent: my-app/1\r\nx-stainless-lang: python\r\nopenai-beta: assistants=v2\r\n"
            "accept: application/json\r\naccept-encoding: gzip, br\r\nx-user-id: alice\r\ncookie: a=b\r\n"
            "x-tidegate-priority: high\r\nvia: 1.1 proxy\r\nforwarded: for=1.2.3.4\r\nte: trailers\r\n"
            "connection: keep-alive, X-Secret-Hop\r\nx-secret-hop: 1\r\nkeep-alive: timeout=1\r\n"
            "proxy-authorization: Basic x\r\n",
        )
        await app.read_until(b"\r\n\r\n")
        await sidecar.records.wait(1)
    sent = raw.calls[0].headers
    host = raw.url.removeprefix("http://").removesuffix("/v1")
    assert sent == {
        "host": host,
        "accept-encoding": "identity",
        "content-type": "application/json",
        "user-agent": "my-app/1",
        "x-stainless-lang": "python",
        "openai-beta": "assistants=v2",
        "accept": "application/json",
        "content-length": str(len(raw.calls[0].body)),
    }


async def test_headers_that_come_twice_go_on_twice(raw: RawProvider) -> None:
    async with (
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.post(ask(), head="x-tag: a\r\nx-tag: b\r\n")
        await app.read_until(b"\r\n\r\n")
        await sidecar.records.wait(1)
    assert [value for name, value in raw.calls[0].header_list if name == "x-tag"] == ["a", "b"]


async def test_constant_headers_of_a_provider_win(raw: RawProvider) -> None:
    constants = (Header(name="OpenAI-Organization", value="org-1"), Header(name="x-team", value="a"))
    async with running_sidecar(config(pool(provider("only", raw.url, headers=constants)))) as sidecar:
        await sidecar.chat(headers={"openai-organization": "org-evil", "X-Team": "b"})
    sent = raw.calls[0].header_list
    assert [value for name, value in sent if name == "openai-organization"] == ["org-1"]
    assert [value for name, value in sent if name == "x-team"] == ["a"]


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key", "x-goog-api-key"])
async def test_the_placeholder_key_of_the_application_goes_nowhere(raw: RawProvider, header: str) -> None:
    async with running_sidecar(config(pool(provider("only", raw.url)))) as sidecar:
        await sidecar.chat(headers={header: "Bearer placeholder"})
    assert "placeholder" not in str(raw.calls[0].header_list)


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_the_callers_own_key_goes_on_where_the_provider_takes_it(raw: RawProvider, header: str) -> None:
    takes = config(pool(provider("only", raw.url, caller_credential=True)))
    async with running_sidecar(takes) as sidecar:
        await sidecar.chat(headers={header: "Bearer sk-of-the-caller"})
    assert raw.calls[0].headers[header] == "Bearer sk-of-the-caller"


async def test_the_application_sees_the_providers_headers_and_ours(raw: RawProvider) -> None:
    async with running_sidecar(config(pool(provider("only", raw.url)))) as sidecar:
        headers = (await sidecar.chat()).headers
        assert headers["x-request-id"] == "req-1"
        assert headers["openai-processing-ms"] == "7"
        assert headers["x-ratelimit-remaining-requests"] == "59"
        assert headers["date"] == "Tue, 15 Nov 1994 08:12:31 GMT", (
            "a date in Retry-After is of the same clock"
        )
        assert headers["x-tidegate-request-id"] == sidecar.records.last.request_id
        assert headers["x-tidegate-provider"] == "only"
        assert headers["x-tidegate-model"] == "gpt-test"
        assert headers["x-tidegate-attempts"] == "1"
    assert {"set-cookie", "x-internal", "keep-alive", "transfer-encoding", "server"}.isdisjoint(headers)


def test_names_are_remembered_within_a_bound() -> None:
    """A provider could fill memory with names that it makes up, a few in each answer."""
    names = answer_names()
    made_up = [(b"x-%d-" % number + b"n" * 10_000, b"1") for number in range(2 * MAX_NAMES)]
    tracemalloc.start()
    try:
        for header in made_up:
            assert names.lines([header]) == [header[0] + b": 1\r\n"]
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 100_000


async def test_headers_of_a_stream_are_the_same() -> None:
    async def answer(call: ProviderCall) -> None:
        await call.begin_stream(
            headers={"x-request-id": "req-2", "set-cookie": "a=b", "cache-control": "no-cache"}
        )
        await call.event(delta("x", "stop") + DONE)
        await call.end_stream()

    async with (
        raw_provider(answer) as streaming,
        running_sidecar(config(pool(provider("only", streaming.url)))) as sidecar,
    ):
        headers = (await sidecar.chat(stream=True)).headers
        assert headers["content-type"] == "text/event-stream"
        assert headers["cache-control"] == "no-cache"
        assert headers["x-request-id"] == "req-2"
        assert headers["x-tidegate-provider"] == "only"
        assert "set-cookie" not in headers

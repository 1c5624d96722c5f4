"""Who asked, from where and by way of whom is no business of a provider; everything else that the application says is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tidegate_testing.configs import anthropic, config, consumer, limit, pool, provider
from tidegate_testing.provider import COMPLETION, ProviderCall, RawProvider, raw_provider
from tidegate_testing.sidecar import running_sidecar
from tidegate_testing.wire import ask

from tidegate_operator.compile.unmatched import pass_through
from tidegate_policy.model import CompiledConfig, KeyPart, KeyType, ProviderType

PRIVATE = (
    "Cookie: session=1",
    "Forwarded: for=203.0.113.7",
    "Via: 1.1 gateway",
    "From: alice@example.com",
    "Origin: http://localhost:3000",
    "Referer: http://localhost:3000/secret-page",
    "X-Real-IP: 203.0.113.7",
    "True-Client-IP: 203.0.113.7",
    "X-Forwarded-For: 203.0.113.7",
    "X-Forwarded-Host: intranet.example",
    "x-forwarded-anything: 1",
    "X-Original-Forwarded-For: 203.0.113.7",
    "CF-Connecting-IP: 203.0.113.7",
    "cf-ipcountry: NL",
    "CloudFront-Viewer-City: Delft",
    "X-Envoy-External-Address: 203.0.113.7",
    "X-Auth-Request-Email: alice@example.com",
    "X-Goog-IAP-JWT-Assertion: ey",
    "X-MS-CLIENT-PRINCIPAL-NAME: alice",
    "X-Amzn-Oidc-Data: ey",
    "Sec-Fetch-Mode: cors",
    "Sec-CH-UA-Platform: Linux",
    "X-Tidegate-Priority: high",
    "X-Hop: for this connection",
    "Connection: keep-alive, X-Hop",
)

PASSED = {
    "user-agent": "OpenAI/Python 1.99",
    "x-stainless-lang": "python",
    "x-stainless-retry-count": "1",
    "idempotency-key": "stainless-python-retry-1",
    "openai-beta": "assistants=v2",
    "openai-organization": "org-1",
    "openai-project": "proj-1",
    "anthropic-beta": "prompt-caching",
    "anthropic-version": "2023-06-01",
    "some-new-beta": "x",
    "http-referer": "https://app.example",
    "x-title": "My application",
    "x-request-id": "app-1",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "accept": "application/json",
    "x-of-the-application": "anything",
}

HEAD = "".join(f"{line}\r\n" for line in (*PRIVATE, *(f"{name}: {value}" for name, value in PASSED.items())))

FRAMING = {"host", "accept-encoding", "content-type", "content-length"}


@pytest.fixture
async def raw() -> AsyncIterator[RawProvider]:
    async def answer(call: ProviderCall) -> None:
        await call.answer(COMPLETION)

    async with raw_provider(answer) as provider:
        yield provider


async def sent_by(cfg: CompiledConfig, raw: RawProvider, path: str, head: str, model: str) -> dict[str, str]:
    """Headers with which the provider is asked, but for those of framing."""
    async with running_sidecar(cfg) as sidecar, await sidecar.connect() as app:
        await app.post(ask(model), path=path, head=head)
        assert (await app.read_until(b"\r\n")).startswith(b"HTTP/1.1 200 ")
        await sidecar.records.wait(1)
    (call,) = raw.calls
    assert len(call.headers) == len(call.header_list), "no header is given twice"
    return {name: value for name, value in call.headers.items() if name not in FRAMING}


@pytest.mark.parametrize(
    ("path", "model"),
    [("/openai/v1/chat/completions", "gpt-test"), ("/anthropic/v1/messages", "claude-test")],
)
async def test_only_what_is_for_the_provider_is_sent(raw: RawProvider, path: str, model: str) -> None:
    cfg = config(pool(provider("gpt", raw.url), anthropic("claude", raw.url)))
    assert await sent_by(cfg, raw, path, HEAD, model) == PASSED


async def test_under_no_policy_it_is_the_same(raw: RawProvider) -> None:
    cfg = pass_through({ProviderType.OPENAI: raw.url, ProviderType.ANTHROPIC: raw.url}).config
    key = {"authorization": "Bearer sk-of-the-application"}
    head = f"{HEAD}Authorization: {key['authorization']}\r\n"
    assert await sent_by(cfg, raw, "/openai/v1/chat/completions", head, "gpt-test") == {**PASSED, **key}


async def test_who_calls_and_what_limits_count_by_stays_between_the_application_and_us(
    raw: RawProvider,
) -> None:
    by_tenant = limit(burst=9, key=(KeyPart(type=KeyType.HEADER, header="x-tenant"),))
    cfg = config(pool(provider("only", raw.url)), consumer=consumer(), rate_limits=(by_tenant,))
    head = "X-User-Id: alice\r\nX-Tenant: blue\r\nx-title: kept\r\n"
    sent = await sent_by(cfg, raw, "/v1/chat/completions", head, "gpt-test")
    assert sent == {"x-title": "kept"}


async def test_values_that_are_no_ascii_are_sent_as_they_came(raw: RawProvider) -> None:
    cfg = config(pool(provider("only", raw.url)))
    async with running_sidecar(cfg) as sidecar, await sidecar.connect() as app:
        body = b'{"model":"gpt-test"}'
        await app.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-title: caf\xe9 \xff\r\n"
            b"content-length: %d\r\n\r\n" % len(body) + body
        )
        assert (await app.read_until(b"\r\n")).startswith(b"HTTP/1.1 200 ")
        await sidecar.records.wait(1)
    assert raw.calls[0].headers["x-title"].encode("latin-1") == b"caf\xe9 \xff"

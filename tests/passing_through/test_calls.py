"""Calls under no policy, where the platform lets them go: they go out as they are, and are counted."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from dataclasses import replace

import pytest
from tidegate_testing.configs import config, pool, provider
from tidegate_testing.provider import COMPLETION, DONE, ProviderCall, RawProvider, delta, raw_provider
from tidegate_testing.sidecar import running_sidecar
from tidegate_testing.tasks import until
from tidegate_testing.wire import ask

from tidegate_cli.simulator.server import Simulator
from tidegate_operator.compile.unmatched import pass_through
from tidegate_policy.keys import PLACEHOLDER_KEY
from tidegate_policy.model import CompiledConfig, Denial, DenialCode, ProviderType
from tidegate_sidecar.telemetry.records import Ending
from tidegate_sidecar.telemetry.rendering import Renderer

KEY = "sk-of-the-application-0123456789"
OWN = {"authorization": f"Bearer {KEY}"}
CALLS = 'tidegate_pass_through_total{{ending="{}",provider="{}"}}'


def through(openai: str, anthropic: str = "http://127.0.0.1:1/v1", **timeouts: int) -> CompiledConfig:
    """What the operator compiles, with these addresses and timeouts."""
    found = pass_through({ProviderType.OPENAI: openai, ProviderType.ANTHROPIC: anthropic}).config
    (only,) = found.pools
    return replace(found, pools=(replace(only, timeouts=replace(only.timeouts, **timeouts)),))


def sent(raw: RawProvider) -> ProviderCall:
    return raw.calls[-1]


async def echo(call: ProviderCall) -> None:
    await call.answer(COMPLETION)


async def test_a_call_goes_out_with_the_applications_own_key(simulator: Simulator) -> None:
    cfg = through(f"{simulator.provider_url('o')}/v1", f"{simulator.provider_url('a')}/v1")
    async with running_sidecar(cfg) as sidecar:
        answer = await sidecar.chat("gpt-anything", headers=OWN)
        assert (answer.status, answer.json["model"]) == (200, "gpt-anything")
        assert simulator.requests_to("o")[-1].headers["authorization"] == f"Bearer {KEY}"
        answer = await sidecar.messages(
            "claude-anything", headers={"x-api-key": KEY, "anthropic-version": "2023-06-01"}
        )
        assert (answer.status, answer.json["type"]) == (200, "message")
        request = simulator.requests_to("a")[-1]
        assert (request.headers["x-api-key"], request.headers["anthropic-version"]) == (KEY, "2023-06-01")

        first, second = sidecar.records.all
        document = json.loads(Renderer().render(first))
        assert (document["policy"], document["pass_through"]) == ("none", True)
        assert (first.provider, first.requested_model, first.ending) == (
            "openai",
            "gpt-anything",
            Ending.SERVED,
        )
        assert (first.dialect, first.operation, second.dialect) == ("OpenAI", "Chat", "Anthropic")
        assert (first.input_tokens or 0) > 0
        assert (second.output_tokens or 0) > 0
        assert [it.result for it in first.attempts] == ["ok"]
        metrics = await sidecar.metrics()
        assert metrics[CALLS.format("served", "openai")] == 1
        assert metrics[CALLS.format("served", "anthropic")] == 1
        assert not [it for it in metrics if "anything" in it], "what an application asks for makes no series"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/openai/v1/audio/speech", "/audio/speech"),
        ("/openai/v1/files/file-1/content?after=a%2Fb&limit=2", "/files/file-1/content?after=a%2Fb&limit=2"),
        ("/v1/vector_stores", "/vector_stores"),
        ("/openai/v1/models/ft%3Agpt", "/models/ft%3Agpt"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "PATCH"])
async def test_any_path_and_method_goes_out(path: str, target: str, method: str) -> None:
    """Who adopts Tidegate must not lose what no rule knows yet."""
    async with raw_provider(echo) as raw, running_sidecar(through(raw.url)) as sidecar:
        body = b"--b\r\nnot JSON at all\r\n--b--" if method != "GET" else b""
        answer = await sidecar.send(
            body, path=path, method=method, headers={**OWN, "content-type": "multipart/form-data; boundary=b"}
        )
        assert answer.status == 200
        assert (sent(raw).method, sent(raw).target.removeprefix("/v1"), sent(raw).body) == (
            method,
            target,
            body,
        )
        assert sent(raw).headers["content-type"] == "multipart/form-data; boundary=b"
        assert sidecar.records.last.operation == "Other"


@pytest.mark.parametrize(
    ("path", "headers", "target"),
    [
        ("/anthropic/v1/messages/count_tokens", {}, "/messages/count_tokens"),
        ("/anthropic/messages", {}, "/messages"),
        ("/v1/messages", {}, "/messages"),
        ("/v1/files", {"anthropic-version": "2023-06-01"}, "/files"),
    ],
)
async def test_the_dialect_decides_which_provider(path: str, headers: dict[str, str], target: str) -> None:
    async with (
        raw_provider(echo) as raw,
        running_sidecar(through("http://127.0.0.1:1/v1", raw.url)) as sidecar,
    ):
        assert (await sidecar.send(b"{}", path=path, headers={"x-api-key": KEY, **headers})).status == 200
        assert sent(raw).target.removeprefix("/v1") == target


@pytest.mark.parametrize(
    "path", ["/", "/gemini/v1beta/models", "/azure/openai/x", "/openai/v2/x", "/metrics"]
)
async def test_a_dialect_without_a_provider_is_refused(path: str) -> None:
    async with raw_provider(echo) as raw, running_sidecar(through(raw.url, raw.url)) as sidecar:
        answer = await sidecar.send(b"{}", path=path, headers=OWN)
        assert (answer.status, answer.code) == (404, "invalid_request")
        assert "Calls are let through below /" in answer.text
        assert " /openai/v1/" in answer.text
        assert raw.calls == []


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/openai/v1/chat/completions", {"authorization": f"Bearer {PLACEHOLDER_KEY}"}),
        ("/openai/v1/models", {"Authorization": f"bearer  {PLACEHOLDER_KEY}"}),
        ("/anthropic/v1/messages", {"x-api-key": PLACEHOLDER_KEY}),
        (
            "/anthropic/v1/messages",
            {"x-api-key": PLACEHOLDER_KEY, "authorization": f"Bearer {PLACEHOLDER_KEY}"},
        ),
    ],
)
async def test_the_placeholder_of_the_injector_never_goes_out(path: str, headers: dict[str, str]) -> None:
    async with raw_provider(echo) as raw, running_sidecar(through(raw.url, raw.url)) as sidecar:
        answer = await sidecar.send(b'{"model": "m"}', path=path, headers=headers)
        assert (answer.status, answer.code) == (403, "no_policy")
        assert "the application has no key of its own" in answer.text
        assert "Create an AIPolicy" in answer.text
        assert raw.calls == []
        assert sidecar.records.last.ending is Ending.REFUSED


async def test_a_placeholder_beside_a_key_is_left_out() -> None:
    async with (
        raw_provider(echo) as raw,
        running_sidecar(through("http://127.0.0.1:1/v1", raw.url)) as sidecar,
    ):
        headers = {"x-api-key": PLACEHOLDER_KEY, "authorization": f"Bearer {KEY}"}
        assert (await sidecar.messages(headers=headers)).status == 200
        assert "x-api-key" not in sent(raw).headers
        assert sent(raw).headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("status", [302, 400, 401, 404, 429, 500, 503])
async def test_whatever_the_provider_says_comes_back_as_it_is_and_once(status: int) -> None:
    """No second attempt: the SDK has its own, and nobody asked us to double them."""

    async def say(call: ProviderCall) -> None:
        await call.answer(
            b"<html>no JSON</html>", status=status, headers={"x-own": "1"}, content_type="text/html"
        )

    async with raw_provider(say) as raw, running_sidecar(through(raw.url)) as sidecar:
        async with sidecar.client.post(
            f"{sidecar.url}/openai/v1/chat/completions", json=ask(), headers=OWN, allow_redirects=False
        ) as answer:
            assert (answer.status, await answer.text()) == (status, "<html>no JSON</html>")
            assert answer.headers["x-own"] == "1"
            assert answer.headers["x-tidegate-provider"] == "openai"
        assert len(raw.calls) == 1
        expected = Ending.SERVED if status < 400 else Ending.PROVIDER_ERROR
        assert (sidecar.records.last.ending, sidecar.records.last.status) == (expected, status)


async def test_an_answer_of_bytes_arrives_as_it_is() -> None:
    data = bytes(range(256)) * 3_000

    async def audio(call: ProviderCall) -> None:
        await call.answer(data, content_type="audio/mpeg")

    async with raw_provider(audio) as raw:
        for most in (2**21, 1_024):
            async with running_sidecar(through(raw.url), max_response_bytes=most) as sidecar:
                answer = await sidecar.send(b'{"input":"x"}', path="/openai/v1/audio/speech", headers=OWN)
                assert (answer.body, answer.headers["content-type"]) == (data, "audio/mpeg")


async def test_a_stream_arrives_piece_by_piece_with_its_usage_read() -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}\n\n'
    async with (
        raw_provider() as raw,
        running_sidecar(through(raw.url)) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.post(ask(stream=True), head=f"authorization: Bearer {KEY}\r\n")
        call = await raw.next()
        await call.begin_stream()
        await call.event(b": a comment\n\n")
        await app.read_until(b": a comment\n\n")
        await call.event(delta("hello")[:20])
        await app.read_until(delta("hello")[:20])
        await call.event(delta("hello")[20:] + usage + DONE)
        await call.end_stream()
        await app.read_until(DONE)
        (record,) = await sidecar.records.wait(1)
        assert (record.input_tokens, record.output_tokens, record.stream) == (3, 5, True)
        assert record.first_token_ms is not None


async def test_a_stream_that_is_cut_is_cut_for_the_application_too() -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(through(raw.url)) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.post(ask(stream=True), head=f"authorization: Bearer {KEY}\r\n")
        call = await raw.next()
        await call.begin_stream()
        await call.event(delta("half"))
        await app.read_until(delta("half"))
        call.cut()
        assert not (await app.rest()).endswith(b"0\r\n\r\n"), "half an answer must not pass for a whole one"
        (record,) = await sidecar.records.wait(1)
        assert (record.ending, record.attempts[0].result) == (Ending.FAILED, "Incomplete")
        assert await sidecar.metric(CALLS.format("failed", "openai")) == 1


@pytest.mark.parametrize(
    ("timeouts", "stream", "status", "reason"),
    [
        ({"request_ms": 2_000}, False, 504, "timeouts.request"),
        ({"stream_idle_ms": 500}, True, 0, "timeouts.streamIdle"),
    ],
)
async def test_the_bounds_in_time_hold(
    timeouts: dict[str, int], stream: bool, status: int, reason: str
) -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(through(raw.url, **timeouts)) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.post(ask(stream=stream), head=f"authorization: Bearer {KEY}\r\n")
        call = await raw.next()
        if stream:
            await call.begin_stream()
            await call.event(delta("half"))
        else:
            await app.read_until(f"HTTP/1.1 {status}".encode())
        (record,) = await sidecar.records.wait(1)
        assert (record.ending, record.attempts[0].result) == (Ending.FAILED, "Timeout")
        assert reason in record.reason
        call.cut()


async def test_a_provider_that_cannot_be_reached_is_told_in_the_dialect() -> None:
    async with running_sidecar(through("http://127.0.0.1:1/v1")) as sidecar:
        answer = await sidecar.chat(headers=OWN)
        assert (answer.status, answer.code) == (502, "provider_unreachable")
        assert "the platform's sidecar.unmatched" in answer.text


async def test_the_bounds_of_size_and_of_calls_hold() -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(through(raw.url), max_body_bytes=1_000, max_calls_in_flight=1) as sidecar,
        asyncio.TaskGroup() as tasks,
    ):
        answer = await sidecar.send(b"x" * 1_001, path="/openai/v1/files", headers=OWN)
        assert (answer.status, answer.code) == (413, "invalid_request")
        first = tasks.create_task(sidecar.chat(headers=OWN))
        call = await raw.next()
        assert (await sidecar.chat(headers=OWN)).status == 503
        await call.answer(COMPLETION)
        assert (await first).status == 200
        assert len(raw.calls) == 1


async def test_a_compressed_body_goes_out_as_it_came() -> None:
    """It is not unpacked, so what it would become takes no room here."""
    packed = gzip.compress(b"x" * 2**20)
    async with raw_provider(echo) as raw, running_sidecar(through(raw.url), max_body_bytes=2**17) as sidecar:
        headers = {**OWN, "content-encoding": "gzip"}
        assert (await sidecar.send(packed, path="/openai/v1/files", headers=headers)).status == 200
        assert (sent(raw).body, sent(raw).headers["content-encoding"]) == (packed, "gzip")


async def test_a_call_in_flight_is_finished_before_the_process_ends() -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(through(raw.url)) as sidecar,
        asyncio.TaskGroup() as tasks,
    ):
        call = tasks.create_task(sidecar.chat(headers=OWN))
        asked = await raw.next()
        sidecar.stop.set()
        await until(lambda: sidecar.listening.in_flight.draining)
        await asked.answer(COMPLETION)
        assert (await call).status == 200


async def test_an_application_that_hangs_up_leaves_nothing_behind() -> None:
    async with raw_provider() as raw, running_sidecar(through(raw.url)) as sidecar:
        async with await sidecar.connect() as app:
            await app.post(ask(), head=f"authorization: Bearer {KEY}\r\n")
            call = await raw.next()
        (record,) = await sidecar.records.wait(1)
        call.cut()
        assert (record.ending, record.attempts[0].result) == (Ending.CLIENT_GONE, "Cancelled")


@pytest.mark.parametrize("stream", [False, True])
async def test_the_applications_key_is_in_no_record_log_or_answer(
    caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    caplog.set_level(logging.DEBUG)

    async def quote(call: ProviderCall) -> None:
        if stream:
            await call.begin_stream(headers={"x-debug": KEY})
            await call.event(b'data: {"error":{"message":"x","code":"bad key ' + KEY.encode() + b'"}}\n\n')
            await call.end_stream()
        else:
            await call.answer(
                {"error": {"message": f"wrong key {KEY}"}}, status=401, headers={"x-debug": KEY}
            )

    async with raw_provider(quote) as raw, running_sidecar(through(raw.url)) as sidecar:
        answer = await sidecar.chat(headers=OWN, stream=stream)
        records = b"".join(map(Renderer().render, sidecar.records.all)).decode()
        for text in (
            answer.text,
            str(answer.headers),
            records,
            caplog.text,
            (await sidecar.admin("/metrics")).text,
        ):
            assert KEY not in text


async def test_a_policy_that_comes_ends_it_with_the_next_call(simulator: Simulator) -> None:
    """And a policy that goes begins it: no pod is restarted."""
    cfg = through(f"{simulator.provider_url('o')}/v1")
    denied = CompiledConfig(denials=(Denial(code=DenialCode.NO_POLICY, reason="No AIPolicy applies."),))
    async with running_sidecar(cfg) as sidecar:
        assert (await sidecar.chat(headers=OWN)).status == 200
        await sidecar.reload(denied)
        assert (await sidecar.chat(headers=OWN)).code == "no_policy"
        await sidecar.reload(cfg)
        assert (await sidecar.chat(headers=OWN)).status == 200
    assert len(simulator.requests) == 2


@pytest.mark.parametrize(
    "broken",
    [
        config(pass_through=True),
        replace(
            through("http://127.0.0.1:1/v1"), denials=(Denial(code=DenialCode.SUSPENDED, reason="suspended"),)
        ),
    ],
    ids=["no pool", "a denial"],
)
async def test_a_configuration_that_lets_through_what_is_denied_is_refused(broken: CompiledConfig) -> None:
    async with running_sidecar(
        CompiledConfig(denials=(Denial(code=DenialCode.NO_POLICY, reason="no"),))
    ) as sidecar:
        await sidecar.reload(broken)
        assert "cannot be built" in sidecar.listening.live.problem
        assert (await sidecar.chat(headers=OWN)).code == "no_policy"


async def test_calls_under_a_policy_have_no_mark_of_it(simulator: Simulator) -> None:
    async with running_sidecar(config(pool(provider("only", f"{simulator.url}/v1")))) as sidecar:
        await sidecar.chat()
        document = json.loads(Renderer().render(sidecar.records.last))
        assert "pass_through" not in document
        assert "policy" not in document
        assert not [it for it in await sidecar.metrics() if it.startswith("tidegate_pass_through_total{")]

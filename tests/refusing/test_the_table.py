"""Every refusal, in the shape that the caller's SDK reads: status, code, what to wait for, and whose word it is."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import POLICY, allow, anthropic, config, consumer, limit, model, pool, provider
from tidegate_testing.provider import COMPLETION, raw_provider
from tidegate_testing.sidecar import Answer, Sidecar, running_sidecar

from tidegate_cli.simulator.server import Simulator
from tidegate_policy.model import CompiledConfig, Denial, DenialCode, KeyPart, KeyType, Mode
from tidegate_sidecar.telemetry.records import Ending


def both(simulator: Simulator, **changes: Any) -> CompiledConfig:
    models = (model("gpt-test", "", "small"), model("gpt-large"))
    return config(
        pool(
            provider("gpt", f"{simulator.provider_url('gpt')}/v1", models=models),
            anthropic("claude", f"{simulator.provider_url('claude')}/v1"),
        ),
        **changes,
    )


@pytest.fixture
async def sidecar(simulator: Simulator) -> AsyncIterator[Sidecar]:
    """One whose provider must not be asked."""
    async with running_sidecar(both(simulator)) as sidecar:
        yield sidecar
        assert simulator.requests == ()
        for record in sidecar.records.all:
            assert record.attempts == ()


def openai_error(answer: Answer) -> dict[str, Any]:
    """What `openai` reads: an object with message, type, param and code."""
    error = answer.json["error"]
    assert isinstance(error["message"], str)
    assert {"message", "type", "param", "code"} <= set(error)
    assert answer.headers["content-type"] == "application/json"
    assert error["tidegate"]["request_id"] == answer.headers["x-tidegate-request-id"]
    return dict(error)


def anthropic_error(answer: Answer) -> dict[str, Any]:
    """What `anthropic` reads: an error event of a type that it knows."""
    document = answer.json
    assert document["type"] == "error"
    assert isinstance(document["error"]["message"], str)
    assert document["request_id"] == answer.headers["x-tidegate-request-id"]
    return dict(document["error"])


NO_OBJECT = "cannot be read as a JSON object"

BROKEN = [
    (b"", "The body is empty"),
    (b"{", NO_OBJECT),
    (b'{"model":"gpt-test"} x', NO_OBJECT),
    (b"\xff\xfe{}", NO_OBJECT),
    (b"[" * 100_000, NO_OBJECT),
    (b'{"model":NaN}', NO_OBJECT),
    (b"[]", NO_OBJECT),
    (b'"model"', NO_OBJECT),
    (b'{"model":"gpt-test","model":"gpt-large"}', "'model' twice"),
    (b'{"model":"gpt-test","mod\\u0065l":"gpt-test"}', "'model' twice"),
    (b'{"model":"\\ud800"}', "printable"),
    (b"{}", "no `model`"),
    (b'{"model":null}', "no `model`"),
    (b'{"model":7}', "no `model`"),
    (b'{"model":""}', "no `model`"),
    (b'{"model":["gpt-test"]}', "no `model`"),
    (b'{"model":"gpt\\u0000test"}', "printable"),
    (b'{"model":"' + b"x" * 257 + b'"}', "256"),
    (b'{"model":"gpt-test","stream":"yes"}', "`stream` must be true or false"),
    (b'{"model":"gpt-test","stream":1}', "`stream` must be true or false"),
    (b'{"model":"gpt-test","Model":"gpt-large"}', "'Model'"),
    (b'{"model":"gpt-test","STREAM":true}', "'STREAM'"),
    ('{"model":"gpt-test","\u017ftream":true}'.encode(), "'\u017ftream'"),
]


class TestMalformedBodies:
    @pytest.mark.parametrize(("body", "words"), BROKEN)
    async def test_get_400_in_openais_words(self, sidecar: Sidecar, body: bytes, words: str) -> None:
        answer = await sidecar.send(body)
        error = openai_error(answer)
        assert (answer.status, error["code"], error["type"]) == (
            400,
            "invalid_request",
            "invalid_request_error",
        )
        assert words in error["message"]
        assert len(error["message"]) < 1_000
        assert "retry-after" not in answer.headers
        record = sidecar.records.last
        assert (record.ending, record.code, record.status) == (Ending.REFUSED, "invalid_request", 400)

    @pytest.mark.parametrize(("body", "words"), BROKEN[::5])
    async def test_get_400_in_anthropics_words(self, sidecar: Sidecar, body: bytes, words: str) -> None:
        answer = await sidecar.send(body, path="/anthropic/v1/messages")
        error = anthropic_error(answer)
        assert (answer.status, error["type"]) == (400, "invalid_request_error")
        assert error["tidegate"]["code"] == "invalid_request"
        assert words in error["message"]

    @pytest.mark.parametrize("encoding", ["gzip", "deflate"])
    async def test_that_are_not_compressed_as_they_say(self, sidecar: Sidecar, encoding: str) -> None:
        answer = await sidecar.send(b'{"model":"gpt-test"}', headers={"content-encoding": encoding})
        assert (answer.status, answer.code) == (400, "invalid_request")
        assert "content-encoding" in answer.text

    @pytest.mark.parametrize("spoilt", [lambda it: it[:-5], lambda it: it + b"more", lambda it: b"\x1f" + it])
    async def test_whose_compression_is_not_whole(
        self, sidecar: Sidecar, spoilt: Callable[[bytes], bytes]
    ) -> None:
        body = spoilt(gzip.compress(b'{"model":"gpt-test"}'))
        answer = await sidecar.send(body, headers={"content-encoding": "gzip"})
        assert (answer.status, answer.code) == (400, "invalid_request")

    @pytest.mark.parametrize("encoding", ["lzma", "gzip, br, lzma", "x"])
    async def test_in_an_encoding_that_is_not_understood(self, sidecar: Sidecar, encoding: str) -> None:
        answer = await sidecar.send(b"x", headers={"content-encoding": encoding})
        assert (answer.status, answer.code) == (415, "invalid_request")
        for understood in ("gzip", "deflate", "br", "zstd"):
            assert understood in answer.text
        assert answer.headers["x-should-retry"] == "false"


class TestLargeBodies:
    LIMIT = 64 * 1024

    @pytest.fixture
    async def small(self, simulator: Simulator) -> AsyncIterator[Sidecar]:
        async with running_sidecar(both(simulator), max_body_bytes=self.LIMIT) as sidecar:
            yield sidecar
            assert simulator.requests == ()

    @pytest.mark.parametrize("path", ["/openai/v1/chat/completions", "/anthropic/v1/messages"])
    async def test_get_413(self, small: Sidecar, path: str) -> None:
        answer = await small.send(b"x" * (self.LIMIT + 1), path=path)
        assert (answer.status, answer.code) == (413, "invalid_request")
        assert "65536 bytes" in answer.text
        assert small.records.last.status == 413

    async def test_in_chunks_get_413(self, small: Sidecar) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b"x" * 8_192
                await asyncio.sleep(0)

        assert (await small.send(pieces())).status == 413

    async def test_that_become_so_get_413(self, small: Sidecar) -> None:
        """A megabyte of zeros is a kilobyte of gzip."""
        bomb = gzip.compress(b"0" * 50 * 2**20)
        assert len(bomb) < self.LIMIT
        answer = await small.send(bomb, headers={"content-encoding": "gzip"})
        assert (answer.status, answer.code) == (413, "invalid_request")

    async def test_that_just_fit_are_taken(self, simulator: Simulator) -> None:
        body = json.dumps({"model": "gpt-test", "messages": [{"role": "user", "content": ""}]}).encode()
        body += b" " * (self.LIMIT - len(body))
        async with running_sidecar(both(simulator), max_body_bytes=self.LIMIT) as sidecar:
            assert (await sidecar.send(body)).status == 200


@pytest.mark.parametrize(
    ("head", "then", "status", "reason"),
    [
        ("content-length: 10", b"", 408, "The body did not arrive within 100 ms."),
        ("transfer-encoding: chunked", b"5\r\n12", 408, "The body did not arrive within 100 ms."),
        ("transfer-encoding: chunked", b"zz\r\n", 400, "The body cannot be read: "),
    ],
    ids=["too short", "too few chunks", "broken chunks"],
)
async def test_a_body_that_does_not_come_gets_an_answer(
    simulator: Simulator, head: str, then: bytes, status: int, reason: str
) -> None:
    async with running_sidecar(both(simulator), body_read_ms=100) as sidecar, await sidecar.connect() as app:
        await app.send(f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n{head}\r\n\r\n".encode())
        await sidecar.busy()
        await app.send(then)
        assert (await app.read_until(b"\r\n\r\n")).startswith(f"HTTP/1.1 {status} ".encode())
        await sidecar.records.wait(1)
        assert sidecar.records.last.reason.startswith(reason)


async def test_a_body_that_cannot_be_read_gets_an_answer_while_more_of_it_comes(simulator: Simulator) -> None:
    """Closed at once, the connection would be reset, and the answer with it."""
    async with running_sidecar(both(simulator)) as sidecar, await sidecar.connect() as app:
        await app.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        await sidecar.busy()
        await app.send(b"zz\r\n")
        await sidecar.records.wait(1)
        for _ in range(16):
            await app.send(b"x" * 2**16)
            await sidecar.looked()
        app.writer.write_eof()
        answer = await app.rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"\r\nconnection: close\r\n" in answer


class TestUnknownPaths:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/openai/v1/nonsense"),
            ("GET", "/"),
            ("POST", "/v1/chat/completions/"),
            ("POST", "/openai/v1/../../etc/passwd"),
            ("GET", "/openai/v1/chat/completions"),
            ("PUT", "/v1/chat/completions"),
            ("DELETE", "/openai/v1/chat/completions"),
            ("OPTIONS", "/openai/v1/chat/completions"),
            ("POST", "/openai/v1/" + "x" * 5_000),
            ("POST", "/openai/v1/%ff%00"),
        ],
    )
    async def test_get_404_that_says_what_there_is(self, sidecar: Sidecar, method: str, path: str) -> None:
        answer = await sidecar.send(b"{}", path=path, method=method)
        error = openai_error(answer)
        assert (answer.status, error["code"]) == (404, "invalid_request")
        assert len(error["message"]) < 1_000
        assert sidecar.records.last.status == 404

    async def test_are_answered_to_head_without_a_body(self, sidecar: Sidecar) -> None:
        answer = await sidecar.send(b"", path="/x", method="HEAD")
        assert (answer.status, answer.body) == (404, b"")

    @pytest.mark.parametrize(
        ("path", "headers"),
        [
            ("/anthropic/v1/nonsense", {}),
            ("/v1/nonsense", {"anthropic-version": "2023-06-01"}),
            ("/v1/messages/batches", {}),
        ],
    )
    async def test_of_anthropics_get_404_in_its_words(
        self, sidecar: Sidecar, path: str, headers: dict[str, str]
    ) -> None:
        answer = await sidecar.send(b"{}", path=path, headers=headers)
        assert (answer.status, anthropic_error(answer)["type"]) == (404, "not_found_error")

    async def test_belong_to_the_dialect_of_their_prefix(self, sidecar: Sidecar) -> None:
        answer = await sidecar.send(b"{}", path="/openai/v1/x", headers={"anthropic-version": "2023-06-01"})
        assert openai_error(answer)["code"] == "invalid_request"


class TestModels:
    async def test_that_no_pool_has_get_404_and_the_names_of_those_there_are(self, sidecar: Sidecar) -> None:
        answer = await sidecar.chat("gpt-9")
        error = openai_error(answer)
        assert (answer.status, error["code"], error["param"]) == (404, "model_not_found", "model")
        assert error["tidegate"]["allowed"] == ["gpt-large", "gpt-test"]
        assert "'gpt-9'" in error["message"]

    async def test_that_no_pool_has_get_404_in_anthropics_words(self, sidecar: Sidecar) -> None:
        answer = await sidecar.messages("claude-9")
        error = anthropic_error(answer)
        assert (answer.status, error["type"]) == (404, "not_found_error")
        assert error["tidegate"] == {"code": "model_not_found", "param": "model", "allowed": ["claude-test"]}

    async def test_of_the_other_dialect_get_400_that_says_so(self, sidecar: Sidecar) -> None:
        answer = await sidecar.chat("claude-test")
        error = openai_error(answer)
        assert (answer.status, error["code"]) == (400, "not_supported")
        assert error["tidegate"]["provider"] == "claude"
        answer = await sidecar.messages("gpt-test")
        assert anthropic_error(answer)["tidegate"]["code"] == "not_supported"

    @pytest.mark.parametrize("asked", ["gpt-large", "claude-test"])
    async def test_that_a_policy_does_not_allow_get_403(self, simulator: Simulator, asked: str) -> None:
        async with running_sidecar(both(simulator, allow_models=(allow("gpt-test"),))) as sidecar:
            answer = await (sidecar.chat(asked) if asked.startswith("gpt") else sidecar.messages(asked))
            assert (answer.status, answer.code) == (403, "model_not_allowed")
            record = sidecar.records.last
            assert (record.object, record.rule) == ("AIPolicy team-a/chat", "allowModels")
            assert "AIPolicy team-a/chat" in answer.text
        assert simulator.requests == ()

    async def test_must_be_allowed_by_every_policy(self, simulator: Simulator) -> None:
        lists = (allow("gpt-*"), allow("*-test"))
        async with running_sidecar(both(simulator, allow_models=lists)) as sidecar:
            assert (await sidecar.chat("gpt-large")).json["error"]["tidegate"]["allowed"] == ["gpt-test"]
            assert (await sidecar.chat("gpt-test")).status == 200

    @pytest.mark.parametrize(("pattern", "status"), [("small", 403), ("gpt-test", 200), ("gpt-*", 200)])
    async def test_are_allowed_by_their_own_name_whatever_alias_is_used(
        self, simulator: Simulator, pattern: str, status: int
    ) -> None:
        async with running_sidecar(both(simulator, allow_models=(allow(pattern),))) as sidecar:
            assert (await sidecar.chat("small")).status == status

    async def test_that_a_shadow_does_not_allow_go_on_and_are_written_down(
        self, simulator: Simulator
    ) -> None:
        shadow = (allow("nothing", mode=Mode.SHADOW),)
        async with running_sidecar(both(simulator, allow_models=shadow)) as sidecar:
            assert (await sidecar.chat()).status == 200
            decision = sidecar.records.last.would_refuse[0]
            assert (decision.object, decision.rule, decision.code) == (
                "AIPolicy team-a/chat",
                "allowModels",
                "model_not_allowed",
            )


class TestRateLimits:
    async def test_of_61_calls_at_once_one_is_allowed(self, simulator: Simulator) -> None:
        """60 per minute with a burst of one."""
        cfg = both(simulator, rate_limits=(limit("one-per-second", requests=60, per_ms=60_000, burst=1),))
        async with running_sidecar(cfg, clock=FakeClock().clock) as sidecar:
            answers = await asyncio.gather(*[sidecar.chat() for _ in range(61)])
            assert Counter(answer.status for answer in answers) == {200: 1, 429: 60}
            for answer in answers:
                if answer.status == 429:
                    error = openai_error(answer)
                    assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit_error")
                    assert answer.headers["retry-after"] == "1"
                    assert "'one-per-second' of AIPolicy team-a/chat" in error["message"]
                    details = error["tidegate"]
                    assert details["rule"] == "one-per-second"
                    assert details["object"] == "AIPolicy team-a/chat"
                    assert (details["limit"], details["remaining"]) == ("60 per 1m, burst 1", 0)
            refused = 'object="AIPolicy team-a/chat",rule="one-per-second"'
            sample = f'tidegate_refusals_total{{code="rate_limit_exceeded",mode="Enforce",{refused}}}'
            assert await sidecar.metric(sample) == 60
        assert len(simulator.requests) == 1

    async def test_calls_that_keep_to_the_rate_are_all_allowed(self, simulator: Simulator) -> None:
        clock = FakeClock()
        cfg = both(simulator, rate_limits=(limit(requests=60, per_ms=60_000, burst=1),))
        async with running_sidecar(cfg, clock=clock.clock) as sidecar:
            for _ in range(61):
                assert (await sidecar.chat()).status == 200
                clock.advance(ms=1_100)

    async def test_whoever_waits_as_told_is_not_refused_again(self, simulator: Simulator) -> None:
        clock = FakeClock()
        cfg = both(simulator, rate_limits=(limit(requests=7, per_ms=60_000, burst=1),))
        async with running_sidecar(cfg, clock=clock.clock) as sidecar:
            assert (await sidecar.chat()).status == 200
            wait_s = int((await sidecar.chat()).headers["retry-after"])
            clock.advance(ms=wait_s * 1_000)
            assert (await sidecar.chat()).status == 200

    async def test_say_no_in_anthropics_words(self, simulator: Simulator) -> None:
        async with running_sidecar(
            both(simulator, rate_limits=(limit(),)), clock=FakeClock().clock
        ) as sidecar:
            await sidecar.messages()
            answer = await sidecar.messages(stream=True)
            assert (answer.status, anthropic_error(answer)["type"]) == (429, "rate_limit_error")
            assert answer.headers["retry-after"] == "1"

    async def test_in_shadow_change_nothing_and_count_everything(self, simulator: Simulator) -> None:
        cfg = both(simulator, rate_limits=(limit("shadow", mode=Mode.SHADOW),))
        async with running_sidecar(cfg, clock=FakeClock().clock) as sidecar:
            answers = await asyncio.gather(*[sidecar.chat() for _ in range(10)])
            assert {answer.status for answer in answers} == {200}
            assert sum(len(record.would_refuse) for record in sidecar.records.all) == 9
            refused = 'object="AIPolicy team-a/chat",rule="shadow"'
            sample = f'tidegate_refusals_total{{code="rate_limit_exceeded",mode="Shadow",{refused}}}'
            assert await sidecar.metric(sample) == 9

    async def test_by_consumer_count_each_apart(self, simulator: Simulator) -> None:
        cfg = both(
            simulator, rate_limits=(limit(key=(KeyPart(type=KeyType.CONSUMER),)),), consumer=consumer()
        )
        async with running_sidecar(cfg, clock=FakeClock().clock) as sidecar:
            statuses = [
                (await sidecar.chat(headers={"x-user-id": user})).status for user in ("a", "b", "a", "b", "c")
            ]
            assert statuses == [200, 200, 429, 429, 200]

    async def test_by_provider_move_the_call_on_to_another(self, simulator: Simulator) -> None:
        by_provider = limit(key=(KeyPart(type=KeyType.PROVIDER),))
        cfg = config(
            pool(
                provider("first", f"{simulator.provider_url('first')}/v1"),
                provider("second", f"{simulator.provider_url('second')}/v1", priority=1),
            ),
            rate_limits=(by_provider,),
        )
        async with running_sidecar(cfg, clock=FakeClock().clock) as sidecar:
            answers = [await sidecar.chat() for _ in range(3)]
            assert [answer.headers.get("x-tidegate-provider") for answer in answers] == [
                "first",
                "second",
                None,
            ]
            assert (answers[2].status, answers[2].code) == (429, "rate_limit_exceeded")
            assert answers[2].headers["retry-after"] == "1"

    async def test_by_provider_in_shadow_are_written_down_too(self, simulator: Simulator) -> None:
        by_provider = limit("per-provider", key=(KeyPart(type=KeyType.PROVIDER),), mode=Mode.SHADOW)
        cfg = both(simulator, rate_limits=(by_provider,))
        async with running_sidecar(cfg, clock=FakeClock().clock) as sidecar:
            await sidecar.chat()
            assert (await sidecar.chat()).status == 200
            assert [decision.rule for decision in sidecar.records.last.would_refuse] == ["per-provider"]


class TestWorkloadsThatMayNot:
    @pytest.mark.parametrize("code", list(DenialCode))
    async def test_get_403_that_says_why(self, simulator: Simulator, code: DenialCode) -> None:
        denial = Denial(code=code, reason="No policy applies to Deployment team-a/chat.", source=POLICY)
        async with running_sidecar(both(simulator, denials=(denial,))) as sidecar:
            answer = await sidecar.chat()
            assert (answer.status, answer.code) == (403, code.value)
            assert openai_error(answer)["message"] == denial.reason
            answer = await sidecar.messages()
            assert anthropic_error(answer)["type"] == "permission_error"
            assert sidecar.records.last.object == "AIPolicy team-a/chat"
        assert simulator.requests == ()

    async def test_pass_a_suspended_pool_get_403(self, simulator: Simulator) -> None:
        suspended = replace(both(simulator).pools[0], suspended=True)
        async with running_sidecar(config(suspended, rate_limits=(limit(),))) as sidecar:
            for _ in range(3):
                answer = await sidecar.chat()
                assert (answer.status, answer.code) == (403, "suspended")
                assert answer.json["error"]["tidegate"]["object"] == "ProviderPool team-a/main"
        assert simulator.requests == ()


async def test_more_calls_at_once_than_fit_get_503() -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(config(pool(provider("only", raw.url))), max_calls_in_flight=1) as sidecar,
        asyncio.TaskGroup() as tasks,
    ):
        asking = tasks.create_task(sidecar.chat())
        call = await raw.next()
        answer = await sidecar.chat()
        assert (answer.status, answer.code) == (503, "provider_unavailable")
        assert "TIDEGATE_MAX_CALLS_IN_FLIGHT" in answer.text
        assert answer.headers["retry-after"] == "1"
        await call.answer(COMPLETION)
        assert (await asking).status == 200


async def test_before_the_first_configuration_calls_get_503_config_pending() -> None:
    async with running_sidecar() as sidecar:
        answer = await sidecar.chat()
        assert (answer.status, answer.code) == (503, "config_pending")
        assert answer.headers["retry-after"] == "1"
        answer = await sidecar.messages()
        assert anthropic_error(answer)["type"] == "overloaded_error"
        assert sidecar.records.last.code == "config_pending"


async def test_without_an_operator_nobody_is_sent_to_look_for_a_mistake_in_a_policy() -> None:
    why = "The operator cannot be reached at https://operator.test:8443: Connection refused"
    async with running_sidecar() as sidecar:
        sidecar.source.lack(why)
        await sidecar.source.taken()
        answer = await sidecar.chat()
        assert (answer.status, answer.code) == (503, "config_pending")
        assert f"There is no configuration yet. {why}" in answer.text
        metrics = (await sidecar.admin("/metrics")).text
        assert "tidegate_config_refused 0" in metrics
        sidecar.source.refuse("pools: missing")
        await sidecar.source.taken()
        assert "The newest one is refused: pools: missing" in (await sidecar.chat()).text


async def test_what_is_no_http_gets_an_answer_and_harms_nobody(sidecar: Sidecar) -> None:
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
        async with await sidecar.connect() as app:
            await app.send(garbage)
            app.writer.write_eof()
            assert b"200" not in (await app.rest())[:15]
    assert (await sidecar.chat("gpt-9")).status == 404

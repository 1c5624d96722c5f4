"""Nothing is written anew on its way: what was sent is what arrives, but for a model's name that a rule changes."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import brotli  # type: ignore[import-untyped]  # it has no types
import pytest
from tidegate_testing.configs import RETRY, config, model, pool, provider
from tidegate_testing.provider import COMPLETION, DONE, ProviderCall, RawProvider, delta, raw_provider
from tidegate_testing.sidecar import running_sidecar

from tidegate_policy.model import CompiledConfig
from tidegate_sidecar.telemetry.records import Ending, UsageState

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@pytest.fixture
async def raw() -> AsyncIterator[RawProvider]:
    async def answer(call: ProviderCall) -> None:
        await call.answer(COMPLETION)

    async with raw_provider(answer) as provider:
        yield provider


def aliased(raw: RawProvider) -> CompiledConfig:
    """`small` is known to the provider as `gpt-test-2026-01-01`."""
    models = (model("gpt-test", "gpt-test-2026-01-01", "small"),)
    return config(pool(provider("only", raw.url, models=models)))


BODIES = {
    "escapes that nobody needs": b'{"model":"MODEL","messages":[{"content":"caf\\u00e9 \\/ \\u2028 \\ud83d\\ude00"}]}',
    "half a pair of surrogates": b'{"model":"MODEL","messages":[{"content":"\\ud83d"}],"stop":"\\udc00"}',
    "nested members of the same name": b'{"tools":[{"model":1,"m":{"model":{"model":"MODEL"}}}],"model":"MODEL"}',
    "nested members given twice": b'{"model":"MODEL","tools":[{"a":1,"a":2,"model":3,"model":4}],"messages":[]}',
    "its name in a text": b'{"messages":[{"content":"\\"model\\":\\"MODEL\\""}],"model":"MODEL"}',
    "an integer of 64 bits and one more": b'{"model":"MODEL","seed":18446744073709551616,"messages":[]}',
    "an integer of 5000 digits": b'{"model":"MODEL","messages":[],"n":' + b"1" * 5_000 + b"}",
    "numbers that doubles change": b'{"model":"MODEL","x":[0.1000000000000000055,1e400,-0.0,1.50,1E+2],"messages":[]}',
    "white space everywhere": b'\r\n{ "model" :\t"MODEL" ,\n"messages":[ ] , "x" : { } }\n ',
    "bytes beyond ASCII": b'{"user":"caf\xc3\xa9 \xf0\x9f\x98\x80","model":"MODEL","messages":[]}',
}
"""Where MODEL stands at the top level, the name of a model is written."""


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_is_sent_on_byte_by_byte(raw: RawProvider, name: str) -> None:
    body = BODIES[name].replace(b"MODEL", b"gpt-test")
    async with running_sidecar(config(pool(provider("only", raw.url)))) as sidecar:
        assert (await sidecar.send(body)).status == 200
    assert raw.calls[-1].body == body


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("written", [b"small", b"\\u0073mall"], ids=["plain", "escaped"])
async def test_a_rename_changes_the_models_value_alone(raw: RawProvider, name: str, written: bytes) -> None:
    body = BODIES[name]
    start, end = top_level(body)
    async with running_sidecar(aliased(raw)) as sidecar:
        assert (await sidecar.send(body[:start] + b'"' + written + b'"' + body[end:])).status == 200
        assert (sidecar.records.last.requested_model, sidecar.records.last.model) == ("small", "gpt-test")
    assert raw.calls[-1].body == body[:start] + b'"gpt-test-2026-01-01"' + body[end:]


def top_level(body: bytes) -> tuple[int, int]:
    """Where the value of the top level's `model` stands: the one that is not nested and not in a text."""
    depth = 0
    for at, byte in enumerate(body):
        depth += (byte in b"{[") - (byte in b"}]")
        if depth == 1 and body[at:].startswith(b'"model"'):
            start = body.index(b'"MODEL"', at)
            return start, start + len(b'"MODEL"')
    raise AssertionError(body)


async def test_a_large_body_is_renamed_in_place(raw: RawProvider) -> None:
    text = b'{"content":"' + b"\\u00e9 model " * 300_000 + b'"}'
    body = b'{"messages":[%b],"model":"small","seed":18446744073709551616}' % text
    async with running_sidecar(aliased(raw)) as sidecar:
        assert (await sidecar.send(body)).status == 200
    assert raw.calls[-1].body == body.replace(b'"small"', b'"gpt-test-2026-01-01"')


async def test_header_values_beyond_ascii_pass_both_ways(raw: RawProvider) -> None:
    """obs-text of RFC 9110 section 5.5: in whatever encoding the two ends have agreed on."""
    values = [b"caf\xe9 ol\xe9", "caf\u00e9".encode(), b"\x80\xff"]

    async def answer(call: ProviderCall) -> None:
        await call.send(
            b"HTTP/1.1 200 OK\r\n"
            + b"".join(b"x-note: %b\r\n" % value for value in values)
            + b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        )
        call.close()

    raw.script = answer
    async with (
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
        await sidecar.connect() as app,
    ):
        body = b'{"model":"gpt-test","messages":[]}'
        await app.send(
            b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
            + b"".join(b"x-name: %b\r\n" % value for value in values)
            + b"content-length: %d\r\n\r\n" % len(body)
            + body
        )
        head = await app.read_until(b"\r\n\r\n")
        assert [line[8:] for line in head.split(b"\r\n") if line.startswith(b"x-note: ")] == values
        await sidecar.records.wait(1)
    sent = [value.encode("latin-1") for name, value in raw.calls[0].header_list if name == "x-name"]
    assert sent == values


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}


class TestEncodedRequests:
    PLAIN = b'{"model":"gpt-test","messages":[{"content":"caf\\u00e9"}]}'

    @pytest.mark.parametrize("encoding", ENCODERS)
    async def test_are_understood_and_sent_on_plain(self, raw: RawProvider, encoding: str) -> None:
        body = ENCODERS[encoding](self.PLAIN)
        async with running_sidecar(config(pool(provider("only", raw.url)))) as sidecar:
            answer = await sidecar.send(body, headers={"content-encoding": encoding})
            assert answer.status == 200
        assert raw.calls[-1].body == self.PLAIN
        assert "content-encoding" not in raw.calls[-1].headers

    @pytest.mark.parametrize("encoding", ENCODERS)
    async def test_have_the_bound_of_what_they_stand_for(self, raw: RawProvider, encoding: str) -> None:
        body = ENCODERS[encoding](b'{"model":"gpt-test","messages":["' + b"a" * 500_000 + b'"]}')
        served = config(pool(provider("only", raw.url)))
        async with running_sidecar(served, max_body_bytes=400_000) as sidecar:
            answer = await sidecar.send(body, headers={"content-encoding": encoding})
            assert (answer.status, answer.code) == (413, "invalid_request")
        assert raw.calls == []

    @pytest.mark.parametrize("encoding", ["compress", "aes128gcm", "gzip, dcb"])
    async def test_in_another_encoding_are_refused(self, raw: RawProvider, encoding: str) -> None:
        async with running_sidecar(config(pool(provider("only", raw.url)))) as sidecar:
            answer = await sidecar.send(self.PLAIN, headers={"content-encoding": encoding})
            assert (answer.status, answer.code) == (415, "invalid_request")
            assert "gzip, deflate, br, zstd" in answer.text
            assert answer.headers["x-should-retry"] == "false"
        assert raw.calls == []

    @pytest.mark.parametrize("encoding", ENCODERS)
    async def test_that_are_not_in_their_encoding_are_refused(self, raw: RawProvider, encoding: str) -> None:
        async with running_sidecar(config(pool(provider("only", raw.url)))) as sidecar:
            answer = await sidecar.send(self.PLAIN, headers={"content-encoding": encoding})
            assert (answer.status, answer.code) == (400, "invalid_request")
        assert raw.calls == []


class TestAnswers:
    BODY = (
        b'\n{ "id" : "caf\\u00e9 \\ud83d", "usage":{"prompt_tokens": 3,"completion_tokens":1} ,\r\n'
        b'"choices":[],"choices":[{"index":0}],"x":18446744073709551616,"y":1e400 }\n'
    )

    async def test_are_passed_on_byte_by_byte_and_read_all_the_same(self, raw: RawProvider) -> None:
        async def answer(call: ProviderCall) -> None:
            await call.answer(self.BODY)

        raw.script = answer
        async with running_sidecar(config(pool(provider("only", raw.url)))) as sidecar:
            answered = await sidecar.chat()
            assert (answered.status, answered.body) == (200, self.BODY)
            record = sidecar.records.last
            assert (record.ending, record.input_tokens, record.output_tokens) == (Ending.SERVED, 3, 1)

    @pytest.mark.parametrize("encoding", ["dcb", "aes128gcm", "gzip, compress"])
    @pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
    async def test_in_an_encoding_that_nobody_unpacks_keep_its_name(
        self, raw: RawProvider, encoding: str, *, streaming: bool
    ) -> None:
        """Nobody asked for it, but whoever did agree on it with the application knows what to make of it."""

        async def answer(call: ProviderCall) -> None:
            await call.answer(b"\x00\x01binary", headers={"content-encoding": encoding})

        raw.script = answer
        async with running_sidecar(config(pool(provider("only", raw.url)))) as sidecar:
            answered = await sidecar.chat(stream=streaming)
            assert (answered.status, answered.body) == (200, b"\x00\x01binary")
            assert answered.headers["content-encoding"] == encoding
            record = sidecar.records.last
            assert (record.ending, record.usage) == (Ending.SERVED, UsageState.UNREPORTED)

    async def test_that_are_errors_nobody_can_read_are_judged_by_their_status(self) -> None:
        async def answer(call: ProviderCall) -> None:
            await call.answer(b"\x00", status=503, headers={"content-encoding": "dcb"})

        async with (
            raw_provider(answer) as raw,
            running_sidecar(
                config(pool(provider("only", raw.url), retry=replace(RETRY, max_attempts=2)))
            ) as sidecar,
        ):
            answered = await sidecar.chat()
            assert (answered.status, answered.body) == (503, b"\x00")
            assert answered.headers["content-encoding"] == "dcb"
            record = sidecar.records.last
            assert record.ending is Ending.PROVIDER_ERROR
            assert [it.result for it in record.attempts] == ["Overloaded", "Overloaded"]

    @pytest.mark.parametrize("encoding", ["none", "UTF-8"])
    @pytest.mark.parametrize("streaming", [False, True])
    async def test_in_no_encoding_are_read_whatever_name_it_is_given(
        self, raw: RawProvider, encoding: str, *, streaming: bool
    ) -> None:
        """Some servers say `none`, so that nobody before them compresses a stream. SDKs pass over names that they do not know."""
        used = b'{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}'
        plain = (
            delta("x", "stop") + b"data: " + used + b"\n\n" + DONE
            if streaming
            else json.dumps(COMPLETION).encode()
        )

        async def answer(call: ProviderCall) -> None:
            await call.answer(plain, headers={"content-encoding": encoding})

        raw.script = answer
        async with running_sidecar(config(pool(provider("only", raw.url)))) as sidecar:
            answered = await sidecar.chat(stream=streaming)
            assert answered.body == plain
            assert answered.headers["content-encoding"] == encoding
            record = sidecar.records.last
            assert record.usage is UsageState.REPORTED

    async def test_in_no_encoding_that_break_off_are_told_as_such(self, raw: RawProvider) -> None:
        async def answer(call: ProviderCall) -> None:
            await call.begin_stream(headers={"content-encoding": "none"})
            await call.event(delta("x"))
            call.close()

        raw.script = answer
        async with running_sidecar(config(pool(provider("only", raw.url)))) as sidecar:
            answered = await sidecar.chat(stream=True)
            assert b"provider_unreachable" in answered.body
            assert sidecar.records.last.ending is Ending.FAILED

    @pytest.mark.parametrize("encoding", ENCODERS)
    @pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
    async def test_in_an_encoding_that_we_know_are_unpacked(
        self, raw: RawProvider, encoding: str, *, streaming: bool
    ) -> None:
        """A few bytes may stand for many: more than a decoder gives in one step."""
        plain = self.BODY.replace(b"caf", b"a" * 2_000_000)
        if streaming:
            plain = delta("a" * 2_000_000) + delta("", "stop") + DONE

        async def answer(call: ProviderCall) -> None:
            packed = ENCODERS[encoding](plain)
            await call.answer(packed, headers={"content-encoding": encoding})

        raw.script = answer
        async with running_sidecar(config(pool(provider("only", raw.url)))) as sidecar:
            answered = await sidecar.chat(stream=streaming)
            assert (answered.status, answered.body == plain) == (200, True)
            assert "content-encoding" not in answered.headers
            assert sidecar.records.last.ending is Ending.SERVED

    async def test_that_unpack_to_more_than_an_answer_may_have_are_broken_off(self, raw: RawProvider) -> None:
        """Two hundred bytes of it stand for two hundred thousand: neither memory nor time is theirs without a bound."""

        async def answer(call: ProviderCall) -> None:
            packed = gzip.compress(b"data: " + b"a" * 8 * 2**20)
            await call.answer(packed, headers={"content-encoding": "gzip"}, content_type="text/event-stream")

        raw.script = answer
        served = config(pool(provider("only", raw.url)))
        async with running_sidecar(served, max_response_bytes=2**20) as sidecar:
            answered = await sidecar.chat(stream=True)
            assert (answered.status, answered.code) == (502, "provider_unreachable")
            assert "larger than 1048576 bytes" in answered.text
            assert [it.result for it in sidecar.records.last.attempts] == ["Unreadable"]

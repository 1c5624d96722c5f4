"""What is no HTTP, and what a web page sends: each request ends in a record and in the caller's dialect, and no key gets anywhere."""

from __future__ import annotations

import json
import logging
import socket
import struct
from dataclasses import dataclass
from typing import Any

import pytest
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import anthropic, config, pool, provider
from tidegate_testing.provider import COMPLETION, raw_provider
from tidegate_testing.sidecar import Sidecar, running_sidecar
from tidegate_testing.tasks import until
from tidegate_testing.wire import Connection, ask

from tidegate_operator.compile.unmatched import pass_through
from tidegate_policy.model import CompiledConfig, ProviderType
from tidegate_sidecar.telemetry.records import Ending
from tidegate_sidecar.telemetry.rendering import Renderer

KEY = "sk-canary-5d1f7c3b9a8e6f402d1c3b5a79880f1e"
NOWHERE = "http://127.0.0.1:1/v1"
CONFIG = config(pool(provider("gpt", NOWHERE), anthropic("claude", NOWHERE)))

KEYS = f"authorization: Bearer {KEY}\r\nx-api-key: {KEY}\r\n"
HOST = "host: localhost\r\n"

NO_HTTP = {
    "a control character": (400, f"{HOST}{KEYS}x: {KEY}\x01\r\n\r\n"),
    "a name with a space": (400, f"{HOST}{KEYS}x {KEY}: 1\r\n\r\n"),
    "no host": (400, f"{KEYS}\r\n"),
    "two hosts": (400, f"{HOST}{HOST}{KEYS}\r\n"),
    "two lengths": (400, f"{HOST}{KEYS}content-length: 1\r\ncontent-length: 2\r\n\r\nhi"),
    "a length and chunks": (
        400,
        f"{HOST}{KEYS}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "an unknown transfer encoding": (
        501,
        f"{HOST}{KEYS}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    "a header too large": (431, f"{HOST}{KEYS}x: {KEY}{'a' * 70_000}\r\n\r\n"),
    "too many headers": (431, f"{HOST}{KEYS}" + "x: y\r\n" * 300 + "\r\n"),
}

DIALECTS = {
    "a path of OpenAI's": ("/openai/v1/chat/completions", "", "OpenAI"),
    "a path of Anthropic's": ("/anthropic/v1/messages", "", "Anthropic"),
    "a path of both and Anthropic's header": ("/v1/files", "anthropic-version: 2023-06-01\r\n", "Anthropic"),
    "a path of nobody's": ("/nonsense", "", "OpenAI"),
}

PATH_ALONE = {"a path of both and Anthropic's header": "OpenAI"}
"""Where a head was read, and its body cannot be, the path alone tells the dialect."""


@dataclass(frozen=True, slots=True)
class Read:
    """An answer as it came, and as a client reads it."""

    raw: bytes

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        lines = self.raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def json(self) -> Any:
        return json.loads(self.raw.partition(b"\r\n\r\n")[2])

    @property
    def dialect(self) -> str:
        """By its shape."""
        document = self.json
        if document.get("type") == "error":
            assert {"type", "message"} <= set(document["error"])
            return "Anthropic"
        assert {"message", "type", "param", "code"} <= set(document["error"])
        return "OpenAI"


async def assert_no_key(sidecar: Sidecar, caplog: pytest.LogCaptureFixture, *answers: bytes) -> None:
    records = b"".join(map(Renderer().render, sidecar.records.all)).decode()
    logged = "\n".join(f"{it.getMessage()} {it.exc_text} {it.__dict__}" for it in caplog.records)
    metrics = (await sidecar.admin("/metrics")).text
    for text in (records, logged, metrics, *(it.decode("latin-1") for it in answers)):
        assert KEY not in text


@pytest.mark.parametrize("of", DIALECTS)
@pytest.mark.parametrize("name", NO_HTTP)
async def test_a_head_that_is_no_http_is_answered_and_recorded(
    caplog: pytest.LogCaptureFixture, name: str, of: str
) -> None:
    caplog.set_level(logging.DEBUG)
    status, rest = NO_HTTP[name]
    path, marker, dialect = DIALECTS[of]
    if status == 501:
        dialect = PATH_ALONE.get(of, dialect)
    async with running_sidecar(CONFIG) as sidecar, await sidecar.connect() as app:
        await app.send(f"POST {path} HTTP/1.1\r\n{marker}{rest}".encode("latin-1"))
        answer = Read(await app.rest())
        assert (answer.status, answer.dialect) == (status, dialect)
        assert answer.headers["connection"] == "close"
        assert answer.headers["content-type"] == "application/json"
        (record,) = await sidecar.records.wait(1)
        assert answer.headers["x-tidegate-request-id"] == record.request_id
        assert (record.ending, record.status, record.dialect) == (Ending.REFUSED, status, dialect)
        assert (record.code, record.attempts) == ("invalid_request", ())
        assert record.reason
        assert await sidecar.metric('tidegate_head_faults_total{reason="http"}') == 1
        await assert_no_key(sidecar, caplog, answer.raw)


@pytest.mark.parametrize(("settings", "ms"), [({}, 10_000), ({"head_read_ms": 2_000}, 2_000)])
async def test_a_head_that_never_ends_is_answered_when_its_time_is_over(
    caplog: pytest.LogCaptureFixture, settings: dict[str, int], ms: int
) -> None:
    clock = FakeClock()
    async with (
        running_sidecar(CONFIG, clock=clock.clock, **settings) as sidecar,
        await sidecar.connect() as silent,
        await sidecar.connect() as app,
    ):
        await app.send(f"POST /anthropic/v1/messages HTTP/1.1\r\n{KEYS}".encode())
        assert (await sidecar.send(b"{}", path="/x")).status == 404  # what came before it has been read
        clock.advance(ms=ms)
        answer = Read(await app.rest())
        assert (answer.status, answer.dialect) == (408, "Anthropic")
        assert f"{ms} ms" in answer.json["error"]["message"]
        _, record = await sidecar.records.wait(2)
        assert (record.status, record.dialect, record.ending) == (408, "Anthropic", Ending.REFUSED)
        await assert_no_key(sidecar, caplog, answer.raw)
        await silent.post(ask("gpt-9"))
        assert b" 404 " in await silent.read_until(b"\r\n"), "who has sent nothing yet may take longer"


@pytest.mark.parametrize("data", ["POST /anthropic/v1/messages HTTP/1.1\r\nx-api-", "P"])
async def test_half_a_head_and_the_end_is_answered(data: str) -> None:
    """Who closes one direction may still read the other."""
    async with running_sidecar(CONFIG) as sidecar, await sidecar.connect() as app:
        await app.send(data.encode())
        app.writer.write_eof()
        answer = Read(await app.rest())
        assert answer.status == 400
        (record,) = await sidecar.records.wait(1)
        assert (record.ending, record.status) == (Ending.REFUSED, 400)


async def test_whose_connection_is_lost_within_a_head_has_a_record(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with running_sidecar(CONFIG) as sidecar:
        async with await sidecar.connect() as app:
            await app.send(f"POST /v1/messages HTTP/1.1\r\n{KEYS}".encode())
            async with await sidecar.connect() as after:
                await after.post(b"{}", path="/x")
                await after.read_until(b"\r\n\r\n")
            reset(app)
        records = await sidecar.records.wait(2)
        gone = records[-1]
        assert (gone.ending, gone.status, gone.dialect) == (Ending.CLIENT_GONE, 0, "Anthropic")
        await assert_no_key(sidecar, caplog)


def reset(app: Connection) -> None:
    raw = app.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    app.abort()


async def test_what_is_no_http_behind_a_call_does_not_take_its_answer() -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.post(ask())
        call = await raw.next()
        await app.send(b"no http at all\r\n\r\n")
        await call.answer(COMPLETION)
        first, _, second = (await app.rest()).rpartition(b"HTTP/1.1 ")
        assert Read(first).status == 200
        assert second.startswith(b"400 ")
        endings = {record.ending for record in await sidecar.records.wait(2)}
        assert endings == {Ending.SERVED, Ending.REFUSED}


WEB = {
    "a name that was made to lead here": (403, "host: evil.example"),
    "the same with our port": (403, "host: evil.example:19280"),
    "a name below localhost": (403, "host: app.localhost"),
    "all addresses": (403, "host: 0.0.0.0"),
    "a page elsewhere": (403, "host: localhost\r\norigin: https://evil.example"),
    "a page without an origin": (403, "host: localhost\r\norigin: null"),
    "a page of another site": (403, "host: 127.0.0.1\r\nsec-fetch-site: cross-site"),
    "two hosts in one": (400, "host: localhost, evil.example"),
}


@pytest.mark.parametrize(("status", "head"), WEB.values(), ids=WEB)
@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
async def test_a_web_page_does_not_reach_the_sidecar(
    caplog: pytest.LogCaptureFixture, method: str, status: int, head: str
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running_sidecar(CONFIG) as sidecar, await sidecar.connect() as app:
        body = json.dumps(ask("claude-test")).encode()
        await app.send(
            f"{method} /v1/messages HTTP/1.1\r\n{head}\r\n{KEYS}connection: close\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        answer = Read(await app.rest())
        assert (answer.status, answer.dialect) == (status, "Anthropic")
        assert answer.headers["x-should-retry"] == "false"
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        (record,) = await sidecar.records.wait(1)
        code = "host_not_allowed" if status == 403 else "invalid_request"
        assert (record.ending, record.status, record.code) == (Ending.REFUSED, status, code)
        assert record.attempts == ()
        assert await sidecar.metric('tidegate_head_faults_total{reason="host"}') == 1
        await assert_no_key(sidecar, caplog, answer.raw)


LET_THROUGH = pass_through({ProviderType.OPENAI: NOWHERE, ProviderType.ANTHROPIC: NOWHERE}).config


@pytest.mark.parametrize("configs", [(), (LET_THROUGH,)], ids=["without a configuration", "under no policy"])
async def test_nor_where_no_policy_says_so(configs: tuple[CompiledConfig, ...]) -> None:
    async with running_sidecar(*configs) as sidecar:
        answer = await sidecar.chat(headers={"host": "evil.example", "authorization": f"Bearer {KEY}"})
        assert (answer.status, answer.code) == (403, "host_not_allowed")
        assert "--allow-host" in answer.text


@pytest.mark.parametrize(
    "head",
    [
        "host: localhost",
        "host: LOCALHOST:8080",
        "host: 127.0.0.1",
        "host: 127.8.9.1:1",
        "host: [::1]:19280",
        "host: gateway.internal",
        "host: Gateway.Internal:443",
        "host: localhost\r\norigin: http://localhost:3000",
        "host: localhost\r\norigin: http://127.0.0.1:3000\r\nsec-fetch-site: same-site",
        "host: localhost\r\nsec-fetch-site: none",
    ],
)
async def test_programs_of_this_machine_do_and_those_that_call_by_a_name_that_is_allowed(head: str) -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(
            config(pool(provider("only", raw.url))), allow_hosts=("gateway.internal",)
        ) as sidecar,
        await sidecar.connect() as app,
    ):
        body = json.dumps(ask()).encode()
        await app.send(
            f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await (await raw.next()).answer(COMPLETION)
        assert b" 200 " in await app.read_until(b"\r\n")
        await sidecar.records.wait(1)


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/v1/chat/completions", "evil.example", 200),
        ("http://evil.example/v1/chat/completions", "localhost", 403),
    ],
)
async def test_the_authority_of_an_absolute_target_counts_as_host(
    target: str, host: str, status: int
) -> None:
    async def answer(call: Any) -> None:
        await call.answer(COMPLETION)

    async with (
        raw_provider(answer) as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
        await sidecar.connect() as app,
    ):
        body = json.dumps(ask()).encode()
        await app.send(
            f"POST {target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
        )
        assert f" {status} ".encode() in await app.read_until(b"\r\n")
        await sidecar.records.wait(1)
        await until(lambda: sidecar.listening.in_flight.count == 0)

"""`tidegate-sidecar` as people start it: a process, its environment, its signals, its output."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tidegate_testing.configs import allow, config, pool, provider
from tidegate_testing.program import started
from tidegate_testing.provider import DONE, delta, raw_provider
from tidegate_testing.wire import Connection, ask

from tidegate_cli.simulator.server import Simulator
from tidegate_policy import wire
from tidegate_policy.model import CompiledConfig, CredentialRef, ObjectRef
from tidegate_sidecar.settings import parse_address

IN_FORCE = b"is in force"
KEY = CredentialRef(
    source=ObjectRef(kind="ProviderCredential", namespace="team-a", name="prod"),
    environment_variable="MY_KEY",
)
CANARY = "sk-canary-0a1b2c3d4e5f60718293a4b5c6d7e8f9"


def write(path: Path, cfg: CompiledConfig) -> str:
    return replace(path, wire.encode(cfg))


def replace(path: Path, data: bytes) -> str:
    """Put a file in place at once: half of one would be another problem to be told of."""
    beside = path.with_suffix(".new")
    beside.write_bytes(data)
    beside.replace(path)
    return str(path)


async def test_it_serves_a_file_follows_it_and_ends_at_sigterm(simulator: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    first = pool(provider("only", f"{simulator.provider_url('only')}/v1", credentials=(KEY,)))
    async with (
        started(TIDEGATE_CONFIG_FILE=write(path, config(first)), MY_KEY=CANARY) as program,
        aiohttp.ClientSession() as client,
    ):
        await program.logs(IN_FORCE)
        url = f"{program.url}/openai/v1/chat/completions"
        async with client.post(url, json=ask()) as answer:
            assert answer.status == 200
            request_id = answer.headers["x-tidegate-request-id"]
        async with client.get(f"{program.admin_url}/readyz") as answer:
            assert answer.status == 200

        write(path, config(first, allow_models=(allow("nothing"),)))
        await program.logs(IN_FORCE)
        async with client.post(url, json=ask()) as answer:
            assert answer.status == 403

        replace(path, b"{")
        await program.logs(b"refused")
        async with client.get(f"{program.admin_url}/healthz") as answer:
            assert (await answer.json())["config"]["state"] == "refused"
        async with client.get(f"{program.admin_url}/config") as answer:
            shown = await answer.text()

        program.process.send_signal(signal.SIGTERM)
        status, records = await program.ended()
        assert status == 0
        assert [record["status"] for record in records] == [200, 403]
        assert records[0]["request_id"] == request_id
        assert program.logged.count(b"refused") == 1
        assert CANARY not in f"{shown} {records} {program.logged.decode()}"
    assert simulator.requests[0].headers["authorization"] == f"Bearer {CANARY}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stream_in_flight_is_finished_first(tmp_path: Path, number: signal.Signals) -> None:
    async with raw_provider() as raw:
        path = write(tmp_path / "config.json", config(pool(provider("only", raw.url))))
        async with started(TIDEGATE_CONFIG_FILE=path) as program:
            await program.logs(IN_FORCE)
            async with await Connection.open("127.0.0.1", program.app_port) as app:
                await app.post(ask(stream=True))
                call = await raw.next()
                await call.begin_stream()
                await call.event(delta("before"))
                await app.read_until(delta("before"))
                program.process.send_signal(number)
                await program.logs(b"stopping: 1 calls in flight")
                await call.event(delta("after", "stop") + DONE)
                await call.end_stream()
                assert DONE in await app.rest()
            status, records = await program.ended()
            assert (status, [record["ending"] for record in records]) == (0, ["served"])


async def test_calls_that_had_to_be_cut_are_told_by_the_status(tmp_path: Path) -> None:
    async with raw_provider() as raw:
        path = write(tmp_path / "config.json", config(pool(provider("only", raw.url))))
        async with started(TIDEGATE_CONFIG_FILE=path, TIDEGATE_GRACE_MS="50") as program:
            await program.logs(IN_FORCE)
            async with await Connection.open("127.0.0.1", program.app_port) as app:
                await app.post(ask())
                await raw.next()
                program.process.send_signal(signal.SIGTERM)
                status, records = await program.ended()
            assert (status, [record["ending"] for record in records]) == (1, ["failed"])
            assert b"stopping with 1 calls cut" in program.logged


@pytest.mark.parametrize(
    ("environment", "lines"),
    [
        ({}, ["TIDEGATE_CONFIG_FILE"]),
        (
            {"TIDEGATE_LISTEN": "nonsense", "TIDEGATE_GRACE_MS": "soon", "TIDEGATE_MAX_BODY_BYTES": "7"},
            [
                "TIDEGATE_LISTEN: 'nonsense' is not an address; write HOST:PORT",
                "TIDEGATE_GRACE_MS='soon': expected an integer from 0 to 3600000",
                "TIDEGATE_MAX_BODY_BYTES='7': expected an integer from 1024 to",
            ],
        ),
    ],
    ids=["no source", "three wrong"],
)
async def test_bad_settings_end_it_at_once_with_a_line_for_each(
    environment: dict[str, str], lines: list[str]
) -> None:
    async with started(**environment) as program:
        status, records = await program.ended()
        assert (status, records) == (2, [])
        logged = program.logged.decode()
        assert len(logged.splitlines()) == len(lines)
        for line in lines:
            assert line in logged


@pytest.mark.parametrize(
    "text", ["", ":1", "host", "1.2.3.4:", "1.2.3.4:-1", "1.2.3.4:65536", "[::1]", "x:\u0661"]
)
def test_an_address_that_is_none_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"write HOST:PORT, e\.g\. 127\.0\.0\.1:19280"):
        parse_address(text)


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:19280", "localhost:65535"])
def test_an_address_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_address(text)) == text


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "config.json", config())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with started(TIDEGATE_CONFIG_FILE=path, TIDEGATE_LISTEN=address) as program:
            status, _ = await program.ended()
    assert status == 1
    assert f"{address} is already in use" in program.logged.decode()
    assert b"Traceback" not in program.logged


async def test_a_reader_of_records_that_goes_away_ends_nothing(simulator: Simulator, tmp_path: Path) -> None:
    """`tidegate-sidecar | head -1` must not stop the calls of an application."""
    path = write(tmp_path / "config.json", config(pool(provider("only", f"{simulator.url}/v1"))))
    async with started(TIDEGATE_CONFIG_FILE=path) as program, aiohttp.ClientSession() as client:
        await program.logs(IN_FORCE)
        transport: Any = program.process._transport  # type: ignore[attr-defined]
        transport.get_pipe_transport(1).close()
        for _ in range(5):
            async with client.post(f"{program.url}/v1/chat/completions", json=ask()) as answer:
                assert answer.status == 200
        async with client.get(f"{program.admin_url}/metrics") as answer:
            assert "tidegate_records_dropped_total" in await answer.text()
        program.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await program.process.wait() in (0, 120)

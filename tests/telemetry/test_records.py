"""One line per call, which says what was asked, what was decided and why, and what came of it."""

from __future__ import annotations

import io
import json
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import allow, config, consumer, limit, model, pool, provider
from tidegate_testing.sidecar import running_sidecar

from tidegate_cli.simulator.server import Simulator
from tidegate_policy.model import Mode
from tidegate_sidecar.telemetry.records import CallRecord, LineWriter, to_json


async def test_a_served_call_has_a_record_with_everything(simulator: Simulator) -> None:
    clock = FakeClock()
    cfg = config(
        pool(
            provider(
                "first", f"{simulator.provider_url('first')}/v1", models=(model("gpt-test", "", "small"),)
            ),
            provider("second", f"{simulator.provider_url('second')}/v1", priority=1),
        ),
        consumer=consumer(),
        rate_limits=(limit("shadow", mode=Mode.SHADOW, burst=1, models=("gpt-*",)),),
    )
    async with running_sidecar(cfg, clock=clock.clock) as sidecar:
        await sidecar.chat(headers={"x-user-id": "alice"})
        answer = await sidecar.chat(
            "small",
            headers={"x-user-id": "alice", "x-simulate-status": "500", "x-simulate-only": "first"},
        )
        document = json.loads(to_json(sidecar.records.last))
        assert document == {
            "time": datetime.fromtimestamp((1_790_000_000_000_000_000 + clock.now_ns) / 1e9, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "request_id": answer.headers["x-tidegate-request-id"],
            "dialect": "OpenAI",
            "operation": "Chat",
            "stream": False,
            "consumer": "alice",
            "requested_model": "small",
            "model": "gpt-test",
            "pool": "team-a/main",
            "provider": "second",
            "status": 200,
            "ending": "served",
            "would_refuse": [
                {"object": "AIPolicy team-a/chat", "rule": "shadow", "code": "rate_limit_exceeded"}
            ],
            "attempts": [
                {
                    "provider": "first",
                    "result": "ServerError",
                    "status": 500,
                    "reason": "it answered 500",
                    "duration_ms": 0,
                },
                {"provider": "second", "result": "ok", "status": 200, "reason": "", "duration_ms": 0},
            ],
            "input_tokens": 1,
            "output_tokens": 6,
            "usage": "reported",
            "duration_ms": 0,
            "config": sidecar.pipeline.digest[:12],
            "namespace": "team-a",
            "workload": "chat",
        }


async def test_a_record_holds_nothing_of_what_was_said(simulator: Simulator) -> None:
    cfg = config(pool(provider("only", f"{simulator.url}/v1")), allow_models=(allow("gpt-*"),))
    async with running_sidecar(cfg) as sidecar:
        for streaming in (False, True):
            await sidecar.chat(
                stream=streaming, messages=[{"role": "user", "content": "confidential question"}], user="bob"
            )
        await sidecar.send(b'{"confidential": "malformed')
        written = b"".join(map(to_json, sidecar.records.all)).decode()
    assert "confidential" not in written
    assert "Simulated answer" not in written


async def test_usage_of_zero_is_zero_and_not_unknown(simulator: Simulator) -> None:
    cfg = config(pool(provider("only", f"{simulator.url}/v1")))
    async with running_sidecar(cfg) as sidecar:
        await sidecar.chat(headers={"x-simulate-input-tokens": "0", "x-simulate-output-tokens": "0"})
        record = sidecar.records.last
        assert (record.usage, record.input_tokens, record.output_tokens) == ("reported", 0, 0)
        await sidecar.chat(headers={"x-simulate-usage": "none"})
        record = sidecar.records.last
        assert (record.usage, record.input_tokens, record.output_tokens) == ("unreported", None, None)


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=400), st.text(max_size=400))
def test_a_record_is_one_line_whatever_is_in_it(named: str, reason: str) -> None:
    record = CallRecord(
        request_id="tg-1", started_wall_ns=0, requested_model=named, consumer=named, reason=reason
    )
    line = to_json(record)
    assert b"\n" not in line
    document = json.loads(line)
    assert document.get("requested_model", "") == document.get("consumer", "") == named[:256]
    assert document.get("reason", "") == reason


class TestTheWriter:
    def record(self, **changes: Any) -> CallRecord:
        return CallRecord(request_id="tg-1", started_wall_ns=0, **changes)

    def test_writes_all_that_waits_before_it_ends(self) -> None:
        stream = io.BytesIO()
        buffered = io.BufferedWriter(_Raw(stream), 2**20)
        with LineWriter(buffered, lambda: None) as writer:
            for _ in range(100):
                writer(self.record())
        assert stream.getvalue().count(b"\n") == 100

    def test_drops_and_counts_what_nobody_takes(self) -> None:
        """A reader that stalls must not stall calls."""
        reading, dropped = threading.Event(), []

        class Stalled(io.BytesIO):
            def write(self, data: Any) -> int:
                assert reading.wait(10)
                return super().write(data)

        with LineWriter(Stalled(), lambda: dropped.append(1), depth=5) as writer:
            for _ in range(100):
                writer(self.record())
            assert 94 <= len(dropped) <= 95
            reading.set()

    @pytest.mark.parametrize("error", [BrokenPipeError, ValueError])
    def test_goes_on_when_nobody_reads_any_more(self, error: type[Exception]) -> None:
        dropped = []

        class Closed(io.BytesIO):
            def write(self, _: Any) -> int:
                raise error

        with LineWriter(Closed(), lambda: dropped.append(1)) as writer:
            for _ in range(10):
                writer(self.record())
        assert len(dropped) == 10

    def test_survives_a_record_that_is_no_text(self) -> None:
        stream, dropped = io.BytesIO(), []
        with LineWriter(stream, lambda: dropped.append(1)) as writer:
            writer(self.record(consumer="\udcff"))
            writer(self.record(consumer="alice"))
        assert stream.getvalue().count(b"\n") == 1
        assert len(dropped) == 1


class _Raw(io.RawIOBase):
    """An unbuffered stream, as the end of a pipe is."""

    def __init__(self, inner: io.BytesIO) -> None:
        self._inner = inner

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._inner.write(bytes(data))

"""Bodies of all calls together: what there is no memory for is refused at once, and what is given back is there for the next."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate_testing.configs import config, pool, provider
from tidegate_testing.provider import COMPLETION, DONE, ProviderCall, RawProvider, raw_provider
from tidegate_testing.scripts import events
from tidegate_testing.sidecar import Answer, Sidecar, running_sidecar
from tidegate_testing.tasks import until
from tidegate_testing.wire import DEADLINE_S, ask

from tidegate_operator.compile.unmatched import pass_through
from tidegate_policy.model import CompiledConfig, ProviderType
from tidegate_sidecar.proxy.holding import SMALL_BYTES, MemoryBudget, Reservation
from tidegate_sidecar.telemetry.records import Ending, UsageState

ROOM = 4 * SMALL_BYTES


def only(url: str) -> CompiledConfig:
    return config(pool(provider("only", url)))


def passing(url: str) -> CompiledConfig:
    return pass_through({ProviderType.OPENAI: url}).config


def long(count: int) -> bytes:
    """A call whose body has so many bytes."""
    document: dict[str, Any] = ask(padding="")
    document["padding"] = "x" * (count - len(json.dumps(document)))
    return json.dumps(document).encode()


@dataclass(frozen=True, slots=True)
class NearlyFull:
    """A sidecar in which a call holds three quarters of the room, and the provider that lets it wait."""

    sidecar: Sidecar
    raw: RawProvider
    _asked: ProviderCall
    _large: asyncio.Task[Answer]

    async def answered(self, call: Coroutine[Any, Any, Answer]) -> Answer:
        """What becomes of another call, which the provider answers at once."""
        async with asyncio.TaskGroup() as tasks:
            sent = tasks.create_task(call)
            await (await self.raw.next()).answer(COMPLETION)
        return sent.result()

    async def make_room(self) -> None:
        """Let the large call end."""
        await self._asked.answer(COMPLETION)
        assert (await self._large).status == 200


@asynccontextmanager
async def nearly_full() -> AsyncIterator[NearlyFull]:
    async with (
        raw_provider() as raw,
        running_sidecar(only(raw.url), max_held_bytes=ROOM) as sidecar,
        asyncio.TaskGroup() as tasks,
    ):
        large = tasks.create_task(sidecar.send(long(3 * ROOM // 4)))
        yield NearlyFull(sidecar, raw, await raw.next(), large)


async def test_a_body_without_room_gets_503_and_goes_through_once_there_is_some() -> None:
    async with nearly_full() as full:
        sidecar = full.sidecar
        assert await sidecar.metric("tidegate_held_bytes") == 3 * ROOM // 4

        refused = await sidecar.send(long(ROOM // 2))
        assert (refused.status, refused.code) == (503, "provider_unavailable")
        assert refused.headers["retry-after"] == "1"
        for word in ("TIDEGATE_MAX_HELD_BYTES", "tidegate.dev/memory-limit", str(ROOM)):
            assert word in refused.text
        assert sidecar.records.last.ending is Ending.FAILED

        assert (await full.answered(sidecar.chat())).status == 200
        await full.make_room()
        assert (await full.answered(sidecar.send(long(ROOM // 2)))).status == 200


async def pieces(body: bytes) -> Any:
    """A body whose length nobody has told."""
    for begin in range(0, len(body), 2**14):
        yield body[begin : begin + 2**14]


@pytest.mark.parametrize("way", ["of unknown length", "compressed"])
async def test_no_way_of_sending_evades_the_count(way: str) -> None:
    async with nearly_full() as full:
        if way == "compressed":
            packed = gzip.compress(long(ROOM // 2))
            assert len(packed) < ROOM // 8
            refused = await full.sidecar.send(packed, headers={"content-encoding": "gzip"})
        else:
            refused = await full.sidecar.send(pieces(long(ROOM // 2)))
        assert (refused.status, refused.code) == (503, "provider_unavailable")
        await full.make_room()


async def test_who_asks_whether_to_send_is_told_before_sending() -> None:
    async with nearly_full() as full, await full.sidecar.connect() as app:
        await app.send(
            b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n"
            b"content-length: %d\r\n\r\n" % (ROOM // 2)
        )
        assert (await app.read_until(b"\r\n")).startswith(b"HTTP/1.1 503")
        await full.make_room()


async def test_an_application_that_hangs_up_within_its_body_gives_its_room_back() -> None:
    async with nearly_full() as full:
        async with await full.sidecar.connect() as app:
            await app.send(
                b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n{"
                % (ROOM // 8)
            )
            await until_held(full.sidecar, 7 * ROOM // 8)
        await until_held(full.sidecar, 3 * ROOM // 4)
        await full.make_room()


async def until_held(sidecar: Sidecar, count: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while await sidecar.metric("tidegate_held_bytes") != count:
            pass


@pytest.mark.parametrize("way", ["of known length", "of unknown length", "compressed"])
async def test_a_body_that_never_has_room_gets_413(way: str) -> None:
    body: Any = long(ROOM + 1)
    headers = {}
    if way == "of unknown length":
        body = pieces(body)
    elif way == "compressed":
        body, headers = gzip.compress(body), {"content-encoding": "gzip"}
    async with raw_provider() as raw, running_sidecar(only(raw.url), max_held_bytes=ROOM) as sidecar:
        refused = await sidecar.send(body, headers=headers)
        assert (refused.status, refused.code) == (413, "invalid_request")
        assert "TIDEGATE_MAX_HELD_BYTES" in refused.text
        assert raw.calls == []


@pytest.mark.parametrize(
    ("size", "usage"),
    [(SMALL_BYTES, UsageState.REPORTED), (ROOM // 2, UsageState.UNREPORTED)],
    ids=["small, its usage read", "large, relayed as it comes"],
)
async def test_an_answer_that_was_paid_for_comes_through_whatever_is_held(
    size: int, usage: UsageState
) -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(only(raw.url), max_held_bytes=ROOM) as sidecar,
        asyncio.TaskGroup() as tasks,
    ):
        call = tasks.create_task(sidecar.send(long(3 * ROOM // 4)))
        asked = await raw.next()
        padding = "x" * (size - len(json.dumps({**COMPLETION, "padding": ""})))
        body = json.dumps({**COMPLETION, "padding": padding}).encode()
        assert len(body) == size
        await asked.answer(body)
        assert (await call).body == body
        record = sidecar.records.last
        assert (record.ending, record.usage) == (Ending.SERVED, usage)


EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":"stop"}]}\n\n'


@pytest.mark.parametrize("served", [only, passing])
async def test_an_event_that_is_not_whole_yet_is_held(served: Callable[[str], CompiledConfig]) -> None:
    """A stream passes on whole events, so a large one is as much memory as an answer is."""
    event = EVENT % (b"x" * (ROOM // 2))
    async with (
        raw_provider() as raw,
        running_sidecar(served(raw.url), max_held_bytes=ROOM) as sidecar,
        asyncio.TaskGroup() as tasks,
    ):
        call = tasks.create_task(sidecar.chat(stream=True, headers={"authorization": "Bearer own"}))
        asked = await raw.next()
        await asked.begin_stream()
        await asked.event(event[:-2])
        await until(lambda: sidecar.listening.held.count >= len(event) - 2)
        await asked.event(event[-2:])
        await until(lambda: sidecar.listening.held.count < SMALL_BYTES)
        await asked.event(DONE)
        await asked.end_stream()
        assert event + DONE == (await call).body
        assert sidecar.records.last.ending is Ending.SERVED


async def test_an_event_without_room_is_told_and_says_nothing_of_its_provider() -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(only(raw.url), max_held_bytes=ROOM) as sidecar,
        asyncio.TaskGroup() as tasks,
    ):
        call = tasks.create_task(sidecar.chat(stream=True))
        asked = await raw.next()
        await asked.begin_stream()
        await asked.event(EVENT[:-2] % (b"x" * 2 * ROOM))
        answered = await call
        assert answered.status == 502
        assert "there is no room to hold an event of its stream" in answered.text
        assert [it.result for it in sidecar.records.last.attempts] == ["NotJudged"]
        await asked.gone()


async def test_an_event_without_room_is_let_through_unread() -> None:
    event = EVENT % (b"x" * 2 * ROOM)
    async with (
        raw_provider(events(event + DONE)) as raw,
        running_sidecar(passing(raw.url), max_held_bytes=ROOM) as sidecar,
    ):
        answered = await sidecar.chat(stream=True, headers={"authorization": "Bearer own"})
        assert answered.body == event + DONE
        assert sidecar.records.last.usage is UsageState.UNREPORTED


async def test_of_a_compressed_body_only_what_it_stands_for_is_held() -> None:
    body = json.dumps(ask(padding=random.Random(1).randbytes(3 * ROOM // 8).hex())).encode()  # noqa: S311
    packed = gzip.compress(body)
    assert len(body) < ROOM < len(body) + len(packed)
    async with (
        raw_provider() as raw,
        running_sidecar(only(raw.url), max_held_bytes=ROOM) as sidecar,
        asyncio.TaskGroup() as tasks,
    ):
        call = tasks.create_task(sidecar.send(packed, headers={"content-encoding": "gzip"}))
        asked = await raw.next()
        assert await sidecar.metric("tidegate_held_bytes") == len(body)
        await asked.answer(COMPLETION)
        assert (await call).status == 200


async def break_off(call: ProviderCall, body: bytes) -> None:
    """Half an answer, after which another provider is asked."""
    await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n" + body)
    call.close()


async def fail(call: ProviderCall, body: bytes) -> None:
    await call.answer(body, status=500)


@pytest.mark.parametrize(("answer_badly", "kept"), [(break_off, 0), (fail, ROOM // 2)])
async def test_of_an_answer_that_was_no_use_no_more_is_held_than_may_be_said_in_the_end(
    answer_badly: Callable[[ProviderCall, bytes], Awaitable[None]], kept: int
) -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(
            config(pool(provider("bad", raw.url), provider("good", raw.url, priority=1))), max_held_bytes=ROOM
        ) as sidecar,
        asyncio.TaskGroup() as tasks,
    ):
        body = json.dumps(ask()).encode()
        call = tasks.create_task(sidecar.send(body))
        await answer_badly(await raw.next(), b"x" * (ROOM // 2))
        second = await raw.next()
        held = await sidecar.metric("tidegate_held_bytes")
        assert held <= len(body) + kept
        await second.answer(COMPLETION)
        assert (await call).status == 200


async def test_an_error_without_room_is_passed_on_as_far_as_it_came() -> None:
    """Its status is the answer."""
    async with nearly_full() as full, asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(full.sidecar.chat())
        await (await full.raw.next()).answer(b"x" * ROOM, status=400)
        answer = await asked
        assert answer.status == 400
        assert SMALL_BYTES <= len(answer.body) <= ROOM // 4 + SMALL_BYTES
        await full.make_room()


@given(st.integers(1, 100), st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60), st.booleans())))
def test_never_more_is_held_than_may_be_and_all_of_it_is_given_back(
    limit: int, steps: list[tuple[int, int, bool]]
) -> None:
    held = MemoryBudget(limit)
    holds = [Reservation(held) for _ in range(5)]
    for number, count, is_over in steps:
        if is_over:
            holds[number].release()
        else:
            before = held.count
            assert holds[number].grow(count) is (before + count <= limit)
        assert held.count == sum(hold.count for hold in holds) <= limit
    for hold in holds:
        hold.release()
        hold.release()
    assert held.count == 0

"""The board wakes who has something to look at, a few at a time, and nobody else."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

from tidegate_testing import configs
from tidegate_testing.publisher import CHAT, edition

from tidegate_operator.index.snapshot import Workload
from tidegate_operator.publish.board import Board, Watch
from tidegate_policy import wire
from tidegate_policy.envelope import AsOf, Secrets

CONFIG = configs.config(configs.pool(configs.provider("one", "http://one.test")))
SEEN = Watch(CHAT, wire.digest(CONFIG))


class Waiting:
    """Polls that wait at a board."""

    def __init__(self, board: Board, tasks: asyncio.TaskGroup) -> None:
        self._board = board
        self._tasks = tasks

    async def add(self, watch: Watch, count: int = 1, wait_s: float = 30) -> list[asyncio.Task[None]]:
        before = self._board.waiting
        added = [self._tasks.create_task(self._board.changed(watch, wait_s)) for _ in range(count)]
        while self._board.waiting != before + count:  # noqa: ASYNC110 - the tasks have to begin
            await asyncio.sleep(0)
        return added


async def test_only_a_change_of_its_own_wakes_a_poll() -> None:
    board = Board()
    other = Workload(namespace="team-b", kind="Deployment", name="other")
    board.publish(edition((CHAT, CONFIG), (other, CONFIG)))
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        waiting = Waiting(board, tasks)
        await waiting.add(SEEN, 3)
        await waiting.add(Watch(other, SEEN.digest), 2)
        assert repr(board).endswith("5 polls in 2 groups>")
        board.publish(edition((CHAT, configs.config()), (other, CONFIG)))
        assert board.waiting == 2
        board.publish(edition((CHAT, CONFIG), (other, CONFIG), AIPolicy=3))
        assert board.waiting == 2
        board.publish(edition())
        assert board.waiting == 0


async def test_a_replica_that_caught_up_wakes_those_who_were_ahead() -> None:
    board = Board()
    board.publish(edition((CHAT, CONFIG), AIPolicy=1))
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        await Waiting(board, tasks).add(Watch(CHAT, ahead=AsOf.of(0, {"AIPolicy": 3})))
        board.publish(edition((CHAT, CONFIG), AIPolicy=2))
        assert board.waiting == 1
        board.publish(edition((CHAT, CONFIG), AIPolicy=3))
        assert board.waiting == 0


async def test_new_secrets_are_for_their_namespace_alone() -> None:
    board = Board()
    other = Workload(namespace="team-b", kind="Deployment", name="other")
    both = edition((CHAT, CONFIG), (other, CONFIG))
    board.publish(both)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        waiting = Waiting(board, tasks)
        await waiting.add(SEEN)
        (poll,) = await waiting.add(Watch(other, SEEN.digest))
        newer = replace(both, secrets={CHAT.namespace: Secrets(generation="2")})
        board.publish(newer)
        assert board.waiting == 1
        assert not poll.done()
        assert newer.secrets_for(other.namespace) == Secrets()
        board.wake_all()


async def test_new_authorities_are_for_everybody() -> None:
    board = Board()
    board.publish(edition((CHAT, CONFIG)))
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        waiting = Waiting(board, tasks)
        await waiting.add(SEEN)
        board.announce("pem")
        assert board.waiting == 0
        poll = await waiting.add(SEEN)
        board.announce("pem")
        assert board.waiting == 1
        board.wake_all()
        await poll[0]


async def test_a_wait_ends_by_itself_and_leaves_nothing() -> None:
    board = Board()
    board.publish(edition((CHAT, CONFIG)))
    async with asyncio.timeout(30):
        await board.changed(SEEN, 0.001)
    assert (board.waiting, board._waiting) == (0, {})


async def test_a_poll_that_hangs_up_leaves_nothing() -> None:
    board = Board()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        (poll,) = await Waiting(board, tasks).add(SEEN)
        poll.cancel()
    assert board._waiting == {}


async def test_many_polls_are_woken_a_few_at_a_time() -> None:
    """Between two handfuls the loop does what else is due: a probe never waits for ten thousand answers."""
    board = Board(wake_at_once=10)
    done: list[int] = []
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        polls = await Waiting(board, tasks).add(SEEN, 1_000)
        for poll in polls:
            poll.add_done_callback(lambda _: done.append(1))
        board.publish(edition())
        turns, seen = 0, []
        while len(done) < 1_000:
            await asyncio.sleep(0)
            turns += 1
            seen.append(len(done))
    assert turns >= 100
    assert all(later - earlier <= 10 for earlier, later in itertools.pairwise(seen))

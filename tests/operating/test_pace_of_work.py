"""When the loop wakes: after quiet, but never later than the limit; and nothing that happened in between is lost."""

import asyncio

from tidegate_operator.handlers.informer import Marks
from tidegate_operator.index.objects import Change


async def test_a_change_is_looked_at_after_quiet() -> None:
    marks = Marks()
    marks.mark(Change.CONTENT)
    async with asyncio.timeout(30):
        await marks.settled(0.01, 60)
    assert marks.take() is Change.CONTENT
    assert marks.take() is Change.NOTHING


async def test_changes_without_end_are_looked_at_all_the_same() -> None:
    marks = Marks()

    async def restless() -> None:
        while True:
            marks.mark(Change.STATUS)
            await asyncio.sleep(0)

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(restless())
        await marks.settled(60, 0.05)
        task.cancel()
    assert marks.take() is Change.STATUS


async def test_statuses_written_without_end_do_not_hold_up_a_compile() -> None:
    marks = Marks()

    async def restless() -> None:
        while True:
            marks.mark(Change.STATUS)
            await asyncio.sleep(0)

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(restless())
        marks.mark(Change.CONTENT)
        await marks.settled(0.05, 60)
        task.cancel()
    assert marks.take() is Change.CONTENT


async def test_without_a_change_nobody_wakes() -> None:
    marks = Marks()
    marks.mark(Change.NOTHING)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(marks.settled(0, 0))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        marks.mark(Change.STATUS)
        async with asyncio.timeout(30):
            await waiting


async def test_the_larger_of_several_changes_is_what_counts() -> None:
    marks = Marks()
    for change in (Change.STATUS, Change.CONTENT, Change.STATUS):
        marks.mark(change)
    async with asyncio.timeout(30):
        await marks.settled(0, 0)
    assert marks.take() is Change.CONTENT


async def test_a_change_while_working_is_the_next_one() -> None:
    marks = Marks()
    marks.mark(Change.CONTENT)
    async with asyncio.timeout(30):
        await marks.settled(0, 0)
        marks.take()
        marks.mark(Change.STATUS)
        await marks.settled(0, 0)
    assert marks.take() is Change.STATUS

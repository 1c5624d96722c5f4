"""Makes the calls of the script, over the sidecar's real socket."""

from __future__ import annotations

import asyncio
from typing import IO, Final

import aiohttp

from tidegate_cli.terminal import say
from tidegate_cli.tour.breakers import BreakerWatch
from tidegate_cli.tour.journal import Journal
from tidegate_cli.tour.script import FIRST_PROVIDER, STEPS, Ask, Step
from tidegate_sidecar.settings import Address

PAUSE_S: Final = 0.7
"""Between the steps on a terminal, where somebody reads along."""

CALL_S: Final = 30.0
"""A call of the script that takes longer is a fault."""


async def show(address: Address, breakers: BreakerWatch, journal: Journal, to: IO[str]) -> bool:
    """Go through the script once; whether every call ended as the script says."""
    surprises = 0
    async with aiohttp.ClientSession(
        f"http://{address}", timeout=aiohttp.ClientTimeout(total=CALL_S), trust_env=False
    ) as session:
        journal.heading()
        for step in STEPS:
            await asyncio.sleep(PAUSE_S if to.isatty() else 0)
            surprises += await _step(session, breakers, journal, step, to)
    counts = ", ".join(
        f"{count} {ending.value.replace('_', ' ')}" for ending, count in journal.endings.most_common()
    )
    say(to=to)
    say(
        f"{journal.calls} calls: {counts}; {journal.failovers} of them were answered by another provider.",
        to=to,
    )
    if surprises:
        say(
            f"{surprises} ended otherwise than the script expects of the files as they come.",
            style="red",
            to=to,
        )
    return not surprises


async def _step(
    session: aiohttp.ClientSession, breakers: BreakerWatch, journal: Journal, step: Step, to: IO[str]
) -> int:
    """One step; how many of its calls ended otherwise than the script says."""
    surprises = 0
    say(to=to)
    say(step.title, style="bold", to=to)
    if step.is_after_recovery:
        wait_ms = breakers.wait_ms(FIRST_PROVIDER)
        say(f"      waiting {wait_ms / 1_000:.1f} s", style="dim", to=to)
        await asyncio.sleep(wait_ms / 1_000)
    for ask in step.asks:
        expected = journal.calls + 1
        await _call(session, ask)
        async with asyncio.timeout(CALL_S):
            await journal.wait_for(expected)
        surprises += journal.last is not ask.ending
    return surprises


async def _call(session: aiohttp.ClientSession, ask: Ask) -> None:
    async with session.post(ask.path, data=ask.body, headers=ask.all_headers) as response:
        # What it says is in the record; the body is read so that the call ends as an application's would.
        async for _ in response.content.iter_any():
            pass

"""`tidegate demo`: a scripted tour against simulated providers, or an example against a real one."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from tidegate_cli.commands.options import ERRORS, admin_option, listen_option
from tidegate_cli.commands.problems import choose_or_exit, compile_or_exit
from tidegate_cli.commands.run import SIMULATED, busy, settings_or_exit
from tidegate_cli.serving import Serving, keyring_of, missing_keys, serve
from tidegate_cli.signals import stop_on_signals
from tidegate_cli.terminal import say
from tidegate_cli.tour import guide
from tidegate_cli.tour.breakers import BreakerWatch
from tidegate_cli.tour.invitation import invitation
from tidegate_cli.tour.journal import Journal
from tidegate_policy.model import CompiledConfig, Dialect
from tidegate_runtime import logs, loop
from tidegate_sidecar.app import Listening
from tidegate_sidecar.credentials.keyring import Keyring
from tidegate_sidecar.downstream.listener import ListenError
from tidegate_sidecar.settings import Address

_MODELS: Final = {Dialect.OPENAI: "gpt-5.4-mini", Dialect.ANTHROPIC: "claude-haiku-5-5"}
"""What the invitation asks for."""
_PROVIDERS: Final = {dialect.value.lower(): dialect for dialect in _MODELS}
"""Folders of the examples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a demonstration is about.

    Attributes:
        dialect: of the calls that people are invited to make.
        scripted: the tour is made; otherwise nothing is sent but what people send.
        once: the process ends with the tour.
    """

    serving: Serving
    dialect: Dialect
    scripted: bool
    once: bool


@click.command()
@click.option(
    "--provider",
    type=click.Choice([*_PROVIDERS]),
    help="Serve examples/openai or examples/anthropic against the real, billed provider; sends nothing by itself.",
)
@click.option("--once", is_flag=True, help="End after the tour instead of serving on.")
@listen_option
@admin_option
def demo(*, provider: str | None, once: bool, listen: Address, admin: Address) -> None:
    """See limits, failover and breakers at work, on simulated providers and the files in examples/quickstart."""
    if provider and once:
        raise click.UsageError("--once ends after the tour, which is only made without --provider.")
    folder = _examples() / (provider or "quickstart")
    settings = settings_or_exit(listen, admin)
    compiled = compile_or_exit([folder])
    workload = choose_or_exit(compiled, None)
    config = compiled.compilation.configs[compiled.compilation.workloads[workload]]
    if provider:
        _announce_bills(config, keyring_of(settings))
    else:
        say(f"A sidecar with the files in {folder}. {SIMULATED}", style="bold", to=sys.stdout)
    plan = Plan(
        serving=Serving(
            settings=settings,
            paths=[folder],
            first=compiled,
            workload=workload,
            simulated=provider is None,
            warn=lambda text: say(text, style="yellow"),
        ),
        dialect=_PROVIDERS[provider] if provider else Dialect.OPENAI,
        scripted=provider is None,
        once=once,
    )
    logs.configure(logging.INFO, "%(levelname)s %(message)s")
    sys.exit(ERRORS if not loop.run(_demonstrate(plan)) else 0)


async def _demonstrate(plan: Plan) -> bool:
    """Serve until a signal or the end of the tour; whether all went as it should."""
    ended, stop = stop_on_signals(), asyncio.Event()
    journal = Journal(sys.stdout)
    tours: list[asyncio.Task[bool]] = []
    drained = False
    try:
        async with asyncio.TaskGroup() as tasks:

            def on_listening(listening: Listening) -> None:
                tours.append(tasks.create_task(_perform(plan, listening, journal, ended), name="tour"))
                tasks.create_task(_end(ended, tours, stop), name="end")

            drained = await serve(plan.serving, records=journal, on_listening=on_listening, stop=stop)
    except* ListenError as group:
        for error in group.exceptions:
            assert isinstance(error, ListenError)  # noqa: S101 - the clause lets nothing else in
            say(busy(error, plan.serving.settings))
    except* BrokenPipeError:
        # Whoever read along has gone, as `head` does: no fault, and nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return drained and (not plan.once or all(not tour.cancelled() and tour.result() for tour in tours))


async def _end(ended: asyncio.Event, tours: list[asyncio.Task[bool]], stop: asyncio.Event) -> None:
    """Stop the tour before the sidecar: its calls would fail, and that would be nobody's fault."""
    await ended.wait()
    for tour in tours:
        tour.cancel()
    await asyncio.wait(tours)
    stop.set()


async def _perform(plan: Plan, listening: Listening, journal: Journal, ended: asyncio.Event) -> bool:
    """The tour, and the invitation to go on by hand; whether the tour went as its script says."""
    address = listening.app[0]
    breakers = BreakerWatch(listening)
    journal.watch(breakers)
    as_scripted = not plan.scripted or await guide.show(address, breakers, journal, sys.stdout)
    if plan.once:
        ended.set()
        return as_scripted
    folder = plan.serving.paths[0]
    say(to=sys.stdout)
    say(
        f"Serving on http://{address}; your own calls appear below. Stop with Ctrl-C.",
        style="bold",
        to=sys.stdout,
    )
    say(f"Edit the files in {folder}: a change is in force within a second.", to=sys.stdout)
    say(f"Metrics and health: http://{listening.admin[0]}/metrics, /healthz", to=sys.stdout)
    say(to=sys.stdout)
    for line in invitation(address, plan.dialect, _MODELS[plan.dialect]):
        say(line, to=sys.stdout)
    say(to=sys.stdout)
    if not plan.scripted:
        journal.heading()
    return as_scripted


def _announce_bills(config: CompiledConfig, keyring: Keyring) -> None:
    """Say what calls cost and where the key comes from, before anything else; leave when there is none."""
    providers = [provider for pool in config.pools for provider in pool.providers]
    variables = sorted({it.environment_variable for provider in providers for it in provider.credentials})
    addresses = ", ".join(provider.base_url for provider in providers)
    names = " and ".join(variables)
    say(
        f"Calls go to the real provider ({addresses}) and are billed to the key in {names}.",
        style="bold",
        to=sys.stdout,
    )
    if any(True for _ in missing_keys(config, keyring)):
        say(f"{names} is not set. Set it (export {variables[0]}=...) and start again,")
        say("or start `tidegate demo` alone: simulated providers, no key, no cost.")
        sys.exit(ERRORS)


def _examples() -> Path:
    """The folder of examples: beside the package where it is installed, at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "examples", package.parents[1] / "examples"):
        if (folder / "quickstart").is_dir():
            return _shortest(folder)
    say("The examples are not there: they come with the package and with a checkout of the repository.")
    sys.exit(ERRORS)


def _shortest(folder: Path) -> Path:
    """As a person would write it who is where the process was started."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder

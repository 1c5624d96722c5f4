"""`tidegate simulate`: the simulated provider alone."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import click

from tidegate_cli.commands.options import ERRORS, AddressType
from tidegate_cli.signals import stop_on_signals
from tidegate_cli.simulator import server
from tidegate_cli.simulator.behaviour import INSTRUCTIONS, Behaviour, BehaviourError, behaviour_from_flags
from tidegate_cli.terminal import say
from tidegate_sidecar.downstream.listener import ListenError
from tidegate_sidecar.settings import Address


def _behaviour_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """One flag for each instruction that the simulator knows."""
    for instruction in reversed(INSTRUCTIONS):
        help_text = f"{instruction.effect[:1].upper()}{instruction.effect[1:]}: {instruction.allowed}."
        command = click.option(f"--{instruction.name}", metavar="VALUE", help=help_text)(command)
    return command


@click.command()
@click.option(
    "--listen",
    type=AddressType(),
    default="127.0.0.1:19300",
    show_default=True,
    help="Where the provider listens.",
)
@click.option("--require-key", is_flag=True, help="Answer 401 to calls without a provider key.")
@_behaviour_options
def simulate(*, listen: Address, require_key: bool, **flags: str | None) -> None:
    """Serve simulated OpenAI and Anthropic providers, which cost nothing and fail on demand.

    Each name is a provider of its own: /providers/NAME/v1/... A request can ask for a failure with the same words as
    the flags, as headers: `x-simulate-status: 500`, for some providers only with `x-simulate-only: NAME`.
    """
    try:
        behaviour = behaviour_from_flags(**flags)
    except BehaviourError as error:
        raise click.UsageError(str(error)) from error
    try:
        asyncio.run(_serve(listen, behaviour, server.Simulator(behaviour=behaviour, require_key=require_key)))
    except OSError as error:
        say(f"{ListenError(listen, error)}; choose another with --listen HOST:PORT.")
        sys.exit(ERRORS)


async def _serve(listen: Address, behaviour: Behaviour, simulator: server.Simulator) -> None:
    stopping = stop_on_signals()
    await simulator.start(listen.host, listen.port)
    try:
        say(f"Simulated providers listen on {simulator.url}; nothing here is billed. Stop with Ctrl-C.")
        say(f"OpenAI SDKs:    base_url={simulator.provider_url('demo')}/v1")
        say(f"Anthropic SDKs: base_url={simulator.provider_url('demo')}")
        if behaviour != Behaviour():
            say(f"Every call meets: {_changes(behaviour)}")
        await stopping.wait()
    finally:
        await simulator.stop()


def _changes(behaviour: Behaviour) -> str:
    usual = Behaviour()
    names = sorted({instruction.field for instruction in INSTRUCTIONS})
    return ", ".join(
        f"{name}={getattr(behaviour, name)}"
        for name in names
        if getattr(behaviour, name) != getattr(usual, name)
    )

"""`tidegate run`: the same files and the same data plane as on Kubernetes, in one process."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from tidegate_cli.commands.options import (
    ERRORS,
    USAGE,
    admin_option,
    allow_host_option,
    files_option,
    listen_option,
    unmatched_option,
    workload_option,
)
from tidegate_cli.commands.problems import choose_or_exit, compile_or_exit
from tidegate_cli.serving import Serving, serve
from tidegate_cli.terminal import say
from tidegate_policy.provider_types import PROVIDER_TYPES
from tidegate_runtime import logs, loop
from tidegate_sidecar import settings as process
from tidegate_sidecar.app import Listening
from tidegate_sidecar.downstream.listener import ListenError
from tidegate_sidecar.settings import Address, Settings
from tidegate_sidecar.telemetry.line_writer import LineWriter
from tidegate_sidecar.telemetry.metrics import Metrics
from tidegate_sidecar.upstream.tls import TlsFileError

SIMULATED: Final = (
    "Every provider is replaced by a simulated one and no key is used: nothing leaves this machine."
)


@click.command()
@files_option
@workload_option
@unmatched_option
@listen_option
@allow_host_option
@admin_option
@click.option(
    "--keys",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with the keys of ProviderCredentials of type Secret, a file for each. It is looked at while serving.",
)
@click.option("--demo", is_flag=True, help="Replace every provider by a simulated one: no key, no cost.")
def run(
    *,
    paths: tuple[Path, ...],
    workload: str | None,
    unmatched: str,
    listen: Address,
    allow_hosts: tuple[str, ...],
    admin: Address,
    keys: Path | None,
    demo: bool,
) -> None:
    """Enforce manifests on calls to this machine, and follow the files as they change.

    A record of each call goes to standard output, one JSON object per line; everything else to standard error. Keys
    are read from the environment variables that ProviderCredentials name, or from files in the folder --keys.
    """
    settings = settings_or_exit(listen, admin)
    settings = replace(settings, allow_hosts=(*settings.allow_hosts, *allow_hosts))
    if keys is not None:
        settings = replace(settings, keys_dir=str(keys))
    compiled = compile_or_exit(paths, unmatched)
    chosen = choose_or_exit(compiled, workload)
    serving = Serving(
        settings=settings,
        paths=paths,
        first=compiled,
        workload=chosen,
        simulated=demo,
        warn=lambda text: say(text, style="yellow"),
    )
    logs.configure(logging.INFO, "%(asctime)s %(levelname)s %(message)s")
    metrics = Metrics()
    try:
        with LineWriter(sys.stdout.buffer, metrics.records_dropped.inc) as records:
            drained = loop.run(
                serve(
                    serving,
                    records=records,
                    metrics=metrics,
                    on_listening=lambda it: _greet(it, serving),
                    flush=records.flush,
                )
            )
    except ListenError as error:
        say(busy(error, settings))
        sys.exit(ERRORS)
    except TlsFileError as error:
        say(str(error))
        sys.exit(USAGE)
    sys.exit(0 if drained else ERRORS)


def settings_or_exit(listen: Address, admin: Address) -> Settings:
    """The settings of the environment, with the addresses of the flags."""
    try:
        return replace(process.read(), listen=(listen,), admin=(admin,))
    except process.SettingsError as error:
        say(str(error))
        sys.exit(USAGE)


def busy(error: ListenError, settings: Settings) -> str:
    """What to do about an address that cannot be used."""
    flag = "--listen" if error.address in settings.listen else "--admin"
    return f"{error}; choose another with {flag} HOST:PORT."


def _greet(listening: Listening, serving: Serving) -> None:
    """Where it is, whom it speaks for, what is in force."""
    address = listening.app[0]
    config = serving.first.compilation.configs[serving.first.compilation.workloads[serving.workload]]
    policies = ", ".join(str(source) for source in config.sources)
    say(f"Speaking for {serving.workload}, to which these apply: {policies or 'none'}")
    if config.denials:
        say(f"Every call is refused: {config.denials[0].reason}", style="red")
    if config.pass_through:
        say("No policy applies: calls go out as they are, with the application's own key.", style="yellow")
    if serving.simulated:
        say(SIMULATED, style="bold")
    for traits in PROVIDER_TYPES.values():
        if traits.sdk is not None:
            say(f"{traits.sdk.url}=http://{address}{traits.sdk.path}")
    say(f"Health and metrics: http://{listening.admin[0]}/healthz, /readyz, /metrics, /config")

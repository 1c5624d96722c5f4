"""What several subcommands take."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from tidegate_operator.compile.unmatched import REFUSE, UNMATCHED
from tidegate_sidecar.settings import ADMIN_PORT, APP_PORT, Address, parse_address, parse_host

ERRORS: Final = 1
"""Exit code where files are wrong or something that is needed is not there."""

USAGE: Final = 2
"""Exit code where the command was called wrongly, the same that click uses."""


class AddressType(click.ParamType[Address]):
    """HOST:PORT."""

    name = "HOST:PORT"

    def convert(
        self, value: str | Address, param: click.Parameter | None, ctx: click.Context | None
    ) -> Address:
        """Read an address; what is none is a usage error."""
        if isinstance(value, Address):
            return value
        try:
            return parse_address(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class HostType(click.ParamType[str]):
    """A host's name or address, without a port."""

    name = "NAME"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read a host; what is none is a usage error."""
        try:
            return parse_host(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


files_option = click.option(
    "-f",
    "--file",
    "paths",
    metavar="PATH",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="A manifest, or a folder with manifests at any depth (*.yaml, *.yml, *.json). May be given several times.",
)

workload_option = click.option(
    "--workload",
    metavar="NAMESPACE/KIND/NAME",
    help="The workload to speak for, e.g. default/Deployment/chat; needed where the files apply differently to several.",
)

unmatched_option = click.option(
    "--unmatched",
    type=click.Choice(UNMATCHED),
    default=REFUSE,
    show_default=True,
    help="What becomes of calls of a workload to which no policy applies: they are denied, or go out as they are.",
)

listen_option = click.option(
    "--listen",
    type=AddressType(),
    default=f"127.0.0.1:{APP_PORT}",
    show_default=True,
    help="Where applications call.",
)

allow_host_option = click.option(
    "--allow-host",
    "allow_hosts",
    type=HostType(),
    multiple=True,
    help="Another name by which applications call, such as a container's; at any port. May be given several times.",
)

admin_option = click.option(
    "--admin",
    type=AddressType(),
    default=f"127.0.0.1:{ADMIN_PORT}",
    show_default=True,
    help="Where /healthz, /readyz, /metrics and /config are.",
)

"""`tidegate`: the command line's entry point."""

from __future__ import annotations

import io
import sys

import click

from tidegate_cli.commands.demo import demo
from tidegate_cli.commands.explain import explain
from tidegate_cli.commands.render import render
from tidegate_cli.commands.run import run
from tidegate_cli.commands.simulate import simulate
from tidegate_cli.commands.validate import validate


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tidegate", message="tidegate %(version)s")
def main() -> None:
    """Traffic policy for AI calls: limits, breakers, failover and keys, from the same files as on Kubernetes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What files and callers say is shown, whatever the terminal's encoding lacks; no text may end a process.
            stream.reconfigure(errors="backslashreplace")


for _command in (run, validate, render, explain, simulate, demo):
    main.add_command(_command)


if __name__ == "__main__":
    main()

"""`tidegate render`: the compiled configuration, as a sidecar gets it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from tidegate_cli.commands.options import files_option, unmatched_option, workload_option
from tidegate_cli.commands.problems import choose_or_exit, compile_or_exit
from tidegate_cli.compiling import Compiled
from tidegate_operator.compile.compilation import ClassKey
from tidegate_policy import wire


@click.command()
@files_option
@workload_option
@unmatched_option
@click.option("--all", "everything", is_flag=True, help="Print every class of workloads, as a list.")
@click.option(
    "--compact",
    is_flag=True,
    help="Print exactly the bytes that the digest is about, for TIDEGATE_CONFIG_FILE.",
)
def render(
    *, paths: tuple[Path, ...], workload: str | None, unmatched: str, everything: bool, compact: bool
) -> None:
    """Print the compiled configuration as JSON.

    The digest of the configuration and the workloads that get it go to standard error.
    """
    if everything and (workload or compact):
        raise click.UsageError(
            "--all goes with neither --workload nor --compact: it prints several configurations."
        )
    compiled = compile_or_exit(paths, unmatched)
    if everything:
        print(json.dumps([_class(compiled, key) for key in sorted(compiled.compilation.configs)], indent=2))
        return
    chosen = choose_or_exit(compiled, workload)
    config = compiled.compilation.configs[compiled.compilation.workloads[chosen]]
    print(f"{chosen}: sha256 {wire.digest(config)}", file=sys.stderr)
    if compact:
        sys.stdout.buffer.write(wire.encode(config))
    else:
        print(json.dumps(json.loads(wire.encode(config)), indent=2, ensure_ascii=False, sort_keys=True))


def _class(compiled: Compiled, key: ClassKey) -> dict[str, object]:
    config = compiled.compilation.configs[key]
    members = sorted(
        str(workload) for workload, its_key in compiled.compilation.workloads.items() if its_key == key
    )
    return {"workloads": members, "digest": wire.digest(config), "config": json.loads(wire.encode(config))}

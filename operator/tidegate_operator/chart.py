"""Writes what the chart takes from code: ``python -m tidegate_operator.chart [--check] charts/tidegate/files``.

The definitions of our kinds, the rights of our accounts and the webhook configuration have one source each, here in the
operator. The chart's templates add what only a release knows: its namespace, its labels, an injector's URL. With
``--check`` nothing is written; the exit code is 1 when a file differs or is not ours.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Final

from tidegate_operator.api.generate import crd_files
from tidegate_operator.api.generated import run
from tidegate_operator.api.yamltext import to_yaml
from tidegate_operator.cluster import rights
from tidegate_operator.inject.configuration import (
    Service,
    verifying_configuration,
    webhook_configuration,
)

NAMESPACE: Final = rights.NAMESPACE
"""Stands in the files where the release's namespace comes to stand; no name of ours contains it."""

HEADER: Final = "# Made by `make chart`; changes belong to {}.\n"


def chart_files() -> Mapping[str, str]:
    """Path below the chart's folder `files` to content."""
    service, excluded = Service(namespace=NAMESPACE), [NAMESPACE]
    header = HEADER.format("operator/tidegate_operator/inject/configuration.py")
    return {
        **{f"crds/{name}": content for name, content in crd_files().items()},
        **{f"rbac/{name}": content for name, content in rights.files(NAMESPACE).items()},
        "webhooks/changing.yaml": header + to_yaml(webhook_configuration(service, excluded=excluded)),
        "webhooks/verifying.yaml": header + to_yaml(verifying_configuration(service, excluded=excluded)),
    }


def main(arguments: Sequence[str]) -> int:
    """Run the command line; the result is the exit code."""
    return run(
        arguments,
        chart_files(),
        description="Write the files that the chart takes from code.",
        command="make chart",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

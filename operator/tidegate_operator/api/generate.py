"""Writes the CRDs from the API models: ``python -m tidegate_operator.api.generate [--check] DIR``.

With ``--check`` nothing is written; the exit code is 1 when a file differs from what would be written, or when one is
there that no kind accounts for.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from tidegate_operator.api.crd import custom_resource_definition
from tidegate_operator.api.generated import run
from tidegate_operator.api.kinds import GROUP, KINDS
from tidegate_operator.api.yamltext import to_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEADER: Final = "# Made by `make crds` from operator/tidegate_operator/api; changes belong there.\n"


def crd_files() -> Mapping[str, str]:
    """File name to content."""
    return {
        f"{GROUP}_{kind.plural}.yaml": HEADER + to_yaml(custom_resource_definition(kind))
        for kind in KINDS.values()
    }


def main(arguments: Sequence[str]) -> int:
    """Run the command line; the result is the exit code."""
    return run(arguments, crd_files(), description="Write the CRDs from the API models.", command="make crds")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

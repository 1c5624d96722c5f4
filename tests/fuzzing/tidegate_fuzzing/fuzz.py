"""One target in a process of its own: `python -m tidegate_fuzzing.fuzz TARGET`, and behind it what libFuzzer is told."""

from __future__ import annotations

import logging
import sys

import atheris


def main() -> None:
    """Fuzz until libFuzzer has had enough; it ends the process, by 0 if it found nothing."""
    name, *options = sys.argv[1:]
    logging.disable()  # what is logged of inputs that are wrong is looked at elsewhere
    with atheris.instrument_imports(include=["tidegate_sidecar"]):
        from tidegate_fuzzing.targets import TARGETS  # noqa: PLC0415 - what is imported here is watched
    atheris.Setup([sys.argv[0], *options], TARGETS[name].check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

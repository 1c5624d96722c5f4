"""`tidegate-injector`: gives opted-in pods their sidecar, as an admission webhook.

Settings come from the environment (`settings.py` lists them); logs go to standard error.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

from tidegate_operator.inject import settings as process
from tidegate_operator.inject.app import run_injector
from tidegate_operator.settings import SettingsError
from tidegate_runtime import logs, loop

_log = logging.getLogger("tidegate_operator.inject")


def main() -> int:
    """Run until a signal; 0 after a clean end, 1 when a part has failed, 2 for wrong settings."""
    try:
        settings = process.read()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.configure(settings.log_level)
    try:
        loop.run(run_injector(settings))
    except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - the last line of the process
        for cause in _causes(error):
            # An address that is taken says it all; of anything else the traceback is wanted.
            _log.critical(
                "the injector ends: %s", cause, exc_info=None if isinstance(cause, OSError) else cause
            )
        return 1
    return 0


def _causes(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _causes(inner)
    else:
        yield error


if __name__ == "__main__":
    sys.exit(main())

"""`tidegate-operator`: watches Tidegate's objects, serves configurations to sidecars, writes status.

Settings come from the environment (`settings.py` lists them); logs go to standard error.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator

from tidegate_operator import settings as process
from tidegate_operator.app import run_operator
from tidegate_operator.cluster.errors import ClusterError
from tidegate_operator.handlers.watch_engine import Spared, WatchingEndedError
from tidegate_runtime import logs, loop

_log = logging.getLogger("tidegate_operator")
_THREADS_END_S = 1.0

_EXPECTED = (ClusterError, OSError, WatchingEndedError)
"""What happens outside and ends the process: the message says it all, a traceback would hide it."""


def main() -> int:
    """Run until a signal; 0 after a clean end, 1 when a part has failed, 2 for wrong settings."""
    try:
        settings = process.read()
    except process.SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.configure(settings.log_level)
    if settings.log_level != "DEBUG":
        # kopf tells of each handler's success at INFO; what fails it tells at a higher level
        logging.getLogger("kopf").setLevel(logging.WARNING)
        for handler in logging.getLogger().handlers:
            handler.addFilter(Spared())
    try:
        loop.run(run_operator(settings))
    except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - the last line of the process
        for cause in _causes(error):
            _log.critical(
                "the operator ends: %s", cause, exc_info=None if isinstance(cause, _EXPECTED) else cause
            )
        return _end(1)
    return _end(0)


def _end(code: int) -> int:
    """Return the exit code, or end here and now where kopf's thread is left behind.

    The interpreter would be taken down under its event loop, which crashes the process: its end would be a signal's.
    """
    threads = [it for it in threading.enumerate() if it.daemon]
    ends_s = time.monotonic() + _THREADS_END_S
    for thread in threads:
        thread.join(max(0.0, ends_s - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        logging.shutdown()
        sys.stderr.flush()
        os._exit(code)
    return code


def _causes(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _causes(inner)
    else:
        yield error


if __name__ == "__main__":
    sys.exit(main())

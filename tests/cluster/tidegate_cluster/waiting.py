"""Waiting for something to become true, with a deadline: the only place of this package that sleeps."""

import time
from collections.abc import Callable

from tidegate_cluster.errors import DeadlinePassedError


def wait_until(condition: Callable[[], bool], *, within_s: float, what: str, every_s: float = 0.05) -> None:
    """Ask `condition` every `every_s` seconds until it holds.

    It is asked at least once, and once more after the deadline, so a slow machine is not blamed for its own
    sleep. `what` completes the sentence "… did not happen within 10 s".

    Raises:
        DeadlinePassedError: it did not hold within `within_s` seconds.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() >= deadline:
            raise DeadlinePassedError(f"{what} did not happen within {within_s:g} s")
        time.sleep(every_s)

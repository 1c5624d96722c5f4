"""What the holder of the Lease does, in parts that know nothing of each other."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any, Protocol

Tasks = Iterator[tuple[str, Coroutine[Any, Any, None]]]
"""What runs for as long as the process lives, each with its name."""


class Part(Protocol):
    """One part. It has an API client of its own, so that none waits for the calls of another.

    Every replica runs its tasks; whether this one may write is asked before each write.
    """

    async def prepare(self) -> None:
        """Read what the tasks need; everything has been listed."""
        ...

    def tasks(self) -> Tasks:
        """What has to run."""
        ...

    def lead_changed(self) -> None:
        """This replica may write now, or may no longer."""
        ...

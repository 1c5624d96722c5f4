"""Manifests as the sidecar's source of configurations: compiled, and compiled again when a file changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final

from tidegate_cli import files
from tidegate_cli.compiling import Compiled, compile_files
from tidegate_sidecar.config.source import Loaded, Refused

INTERVAL_MS: Final = 500
"""How often the folder is looked at."""

QUIET_MS: Final = 100
"""Files are read once they have not changed for so long: an editor or a checkout writes several times."""

MAX_SETTLING_MS: Final = 2_000
"""Files that keep changing are read after so long all the same."""

Chooser = Callable[[Compiled], Loaded | Refused]
"""What the files mean for one workload, or why they cannot be used."""


class ManifestSource:
    """A `ConfigSource` over files.

    Looks at names, inodes, sizes and times, so that files replaced by a rename and folders replaced by a swapped link
    (as Kubernetes mounts them) are seen as well.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        first: Compiled,
        chooser: Chooser,
        *,
        interval_ms: int = INTERVAL_MS,
        quiet_ms: int = QUIET_MS,
    ) -> None:
        """Begin with `first`, what `compile_files(paths)` has just said; times in milliseconds."""
        self._paths = paths
        self._first = first
        self._chooser = chooser
        self._interval_s = interval_ms / 1_000
        self._quiet_s = quiet_ms / 1_000
        self._last: Loaded | Refused | None = None

    def at_hand(self) -> Loaded | None:
        """What the files said when they were compiled first, where it can be used."""
        found = self._chooser(self._first)
        if not isinstance(found, Loaded):
            return None
        self._last = found
        return found

    async def updates(self) -> AsyncIterator[Loaded | Refused]:
        """Each change of what the files mean; a change that means nothing (a comment) yields nothing."""
        if self._last is None:
            self._last = self._chooser(self._first)
            yield self._last
        seen = self._first.signature
        while True:
            await asyncio.sleep(self._interval_s)
            if files.signature(self._paths) == seen:
                continue
            await self._settle()
            # In a thread: reading and compiling takes long enough for calls in flight to notice.
            compiled = await asyncio.to_thread(compile_files, self._paths, self._first.unmatched)
            seen = compiled.signature
            update = self._chooser(compiled)
            if update != self._last:
                self._last = update
                yield update

    async def _settle(self) -> None:
        """Wait until nobody writes any more."""
        before = files.signature(self._paths)
        for _ in range(max(1, int(MAX_SETTLING_MS / 1_000 / self._quiet_s))):
            await asyncio.sleep(self._quiet_s)
            now = files.signature(self._paths)
            if now == before:
                return
            before = now

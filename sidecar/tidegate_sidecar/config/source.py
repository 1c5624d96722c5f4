"""Where configurations come from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tidegate_policy import wire
from tidegate_policy.errors import ContractError
from tidegate_policy.model import CompiledConfig, WorkloadIdentity


def _ignore(_: str) -> None:
    """Most sources do not care what becomes of a configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration to put in force, and who this process speaks for.

    Attributes:
        outcome: called once, before the next item is asked for: with nothing when the configuration is in force, with
            the reason when it cannot be.
    """

    config: CompiledConfig
    identity: WorkloadIdentity
    outcome: Callable[[str], None] = field(default=_ignore, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The newest configuration is wrong: what is in force stays. `problem` says what to mend."""

    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing(Refused):
    """There has been no configuration yet: the operator could not be asked, or has none. Nothing is wrong with any."""


class ConfigSource(Protocol):
    """Yields what changed, forever: the first item as soon as there is one, later ones only when they differ.

    A source never ends and never raises for something a person could mend; such a problem is a `Refused`, once for
    each distinct problem.
    """

    def at_hand(self) -> Loaded | None:
        """What can be in force before the first call comes: read at once, from this machine; asked for once, first of all."""
        ...

    def updates(self) -> AsyncIterator[Loaded | Refused]:
        """The changes, in order; the first is another than what was at hand."""
        ...


class FileSource:
    """A file with one compiled configuration as `tidegate render` prints it, read again when it changes."""

    def __init__(self, path: Path, identity: WorkloadIdentity, interval_ms: int) -> None:
        """Look at `path` every `interval_ms` milliseconds."""
        self._path = path
        self._identity = identity
        self._interval_s = interval_ms / 1_000
        self._last: Loaded | Refused | None = None

    def at_hand(self) -> Loaded | None:
        """The file, where it is there and right."""
        found = self._read()
        if not isinstance(found, Loaded):
            return None
        self._last = found
        return found

    async def updates(self) -> AsyncIterator[Loaded | Refused]:
        """Changes of the file's content; a file that is missing or wrong is `Refused`."""
        while True:
            update = self._read()
            if update != self._last:
                self._last = update
                yield update
            await asyncio.sleep(self._interval_s)

    def _read(self) -> Loaded | Refused:
        try:
            return Loaded(config=wire.decode_config(self._path.read_bytes()), identity=self._identity)
        except OSError as error:
            return Refused(problem=f"{self._path}: {error.strerror or error}")
        except ContractError as error:
            return Refused(problem=f"{self._path}: {error}")

"""One run: all proxies started and checked, then rounds of measurements, then what they keep of memory."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from http.client import HTTPException
from typing import Final

from speed import contenders, installs, targets
from speed.calls import counts, first_event_ms
from speed.check import check
from speed.load import Loader
from speed.programs import BenchError
from speed.results import Results, Sample
from speed.targets import Grounds, Provider, Target
from speed.traffic import Row, Shape

FIRST: Final = Row(Shape.FIRST, 1, 1)
FIRST_CALLS: Final = 40
SETTLE_S: Final = 2.0
"""Before memory is read: what was just freed may be given back."""
TRIES: Final = 2
"""How often a measurement is made at most until it is quiet."""
NOTE_LINES: Final = 5
"""Of a log that goes with a note."""

Start = Callable[[Provider], AbstractContextManager[Target]]


class Session:
    """The processes of one run, and what was found so far."""

    def __init__(self, grounds: Grounds, provider: Provider, wrk: str, stack: ExitStack) -> None:
        """Nothing is started yet; what will be is ended with `stack`."""
        self.results = Results()
        self.peer_versions: dict[str, str] = {}
        self.is_on_debians_python = grounds.tidegate.is_on_debians_python
        self._grounds = grounds
        self._provider = provider
        self._loader = Loader(wrk, grounds.cores, provider, grounds.folder)
        self._stack = stack
        self._targets: dict[bool, list[Target]] = {}
        """By whether they reach the provider over TLS."""
        self._asked: Counter[int] = Counter()
        """Calls that certainly came to the provider through a proxy, by its port."""
        self._given_up: set[tuple[Row, str]] = set()
        """Peers that failed under a load."""

    def start(self, names: Sequence[str], rows: Sequence[Row]) -> None:
        """Start the proxies of these names, for plain and for TLS as the rows need it, and check what they do."""
        for tls in sorted({row.tls for row in rows}):
            provider = replace(self._provider, tls=tls)
            kinds = [*(row for row in rows if row.tls == tls), FIRST]
            here = self._targets[tls] = [contenders.nothing(provider)]
            for name in names:
                say(f"starting {name}{' over TLS' if tls else ''}")
                with self._excused(name):
                    target = self._stack.enter_context(self._how_to_start(name)(provider))
                    time.sleep(SETTLE_S)
                    idle_mib = target.program.rss_mib() if target.program else 0.0
                    check(target, kinds)
                    here.append(target)
                    if not tls:
                        self.results.idle_mib[name] = idle_mib

    def measure(self, rows: Sequence[Row], rounds: int, seconds: int) -> None:
        """Every proxy under every load in each round, each time in another order."""
        for number in range(rounds):
            for row in rows:
                say(f"round {number + 1} of {rounds}: {row}")
                for target in _rotated(self._targets[row.tls], number):
                    if (row, target.name) not in self._given_up:
                        with self._excused(target.name, row):
                            sample = self._quietest(target, row, seconds)
                            self.results.samples.setdefault((row, target.name), []).append(sample)
            say(f"round {number + 1} of {rounds}: first events")
            for target in _rotated(self._targets[False], number):
                with self._excused(target.name), self._counted(target, FIRST):
                    found_ms = first_event_ms(target, FIRST_CALLS)
                    self.results.first_event_ms.setdefault(target.name, []).append(found_ms)

    def finish(self) -> None:
        """Read the memory, and see that no call failed and no record is missing."""
        time.sleep(SETTLE_S)
        for target in self._targets[False]:
            if target.program is not None:
                self.results.loaded_mib[target.name] = target.program.rss_mib()
        complaints = self.results.complaints
        for target in (it for found in self._targets.values() for it in found):
            asked, records = self._asked[target.port], target.records
            if records is not None and not records.wait_for(asked):
                complaints.append(f"{target.name} wrote {records.count} records of {asked} calls or more")
            if target.name not in targets.PEERS and (failed := self.results.failed(target.name)):
                complaints.append(f"{target.name} failed {failed} calls")

    def soak(self, row: Row, calls: int, seconds: int) -> float:
        """Memory of Tidegate with its policies once it has served so many calls in all, in MiB."""
        target = self._targets[False][-1]
        if target.program is None or target.records is None:
            raise BenchError(f"{target.name} writes no records")
        say(f"{target.name}: {calls:,} calls")
        with self._counted(target, row), self._loader.loading(target, row, seconds) as wrk:
            while target.records.count < calls:
                if wrk.poll() is not None:
                    raise BenchError(f"{target.name} did not serve {calls:,} calls within {seconds} s")
                time.sleep(0.05)
        time.sleep(SETTLE_S)
        return target.program.rss_mib()

    def _quietest(self, target: Target, row: Row, seconds: int) -> Sample:
        """A measurement, made again where the machine's other work was in its way."""
        found: list[Sample] = []
        while len(found) < TRIES and not any(sample.is_quiet for sample in found):
            with self._counted(target, row):
                found.append(self._loader.measure(target, row, seconds))
        quietest = min(found, key=lambda sample: sample.others_busy)
        return replace(quietest, failed=sum(sample.failed for sample in found))

    def _how_to_start(self, name: str) -> Start:
        grounds, folder = self._grounds, self._grounds.folder
        match name:
            case targets.ENVOY:
                return partial(contenders.envoy, grounds)
            case targets.BARE:
                return partial(contenders.bare, grounds)
            case targets.LITELLM:
                program, self.peer_versions[name] = installs.litellm(folder / "litellm")
                return partial(contenders.litellm, grounds, program=program)
            case targets.PORTKEY:
                command, self.peer_versions[name] = installs.portkey(folder / "portkey")
                return partial(contenders.portkey, grounds, command=command)
            case _:
                return partial(contenders.tidegate, grounds, name=name)

    @contextmanager
    def _excused(self, name: str, row: Row | None = None) -> Iterator[None]:
        """What a peer cannot do is told at the end; what ours cannot do ends the bench."""
        try:
            yield
        except (BenchError, OSError, HTTPException) as error:
            if name not in targets.PEERS:
                raise BenchError(f"{name}: {error}") from error
            self.results.notes[name] = f"{row or 'not measured'}: {_short(str(error))}"
            if row is not None:
                self._given_up.add((row, name))

    @contextmanager
    def _counted(self, target: Target, row: Row) -> Iterator[None]:
        before = counts(self._provider).calls
        yield
        # As wrk ends it lets a call of each connection go, which may come to the provider in the time of the next proxy.
        strays = 2 * row.connections
        self._asked[target.port] += max(0, counts(self._provider).calls - before - strays)


def say(what: str) -> None:
    """Tell a person who waits; the tables go to standard output alone."""
    print(what, file=sys.stderr, flush=True)


def _short(text: str) -> str:
    """The first line, which says what is wrong, and the last ones of a log that may stand behind it."""
    first, *others = text.strip().splitlines()
    return "\n  ".join([first, *others[-NOTE_LINES:]])


def _rotated(targets: Sequence[Target], by: int) -> list[Target]:
    start = by % len(targets)
    return [*targets[start:], *targets[:start]]

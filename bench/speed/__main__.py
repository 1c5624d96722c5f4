"""`python -m speed`: start everything once, measure in rounds, print tables and bars, and leave the numbers in `build/bench`.

In each round every proxy is measured under every load, one after the other. The proxy under load has one core for itself, the
provider and wrk have the next. The exit code is 1 when a bar is missed or a call failed, 2 when something does not start or
does not do its work.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, Final

from speed import bars, contenders, installs, machine, report, targets
from speed.programs import BenchError
from speed.session import Session, say
from speed.targets import Grounds
from speed.traffic import Row, Shape

FULL: Final = [
    Row(shape, kib, connections, tls=tls)
    for tls, shape, kib, connections in product(
        (False, True), (Shape.WHOLE, Shape.APART, Shape.AT_ONCE), (1, 100), (1, 32, 256)
    )
] + [Row(Shape.ONE_PIECE, 1, 32)]
OURS: Final = (targets.RELAY, targets.POLICIES, targets.ENVOY, targets.BARE)
ROUNDS: Final = 5
FULL_ROUNDS: Final = 3
SOAK_CALLS: Final = 1_000_000
SOAK_S: Final = 3_000
"""How long wrk may take for them."""


def main() -> int:
    """Run the bench."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what runs is ended
    facts: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": installs.commit(),
        "machine": machine.facts(),
    }
    try:
        with ExitStack() as stack:
            grounds, session = _prepare(options, stack)
            facts["versions"] = _versions(grounds)
            found = _soak(session, options.soak) if options.soak else _measure(options, session)
            facts["versions"] |= session.peer_versions
            facts["machine"]["load_average_at_end"] = machine.load_average()
    except BenchError as error:
        print(f"the bench did not run: {error}", file=sys.stderr)
        return 2
    return _tell(session, found, facts)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="all 37 kinds of load instead of those with bars")
    parser.add_argument(
        "--peers", action="store_true", help="LiteLLM and Portkey as well, installed for this run alone"
    )
    parser.add_argument(
        "--soak",
        type=int,
        nargs="?",
        const=SOAK_CALLS,
        metavar="CALLS",
        help="only the memory after a million calls",
    )
    parser.add_argument("--rounds", type=int, help=f"default: {ROUNDS}, with --full {FULL_ROUNDS}")
    parser.add_argument("--seconds", type=int, default=2, help="each measurement's; default: 2")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--tidegate", type=Path, metavar="PROGRAM", help="another tidegate-sidecar to measure")
    which.add_argument("--python", metavar="PROGRAM", help="measure this tree on another interpreter")
    parser.add_argument("--envoy", type=Path, metavar="PROGRAM", help="another Envoy to compare with")
    return parser.parse_args()


def _prepare(options: argparse.Namespace, stack: ExitStack) -> tuple[Grounds, Session]:
    """Install what is missing, and start the provider."""
    wrk = installs.require("wrk")
    if options.python:
        say(f"installing this tree for {options.python}")
        tidegate = installs.tidegate_on(options.python)
    else:
        tidegate = installs.tidegate_at(options.tidegate or Path(sys.executable).parent / "tidegate-sidecar")
    envoy = options.envoy or installs.envoy()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidegate-bench-")))
    cores = machine.Cores.of_this_machine()
    os.sched_setaffinity(0, {cores.load})
    grounds = Grounds(folder=folder, cores=cores, tidegate=tidegate, envoy=envoy)
    return grounds, Session(grounds, stack.enter_context(contenders.provider(grounds)), wrk, stack)


def _measure(options: argparse.Namespace, session: Session) -> list[bars.Bar]:
    rows = FULL if options.full else bars.BAR_ROWS
    session.start([*OURS, *(targets.PEERS if options.peers else ())], rows)
    session.measure(rows, options.rounds or (FULL_ROUNDS if options.full else ROUNDS), options.seconds)
    session.finish()
    return list(bars.judge(session.results, is_on_debians_python=session.is_on_debians_python))


def _soak(session: Session, calls: int) -> list[bars.Bar]:
    session.start([targets.POLICIES], [bars.WHOLE])
    early_mib = session.soak(bars.WHOLE, bars.SOAK_EARLY_CALLS, SOAK_S)
    late_mib = session.soak(bars.WHOLE, calls, SOAK_S)
    session.finish()
    return [bars.judge_soak(early_mib, late_mib, calls)]


def _versions(grounds: Grounds) -> dict[str, str]:
    tidegate = grounds.tidegate
    return {
        "python": f"{tidegate.python_version} ({tidegate.python_executable})",
        **tidegate.packages,
        targets.ENVOY: installs.envoy_version(grounds.envoy),
        "wrk": installs.wrk_version(installs.require("wrk")),
    }


def _tell(session: Session, found: Sequence[bars.Bar], facts: dict[str, Any]) -> int:
    """Print everything, write it down, and judge."""
    for line in (*report.head(facts), *report.tables(session.results), *report.bar_table(found)):
        print(line)
    complaints = session.results.complaints
    file = installs.BUILD / f"speed-{facts['date'].replace(':', '')}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report.document(session.results, found, facts), indent=2), encoding="utf-8")
    print("", *complaints, f"written to {file}", sep="\n")
    return int(bool(complaints) or not all(bar.is_kept for bar in found))


if __name__ == "__main__":
    sys.exit(main())

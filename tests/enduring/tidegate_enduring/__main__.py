"""Endures so many calls, shared among processes. Fails where something is left of them."""

from __future__ import annotations

import argparse
import random
import subprocess
import sys

from tidegate_enduring.run import endure
from tidegate_runtime import loop


def main() -> int:
    """Run, in this process where there is but one."""
    parser = argparse.ArgumentParser(prog="python -m tidegate_enduring", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.processes == 1:
        sys.stdout.write(f"seed {arguments.seed}: {arguments.calls} calls\n")
        sys.stdout.flush()
        sys.stdout.write(f"seed {arguments.seed}:\n{loop.run(endure(arguments.calls, arguments.seed))}\n")
        return 0
    each = -(-arguments.calls // arguments.processes)
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tidegate_enduring",
                f"--calls={each}",
                f"--seed={arguments.seed + number}",
            ]
        )
        for number in range(arguments.processes)
    ]
    return max(abs(process.wait()) for process in processes)


if __name__ == "__main__":
    sys.exit(main())

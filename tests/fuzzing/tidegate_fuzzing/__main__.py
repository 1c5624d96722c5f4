"""Runs all targets for a bounded time, as many at once as there are processors. Fails where one of them found something."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tidegate_fuzzing.targets import SEEDS, TARGETS, Target

FOUND: Final = Path("build/fuzzing")
MAX_BYTES: Final = 2_048
"""Of an input: what is wrong with a parser is wrong with few bytes."""

INPUT_TIMEOUT_S: Final = 20
START_S: Final = 60
"""What a process may take beyond its time, before it is ended: imports are slow on a busy machine."""


def main() -> int:
    """Fuzz, or replay one input."""
    parser = argparse.ArgumentParser(prog="python -m tidegate_fuzzing", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="these alone")
    parser.add_argument("--replay", type=Path, help="run the target on this input, without atheris")
    arguments = parser.parse_args()
    targets = [TARGETS[name] for name in arguments.target or TARGETS]
    if arguments.replay is not None:
        (target,) = targets
        target.check(arguments.replay.read_bytes())
        return 0
    workers = os.cpu_count() or 1
    seconds = max(2, arguments.seconds * min(workers, len(targets)) // len(targets))
    FOUND.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(workers) as pool:
        good = list(pool.map(lambda target: fuzz(target, seconds), targets))
    return 0 if all(good) else 1


def fuzz(target: Target, seconds: int) -> bool:
    """Whether a target held for so long; what it was told is printed where it did not."""
    with tempfile.TemporaryDirectory() as folder:
        corpus, words = Path(folder, "corpus"), Path(folder, "words")
        corpus.mkdir()
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
        run = subprocess.run(
            [
                sys.executable, "-m", "tidegate_fuzzing.fuzz", target.name,
                f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-timeout={INPUT_TIMEOUT_S}", f"-dict={words}",
                f"-artifact_prefix={FOUND}/{target.name}-", str(corpus), str(SEEDS / target.name),
            ],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + START_S + INPUT_TIMEOUT_S,
            check=False,
        )  # fmt: skip
    tried = next((line for line in reversed(run.stderr.splitlines()) if line.startswith("Done ")), "")
    sys.stdout.write(f"{target.name}: {tried or 'found something'}\n")
    if run.returncode != 0:
        lines = f"{run.stdout}{run.stderr}".splitlines()
        sys.stdout.writelines(
            f"  {line}\n" for line in lines if not line.startswith(("#", "INFO:", "WARNING:", "0x"))
        )
        sys.stdout.write(
            f"replay: python -m tidegate_fuzzing --target {target.name} --replay {FOUND}/{target.name}-...\n"
        )
    sys.stdout.flush()
    return run.returncode == 0


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())

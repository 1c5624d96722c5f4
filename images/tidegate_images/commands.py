"""Running other programs: each with a deadline, its output shown only where it failed."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tidegate_images.errors import ImageError

_SHOWN_LINES = 30


def run(command: Sequence[str | Path], *, folder: Path, timeout_s: float = 1800) -> str:
    """Run a program and return its stdout.

    Raises:
        ImageError: it is missing, ended with another code than 0, or not within `timeout_s` seconds.
    """
    shown = " ".join(str(part) for part in command)
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ImageError(f"No end within {timeout_s:g} s: {shown}") from error
    except OSError as error:
        raise ImageError(f"Cannot be run ({error}): {shown}") from error
    if done.returncode != 0:
        tail = "\n  ".join((done.stdout + done.stderr).splitlines()[-_SHOWN_LINES:])
        raise ImageError(f"Ended with code {done.returncode}: {shown}\n  {tail}")
    return done.stdout


def need(program: str, package: str) -> None:
    """See that a program is installed.

    Raises:
        ImageError: it is not.
    """
    if shutil.which(program) is None:
        raise ImageError(
            f"{program} is not installed. On Debian: apt-get install -y --no-install-recommends {package}. "
            "With Docker it is not needed: see docs/real-cluster.md."
        )

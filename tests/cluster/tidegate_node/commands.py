"""Running the machine's own programs (ip, mount, ctr), each with a deadline."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tidegate_cluster.errors import ClusterError

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""All that they and the node's programs see: root's usual path, no proxies, nobody's home."""
_LIMIT_S = 30.0


class CommandFailedError(ClusterError):
    """A program ended with an error, or not in time. The text carries what it printed."""


def run(*command: str | Path, stdin: str = "", timeout_s: float = _LIMIT_S) -> str:
    """Run a program and return its stdout.

    Raises:
        CommandFailedError: it ended with another code than 0, not within `timeout_s` seconds, or is missing.
    """
    done = attempt(*command, stdin=stdin, timeout_s=timeout_s)
    if done.returncode != 0:
        output = (done.stderr or done.stdout).strip()
        raise CommandFailedError(f"`{_shown(command)}` ended with code {done.returncode}: {output}")
    return done.stdout


def attempt(
    *command: str | Path, stdin: str = "", timeout_s: float = _LIMIT_S
) -> subprocess.CompletedProcess[str]:
    """Run a program whose failure is an answer, too.

    Raises:
        CommandFailedError: it did not end within `timeout_s` seconds, or is missing.
    """
    try:
        return subprocess.run(
            [str(part) for part in command],
            env=ENVIRONMENT,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailedError(f"`{_shown(command)}` did not end within {timeout_s:g} s") from error
    except OSError as error:
        raise CommandFailedError(f"`{_shown(command)}` cannot be run: {error}") from error


def _shown(command: Sequence[str | Path]) -> str:
    return " ".join(str(part) for part in command)

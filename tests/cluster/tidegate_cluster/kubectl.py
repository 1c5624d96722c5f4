"""Running kubectl as a person would, but without that person's settings."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tidegate_cluster.errors import KubectlFailedError


def run_kubectl(
    program: Path, arguments: Sequence[str], *, kubeconfig: Path, stdin: str | None = None, timeout_s: float
) -> str:
    """Run kubectl and return what it printed to stdout; `stdin` is what `-f -` reads.

    Its caches go beside the kubeconfig.

    Raises:
        KubectlFailedError: it ended with another code than 0, or not within `timeout_s` seconds.
    """
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(kubeconfig.parent),
        "KUBECONFIG": str(kubeconfig),
        "KUBECTL_KUBERC": "false",  # a person's own aliases and defaults are not part of a test
        "GOGC": "400",  # it ends before its garbage matters
    }
    shown = " ".join(("kubectl", *arguments))
    try:
        result = subprocess.run(
            [program, *arguments],
            env=environment,
            input="" if stdin is None else stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise KubectlFailedError(f"`{shown}` did not end within {timeout_s:g} s") from error
    except OSError as error:
        raise KubectlFailedError(f"`{shown}` cannot be run: {error}") from error
    if result.returncode != 0:
        output = (result.stderr or result.stdout).strip()
        raise KubectlFailedError(f"`{shown}` ended with code {result.returncode}: {output}")
    return result.stdout

"""What is asked of the node's containerd, by `ctr`: images, and which process a container began with."""

import os
from pathlib import Path

from tidegate_node.commands import attempt, run
from tidegate_node.packages import program

_LIMIT_S = 300.0


class Containerd:
    """The containerd at one socket, as the kubelet sees it."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def answers(self) -> bool:
        """Tell whether it serves."""
        return attempt(*self._command("version")).returncode == os.EX_OK

    def load(self, archive: Path) -> None:
        """Take over the images of an archive (OCI or Docker).

        Raises:
            CommandFailedError: it is no such archive.
        """
        run(*self._command("images", "import", archive), timeout_s=_LIMIT_S)

    def images(self) -> list[str]:
        """Return the names of the images that are there."""
        return run(*self._command("images", "list", "--quiet")).split()

    def processes(self) -> dict[str, int]:
        """Return each running container's id and first process."""
        lines = run(*self._command("tasks", "list")).splitlines()[1:]
        return {fields[0]: int(fields[1]) for fields in (line.split() for line in lines)}

    def _command(self, *arguments: str | Path) -> list[str | Path]:
        return [program("ctr"), f"--address={self._socket}", "--namespace=k8s.io", *arguments]

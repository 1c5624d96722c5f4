"""The servers of one control plane: their ports, the order of start and stop, and the record of them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tidegate_cluster.errors import ClusterError, PortTakenError
from tidegate_cluster.ledger import Ledger
from tidegate_cluster.loopback import free_port
from tidegate_cluster.proc import mark_process
from tidegate_cluster.process import ServerProcess

READY_LIMIT_S = 60.0
_PORT_TRIES = 5


class Recipe(NamedTuple):
    """How to start a server on a port that was just found free."""

    arguments: Sequence[str]
    is_ready: Callable[[], bool]


class Servers:
    """Starts servers on free ports and remembers them; stops them in reverse."""

    def __init__(self, *, programs: Mapping[str, Path], folder: Path, ledger: Ledger | None) -> None:
        self._programs = programs
        self._folder = folder
        self._ledger = ledger
        self._processes: dict[str, ServerProcess] = {}  # in the order of their first start
        self._recipes: dict[str, Recipe] = {}
        self._ports: dict[str, int] = {}
        # All that the servers see: no proxies, no ETCD_* variables, nobody's home. The clusters are small and memory is
        # there: collecting garbage a fourth as often leaves more of the processors to the tests.
        paths = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder)}
        self._environment = paths | {"GOGC": "400"}

    def __repr__(self) -> str:
        """Show the state of each process."""
        return f"<Servers {self._ports} {list(self._processes.values())}>"

    def __contains__(self, name: str) -> bool:
        """Tell whether a server was started, whatever became of it."""
        return name in self._processes

    def port(self, name: str) -> int:
        """Return the port of a server that was started."""
        self._get(name)
        return self._ports[name]

    def start(self, name: str, recipe_for: Callable[[int], Recipe]) -> None:
        """Start a server on a free port and wait until it is ready.

        `recipe_for` is asked again with another port where somebody took the first one in between.

        Raises:
            StartFailedError: it did not start; the text has the end of its log.
        """
        if name in self._processes:
            raise ClusterError(f"{name} was started already")
        if name not in self._programs:
            raise ClusterError(f"There is no executable for {name} among {', '.join(self._programs)}")
        for tries_left in reversed(range(_PORT_TRIES)):
            port = self._ports[name] = free_port()
            recipe = self._recipes[name] = recipe_for(port)
            self._processes[name] = ServerProcess(
                name=name,
                command=[self._programs[name], *recipe.arguments],
                folder=self._folder,
                environment=self._environment,
            )
            try:
                self.restart(name)
            except PortTakenError:
                if not tries_left:
                    raise
            else:
                return

    def restart(self, name: str) -> None:
        """Start a stopped server again as it was, on the same port, and wait until it is ready.

        Raises:
            StartFailedError: it did not start; `PortTakenError` where its port is in use.
        """
        process = self._get(name)
        process.start()
        self._write_down()
        process.wait_until_ready(self._recipes[name].is_ready, within_s=READY_LIMIT_S)

    def stop(self, name: str) -> None:
        """Stop a server; nothing happens where it does not run."""
        self._get(name).stop()
        self._write_down()

    def kill(self, name: str) -> None:
        """End a server by SIGKILL; nothing happens where it does not run."""
        self._get(name).kill()
        self._write_down()

    def stop_all(self) -> None:
        """Stop all, the last started first, and forget them."""
        for name in reversed(self._processes):
            self.stop(name)
        self._processes.clear()

    def freeze(self, name: str) -> None:
        """Halt a server by SIGSTOP."""
        self._get(name).freeze()

    def thaw(self, name: str) -> None:
        """Let a halted server go on."""
        self._get(name).thaw()

    def failures(self) -> list[str]:
        """Say which servers ended although nobody stopped them, each with the end of its log."""
        return [
            f"{process.name} ended by itself. {process.log_tail()}"
            for process in self._processes.values()
            if process.has_failed
        ]

    def _get(self, name: str) -> ServerProcess:
        if name not in self._processes:
            raise ClusterError(f"{name} was not started")
        return self._processes[name]

    def _write_down(self) -> None:
        if self._ledger is None:
            return
        running = [(process.name, process.pid) for process in self._processes.values()]
        marks = [mark_process(name, pid) for name, pid in running if pid is not None]
        self._ledger.record(self._folder, [mark for mark in marks if mark is not None])

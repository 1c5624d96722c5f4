"""One server process: started, watched until ready, stopped, frozen; its output in a log file."""

import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tidegate_cluster.errors import DeadlinePassedError, PortTakenError, StartFailedError
from tidegate_cluster.proc import is_stopped
from tidegate_cluster.waiting import wait_until

_SHOWN_LINES = 20
_PORT_TAKEN = "address already in use"
_STOP_GRACE_S = 20.0
_SIGNAL_LIMIT_S = 5.0


class ServerProcess:
    """A process of ours that can be started and stopped repeatedly. Only what it started itself gets signals."""

    def __init__(
        self, *, name: str, command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._command = [str(part) for part in command]
        self._folder = folder
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._stop_asked = False

    def __repr__(self) -> str:
        """Show the state."""
        if self._process is None:
            return f"<{self.name}: not started>"
        code = self._process.poll()
        return f"<{self.name}: pid {self._process.pid}, {'runs' if code is None else f'ended with {code}'}>"

    @property
    def pid(self) -> int | None:
        """Process id while it runs (or is frozen), else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def has_failed(self) -> bool:
        """Whether it ended although nobody asked it to."""
        return self._process is not None and self._process.poll() is not None and not self._stop_asked

    def start(self) -> None:
        """Start it; see `wait_until_ready`.

        Raises:
            StartFailedError: the program cannot be executed.
        """
        if self.pid is not None:
            raise StartFailedError(f"{self.name} runs already, as process {self.pid}")
        self._stop_asked = False
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            try:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=self._folder,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # A group of its own: Ctrl-C in the terminal must not reach etcd while the API server needs it.
                    process_group=0,
                )
            except OSError as error:
                raise StartFailedError(f"{self.name} cannot be started: {error}") from error

    def wait_until_ready(self, probe: Callable[[], bool], *, within_s: float) -> None:
        """Poll `probe` until it holds and the process still lives.

        Raises:
            PortTakenError: it ended because its port is in use.
            StartFailedError: it ended otherwise, or was not ready in time (it is then stopped).
        """

        def has_ended_or_is_ready() -> bool:
            return self.pid is None or probe()

        try:
            wait_until(has_ended_or_is_ready, within_s=within_s, what=f"readiness of {self.name}")
        except DeadlinePassedError as error:
            self.stop()
            raise StartFailedError(f"{error}. {self.log_tail()}") from error
        if self._process is not None and self.pid is None:
            kind = PortTakenError if _PORT_TAKEN in self._log_of_this_start() else StartFailedError
            raise kind(
                f"{self.name} ended with code {self._process.returncode} before it was ready. {self.log_tail()}"
            )

    def stop(self) -> None:
        """End it and wait for that: SIGTERM, and SIGKILL after 20 seconds. Nothing happens where it does not run."""
        if self._process is None:
            return
        self._stop_asked = True
        if self._process.poll() is None:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)  # a frozen process takes SIGTERM only when it goes on
        try:
            self._process.wait(timeout=_STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """End it by SIGKILL and wait for that, as where it crashed. Nothing happens where it does not run."""
        if self._process is None:
            return
        self._stop_asked = True
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Halt it with SIGSTOP: it keeps its port and connections and answers nobody."""
        pid = self._running_pid()
        self._signal(signal.SIGSTOP)
        wait_until(lambda: is_stopped(pid), within_s=_SIGNAL_LIMIT_S, what=f"halt of {self.name}")

    def thaw(self) -> None:
        """Let a frozen process go on. Does nothing to one that runs."""
        self._running_pid()
        self._signal(signal.SIGCONT)

    def log_tail(self) -> str:
        """Name the log file and give its last lines, for an error message."""
        lines = self._log_of_this_start().splitlines()[-_SHOWN_LINES:]
        return "\n  ".join([f"The end of {self.log}:", *(lines or ["(empty)"])])

    def _running_pid(self) -> int:
        if self.pid is None:
            raise StartFailedError(f"{self.name} does not run. {self.log_tail()}")
        return self.pid

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _log_of_this_start(self) -> str:
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", errors="replace")

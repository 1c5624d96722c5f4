"""Programs started from an interpreter that has imported them already: a start costs milliseconds, not a second of CPU.

An interpreter imports a package's `__main__` with all that it needs, once for a session, and forks for each start. The
child is a process like another: its own environment, output, signals and exit code, and at its end all that Python
does then. What it does not repeat is the imports; tests/packaging and tests/e2e start the programs from nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self, TextIO

_MESSAGE_LIMIT_BYTES = 1 << 20
_DESCRIPTORS = 3
_START_LIMIT_S = 60.0


class PreparedProgram:
    """`python -W error -m <package>`, ready to be started any number of times; a context manager, for one thread."""

    def __init__(self, package: str) -> None:
        """Nothing runs yet."""
        self._package = package
        self._channel: socket.socket | None = None
        self._interpreter: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the interpreter, and do not wait for its imports."""
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(_START_LIMIT_S)
        with theirs:
            self._interpreter = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", __name__, self._package, str(theirs.fileno())],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},  # noqa: TID251 - as a child of ours
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C is for the tests, which end what they have started
            )
        return self

    def __exit__(self, *_: object) -> None:
        """End it; whatever it has started and still runs is killed."""
        if self._channel is not None:
            self._channel.close()
        if self._interpreter is not None:
            self._interpreter.wait()

    def start(
        self, *arguments: str, env: Mapping[str, str], stdout: int, stderr: int, cwd: str | None = None
    ) -> PreparedProcess:
        """Start the program.

        Args:
            arguments: for the program.
            env: its whole environment.
            stdout: descriptor, which remains the caller's.
            stderr: the same.
            cwd: its working directory; None for ours.
        """
        assert self._channel is not None, "not entered"
        ours, theirs = os.pipe()
        order = {"arguments": arguments, "env": dict(env), "cwd": cwd or os.getcwd()}  # noqa: PTH109 - text
        try:
            socket.send_fds(self._channel, [json.dumps(order).encode()], [stdout, stderr, theirs])
        finally:
            os.close(theirs)
        answer = self._channel.recv(32)
        if not answer:
            os.close(ours)
            raise AssertionError(
                f"the interpreter that has imported {self._package} ended; its words are above"
            )
        return PreparedProcess(int(answer), ours, arguments)


class PreparedProcess:
    """A started program, with what `subprocess.Popen` has for signals and the end."""

    def __init__(self, pid: int, status: int, arguments: Sequence[str]) -> None:
        self.pid = pid
        self.args = arguments
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not within so many seconds.
        """
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Nothing happens where it has ended."""
        if self.poll() is None:
            with contextlib.suppress(
                ProcessLookupError
            ):  # its end is known to the interpreter, and told in a moment
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout_s: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout_s)[0]:
            text = os.read(self._status, 32)
            os.close(self._status)
            self.returncode = int(text) if text else -signal.SIGKILL
        return self.returncode


class _Interpreter:
    """The other side: forks by order, and reports each child's end."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._children: dict[
            int, tuple[int, int]
        ] = {}  # handle of a process to its id, and to where its end is told

    def serve(self) -> dict[str, Any] | None:
        """In a child, return its order; in the interpreter itself, None when there are no more."""
        while True:
            channel = self._channel.fileno()
            ready, _, _ = select.select([channel, *self._children], [], [])
            for handle in ready:
                if handle != channel:
                    self._tell_end(handle)
            if channel in ready:
                message, descriptors, _, _ = socket.recv_fds(
                    self._channel, _MESSAGE_LIMIT_BYTES, _DESCRIPTORS
                )
                if not message:
                    self._end_all()
                    return None
                if (order := self._start(message, descriptors)) is not None:
                    return order

    def _start(self, message: bytes, descriptors: list[int]) -> dict[str, Any] | None:
        stdout, stderr, status = descriptors
        pid = os.fork()
        if pid == 0:
            os.dup2(stdout, 1)
            os.dup2(stderr, 2)
            self._channel.close()
            for it in (*descriptors, *self._children, *(status for _, status in self._children.values())):
                os.close(it)
            order: dict[str, Any] = json.loads(message)
            return order
        os.close(stdout)
        os.close(stderr)
        self._children[os.pidfd_open(pid)] = (pid, status)
        self._channel.send(str(pid).encode())
        return None

    def _tell_end(self, handle: int) -> None:
        pid, status = self._children.pop(handle)
        _, code = os.waitpid(pid, 0)
        with contextlib.suppress(BrokenPipeError):  # nobody asks any more
            os.write(status, str(os.waitstatus_to_exitcode(code)).encode())
        os.close(handle)
        os.close(status)

    def _end_all(self) -> None:
        for handle in list(self._children):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            self._tell_end(handle)


def _main(package: str, descriptor: int) -> None:
    importlib.import_module(f"{package}.__main__")
    with socket.socket(fileno=descriptor) as channel:
        order = _Interpreter(channel).serve()
    if order is None:
        return
    os.environ.clear()  # noqa: TID251 - as a new process has it
    os.environ.update(order["env"])  # noqa: TID251 - the same
    time.tzset()
    os.chdir(order["cwd"])
    # made for what the descriptors were before: a pipe cannot be sought in
    sys.stdout = _as_now(sys.stdout)
    sys.stderr = _as_now(sys.stderr)
    sys.argv = [package, *order["arguments"]]
    del sys.modules[f"{package}.__main__"]  # it runs now, as `__main__`
    runpy.run_module(package, run_name="__main__", alter_sys=True)


def _as_now(stream: TextIO) -> TextIO:
    is_for_errors = stream is sys.stderr
    return open(
        stream.fileno(),
        "w",
        buffering=1 if is_for_errors else -1,
        encoding=stream.encoding,
        errors=stream.errors,
        closefd=False,
    )


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))

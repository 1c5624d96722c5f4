"""Files to be wrong in, and the real program with its output read line by line."""

from __future__ import annotations

import http.client
import json
import os
import queue
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from tidegate_testing.prepared import PreparedProgram

DEADLINE_S = 30.0

Write = Callable[[str, str], Path]


@pytest.fixture
def pool() -> str:
    """A ProviderPool; `spec` is on line 4, its provider on line 6."""
    return """\
apiVersion: tidegate.dev/v1alpha1
kind: ProviderPool
metadata: {name: models}
spec:
  providers:
  - {name: first, type: OpenAI}
"""


@pytest.fixture
def policy() -> str:
    """An AIPolicy for that pool; `spec` is on line 4, its rate limit on line 8, which is the last."""
    return """\
apiVersion: tidegate.dev/v1alpha1
kind: AIPolicy
metadata: {name: chat}
spec:
  targetRefs: [{kind: Deployment, name: chat}]
  poolRefs: [{name: models}]
  rateLimits:
  - {name: calls, requests: 5, per: 1m}
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes files below an empty folder, which is the working directory: paths in messages are short."""
    monkeypatch.chdir(tmp_path)

    def write_file(name: str, text: str) -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        # At once: a program that follows the folder may look at it between two writes.
        beside = path.with_name(f".{path.name}.new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
        return path

    return write_file


class Program:
    """`tidegate` as a process; all waiting has a deadline."""

    def __init__(self, tidegate: PreparedProgram, *arguments: str) -> None:
        pipes = [os.pipe(), os.pipe()]
        (_, out), (_, err) = pipes
        try:
            self._process = tidegate.start(*arguments, env=os.environ, stdout=out, stderr=err)  # noqa: TID251
        finally:
            os.close(out)
            os.close(err)
        streams = [open(ours, "rb") for ours, _ in pipes]  # noqa: PTH123, SIM115 - `_read` closes them
        self.out: list[str] = []
        self.err: list[str] = []
        self._news: queue.Queue[None] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in zip(streams, (self.out, self.err), strict=True)
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[bytes], lines: list[str]) -> None:
        with stream:
            for line in stream:
                lines.append(line.decode().rstrip("\n"))
                self._news.put(None)
        self._news.put(None)

    def line(self, pattern: str, *, after: int = 0) -> str:
        """The first line of either stream that has `pattern`; `after`: leaving out so many such lines."""
        ends = time.monotonic() + DEADLINE_S
        while True:
            found = [line for line in (*self.out, *self.err) if re.search(pattern, line)]
            if len(found) > after:
                return found[after]
            left = ends - time.monotonic()
            if left <= 0 or not any(reader.is_alive() for reader in self._readers):
                raise AssertionError(f"no line with {pattern!r} came:\n{self.everything}")
            try:
                self._news.get(timeout=min(left, 1.0))
            except queue.Empty:
                continue

    @property
    def everything(self) -> str:
        """All output so far."""
        return "\n".join((*self.out, *self.err))

    def wait(self) -> int:
        """The exit code, once the program has ended by itself and all output is read."""
        code = self._process.wait(DEADLINE_S)
        for reader in self._readers:
            reader.join(DEADLINE_S)
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit code after a signal."""
        self._process.send_signal(number)
        return self.wait()

    def kill(self) -> None:
        """End it whatever it does."""
        self._process.kill()
        self.wait()


@pytest.fixture(scope="session")
def tidegate() -> Iterator[PreparedProgram]:
    with PreparedProgram("tidegate_cli") as prepared:
        yield prepared


@pytest.fixture
def start(tidegate: PreparedProgram) -> Iterator[Callable[..., Program]]:
    """Starts the program; whatever still runs at the end of the test is killed."""
    programs: list[Program] = []

    def start_program(*arguments: str) -> Program:
        programs.append(Program(tidegate, *arguments))
        return programs[-1]

    yield start_program
    for program in programs:
        program.kill()


class Serving:
    """A program that listens, and calls to it."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.app = _address(program.line(r"OPENAI_BASE_URL=|^Serving on "))
        self.admin = _address(program.line(r"^(Health and metrics|Metrics and health): "))

    def chat(self, model: str = "gpt-4o-mini", prompt: str = "Hello", **headers: str) -> tuple[int, Any]:
        """Status and body of a call in OpenAI's dialect."""
        document = {"model": model, "messages": [{"role": "user", "content": prompt}]}
        return _request(self.app, "POST", "/openai/v1/chat/completions", document, headers)

    def health(self) -> Any:
        """What /healthz says of the configuration."""
        status, document = _request(self.admin, "GET", "/healthz")
        assert status == 200
        return document["config"]

    def wait_for_health(self, **expected: object) -> Any:
        """What /healthz says once it says this."""
        ends = time.monotonic() + DEADLINE_S
        while True:
            found = self.health()
            if all(found[name] == value for name, value in expected.items()):
                return found
            assert time.monotonic() < ends, f"{found} never became {expected}"


@pytest.fixture
def serve(start: Callable[..., Program]) -> Callable[..., Serving]:
    """Starts a program that listens on free ports."""

    def serve_on_free_ports(*arguments: str) -> Serving:
        return Serving(start(*arguments, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"))

    return serve_on_free_ports


def _address(line: str) -> str:
    match = re.search(r"http://([^/;]+)", line)
    assert match is not None, line
    return match[1]


def _request(
    address: str, method: str, path: str, document: object = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(address, timeout=DEADLINE_S)
    try:
        names = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        body = None if document is None else json.dumps(document)
        connection.request(method, path, body, {"content-type": "application/json", **names})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()

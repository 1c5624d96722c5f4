"""What idle polls cost the operator, and how long ten thousand sidecars wait when they all come at once.

    python bench/config_polls.py [--polls 2000 10000] [--loop uvloop|asyncio]

One process serves, as the operator does: TLS, tokens checked and reviewed, each pod looked up. Another one is all the
sidecars: a TLS connection each. Rows of the table:

- all at once: every sidecar connects and asks in the same moment, as after a restart of the operator, tokens unknown.
  Who loses its connection tries again within five seconds, as a sidecar does; `again` counts that.
- idle: every poll waits; memory is the server's resident set, beyond what it had when it had answered one poll.
- publish: one edition that is news to everybody, until the last sidecar has it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import uvloop

ROOT = Path(__file__).resolve().parents[1]
MIB = 2**20
DEADLINE_S = 300
CONNECT_S = 30
OK, NOT_MODIFIED = 200, 304


def rss_mib() -> float:
    """Resident set of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MIB


def more_files() -> None:
    """As many open files as the system allows: a connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


# --- the operator ---------------------------------------------------------------------------------------------------


async def serve(count: int, folder: Path) -> None:
    """Serve until standard input ends; each line on it is a command, each line on standard output its answer."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from tidegate_testing import configs  # noqa: PLC0415 - only this process needs the tests' cluster
    from tidegate_testing.publisher import CHAT, Cluster, a_pod, edition, running_publisher  # noqa: PLC0415

    pods = [a_pod(f"chat-{number}") for number in range(count + 1)]
    cluster = Cluster(*pods)
    (folder / "tokens").write_text("\n".join(cluster.token(pod, life_s=3_600) for pod in pods))

    def config(number: int) -> object:
        providers = [
            configs.provider(
                f"p{index}", f"https://p{index}.test/{number}", models=tuple(map(configs.model, "abcdefgh"))
            )
            for index in range(12)
        ]
        return configs.config(configs.pool(*providers))

    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    async with running_publisher(cluster, wait_s=DEADLINE_S, per_address=100_000) as operator:
        operator.board.publish(edition((CHAT, config(0)), AIPolicy=1))  # type: ignore[arg-type]
        (folder / "ca.crt").write_text(operator.bundle.trust)
        size = len(operator.board.edition.published_for(CHAT).body)  # type: ignore[union-attr]
        _say(url=operator.url, config_bytes=size)
        number = 1
        while line := await commands.readline():
            command = line.decode().strip()
            if command == "publish":
                number += 1
                began = time.perf_counter()
                operator.board.publish(edition((CHAT, config(number)), AIPolicy=number))  # type: ignore[arg-type]
                _say(publish_ms=(time.perf_counter() - began) * 1_000)
            elif command.startswith("idle"):
                wanted = int(command.split()[1])
                while operator.board.waiting != wanted:  # noqa: ASYNC110 - the board tells nobody
                    await asyncio.sleep(0.05)
                _say(rss=rss_mib())
            else:
                _say(rss=rss_mib(), cpu_s=time.process_time())


def _say(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


# --- the sidecars ---------------------------------------------------------------------------------------------------


@dataclass
class Sidecar:
    """One connection, and a poll on it for as long as it lives; who loses it comes back as a sidecar does."""

    token: str
    port: int
    tls: ssl.SSLContext
    tag: str = ""
    lost: int = 0
    got_s: list[float] = field(default_factory=list)
    """When a configuration came."""

    async def run(self) -> None:
        """Poll, for ever."""
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1",
                    self.port,
                    ssl=self.tls,
                    server_hostname="localhost",
                    ssl_handshake_timeout=CONNECT_S,
                )
                try:
                    while await self._poll(reader, writer) in (OK, NOT_MODIFIED):
                        pass
                finally:
                    writer.close()
            except (OSError, asyncio.IncompleteReadError):
                self.lost += 1
            await asyncio.sleep(5 * random.random())  # noqa: S311 - the jitter of a sidecar

    async def _poll(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        """One poll; its status."""
        lines = [
            "GET /v1/config HTTP/1.1",
            "host: localhost",
            f"authorization: Bearer {self.token}",
            "prefer: wait=55",
            "x-tidegate-schema-versions: 1",
        ]
        if self.tag:
            lines.append(f"if-none-match: {self.tag}")
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        await reader.readexactly(int(headers.get("content-length", 0)))
        self.tag = headers.get("etag", self.tag)
        status = int(head[0].split()[1])
        if status == OK:
            self.got_s.append(time.perf_counter())
        return status


class Operator:
    """The other process."""

    def __init__(self, count: int, loop: str, folder: Path) -> None:
        """Start it for `count` sidecars; files that they need come into `folder`."""
        self._process = subprocess.Popen(  # noqa: S603 - this very file
            [sys.executable, __file__, "--serve", str(count), "--loop", loop, "--folder", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said = self._read()

    def ask(self, command: str) -> dict[str, float]:
        """Give a command, and read its answer."""
        self._input.write(command + "\n")
        self._input.flush()
        return self._read()

    def stop(self) -> None:
        """Let it end."""
        self._input.close()
        self._process.wait(60)

    @property
    def _input(self) -> IO[str]:
        return cast("IO[str]", self._process.stdin)

    def _read(self) -> dict[str, float]:
        return cast("dict[str, float]", json.loads(cast("IO[str]", self._process.stdout).readline()))


@dataclass
class Result:
    """One row; `again` counts sidecars that lost their connection and tried again."""

    what: str
    count: int
    took_s: list[float]
    memory_mib: float
    again: int

    def __str__(self) -> str:
        """In the columns of the heading."""
        columns = [f"{self.what:<12}", f"{self.count:>7}", f"{self.again:>7}"]
        if self.took_s:
            columns += [f"{self.took_s[len(self.took_s) // 2]:>9.2f}", f"{self.took_s[-1]:>9.2f}"]
        else:
            columns += [" " * 9, " " * 9, f"{self.memory_mib:>9.1f}"]
            columns.append(f"{self.memory_mib * 1_024 / self.count:>9.1f}")
        return " ".join(columns)


HEADING = " ".join(
    f"{title:{align}}"
    for title, align in (
        ("", "<12"),
        ("polls", ">7"),
        ("again", ">7"),
        ("half, s", ">9"),
        ("last, s", ">9"),
        ("MiB more", ">9"),
        ("KiB each", ">9"),
    )
)


async def until_all_have(sidecars: list[Sidecar], configurations: int, since_s: float) -> list[float]:
    """Wait until every sidecar got so many; after how many seconds each had the last of them, sorted."""
    async with asyncio.timeout(DEADLINE_S):
        while any(len(sidecar.got_s) < configurations for sidecar in sidecars):  # noqa: ASYNC110 - an event set 10,000 times would be in the figures
            await asyncio.sleep(0.05)
    return sorted(sidecar.got_s[configurations - 1] - since_s for sidecar in sidecars)


async def measure(count: int, loop: str) -> list[Result]:
    """All rows for `count` sidecars."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        operator = Operator(count, loop, folder)
        port = int(str(operator.said["url"]).rpartition(":")[2])
        tls = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        sidecars = [Sidecar(token, port, tls) for token in (folder / "tokens").read_text().split("\n")]
        first = sidecars.pop()
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(first.run())]
            await until_all_have([first], 1, 0)
            before = operator.ask("rss")["rss"]
            began_s = time.perf_counter()
            running += [tasks.create_task(sidecar.run()) for sidecar in sidecars]
            took = await until_all_have(sidecars, 1, began_s)
            lost = sum(sidecar.lost for sidecar in sidecars)
            rows = [Result("all at once", count, took, 0, lost)]
            idle = await asyncio.to_thread(operator.ask, f"idle {count + 1}")
            rows.append(Result("idle", count, [], idle["rss"] - before, 0))
            began_s = time.perf_counter()
            await asyncio.to_thread(operator.ask, "publish")
            took = await until_all_have(sidecars, 2, began_s)
            rows.append(Result("publish", count, took, 0, sum(sidecar.lost for sidecar in sidecars) - lost))
            for task in running:
                task.cancel()
        await asyncio.to_thread(operator.stop)
        return rows


def main() -> None:
    """Be one of the two processes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--polls", type=int, nargs="+", default=[2_000, 10_000])
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    more_files()
    if arguments.serve is not None:
        run = uvloop.run if arguments.loop == "uvloop" else asyncio.run
        run(serve(arguments.serve, arguments.folder))
        return
    print(f"loop of the operator: {arguments.loop}")
    print(HEADING)
    for count in arguments.polls:
        for row in uvloop.run(measure(count, arguments.loop)):
            print(row, flush=True)


if __name__ == "__main__":
    main()

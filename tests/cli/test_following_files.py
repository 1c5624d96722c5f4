"""A folder as a source of configurations: what changes comes, what is broken is refused, and nothing comes twice."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tidegate_cli.compiling import Compiled, choose, compile_files, identity_of
from tidegate_cli.source import ManifestSource
from tidegate_sidecar.config.source import Loaded, Refused

Write = Callable[[str, str], Path]
DEADLINE_S = 20.0


class Follower:
    """A source over the folder `d`."""

    def __init__(self) -> None:
        self._read = asyncio.Event()
        paths = [Path("d")]
        source = ManifestSource(paths, compile_files(paths), self._choose, interval_ms=5, quiet_ms=5)
        self._updates: AsyncIterator[Loaded | Refused] = source.updates()

    def _choose(self, compiled: Compiled) -> Loaded | Refused:
        self._read.set()
        if compiled.errors:
            return Refused(problem="\n".join(str(problem) for problem in compiled.errors))
        workload = choose(compiled, None)
        config = compiled.compilation.configs[compiled.compilation.workloads[workload]]
        return Loaded(config=config, identity=identity_of(workload))

    async def next(self) -> Loaded | Refused:
        async with asyncio.timeout(DEADLINE_S):
            return await anext(self._updates)

    async def requests(self) -> int:
        """The number in the rate limit of the next configuration."""
        update = await self.next()
        assert isinstance(update, Loaded), update
        return update.config.rate_limits[0].requests

    async def problem(self) -> str:
        update = await self.next()
        assert isinstance(update, Refused), update
        return update.problem

    async def read_again(self) -> None:
        """Wait until the files have been read once more."""
        self._read.clear()
        async with asyncio.timeout(DEADLINE_S):
            await self._read.wait()


def move(old: str, new: str) -> None:
    """As editors save: the new file takes the place of the old one at once."""
    Path(old).replace(new)


def link(path: str, target: str) -> None:
    Path(path).symlink_to(target)


def remove(path: str) -> None:
    Path(path).unlink()


def make_times_equal(path: Path, model: str) -> None:
    status = Path(model).stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def files(write: Write, pool: str, policy: str) -> Callable[[int], str]:
    """The text of a policy with so many requests; the folder has one with five and a pool."""
    write("d/pool.yaml", pool)
    write("d/policy.yaml", policy)
    return lambda requests: policy.replace("requests: 5", f"requests: {requests}")


async def test_an_edit_is_the_next_configuration(write: Write, files: Callable[[int], str]) -> None:
    follower = Follower()
    assert await follower.requests() == 5
    write("d/policy.yaml", files(7))
    assert await follower.requests() == 7


async def test_a_file_replaced_by_a_rename_is_seen_though_size_and_time_are_the_same(
    write: Write, files: Callable[[int], str]
) -> None:
    follower = Follower()
    assert await follower.requests() == 5
    make_times_equal(write("new", files(7)), "d/policy.yaml")
    move("new", "d/policy.yaml")
    assert await follower.requests() == 7


async def test_a_swapped_link_is_seen(write: Write, files: Callable[[int], str]) -> None:
    """As Kubernetes mounts a ConfigMap: files link through `..data`, which is a link that is replaced at once."""
    remove("d/policy.yaml")
    for version, requests in (("..1", 5), ("..2", 7)):
        write(f"d/{version}/policy.yaml", files(requests))
    link("d/..data", "..1")
    link("d/policy.yaml", "..data/policy.yaml")
    follower = Follower()
    assert await follower.requests() == 5
    link("d/..new", "..2")
    move("d/..new", "d/..data")
    assert await follower.requests() == 7


async def test_a_new_file_and_a_removed_one_are_seen(write: Write, files: Callable[[int], str]) -> None:
    follower = Follower()
    assert await follower.requests() == 5
    write(
        "d/more.yaml", files(3).replace("{name: chat}\n", "{name: also}\n").replace("name: calls", "name: a")
    )
    update = await follower.next()
    assert isinstance(update, Loaded)
    assert len(update.config.rate_limits) == 2
    remove("d/more.yaml")
    assert await follower.requests() == 5


async def test_an_edit_that_means_nothing_yields_nothing(write: Write, files: Callable[[int], str]) -> None:
    follower = Follower()
    assert await follower.requests() == 5
    async with asyncio.TaskGroup() as tasks:
        pending = tasks.create_task(follower.next())
        write("d/policy.yaml", f"# the same\n{files(5)}")
        await follower.read_again()
        assert not pending.done()
        write("d/policy.yaml", files(6))
    update = pending.result()
    assert isinstance(update, Loaded)
    assert update.config.rate_limits[0].requests == 6


async def test_a_broken_edit_is_refused_once_with_everything_that_is_wrong(
    write: Write, files: Callable[[int], str]
) -> None:
    follower = Follower()
    assert await follower.requests() == 5
    broken = files(5).replace("per: 1m", "per: soon, extra: 1")
    write("d/policy.yaml", broken)
    problem = await follower.problem()
    assert [line.split(": ")[:3] for line in problem.splitlines()] == [
        ["d/policy.yaml:8", "AIPolicy/chat", "spec.rateLimits[0].per"],
        ["d/policy.yaml:8", "AIPolicy/chat", "spec.rateLimits[0].extra"],
    ]
    async with asyncio.TaskGroup() as tasks:
        pending = tasks.create_task(follower.next())
        write("d/policy.yaml", f"{broken}# still broken in the same way\n")
        await follower.read_again()
        assert not pending.done()
        write("d/policy.yaml", broken.replace(", extra: 1", ""))
    update = pending.result()
    assert isinstance(update, Refused)
    assert "extra" not in update.problem


async def test_taking_a_broken_edit_back_yields_the_configuration_again(
    write: Write, files: Callable[[int], str]
) -> None:
    """Otherwise the problem would stay on display."""
    follower = Follower()
    assert await follower.requests() == 5
    write("d/policy.yaml", "spec: [\n")
    assert "not YAML" in await follower.problem()
    write("d/policy.yaml", files(5))
    assert await follower.requests() == 5


async def test_a_folder_that_is_gone_is_refused(files: Callable[[int], str]) -> None:
    del files
    follower = Follower()
    assert await follower.requests() == 5
    move("d", "elsewhere")
    assert await follower.problem() == "d: there is no such file or folder"
    move("elsewhere", "d")
    assert await follower.requests() == 5

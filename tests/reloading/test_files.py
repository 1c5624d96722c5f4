"""A configuration from a file: followed, and never half read."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from tidegate_testing.configs import allow, config, pool, provider
from tidegate_testing.wire import DEADLINE_S

from tidegate_policy import wire
from tidegate_policy.model import WorkloadIdentity
from tidegate_sidecar.config.source import FileSource, Loaded, Refused

CONFIG = config(pool(provider("only", "https://api.example.com/v1")))
OTHER = config(*CONFIG.pools, allow_models=(allow("gpt-*"),))


def write(path: Path, data: bytes) -> None:
    """At once: half of a file would be a problem of its own."""
    beside = path.with_suffix(".beside")
    beside.write_bytes(data)
    beside.replace(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.json"


async def test_a_file_that_is_replaced_is_read_again(path: Path) -> None:
    write(path, wire.encode(CONFIG))
    async with (
        asyncio.timeout(DEADLINE_S),
        aclosing(FileSource(path, WorkloadIdentity(), 1).updates()) as updates,
    ):
        assert await anext(updates) == Loaded(config=CONFIG, identity=WorkloadIdentity())
        write(path, wire.encode(OTHER))
        assert await anext(updates) == Loaded(config=OTHER, identity=WorkloadIdentity())


async def test_what_is_at_hand_at_the_start_is_no_change_later(path: Path) -> None:
    assert FileSource(path, WorkloadIdentity(), 1).at_hand() is None
    write(path, wire.encode(CONFIG))
    source = FileSource(path, WorkloadIdentity(), 1)
    assert source.at_hand() == Loaded(config=CONFIG, identity=WorkloadIdentity())
    async with asyncio.timeout(DEADLINE_S), aclosing(source.updates()) as updates:
        write(path, wire.encode(OTHER))
        assert await anext(updates) == Loaded(config=OTHER, identity=WorkloadIdentity())


async def test_each_problem_is_told_once_and_a_mended_file_is_taken(path: Path) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        aclosing(FileSource(path, WorkloadIdentity(), 1).updates()) as updates,
    ):
        assert await anext(updates) == Refused(problem=f"{path}: No such file or directory")
        write(path, b"{")
        refused = await anext(updates)
        assert isinstance(refused, Refused)
        assert "not JSON" in refused.problem
        write(path, wire.encode(CONFIG))
        assert isinstance(await anext(updates), Loaded)
        write(path, b'{"schema_version": 99}')
        refused = await anext(updates)
        assert isinstance(refused, Refused)
        assert "run the same release" in refused.problem
        write(path, wire.encode(CONFIG))
        assert await anext(updates) == Loaded(config=CONFIG, identity=WorkloadIdentity())


async def test_a_directory_in_the_place_of_the_file_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        aclosing(FileSource(tmp_path, WorkloadIdentity(), 1).updates()) as updates,
    ):
        assert isinstance(await anext(updates), Refused)

"""The leader changes what is due, followers take it, and nothing that a store does makes a working certificate go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import pytest

from tidegate_operator.certificates.bundle import Bundle
from tidegate_operator.certificates.keeper import CertificateKeeper
from tidegate_operator.certificates.plan import Plan

DAY_S = 86_400
NOW_S = 1_790_000_000
PLAN = Plan(names=("localhost",))


class Store:
    """A Secret, with optimistic concurrency as the API server has it."""

    def __init__(self) -> None:
        self.data: Mapping[str, bytes] | None = None
        self.version = 0
        self.writes = 0
        self.is_down = False
        self.before_write: Mapping[str, bytes] | None = None

    async def read(self) -> tuple[Mapping[str, bytes], str] | None:
        if self.is_down:
            raise ConnectionError("the API server is away")
        return None if self.data is None else (self.data, str(self.version))

    async def write(self, data: Mapping[str, bytes], version: str) -> str | None:
        if self.before_write is not None:
            self.data, self.version, self.before_write = self.before_write, self.version + 1, None
        if version != ("" if self.data is None else str(self.version)):
            return None
        self.data, self.version, self.writes = dict(data), self.version + 1, self.writes + 1
        return str(self.version)


class Replica:
    """A keeper, and what it has handed over."""

    def __init__(self, store: Store, *, leads: bool) -> None:
        self.leads = self.is_holder = leads
        self.now_s = float(NOW_S)
        self.taken: list[Bundle] = []
        self.keeper = CertificateKeeper(
            store,
            PLAN,
            may_write=lambda: self.leads,
            confirm=self.confirm,
            on_bundle=self.take,
            wall_s=lambda: self.now_s,
            interval_s=0.001,
            first_s=0.001,
        )

    def take(self, bundle: Bundle) -> None:
        self.taken.append(bundle)

    async def confirm(self) -> bool:
        return self.is_holder


@pytest.fixture
def store() -> Store:
    return Store()


async def test_who_has_lost_the_lease_without_noticing_makes_no_authority(store: Store) -> None:
    """It was stopped for a while: by its own clock it leads, and the cluster says otherwise."""
    sleeper = Replica(store, leads=True)
    sleeper.is_holder = False
    await sleeper.keeper.look()
    assert store.data is None
    sleeper.is_holder = True
    await sleeper.keeper.look()
    assert store.data is not None


async def test_the_leader_begins_and_followers_take_it(store: Store) -> None:
    leader, follower = Replica(store, leads=True), Replica(store, leads=False)
    await follower.keeper.look()
    assert follower.taken == []
    await leader.keeper.look()
    await follower.keeper.look()
    await leader.keeper.look()
    assert leader.taken == follower.taken
    assert (len(leader.taken), store.writes) == (1, 1)


async def test_an_empty_secret_is_filled(store: Store) -> None:
    """The chart may make it: a role can name a Secret to update, and none to create."""
    store.data = {}
    leader = Replica(store, leads=True)
    await leader.keeper.look()
    assert len(leader.taken) == 1


async def test_a_renewal_reaches_followers_while_they_serve(store: Store) -> None:
    leader, follower = Replica(store, leads=True), Replica(store, leads=False)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(replica.keeper.run()) for replica in (leader, follower)]
        await follower.keeper.wait_ready()
        leader.now_s += 61 * DAY_S
        while len(follower.taken) < 2:  # noqa: ASYNC110 - what is tested is that it comes by itself
            await asyncio.sleep(0)
        for task in running:
            task.cancel()
    assert follower.taken == leader.taken
    assert follower.taken[0].trust == follower.taken[1].trust


async def test_of_two_leaders_one_writes_and_the_other_reads(store: Store) -> None:
    """Two who both believe that they lead do no harm: the write is conditional."""
    one, two = Replica(store, leads=True), Replica(Store(), leads=True)
    await two.keeper.look()
    store.before_write = two.taken[0].to_data()
    await one.keeper.look()
    assert one.taken == []
    await one.keeper.look()
    assert one.taken == two.taken


async def test_a_store_that_is_away_changes_nothing(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    leader = Replica(store, leads=True)
    await leader.keeper.look()
    store.is_down = True
    leader.now_s += 61 * DAY_S
    await leader.keeper.look()
    assert len(leader.taken) == 1
    assert "the API server is away" in caplog.text
    store.is_down = False
    await leader.keeper.look()
    assert len(leader.taken) == 2


@pytest.mark.parametrize("harm", [None, {"tls.crt": b"garbage"}])
async def test_a_lost_secret_is_put_back(store: Store, harm: Mapping[str, bytes] | None) -> None:
    """An authority made anew would be one that no running pod trusts."""
    leader = Replica(store, leads=True)
    await leader.keeper.look()
    store.data = harm
    await leader.keeper.look()
    await leader.keeper.look()
    assert store.data == leader.taken[0].to_data()
    assert len(leader.taken) == 1


async def test_a_damaged_secret_is_not_overwritten_by_who_does_not_know_better(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.data = {"tls.crt": b"garbage"}
    leader = Replica(store, leads=True)
    await leader.keeper.look()
    assert (store.writes, leader.taken) == (0, [])
    assert "restore it, or delete it and restart the operator" in caplog.text


async def test_a_certificate_that_cannot_be_served_is_tried_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = Replica(store, leads=True)
    fails = [OSError("no"), None]

    def take(bundle: Bundle) -> None:
        if (error := fails.pop(0)) is not None:
            raise error
        leader.taken.append(bundle)

    monkeypatch.setattr(leader.keeper, "_on_bundle", take)
    await leader.keeper.look()
    assert leader.keeper.bundle is None
    await leader.keeper.look()
    assert leader.keeper.bundle == leader.taken[0]


async def test_no_key_gets_into_a_log(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    leader = Replica(store, leads=True)
    for days in (0, 61, 2_500, 2_510, 2_700):
        leader.now_s = NOW_S + days * DAY_S
        await leader.keeper.look()
    assert len(leader.taken) >= 5
    assert "PRIVATE" not in caplog.text
    assert "a new authority is announced" in caplog.text
    assert "the announced authority signs from now on" in caplog.text
    assert "a former authority is not trusted any more" in caplog.text

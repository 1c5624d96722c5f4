"""A moment that a sidecar repeats is believed if an operator has told it, and its key may change meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate_testing import configs
from tidegate_testing.publisher import CHAT, Cluster, Poller, a_pod, edition, running_publisher

from tidegate_operator.publish.seals import ANNOUNCED_S, KEY_BYTES, LIFE_S, Seals, next_keys, read_seals
from tidegate_policy.envelope import AsOf
from tidegate_policy.model import added
from tidegate_policy.poll import format_as_of, parse_as_of

CONFIG = configs.config(configs.pool(configs.provider("one", "http://one.test")))
NOW = AsOf.of(3, {"AIPolicy": 5, "ProviderPool": 7})
KEYS = [bytes([number]) * KEY_BYTES for number in range(4)]
SEALS = Seals(KEYS[0])


def test_what_was_sealed_is_genuine_by_way_of_the_header() -> None:
    assert SEALS.is_genuine(parse_as_of(format_as_of(SEALS.sealed(NOW))))
    assert not SEALS.is_genuine(NOW)
    assert not Seals(KEYS[1]).is_genuine(SEALS.sealed(NOW))
    assert str(KEYS[0]) not in repr(SEALS)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterAsOf(AsOf):
    """The moment of a release that has one field more."""

    zone: str = added("")


def test_replicas_of_two_releases_recognise_each_others_seals() -> None:
    """In a rolling upgrade a sidecar repeats to either what the other has told it."""
    later = LaterAsOf(epoch=NOW.epoch, versions=NOW.versions, zone="a")
    assert SEALS.is_genuine(parse_as_of(format_as_of(SEALS.sealed(later))))


@given(
    st.integers(0, 9),
    st.dictionaries(st.sampled_from(["AIPolicy", "ProviderPool", "Pod"]), st.integers(0, 9)),
)
def test_a_seal_is_good_for_no_other_moment(epoch: int, versions: dict[str, int]) -> None:
    other = replace(AsOf.of(epoch, versions), seal=SEALS.sealed(NOW).seal)
    assert SEALS.is_genuine(other) is (other == NOW)


@given(st.text(max_size=80))
def test_what_is_no_seal_is_passed_over(seal: str) -> None:
    assert not SEALS.is_genuine(replace(NOW, seal=seal))


def test_keys_change_without_a_moment_that_is_not_recognised() -> None:
    made = iter(KEYS)
    data = next_keys({}, 0, lambda: next(made))
    assert data is not None
    readers = [read_seals(data)]
    for now_s in range(0, 3 * LIFE_S, ANNOUNCED_S // 2):
        after = next_keys(data, now_s, lambda: next(made))
        if after is None:
            continue
        data = after
        readers.append(read_seals(data))
        one, other = readers[-2:]
        assert one is not None
        assert other is not None
        # whoever has not read the new keys yet, and whoever has
        assert other.is_genuine(one.sealed(NOW))
        assert one.is_genuine(other.sealed(NOW))
    assert len(readers) >= 4


@pytest.mark.parametrize("data", [{}, {"sealing": b"short"}, {"next": KEYS[0]}, {"since": b"1"}])
def test_a_secret_that_holds_no_key_gets_one(data: dict[str, bytes]) -> None:
    assert read_seals(data) is None
    made = next_keys(data, 5, lambda: KEYS[0])
    assert made is not None
    assert read_seals(made) == SEALS
    assert next_keys(made, 6, lambda: KEYS[1]) is None


async def test_a_moment_that_a_pod_makes_up_is_counted_and_changes_nothing() -> None:
    cluster = Cluster(a_pod())
    token = cluster.token(a_pod())
    async with running_publisher(cluster, seals=SEALS) as publisher, Poller(publisher) as poller:
        publisher.board.publish(edition((CHAT, CONFIG), AIPolicy=5))
        answer = await poller.poll(token, x_tidegate_as_of=format_as_of(AsOf.of(0, {"AIPolicy": 10**12})))
        assert answer.status == 200
        assert SEALS.is_genuine(answer.envelope.as_of)
        assert publisher.observer.results["as_of_not_sealed"] == 1
        assert publisher.behind == []
        genuine = SEALS.sealed(AsOf.of(0, {"AIPolicy": 6}))
        assert (await poller.poll(token, x_tidegate_as_of=format_as_of(genuine))).status == 304
        assert publisher.behind == [genuine]

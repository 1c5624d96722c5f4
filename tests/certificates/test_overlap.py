"""No client ever meets a certificate that it cannot verify: whatever the lives, the delays and the order of things."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_operator.certificates.bundle import Bundle, is_signed_by
from tidegate_operator.certificates.issue import SKEW_S, alternative_names
from tidegate_operator.certificates.plan import Plan, next_step

DAY_S = 86_400
NOW_S = 1_790_000_000
PLAN = Plan(names=("tidegate.svc", "localhost"), addresses=("127.0.0.1", "::1"))


def first(plan: Plan = PLAN, now_s: int = NOW_S) -> Bundle:
    bundle = next_step(None, plan, now_s)
    assert bundle is not None
    return bundle


def step(bundle: Bundle | None, now_s: int, plan: Plan = PLAN) -> Bundle:
    after = next_step(bundle, plan, now_s)
    assert after is not None
    return after


def verifies(trust: str, bundle: Bundle) -> bool:
    """Whether somebody who trusts `trust` can verify the leaf that a replica with `bundle` serves."""
    authorities = x509.load_pem_x509_certificates(trust.encode())
    leaf = bundle.leaf.certificate
    for authority in authorities:
        try:
            leaf.verify_directly_issued_by(authority)
        except Exception:  # noqa: BLE001, S112 - the other one may have signed it
            continue
        return True
    return False


def test_the_first_step_makes_an_authority_and_a_leaf() -> None:
    bundle = first()
    assert is_signed_by(bundle.leaf, bundle.authority)
    assert alternative_names(bundle.leaf) == (
        frozenset({"tidegate.svc", "localhost"}),
        frozenset({"127.0.0.1", "::1"}),
    )
    assert (bundle.leaf.until_s, bundle.authority.until_s) == (NOW_S + 90 * DAY_S, NOW_S + 3_650 * DAY_S)
    assert bundle.leaf.from_s == NOW_S - SKEW_S
    assert next_step(bundle, PLAN, NOW_S) is None


def test_a_leaf_is_renewed_at_two_thirds_of_its_life() -> None:
    bundle = first()
    assert next_step(bundle, PLAN, NOW_S + 60 * DAY_S - 1) is None
    renewed = step(bundle, NOW_S + 60 * DAY_S)
    assert renewed.leaf != bundle.leaf
    assert renewed.trust == bundle.trust


def test_new_names_are_a_new_leaf() -> None:
    bundle = first()
    renewed = step(bundle, NOW_S, replace(PLAN, names=("other.svc",)))
    assert alternative_names(renewed.leaf)[0] == {"other.svc"}
    assert next_step(bundle, replace(PLAN, addresses=("0:0:0:0:0:0:0:1", "127.0.0.1")), NOW_S) is None


def test_an_authority_is_announced_then_used_then_dropped() -> None:
    bundle = first()
    now_s = bundle.authority.until_s - 3_650 * DAY_S // 3
    bundle = step(bundle, now_s)
    announced = step(bundle, now_s)
    assert announced.successor is not None
    assert (announced.leaf, announced.trust.count("BEGIN")) == (bundle.leaf, 2)
    assert next_step(announced, PLAN, now_s + 7 * DAY_S - 1) is None
    used = step(announced, now_s + 7 * DAY_S)
    assert used.authority == announced.successor
    assert is_signed_by(used.leaf, used.authority)
    assert used.trust.count("BEGIN") == 2
    used = step(used, bundle.leaf.until_s - 1)
    assert next_step(used, PLAN, bundle.leaf.until_s - 1) is None
    dropped = step(used, bundle.leaf.until_s)
    assert dropped.trust.count("BEGIN") == 1


def test_after_everything_has_ended_there_is_a_new_beginning() -> None:
    bundle = first()
    after = step(bundle, bundle.authority.until_s)
    assert after.authority != bundle.authority
    assert not after.former


def test_an_announced_authority_takes_over_when_the_former_has_ended() -> None:
    bundle = first()
    announced = step(step(bundle, NOW_S + 3_000 * DAY_S), NOW_S + 3_000 * DAY_S)
    after = step(announced, bundle.authority.until_s)
    assert after.authority == announced.successor


def test_no_leaf_outlives_its_authority() -> None:
    bundle = first()
    renewed = step(bundle, bundle.authority.until_s - DAY_S)
    assert renewed.leaf.until_s == bundle.authority.until_s


def test_an_authority_has_to_live_long_enough_for_an_announcement() -> None:
    with pytest.raises(ValueError, match="too late for an announcement"):
        replace(PLAN, authority_life_s=40 * DAY_S)


@dataclass(frozen=True)
class Seen:
    """What was in force at a moment."""

    at_s: int
    bundle: Bundle


@settings(max_examples=30, deadline=None)
@given(
    leaf_days=st.integers(3, 20),
    announce_days=st.integers(1, 10),
    pauses_h=st.lists(st.integers(1, 20), min_size=40, max_size=80),
    lag=st.integers(0, 6),
)
@pytest.mark.parametrize("authority_days", [60, 200])
def test_whoever_has_heard_in_time_can_always_connect(
    authority_days: int, leaf_days: int, announce_days: int, pauses_h: list[int], lag: int
) -> None:
    """A replica may serve an old bundle until its leaf ends, a client may know a trust as old as the announcement."""
    plan = replace(
        PLAN,
        authority_life_s=authority_days * DAY_S,
        leaf_life_s=leaf_days * DAY_S,
        announce_s=announce_days * DAY_S,
    )
    now_s, bundle = NOW_S, first(plan)
    # Begin shortly before the authority is due, so that the interesting part fits into an example.
    now_s += plan.authority_life_s * 2 // 3 - 2 * DAY_S
    history: list[Seen] = []
    for pause_h in pauses_h:
        for _ in range(8):
            after = next_step(bundle, plan, now_s)
            if after is None:
                break
            bundle = after
        assert next_step(bundle, plan, now_s) is None, "a few steps are enough"
        history.append(Seen(now_s, bundle))
        client = next(seen for seen in history if seen.at_s >= now_s - plan.announce_s)
        assert verifies(client.bundle.trust, bundle), "a client that heard within the announcement"
        server = history[-1 - min(lag, len(history) - 1)].bundle
        if server.leaf.until_s > now_s:
            assert verifies(bundle.trust, server), "a replica that lags"
        now_s += pause_h * 3_600

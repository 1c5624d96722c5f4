"""What one poll gets: every combination of what the sidecar has, what it refused, and what the replica has seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate_testing import configs
from tidegate_testing.publisher import CHAT, a_pod, edition

from tidegate_operator.publish.answer import Ask, Decision, Send, Unchanged, Unreadable, Wait, WaitFor, decide
from tidegate_operator.publish.board import Edition, Published, Watch
from tidegate_policy import wire
from tidegate_policy.envelope import NO_GENERATION, AsOf, Secrets, Tag, generation_of
from tidegate_policy.model import CompiledConfig, added
from tidegate_policy.poll import Nack

POD = a_pod()
CONFIG = configs.config(configs.pool(configs.provider("one", "http://one.test")))
DIGEST = wire.digest(CONFIG)
NEWEST = edition((CHAT, CONFIG), AIPolicy=5)
TAG = Tag(DIGEST, generation_of(POD.identity, Secrets(), "pem"))
OTHER = Tag("0" * 64, "1" * 16)


def answer(newest: Edition | None = NEWEST, **ask: Any) -> Decision:
    return decide(newest, "pem", POD, Ask(**{"versions": (1,), **ask}))


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        ({}, Send),
        ({"has": OTHER}, Send),
        ({"has": Tag(DIGEST, NO_GENERATION)}, Send),
        ({"has": TAG}, WaitFor.CHANGE),
        ({"refused": Nack(TAG, "no")}, WaitFor.MENDING),
        ({"has": OTHER, "refused": Nack(TAG, "no")}, WaitFor.MENDING),
        ({"has": OTHER, "refused": Nack(Tag("2" * 64, "1"), "no")}, Send),
        ({"has": TAG, "refused": Nack(OTHER, "no")}, Unchanged),
        ({"has": OTHER, "as_of": AsOf.of(0, {"AIPolicy": 6})}, WaitFor.CATCHING_UP),
        ({"has": TAG, "as_of": AsOf.of(0, {"AIBudget": 1})}, WaitFor.CHANGE),
        ({"has": OTHER, "as_of": AsOf.of(0, {"AIBudget": 1})}, Send),
        ({"as_of": AsOf.of(1, {})}, WaitFor.CATCHING_UP),
        ({"has": OTHER, "as_of": AsOf.of(0, {"AIPolicy": 5})}, Send),
        ({"versions": (2,)}, Unreadable),
        ({"versions": (2,), "as_of": AsOf.of(0, {"AIPolicy": 6})}, WaitFor.CATCHING_UP),
    ],
)
def test_what_a_poll_gets(ask: dict[str, Any], expected: type | WaitFor) -> None:
    decision = answer(**ask)
    found = decision.reason if isinstance(decision, Wait) else type(decision)
    assert found is expected


def test_what_a_newer_release_has_told_stays_in_force_for_as_long_as_it_lives() -> None:
    ask = Ask(versions=(1,), has=OTHER, as_of=AsOf.of(0, {"AIBudget": 1, "AIPolicy": 5}))
    waits = decide(NEWEST, "pem", POD, ask, frozenset({"AIBudget"}))
    assert isinstance(waits, Wait)
    assert (waits.reason, waits.tag, waits.lacks) == (WaitFor.NEWER_RELEASE, None, "AIBudget")
    alone = decide(NEWEST, "pem", POD, ask)
    assert isinstance(alone, Send)
    assert alone.reduced == {"AIBudget"}
    # A newer release that has told this sidecar nothing is no reason to keep anything from it.
    other = decide(
        NEWEST, "pem", POD, replace(ask, as_of=AsOf.of(0, {"AIPolicy": 5})), frozenset({"AIBudget"})
    )
    assert isinstance(other, Send)
    assert not other.reduced


def test_without_an_edition_or_a_compile_a_poll_waits() -> None:
    for newest in (None, edition(AIPolicy=9)):
        decision = answer(newest, as_of=AsOf.of(0, {"AIPolicy": 5}))
        assert isinstance(decision, Wait)
        assert decision.reason is WaitFor.COMPILE
        assert decision.watch.is_over(NEWEST)
        assert newest is None or not decision.watch.is_over(newest)


def test_a_sidecar_that_does_not_read_the_version_hears_why() -> None:
    newer = Published.of(CompiledConfig(schema_version=2))
    newest = replace(NEWEST, published_for=lambda _: newer)
    sent = answer(newest, versions=(1, 2, 3))
    assert isinstance(sent, Send)
    assert sent.published is newer
    refused = answer(newest, versions=(1, 3))
    assert isinstance(refused, Unreadable)
    assert "writes schema version 2, the sidecar reads 1, 3" in refused.why


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterConfig(CompiledConfig):
    """The configuration of a release that has one field more."""

    queue: int = added(0, since=2)


def test_a_sidecar_of_a_former_release_gets_what_it_can_read_and_hears_what_it_cannot() -> None:
    """A rule that it does not read must not be dropped in silence."""
    plain, asking = Published.of(LaterConfig()), Published.of(LaterConfig(queue=3))
    assert plain.body == Published.of(CompiledConfig()).body
    assert isinstance(answer(replace(NEWEST, published_for=lambda _: plain), versions=(1,)), Send)
    newest = replace(NEWEST, published_for=lambda _: asking)
    refused = answer(newest, versions=(1,))
    assert isinstance(refused, Unreadable)
    assert "writes schema version 2 because of queue of LaterConfig, the sidecar reads 1" in refused.why
    sent = answer(newest, versions=(1, 2))
    assert isinstance(sent, Send)
    assert (asking.digest, wire.digest(LaterConfig(schema_version=2, queue=3))) == (sent.tag.digest,) * 2


moments = st.builds(
    AsOf.of,
    st.integers(0, 1),
    st.dictionaries(st.sampled_from(("AIPolicy", "Pod")), st.integers(0, 3), max_size=2),
)


@settings(deadline=None)
@given(st.lists(st.tuples(moments, st.integers(0, 3)), min_size=1, max_size=30))
def test_whichever_replica_answers_a_sidecar_never_goes_back(replicas: list[tuple[AsOf, int]]) -> None:
    """Each answer may come from a replica of any moment; what is enforced is never of an earlier one."""
    choices = [configs.config(configs.pool(configs.provider(f"p{n}", "http://p.test"))) for n in range(4)]
    has, as_of = None, None
    for moment, number in replicas:
        newest = Edition(as_of=moment, published_for=lambda _, n=number: Published.of(choices[n]))  # type: ignore[misc] # mypy reads no defaults of lambdas
        decision = decide(newest, "", POD, Ask(versions=(1,), has=has, as_of=as_of))
        if isinstance(decision, Send):
            assert as_of is None or not moment.is_behind(as_of)
            has, as_of = decision.tag, moment


@settings(deadline=None)
@given(moments, moments)
def test_a_wait_is_over_when_the_replica_has_caught_up(lagging: AsOf, sidecar: AsOf) -> None:
    decision = answer(replace(NEWEST, as_of=lagging), as_of=sidecar)
    if isinstance(decision, Wait) and decision.reason is WaitFor.CATCHING_UP:
        assert decision.lacks
        assert not decision.watch.is_over(replace(NEWEST, as_of=lagging))
        assert decision.watch.is_over(replace(NEWEST, as_of=sidecar))


def test_a_poll_that_has_what_there_is_waits_for_another_digest() -> None:
    decision = answer(has=TAG)
    assert isinstance(decision, Wait)
    assert decision.watch == Watch(CHAT, DIGEST)
    assert not decision.watch.is_over(edition((CHAT, CONFIG), AIPolicy=6))
    assert decision.watch.is_over(edition((CHAT, CompiledConfig()), AIPolicy=6))

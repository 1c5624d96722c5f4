"""The rules about who writes, how often, what counts as dead, and what is told: as tables."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidegate_operator.api.conditions import ConditionReason, ConditionType
from tidegate_operator.api.status import ConditionStatus
from tidegate_operator.cluster.events import EventType, event_document, event_name, events_of
from tidegate_operator.cluster.lease import Action, Record, decide, given_back, held, next_epoch, read_record
from tidegate_operator.cluster.liveness import Liveness
from tidegate_operator.cluster.pace import Pace
from tidegate_operator.cluster.replicas import FORGOTTEN_NS, LIVES_NS, PREFIX, Roster, annotation, named_in
from tidegate_operator.cluster.tokens import read_review
from tidegate_operator.status.merge import Transition, merge
from tidegate_operator.status.model import Condition, Sidecars, Target, WantedStatus
from tidegate_policy.model import ObjectRef

S_NS = 1_000_000_000
NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
REF = ObjectRef(kind="AIPolicy", namespace="team", name="chat")


@pytest.mark.parametrize(
    ("record", "unchanged_s", "action"),
    [
        (None, 0, Action.CREATE),
        (Record(renewal="1"), 0, Action.TAKE),
        (Record(renewal="1", holder="me", duration_ms=15_000), 0, Action.RENEW),
        (Record(renewal="1", holder="me", duration_ms=15_000), 99, Action.RENEW),
        (Record(renewal="1", holder="other", duration_ms=15_000), 0, Action.WAIT),
        (Record(renewal="1", holder="other", duration_ms=15_000), 15, Action.WAIT),
        (Record(renewal="1", holder="other", duration_ms=15_000), 15.1, Action.TAKE),
        (Record(renewal="1", holder="other"), 0.1, Action.TAKE),
    ],
)
def test_who_may_have_the_lease(record: Record | None, unchanged_s: float, action: Action) -> None:
    assert decide(record, "me", int(unchanged_s * S_NS)) is action


@pytest.mark.parametrize(
    ("action", "known", "wanted", "epoch"),
    [
        (Action.RENEW, 7, 0, 7),
        (Action.TAKE, 7, 7, 7),
        (Action.RENEW, 7, 8, 1_000),
        (Action.RENEW, 2_000, 2_001, 2_001),
        (Action.CREATE, 0, 0, 1_000),
        (Action.CREATE, 5_000, 0, 5_001),
    ],
)
def test_an_epoch_only_rises_and_is_later_than_any_that_was_lost(
    action: Action, known: int, wanted: int, epoch: int
) -> None:
    assert next_epoch(action, known, wanted, now_s=1_000) == epoch


NAMED = annotation("me", ("AIPolicy",), "now")


def test_a_lease_that_is_written_is_read_back() -> None:
    record = Record(holder="me", duration_ms=2_500, address="10.0.0.1:8443", epoch=7)
    first = held(None, "home", record, NOW, named=NAMED)
    assert first["spec"]["leaseTransitions"] == 1
    again = held(first, "home", record, NOW.replace(minute=1), named=NAMED)
    assert again["spec"]["leaseTransitions"] == 1
    assert again["spec"]["acquireTime"] == first["spec"]["acquireTime"] != again["spec"]["renewTime"]
    read = read_record(again)
    assert read == replace(record, duration_ms=3_000, renewal=read.renewal)
    assert read.renewal != read_record(first).renewal
    freed = read_record(given_back(again))
    assert (freed.holder, freed.epoch) == ("", 7)


def test_a_lease_in_which_others_name_themselves_is_not_renewed_by_that() -> None:
    """Else a holder that is dead would hold it for as long as anybody else lives."""
    lease = held(None, "home", Record(holder="me", duration_ms=2_500), NOW, named=NAMED)
    key, value = annotation("other", ("AIPolicy",), "later")
    lease["metadata"] |= {
        "resourceVersion": "9",
        "annotations": {**lease["metadata"]["annotations"], key: value},
    }
    assert read_record(lease) == read_record(
        held(None, "home", Record(holder="me", duration_ms=2_500), NOW, named=NAMED)
    )


def test_strange_leases_count_as_free() -> None:
    strange = {
        "metadata": {"resourceVersion": "1", "annotations": {"tidegate.dev/epoch": "soon"}},
        "spec": None,
    }
    assert read_record(strange) == Record(renewal="/0")


def lease_naming(*named: tuple[str, str]) -> dict[str, Any]:
    return {"metadata": {"annotations": dict(named)}}


def test_a_replica_counts_as_live_for_as_long_as_it_names_itself() -> None:
    roster = Roster()
    newer = annotation("newer", ("AIPolicy", "AIBudget"), "1")
    roster.look(named_in(lease_naming(newer)), 0)
    assert roster.kinds(LIVES_NS - 1) == {"AIPolicy", "AIBudget"}
    roster.look(named_in(lease_naming(newer)), LIVES_NS)
    assert roster.kinds(LIVES_NS) == frozenset()  # nothing has changed since
    roster.look(named_in(lease_naming(annotation("newer", ("AIPolicy", "AIBudget"), "2"))), LIVES_NS)
    assert roster.kinds(LIVES_NS) == {"AIPolicy", "AIBudget"}
    roster.look((), LIVES_NS)
    assert roster.kinds(LIVES_NS) == frozenset()  # it has taken its name away


def test_the_holder_takes_away_the_names_of_replicas_that_are_long_gone() -> None:
    roster = Roster()
    gone, live = annotation("gone", (), "1"), annotation("live", (), "1")
    lease = held(None, "home", Record(holder="me"), NOW, named=NAMED)
    lease["metadata"]["annotations"] |= dict((gone, live))
    roster.look(named_in(lease), 0)
    lease["metadata"]["annotations"] |= dict((annotation("live", (), "2"),))
    roster.look(named_in(lease), FORGOTTEN_NS)
    written = held(
        lease, "home", Record(holder="me"), NOW, named=NAMED, forgotten=roster.forgotten(FORGOTTEN_NS)
    )
    assert gone[0] not in written["metadata"]["annotations"]
    assert {live[0], NAMED[0]} <= set(written["metadata"]["annotations"])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"watches":1,"seen":"1"}', "[" * 5_000, '{"watches":["A"]}']
)
def test_what_is_no_name_of_a_replica_is_passed_over(text: str) -> None:
    assert named_in(lease_naming((f"{PREFIX}x", text))) == ()
    assert named_in({"metadata": {}}) == ()


@settings(deadline=None)
@given(st.lists(st.integers(0, 3 * S_NS), max_size=60))
def test_an_object_is_never_written_more_often_than_its_pace(gaps_ns: list[int]) -> None:
    """In any stretch of time at most `burst` writes and one more for each interval."""
    pace: Pace[str] = Pace(burst=3, interval_ms=1_000)
    now_ns, writes = 0, []
    for gap_ns in gaps_ns:
        now_ns += gap_ns
        if pace.wait_ns("key", now_ns) == 0:
            pace.take("key", now_ns)
            writes.append(now_ns)
        else:
            later_ns = now_ns + pace.wait_ns("key", now_ns)
            assert pace.wait_ns("key", later_ns) == 0
    for first, start_ns in enumerate(writes):
        for count, at_ns in enumerate(writes[first:], start=1):
            assert count <= 3 + (at_ns - start_ns) // S_NS + 1
    pace.tidy(now_ns + 10 * S_NS)
    assert len(pace) == 0


def test_silence_is_told_and_only_a_watch_that_does_not_even_ask_is_dead() -> None:
    liveness = Liveness(("A", "B"), now_ns=0, silent_ms=10_000)
    assert liveness.unlisted == ("A", "B")
    liveness.listed("A")
    assert liveness.unlisted == ("B",)
    liveness.heard("A", 5 * S_NS)
    liveness.asked("B", 12 * S_NS)
    assert liveness.silent(14 * S_NS) == ("B",)
    assert liveness.dead(14 * S_NS) == ()
    assert liveness.silent(16 * S_NS) == ("A", "B")
    assert liveness.dead(16 * S_NS) == ("A",)
    assert liveness.age_ms("A", 16 * S_NS) == 11_000
    liveness.begin(20 * S_NS)
    assert liveness.silent(29 * S_NS) == ()


def wanted(
    *conditions: tuple[ConditionType, bool, ConditionReason, str], generation: int = 2
) -> WantedStatus:
    return WantedStatus(
        ref=REF,
        uid="uid",
        generation=generation,
        conditions=tuple(
            Condition(
                type=kind,
                status=ConditionStatus.TRUE if is_true else ConditionStatus.FALSE,
                reason=reason,
                message=message,
            )
            for kind, is_true, reason, message in conditions
        ),
        sidecars=Sidecars(desired=2, programmed=1),
        targets=(Target(kind="Deployment", name="chat", pods=2),),
    )


ACCEPTED = (ConditionType.ACCEPTED, True, ConditionReason.ACCEPTED, "The object is valid.")
INVALID = (ConditionType.ACCEPTED, False, ConditionReason.INVALID, "spec.x: wrong")


def test_a_status_that_says_it_all_is_not_written_again() -> None:
    first = merge({}, wanted(ACCEPTED), "T1")
    assert first.status is not None
    assert merge(first.status, wanted(ACCEPTED), "T2").status is None


def test_the_time_of_a_condition_moves_only_with_its_status() -> None:
    status: Any = merge({}, wanted(ACCEPTED), "T1").status
    other_words = merge(status, wanted((*ACCEPTED[:3], "Other words.")), "T2")
    assert other_words.status is not None
    assert other_words.status["conditions"][0]["lastTransitionTime"] == "T1"
    assert other_words.transitions == ()
    changed = merge(status, wanted(INVALID), "T3")
    assert changed.status is not None
    assert changed.status["conditions"][0]["lastTransitionTime"] == "T3"
    (transition,) = changed.transitions
    assert transition.before == ("True", "Accepted")


def test_conditions_of_others_keep_their_place_and_words() -> None:
    foreign = {"type": "Audited", "status": "True", "reason": "X", "message": "", "lastTransitionTime": "T0"}
    stale = {**foreign, "type": "Accepted", "status": "False"}
    merged = merge({"conditions": [stale, foreign]}, wanted(ACCEPTED), "T1")
    assert merged.status is not None
    assert [it["type"] for it in merged.status["conditions"]] == ["Accepted", "Audited"]
    assert merged.status["conditions"][1] == foreign


def test_every_condition_names_the_generation_that_it_is_about() -> None:
    status: Any = merge({}, wanted(ACCEPTED, generation=1), "T1").status
    merged = merge(status, wanted(ACCEPTED, generation=2), "T2")
    assert merged.status is not None
    assert merged.status["observedGeneration"] == 2
    assert [it["observedGeneration"] for it in merged.status["conditions"]] == [2]


def transition(
    before: tuple[str, str] | None, kind: ConditionType, reason: ConditionReason, *, is_true: bool
) -> Transition:
    status = ConditionStatus.TRUE if is_true else ConditionStatus.FALSE
    return Transition(before=before, after=Condition(type=kind, status=status, reason=reason, message="why"))


@pytest.mark.parametrize(
    ("before", "kind", "is_true", "reason", "told"),
    [
        (None, ConditionType.ACCEPTED, True, ConditionReason.ACCEPTED, None),
        (None, ConditionType.ACCEPTED, False, ConditionReason.INVALID, EventType.WARNING),
        (("True", "Accepted"), ConditionType.ACCEPTED, False, ConditionReason.INVALID, EventType.WARNING),
        (("False", "Invalid"), ConditionType.ACCEPTED, True, ConditionReason.ACCEPTED, EventType.NORMAL),
        (("True", "Accepted"), ConditionType.ACCEPTED, True, ConditionReason.CONFLICTED, EventType.WARNING),
        (
            ("False", "RefNotFound"),
            ConditionType.RESOLVED_REFS,
            False,
            ConditionReason.REF_NOT_PERMITTED,
            EventType.WARNING,
        ),
        (("True", "Programmed"), ConditionType.PROGRAMMED, False, ConditionReason.PENDING, None),
        (("False", "Pending"), ConditionType.PROGRAMMED, True, ConditionReason.PROGRAMMED, None),
        (("False", "Pending"), ConditionType.PROGRAMMED, False, ConditionReason.REJECTED, EventType.WARNING),
        (("False", "Rejected"), ConditionType.PROGRAMMED, True, ConditionReason.PROGRAMMED, EventType.NORMAL),
        (("True", "Ready"), ConditionType.READY, False, ConditionReason.NOT_READY, None),
        (("True", "Ready"), ConditionType.READY, False, ConditionReason.SUSPENDED, EventType.WARNING),
        (("False", "Suspended"), ConditionType.READY, True, ConditionReason.READY, EventType.NORMAL),
        (None, ConditionType.DEGRADED, False, ConditionReason.AS_EXPECTED, None),
        (
            ("False", "AsExpected"),
            ConditionType.DEGRADED,
            True,
            ConditionReason.PROVIDERS_OPEN,
            EventType.WARNING,
        ),
        (
            ("True", "ProvidersOpen"),
            ConditionType.DEGRADED,
            False,
            ConditionReason.AS_EXPECTED,
            EventType.NORMAL,
        ),
    ],
)
def test_bad_news_is_told_and_good_news_after_bad(
    before: tuple[str, str] | None,
    kind: ConditionType,
    is_true: bool,
    reason: ConditionReason,
    told: EventType | None,
) -> None:
    events = events_of("AIPolicy", [transition(before, kind, reason, is_true=is_true)])
    assert [event.type for event in events] == ([told] if told else [])


def test_a_long_event_is_cut_to_what_the_api_server_takes() -> None:
    (event,) = events_of(
        "AIPolicy", [transition(None, ConditionType.ACCEPTED, ConditionReason.INVALID, is_true=False)]
    )
    long = type(event)(type=event.type, reason=event.reason, note="ü" * 2_000)
    document = event_document(
        long, ObjectRef(kind="ClusterAIPolicy", namespace="", name="floor"), "u", identity="me", now=NOW
    )
    assert len(document["note"].encode()) <= 1_024
    assert document["metadata"]["namespace"] == "default"


SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@example("a" * 199 + "-" + "b" * 20)
@example("system:kube-Proxy_1")
@given(st.text(alphabet="ab9.-:_/A", max_size=253))
def test_an_event_has_a_legal_name_whatever_its_object_is_called(name: str) -> None:
    found = event_name(name, "0123456789abcdef")
    assert SUBDOMAIN.fullmatch(found)
    assert len(found) <= 253


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ({}, "not authenticated"),
        ({"error": "expired"}, "expired"),
        ({"authenticated": True, "user": {"username": "system:serviceaccount:a:b"}}, "not meant for us"),
        ({"authenticated": True, "audiences": ["us"], "user": {"username": "ada"}}, "the token of a user"),
        (
            {"authenticated": True, "audiences": ["us"], "user": {"username": "system:serviceaccount:a"}},
            "the token of",
        ),
    ],
)
def test_a_token_that_proves_too_little_is_refused(status: dict[str, Any], problem: str) -> None:
    assert read_review(status, "us").problem.startswith(problem)


def test_a_review_says_which_pod_it_is() -> None:
    extra = {
        "authentication.kubernetes.io/pod-name": ["chat-0"],
        "authentication.kubernetes.io/pod-uid": ["u"],
    }
    user = {"username": "system:serviceaccount:team:chat", "extra": extra}
    review = read_review({"authenticated": True, "audiences": ["us"], "user": user}, "us")
    assert (review.problem, review.namespace, review.service_account) == ("", "team", "chat")
    assert (review.pod_name, review.pod_uid) == ("chat-0", "u")

"""Which pod runs what: the summaries tell the truth, whatever the order in which replicas report."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate_testing import configs
from tidegate_testing.publisher import a_report

from tidegate_operator.publish.acks import Expected, Lag, Lagging, Summary, objects_in, summarise
from tidegate_operator.publish.reports import PodReport, ReplicaReport, ReportBook, to_report
from tidegate_policy import wire
from tidegate_policy.errors import DecodeError

MS = 1_000_000
words = st.builds(
    a_report,
    pod_uid=st.sampled_from("abc"),
    digest=st.sampled_from(("", "old", "new")),
    refused=st.sampled_from(("", "new")),
    seen_ns=st.integers(0, 10).map(lambda ms: ms * MS),
)


def want(name: str, *counts_for: str, digest: str = "new") -> Expected[str]:
    return Expected(pod_uid=name, pod=f"team-a/{name}", digest=digest, counts_for=counts_for or ("policy",))


def test_a_summary_counts_pods_and_names_those_that_lag() -> None:
    book = ReportBook()
    book.take(a_report(pod_uid="good", digest="new"))
    book.take(a_report(pod_uid="old", digest="old"))
    book.take(a_report(pod_uid="bad", digest="old", refused="new", why="no such dialect"))
    book.take(a_report(pod_uid="empty"))
    pods = [want(name) for name in ("good", "old", "bad", "empty", "silent")]
    assert summarise(book, pods) == {
        "policy": Summary(
            desired=5,
            programmed=1,
            rejected=1,
            lagging=(
                Lagging(Lag.REFUSED, "team-a/bad", "no such dialect"),
                Lagging(Lag.OUTDATED, "team-a/old"),
                Lagging(Lag.EMPTY, "team-a/empty"),
                Lagging(Lag.UNHEARD, "team-a/silent"),
            ),
            unheard=1,
        )
    }


def test_a_pod_that_starts_counts_from_its_first_word() -> None:
    book = ReportBook()
    book.take(a_report(pod_uid="good", digest="new"))
    book.take(a_report(pod_uid="asks"))
    book.take(a_report(pod_uid="bad", refused="new", why="no such dialect"))
    pods = [replace(want(name), is_starting=True) for name in ("good", "asks", "bad", "silent")]
    summary = summarise(book, pods)["policy"]
    assert (summary.desired, summary.programmed, summary.rejected) == (2, 1, 1)
    assert (summary.starting, summary.unheard) == (2, 0)


def test_old_words_of_lagging_are_no_words_for_a_new_leader() -> None:
    book = ReportBook()
    book.take(a_report(pod_uid="good", digest="new", seen_ns=1))
    book.take(a_report(pod_uid="old", digest="old", seen_ns=1))
    book.take(a_report(pod_uid="empty", seen_ns=1))
    book.take(a_report(pod_uid="bad", refused="new", why="no such dialect", seen_ns=1))
    book.take(a_report(pod_uid="lags", digest="old", seen_ns=2))
    pods = [want(name) for name in ("good", "old", "empty", "bad", "lags")]
    summary = summarise(book, pods, fresh_ns=2)["policy"]
    assert (summary.programmed, summary.rejected, summary.unheard) == (1, 1, 2)
    assert Lagging(Lag.OUTDATED, "team-a/lags") in summary.lagging


def test_pods_that_start_alone_are_a_summary_of_nobody() -> None:
    found = summarise(ReportBook(), [replace(want("a"), is_starting=True)])
    assert found == {"policy": Summary(starting=1)}


def test_a_pod_counts_for_each_of_its_objects() -> None:
    book = ReportBook()
    book.take(a_report(pod_uid="a", digest="new"))
    found = summarise(book, [want("a", "policy", "pool"), want("b", "pool")])
    assert (found["policy"].desired, found["pool"].desired, found["pool"].programmed) == (1, 2, 1)


def test_a_former_refusal_is_none_of_what_is_published_now() -> None:
    book = ReportBook()
    book.take(a_report(pod_uid="a", digest="new", refused="newer"))
    assert summarise(book, [want("a")])["policy"].programmed == 1


def test_at_most_five_pods_are_named() -> None:
    found = summarise(ReportBook(), [want(f"pod-{number}") for number in range(9)])
    assert (found["policy"].desired, len(found["policy"].lagging)) == (9, 5)


def test_objects_of_a_configuration_are_its_policies_and_pools() -> None:
    config = configs.config(configs.pool(configs.provider("one", "http://one.test")))
    assert objects_in(config) == (configs.POLICY, configs.POOL)


def test_a_pod_that_is_not_heard_any_more_is_forgotten() -> None:
    book = ReportBook(forget_after_ns=100)
    for number in range(5):
        book.take(a_report(pod_uid=f"pod-{number}", digest="new", seen_ns=number * 50))
    book.expire(251)
    assert [ack.pod_uid for ack in book] == ["pod-4"]


def test_a_deleted_pod_is_forgotten_at_once() -> None:
    book = ReportBook()
    book.take(a_report(pod_uid="a", digest="new"))
    before = book.revision
    book.forget("a")
    book.forget("a")
    assert (len(book), book.revision) == (0, before + 1)


def test_the_book_is_bounded() -> None:
    book = ReportBook(max_pods=3)
    for number in range(10):
        book.take(a_report(pod_uid=f"pod-{number}", seen_ns=number))
    assert [ack.pod_uid for ack in book] == ["pod-7", "pod-8", "pod-9"]


def test_only_a_change_raises_the_revision() -> None:
    book = ReportBook()
    book.take(a_report(pod_uid="a", digest="new", seen_ns=1))
    before = book.revision
    book.take(a_report(pod_uid="a", digest="new", seen_ns=2))
    assert book.revision == before
    book.take(a_report(pod_uid="a", digest="newer", seen_ns=3))
    assert book.revision == before + 1


@settings(deadline=None)
@given(st.lists(words, unique_by=lambda ack: (ack.pod_uid, ack.seen_ns)), st.randoms())
def test_the_order_of_reports_makes_no_difference(acks: list[PodReport], random: st.Random) -> None:  # type: ignore[name-defined] # the strategy's own type
    """The newest word of each pod holds, whichever replica brings it and whenever."""
    shuffled = list(acks)
    random.shuffle(shuffled)
    ours, theirs = ReportBook(), ReportBook()
    for ack in acks:
        ours.take(ack)
    for ack in shuffled:
        theirs.merge(to_report([ack], 20 * MS), 20 * MS)
    assert {ack.pod_uid: ack for ack in ours} == {ack.pod_uid: ack for ack in theirs}


@settings(deadline=None)
@given(st.lists(words), st.lists(st.sampled_from("abcd"), unique=True))
def test_a_summary_adds_up(acks: list[PodReport], pods: list[str]) -> None:
    book = ReportBook()
    for ack in acks:
        book.take(ack)
    for summary in summarise(book, [want(pod) for pod in pods]).values():
        assert summary.desired == len(pods)
        assert summary.programmed + len(summary.lagging) == summary.desired
        assert summary.rejected <= len(summary.lagging)


def test_a_report_survives_the_wire_and_the_other_clock() -> None:
    report = to_report(
        [a_report(pod_uid="a", digest="d", refused="r", why="größer", seen_ns=3 * MS)], 10 * MS
    )
    assert report.pods[0].age_ms == 7
    read = wire.decode(ReplicaReport, wire.encode(report))
    assert read == report
    book = ReportBook()
    book.merge(read, 1_007 * MS)
    ack = book.get("a")
    assert ack is not None
    assert ack.seen_ns == 1_000 * MS


@pytest.mark.parametrize("age_ms", [-5, 0])
def test_an_age_from_the_future_is_now(age_ms: int) -> None:
    report = to_report([a_report(pod_uid="a", seen_ns=0)], age_ms * MS)
    assert report.pods[0].age_ms == 0


def test_what_many_pods_say_is_sent_once() -> None:
    """A thousand pods of one configuration: one part, and of each pod the revision that it has."""
    digest = "d" * 64
    reports = [a_report(f"{number:036}", digest) for number in range(1_000)]
    report = to_report([*reports, a_report("refuses", digest, "e" * 64, "no such dialect")], 0)
    assert [it.digest for it in report.acks] == [digest, digest]
    assert len({it.ack for it in report.pods[:1_000]}) == 1
    assert len(wire.encode(report)) < 120_000
    assert report.acks[0].revision == to_report(reports[:1], 9).acks[0].revision, "the same on every replica"
    book = ReportBook()
    book.merge(report, 0)
    assert book.get("refuses") == a_report("refuses", digest, "e" * 64, "no such dialect")


def test_a_report_that_does_not_fit_together_is_refused_whole() -> None:
    report = to_report([a_report("a", "d"), a_report("b", "d")], 0)
    torn = replace(report, pods=(report.pods[0], replace(report.pods[1], ack="0" * 16)))
    book = ReportBook()
    with pytest.raises(DecodeError, match=r"pods\[1\].ack"):
        book.merge(torn, 0)
    assert len(book) == 0

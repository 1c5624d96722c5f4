"""Who lacks which key: summed up for credentials and pools, by what pods say of their own configuration."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tidegate_testing import configs
from tidegate_testing.publisher import a_report

from tidegate_operator.publish.missing_keys import Holder, missing_keys, uses_of
from tidegate_operator.publish.reports import PodReport, ReplicaReport, ReportBook, to_report
from tidegate_operator.status.model import MissingKey
from tidegate_policy import wire
from tidegate_policy.errors import DecodeError
from tidegate_policy.keys import KeyReport, LackingKey
from tidegate_policy.model import CredentialRef, ObjectRef

KEY = ObjectRef(kind="ProviderCredential", namespace="platform", name="openai")
OTHER = ObjectRef(kind="ProviderCredential", namespace="platform", name="other")
POOL = ObjectRef(kind="ProviderPool", namespace="platform", name="models")


def lacks(pod: str, *names: str, problem: str = "Missing") -> PodReport:
    lacking = tuple(LackingKey(namespace="platform", name=name, problem=problem) for name in names)
    return replace(a_report(pod, "digest"), keys=KeyReport(lacking=lacking))


def holder(uid: str, namespace: str = "team", *credentials: ObjectRef) -> Holder:
    return Holder(
        pod_uid=uid, namespace=namespace, name=f"{uid}-0", uses=dict.fromkeys(credentials or (KEY,), (POOL,))
    )


def book(*reports: PodReport) -> ReportBook:
    book = ReportBook()
    for report in reports:
        book.take(report)
    return book


def test_pods_are_counted_for_each_credential_namespace_and_reason() -> None:
    reports = book(
        *(lacks(f"p{number}", "openai") for number in range(5)),
        lacks("q", "openai", problem="Unusable"),
        a_report("well", "digest"),
    )
    holders = [holder(f"p{number}") for number in range(5)]
    found = missing_keys(reports, [*holders, holder("q", "another"), holder("well"), holder("silent")])
    assert found == {
        KEY: (
            MissingKey(KEY, "another", "Unusable", 1, ("q-0",)),
            MissingKey(KEY, "team", "Missing", 5, ("p0-0", "p1-0", "p2-0")),
        ),
        POOL: found[KEY],
    }


def test_a_pod_is_believed_for_its_own_configuration_alone() -> None:
    """Or one tenant could make another's credential look broken."""
    assert missing_keys(book(lacks("p", "openai", "other")), [holder("p", "team", OTHER)]) == {
        OTHER: (MissingKey(OTHER, "team", "Missing", 1, ("p-0",)),),
        POOL: (MissingKey(OTHER, "team", "Missing", 1, ("p-0",)),),
    }


def test_a_configuration_says_which_pools_use_a_credential() -> None:
    credential = CredentialRef(source=KEY, secret_key="openai")
    provider = configs.provider("one", "http://one.test", credentials=(credential,))
    plain = configs.pool(configs.provider("two", "http://two.test"))
    assert uses_of(configs.config(configs.pool(provider), plain)) == {KEY: (configs.POOL,)}


def test_replicas_bring_each_other_what_pods_lack_and_each_list_once() -> None:
    reports = [*(lacks(f"p{number}", "openai") for number in range(100)), a_report("well", "digest")]
    sent = to_report(reports, 0)
    assert len(sent.keys) == 1
    merged = ReportBook()
    merged.merge(wire.decode(ReplicaReport, wire.encode(sent)), 0)
    assert {report.pod_uid: report for report in merged} == {report.pod_uid: report for report in reports}


def test_a_replica_of_a_release_without_this_part_is_understood() -> None:
    sent = to_report([a_report("well", "digest")], 0)
    assert b"keys" not in wire.encode(sent)
    torn = replace(sent, pods=(replace(sent.pods[0], keys="0" * 16),))
    with pytest.raises(DecodeError, match=r"pods\[0\].keys"):
        ReportBook().merge(torn, 0)


def test_a_change_of_what_is_lacking_is_news() -> None:
    reports = book(lacks("p", "openai"))
    before = reports.revision
    reports.take(lacks("p", "openai"))
    assert reports.revision == before
    reports.take(lacks("p"))
    assert reports.revision == before + 1

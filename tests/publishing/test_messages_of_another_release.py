"""Replicas and sidecars of two releases talk to each other in every upgrade: what is new is passed over, unless it must not be."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate_testing import configs
from tidegate_testing.publisher import CHAT, Publisher, a_report, edition

from tidegate_operator.publish.reports import ReplicaReport, to_report
from tidegate_operator.publish.tls import trusting_context
from tidegate_policy import wire
from tidegate_policy.envelope import AsOf
from tidegate_policy.errors import DecodeError
from tidegate_policy.poll import AS_OF, parse_as_of

CONFIG = configs.config(configs.pool(configs.provider("one", "http://one.test")))
REPORT = to_report([a_report(pod_uid="a", digest="d", seen_ns=3)], 10)
AS_OF_NOW = AsOf.of(1, {"AIPolicy": 5})


def document(value: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(wire.encode(value))
    return found


def read(kind: type[Any], message: dict[str, Any]) -> tuple[object, list[str]]:
    unknown: list[str] = []
    return wire.decode_message(kind, json.dumps(message).encode(), unknown.append), unknown


def test_fields_of_a_later_release_are_passed_over_and_told() -> None:
    newer = document(REPORT) | {"store": {"lag_ms": 3}}
    newer["acks"][0]["latency_ms"] = 7
    report, unknown = read(ReplicaReport, newer)
    assert (report, sorted(unknown)) == (REPORT, ["acks[].latency_ms", "store"])
    assert read(AsOf, document(AS_OF_NOW) | {"region": "x"}) == (AS_OF_NOW, ["region"])


def test_what_the_sender_insists_on_is_refused_where_it_is_not_known() -> None:
    with pytest.raises(DecodeError, match="insists on the field 'store'"):
        read(ReplicaReport, document(REPORT) | {"store": {}, "requires": ["store"]})
    assert read(ReplicaReport, document(REPORT) | {"requires": ["acks"]}) == (REPORT, [])


@pytest.mark.parametrize("requires", ["acks", [1], {"acks": 1}, 7])
def test_what_is_no_list_of_fields_is_refused(requires: object) -> None:
    with pytest.raises(DecodeError, match="expected a list of fields"):
        read(ReplicaReport, document(REPORT) | {"requires": requires})


def test_what_is_known_is_read_as_strictly_as_ever() -> None:
    with pytest.raises(DecodeError, match="acks"):
        read(ReplicaReport, {"acks": [{"digest": 7}]})
    with pytest.raises(DecodeError, match="unknown field"):
        wire.decode(ReplicaReport, json.dumps(document(REPORT) | {"store": 1}).encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_whatever_comes_is_a_message_or_an_error(value: object) -> None:
    with suppress(DecodeError):
        assert isinstance(wire.decode_message(ReplicaReport, json.dumps(value).encode()), ReplicaReport)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(
            lambda it: it not in {"epoch", "versions", "seal", "requires"}
        ),
        JSON,
    )
)
def test_nothing_that_is_added_changes_what_is_known(added: dict[str, object]) -> None:
    found, unknown = read(AsOf, document(AS_OF_NOW) | added)
    assert found == AS_OF_NOW
    assert sorted(unknown) == sorted(added)


async def test_a_sidecar_of_a_later_release_is_served_and_its_new_field_counted(
    publisher: Publisher, token: str
) -> None:
    publisher.board.publish(edition((CHAT, CONFIG), AIPolicy=5))
    as_of = json.dumps(document(AsOf.of(0, {"AIPolicy": 5})) | {"region": "x"})
    assert parse_as_of(as_of) == AsOf.of(0, {"AIPolicy": 5})
    headers = {"authorization": f"Bearer {token}", "x-tidegate-schema-versions": "1", AS_OF: as_of}
    context = trusting_context(publisher.bundle.trust)
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            f"{publisher.url}/v1/config", headers=headers, ssl=context, server_hostname="localhost"
        ) as answer,
    ):
        assert answer.status == 200
    assert publisher.observer.results["unknown field"] == 1

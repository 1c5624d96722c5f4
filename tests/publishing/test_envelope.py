"""The envelope and what stands in headers: one form, read back to the same, with an order that never goes back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate_testing import configs

from tidegate_policy import wire
from tidegate_policy.envelope import AsOf, Envelope, Secrets, Tag, decode_envelope, generation_of, seal
from tidegate_policy.errors import DecodeError, SchemaVersionError
from tidegate_policy.model import CompiledConfig, WorkloadIdentity
from tidegate_policy.poll import (
    Nack,
    format_as_of,
    format_versions,
    parse_as_of,
    parse_versions,
    parse_wait,
)

KINDS = ("AIPolicy", "Namespace", "Pod")
moments = st.builds(
    AsOf.of, st.integers(0, 2), st.dictionaries(st.sampled_from(KINDS), st.integers(0, 3), max_size=3)
)
CONFIG = configs.config(
    configs.pool(configs.provider("one", "http://one.test")), rate_limits=(configs.limit(),)
)
TAG = Tag("a" * 64, "b" * 16)


@settings(deadline=None)
@given(moments)
def test_no_moment_is_behind_itself(moment: AsOf) -> None:
    assert not moment.is_behind(moment)


@settings(deadline=None)
@given(moments, moments, moments)
def test_what_is_up_to_date_with_the_later_is_up_to_date_with_the_earlier(a: AsOf, b: AsOf, c: AsOf) -> None:
    """ "Not behind" is transitive: following it from step to step never leads back."""
    if not c.is_behind(b) and not b.is_behind(a):
        assert not c.is_behind(a)


@settings(deadline=None)
@given(moments, moments)
def test_a_higher_epoch_wins_over_all_versions(a: AsOf, b: AsOf) -> None:
    raised = replace(a, epoch=b.epoch + 1)
    assert b.is_behind(raised)
    assert not raised.is_behind(b)


def test_a_moment_says_what_it_lacks() -> None:
    mine, theirs = (
        AsOf.of(1, {"AIPolicy": 5, "Pod": 9}),
        AsOf.of(1, {"AIPolicy": 7, "Pod": 8, "Namespace": 1}),
    )
    assert mine.lacks(theirs) == "AIPolicy 5 < 7"
    assert mine.unwatched(theirs) == {"Namespace"}
    assert theirs.lacks(mine) == "Pod 8 < 9"
    assert mine.lacks(AsOf(epoch=2)) == "epoch 1 < 2"


@settings(deadline=None)
@given(
    namespace=st.text(),
    labels=st.dictionaries(st.text(), st.text(), max_size=3),
    moment=moments,
    trust=st.text(),
)
def test_a_sealed_envelope_is_the_canonical_one(
    namespace: str, labels: dict[str, str], moment: AsOf, trust: str
) -> None:
    envelope = Envelope(
        config=CONFIG,
        identity=WorkloadIdentity(namespace=namespace, labels=tuple(sorted(labels.items()))),
        secrets=Secrets(generation="7"),
        as_of=moment,
        trust=trust,
    )
    sealed = seal(
        wire.encode(CONFIG),
        identity=envelope.identity,
        secrets=envelope.secrets,
        as_of=moment,
        trust=trust,
    )
    assert sealed == wire.encode(envelope)
    assert decode_envelope(sealed) == (envelope, wire.digest(CONFIG))


def test_a_newer_schema_is_refused_for_its_version_before_anything_else() -> None:
    document = {"config": {"schema_version": 9, "anything": {"new": True}}, "more": 1}
    with pytest.raises(SchemaVersionError, match="version 9, this process reads 1"):
        decode_envelope(json.dumps(document).encode())


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"config": 1}', b'{"config": {}}', b"\xff", b"[" * 100_000]
)
def test_nonsense_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_envelope(data)


def test_a_configuration_has_the_name_that_its_writer_gave_it() -> None:
    """A writer one release older leaves out a field that has a default; its digest is the one both sides use."""
    document = json.loads(wire.encode(Envelope(config=CompiledConfig(), identity=WorkloadIdentity())))
    del document["config"]["consumer"]
    older = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    envelope, digest = decode_envelope(older)
    assert envelope.config == CompiledConfig()
    assert digest != wire.digest(CompiledConfig())


def test_secrets_show_nothing_and_are_not_kept() -> None:
    envelope = Envelope(config=CompiledConfig(), identity=WorkloadIdentity(), secrets=Secrets(generation="5"))
    assert repr(envelope.secrets) == "Secrets(generation='5', hidden)"
    assert envelope.without_secrets().secrets == Secrets()


def test_the_generation_names_identity_secrets_and_trust() -> None:
    base = generation_of(WorkloadIdentity(), Secrets(), "")
    others = {
        generation_of(WorkloadIdentity(pod="p"), Secrets(), ""),
        generation_of(WorkloadIdentity(), Secrets(generation="1"), ""),
        generation_of(WorkloadIdentity(), Secrets(), "1"),
    }
    assert len(others | {base}) == 4


@settings(deadline=None)
@given(st.text())
def test_a_reason_survives_its_header_as_one_printable_line(why: str) -> None:
    header = str(Nack(TAG, why))
    assert header.isascii()
    assert header.isprintable()
    assert len(header) < 1_100
    read = Nack.parse(header.strip())
    assert read.tag == TAG
    assert read.why.isprintable()
    if why.isprintable() and why == why.strip() and len(why.encode()) <= 300:
        assert read.why == why


@pytest.mark.parametrize("text", ["", "x", '"abc-1"', "W/" + str(TAG), "a" * 5_000])
def test_other_tags_are_not_ours(text: str) -> None:
    with pytest.raises(DecodeError):
        Tag.parse(text)


@settings(deadline=None)
@given(moments)
def test_moments_and_tags_survive_their_headers(moment: AsOf) -> None:
    assert parse_as_of(format_as_of(moment)) == moment
    assert Tag.parse(str(TAG)) == TAG


def test_versions_survive_their_header() -> None:
    assert parse_versions(format_versions((1, 2))) == (1, 2)
    for text in ("", "1,", "-1", "1" * 9, ",".join("1" * 20)):
        with pytest.raises(DecodeError):
            parse_versions(text)


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("wait=55", 55),
        ("respond-async, wait=10", 10),
        ("wait=90000", 55),
        ("", 0),
        ("wait=-1", 0),
        ("await=3", 0),
    ],
)
def test_a_wait_is_bounded(text: str, wait_s: int) -> None:
    assert parse_wait(text) == wait_s


def test_what_a_later_release_adds_to_the_moment_is_passed_over_and_to_anything_else_refused() -> None:
    identity = WorkloadIdentity(
        namespace="a", workload_kind="Deployment", workload_name="b", service_account="c", pod="d"
    )
    sealed = seal(
        wire.encode(CONFIG), identity=identity, secrets=Secrets(), as_of=AsOf.of(1, {"A": 2}), trust=""
    )
    document = json.loads(sealed)
    document["as_of"]["zone"] = "a"
    unknown: list[str] = []
    envelope, _ = decode_envelope(json.dumps(document).encode(), unknown.append)
    assert (envelope.as_of, unknown) == (AsOf.of(1, {"A": 2}), ["as_of.zone"])
    document["as_of"]["requires"] = ["zone"]
    with pytest.raises(DecodeError, match=r"as_of.requires: the sender insists on the field 'zone'"):
        decode_envelope(json.dumps(document).encode())
    with pytest.raises(DecodeError, match="zone: unknown field"):
        decode_envelope(json.dumps({**document, "as_of": {}, "zone": "a"}).encode())

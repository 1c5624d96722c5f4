"""A configuration and its bytes say the same, and a document that is none is refused with its place."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate_policy.errors import DecodeError, SchemaVersionError
from tidegate_policy.model import (
    ADDED,
    SCHEMA_VERSION,
    SUPPORTED_SCHEMA_VERSIONS,
    Breaker,
    CompiledConfig,
    ConsumerIdentity,
    CredentialRef,
    Denial,
    DenialCode,
    Header,
    KeyPart,
    KeyType,
    Mode,
    Model,
    ModelAllowList,
    ObjectRef,
    OnMissing,
    Pool,
    Provider,
    ProviderType,
    RateLimit,
    Retry,
    RetryOn,
    Timeouts,
    WorkloadIdentity,
    added,
)
from tidegate_policy.wire import MAX_DEPTH, Need, decode, decode_config, digest, encode, need

POLICY = ObjectRef(kind="AIPolicy", namespace="team-a", name="chat")
POOL = ObjectRef(kind="ProviderPool", namespace="ai-platform", name="chat")

FULL = CompiledConfig(
    sources=(POLICY,),
    denials=(Denial(code=DenialCode.SUSPENDED, reason="suspended", source=POLICY),),
    pools=(
        Pool(
            source=POOL,
            providers=(
                Provider(
                    name="openai",
                    type=ProviderType.OPENAI,
                    base_url="https://api.openai.com/v1",
                    headers=(Header(name="openai-organization", value="org-1"),),
                    credentials=(
                        CredentialRef(
                            source=ObjectRef(kind="ProviderCredential", namespace="ai-platform", name="prod"),
                            environment_variable="OPENAI_API_KEY",
                        ),
                    ),
                    models=(Model(name="gpt-4o", upstream_name="gpt-4o-2024-08-06", aliases=("größe",)),),
                ),
            ),
            breaker=Breaker(
                consecutive_failures=5,
                failure_rate_percent=50,
                slow_call_percent=80,
                slow_first_token_ms=30_000,
                minimum_requests=20,
                window_ms=10_000,
                open_for_ms=60_000,
                max_open_for_ms=300_000,
            ),
            retry=Retry(
                max_attempts=3,
                retry_on=(RetryOn.TIMEOUT,),
                backoff_base_ms=1_000,
                backoff_max_ms=60_000,
                budget_percent=20,
            ),
            timeouts=Timeouts(
                connect_ms=5_000, first_token_ms=60_000, stream_idle_ms=60_000, request_ms=600_000
            ),
        ),
    ),
    allow_models=(ModelAllowList(source=POLICY, mode=Mode.ENFORCE, patterns=("gpt-4o*",)),),
    rate_limits=(
        RateLimit(
            name="per-user",
            source=POLICY,
            mode=Mode.SHADOW,
            requests=60,
            per_ms=60_000,
            burst=60,
            key=(KeyPart(type=KeyType.HEADER, header="x-tenant"),),
        ),
    ),
    consumer=ConsumerIdentity(
        source=POLICY, mode=Mode.ENFORCE, header="x-user-id", on_missing=OnMissing.DENY
    ),
)

configs = st.builds(CompiledConfig, schema_version=st.sampled_from(SUPPORTED_SCHEMA_VERSIONS))
slow_to_draw = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


def document() -> Any:
    """The full configuration as plain JSON, to be spoiled."""
    return json.loads(encode(FULL))


@slow_to_draw
@given(configs)
def test_every_configuration_reads_back_as_it_was_written(config: CompiledConfig) -> None:
    assert decode_config(encode(config)) == config


@slow_to_draw
@given(configs, configs)
def test_configurations_have_the_same_digest_exactly_when_they_are_equal(
    one: CompiledConfig, other: CompiledConfig
) -> None:
    assert (digest(one) == digest(other)) == (one == other)


@given(st.builds(WorkloadIdentity))
def test_an_identity_reads_back_as_it_was_written(identity: WorkloadIdentity) -> None:
    assert decode(WorkloadIdentity, encode(identity)) == identity


def test_bytes_are_canonical() -> None:
    """Sorted keys, no white space, UTF-8, all fields: so that any JSON library can reproduce them."""
    text = encode(FULL).decode()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert '"größe"' in text
    written = {name for name, it in CompiledConfig.__dataclass_fields__.items() if ADDED not in it.metadata}
    assert set(json.loads(encode(CompiledConfig()))) == written


def test_a_field_that_was_added_is_written_only_where_it_says_something() -> None:
    """A reader without the field reads all that does not need it, and refuses the rest: it never misunderstands."""
    ref = ObjectRef(kind="ProviderCredential", namespace="team-a", name="prod")
    assert json.loads(encode(CredentialRef(source=ref, environment_variable="KEY"))) == {
        "source": {"kind": "ProviderCredential", "namespace": "team-a", "name": "prod"},
        "environment_variable": "KEY",
        "suspended": False,
    }
    mounted = CredentialRef(source=ref, secret_key="openai")
    assert json.loads(encode(mounted))["secret_key"] == "openai"
    assert decode(CredentialRef, encode(mounted)) == mounted
    timeouts = FULL.pools[0].timeouts
    assert "stream_ms" not in json.loads(encode(timeouts))
    assert decode(Timeouts, encode(timeouts)).stream_ms == 3_600_000
    longer = replace(timeouts, stream_ms=7_200_000)
    assert decode(Timeouts, encode(longer)) == longer
    assert digest(CompiledConfig(pass_through=True)) != digest(CompiledConfig())
    assert decode_config(encode(CompiledConfig(pass_through=True))).pass_through


def test_the_encoding_of_an_empty_configuration_never_changes() -> None:
    """A golden value: when it changes, so has the encoding, and sidecars see every configuration as new."""
    expected = (
        b'{"allow_models":[],"consumer":null,"denials":[],"pools":[],"rate_limits":[],"schema_version":1,'
        b'"sources":[]}'
    )
    assert encode(CompiledConfig()) == expected
    assert digest(CompiledConfig()) == "f7b279ec224ae4d0c6424e7d16a000cc42834f9eaa8e335a3ef9f41de6e6d27e"


def test_fields_with_a_default_may_be_missing() -> None:
    """So that a document of a release before the field was added is still read."""
    assert decode_config(b'{"schema_version":1}') == CompiledConfig()


def spoil(*path: str | int, value: Any) -> Any:
    """The full configuration with one value replaced."""
    spoiled = document()
    *parents, last = path
    place = spoiled
    for part in parents:
        place = place[part]
    place[last] = value
    return spoiled


@pytest.mark.parametrize(
    ("spoiled", "path", "reason"),
    [
        (spoil("colour", value=1), "colour", "unknown field; CompiledConfig has schema_version, sources"),
        (
            spoil("pools", 0, "retry", "max_attempts", value="3"),
            "pools[0].retry.max_attempts",
            "expected int",
        ),
        (
            spoil("pools", 0, "retry", "max_attempts", value=True),
            "pools[0].retry.max_attempts",
            "true or false",
        ),
        (
            spoil("pools", 0, "retry", "max_attempts", value=3.0),
            "pools[0].retry.max_attempts",
            "expected int",
        ),
        (spoil("pools", 0, "suspended", value=0), "pools[0].suspended", "expected bool, found a number"),
        (spoil("pools", 0, "retry", "retry_on", 0, value="Bad"), "pools[0].retry.retry_on[0]", "RateLimited"),
        (spoil("pools", 0, "providers", value={}), "pools[0].providers", "expected a list, found an object"),
        (spoil("pools", 0, value=None), "pools[0]", "expected an object, found nothing"),
        (spoil("rate_limits", 0, "mode", value=1), "rate_limits[0].mode", "one of Enforce, Shadow"),
        (spoil("rate_limits", 0, "key", 0, "extra", value=1), "rate_limits[0].key[0].extra", "unknown field"),
        (spoil("denials", 0, "source", "name", value=[]), "denials[0].source.name", "found a list"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(spoiled: Any, path: str, reason: str) -> None:
    with pytest.raises(DecodeError) as refused:
        decode_config(json.dumps(spoiled).encode())
    assert refused.value.path == path
    assert reason in refused.value.reason


def test_a_missing_field_is_refused_with_its_place() -> None:
    spoiled = document()
    del spoiled["pools"][0]["breaker"]["window_ms"]
    with pytest.raises(DecodeError) as refused:
        decode_config(json.dumps(spoiled).encode())
    assert str(refused.value) == "pools[0].breaker.window_ms: missing"


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"nonsense", b"[" * 100_000])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not JSON"):
        decode_config(data)


@pytest.mark.parametrize("data", [b"[]", b"null", b'"config"', b"1"])
def test_what_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError, match="expected an object"):
        decode_config(data)


@pytest.mark.parametrize("version", ["null", '"1"', "true", "1.0"])
def test_a_version_that_is_no_integer_is_refused(version: str) -> None:
    with pytest.raises(DecodeError, match="schema_version: expected an integer"):
        decode_config(f'{{"schema_version":{version}}}'.encode())


def test_a_newer_document_is_refused_for_its_version_and_not_for_its_fields() -> None:
    """Whoever reads the message has to upgrade a process, not to mend a document."""
    newer = {**document(), "schema_version": SCHEMA_VERSION + 1, "a_field_of_the_future": {}}
    with pytest.raises(SchemaVersionError) as refused:
        decode_config(json.dumps(newer).encode())
    assert refused.value.found == SCHEMA_VERSION + 1
    assert refused.value.supported == SUPPORTED_SCHEMA_VERSIONS
    assert "run the same release of operator and sidecar" in str(refused.value)


def test_the_version_that_is_written_is_one_that_is_read() -> None:
    assert SCHEMA_VERSION in SUPPORTED_SCHEMA_VERSIONS
    assert CompiledConfig().schema_version == SCHEMA_VERSION


def depth(value: Any) -> int:
    """How deep a JSON value is nested."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max((depth(item) for item in inner), default=0)


def test_no_configuration_comes_near_the_depth_that_is_refused() -> None:
    assert depth(document()) <= MAX_DEPTH // 2 + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterRule:
    """A rule that got fields with schema versions 2 and 3."""

    source: ObjectRef = POLICY
    requests: int = 1
    burst: int = added(0, since=2)
    queue: int = added(0, since=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterConfig:
    """A configuration with such rules."""

    rules: tuple[LaterRule, ...] = ()
    extra: LaterRule | None = None


def test_a_document_is_of_the_oldest_version_that_says_all_of_it_and_names_what_asks_for_more() -> None:
    burst, queue = LaterRule(burst=5), LaterRule(queue=5, source=POOL)
    assert need(CompiledConfig()) == need(FULL) == Need(SCHEMA_VERSION)
    assert need(LaterConfig(rules=(LaterRule(),))) == Need(SCHEMA_VERSION)
    assert need(LaterConfig(rules=(LaterRule(), burst))) == Need(2, f"burst of {POLICY}")
    assert need(LaterConfig(rules=(burst,), extra=queue)) == Need(3, f"queue of {POOL}")

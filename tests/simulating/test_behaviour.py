"""What headers and flags may say, and how a mistake is told. No server here."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_cli.simulator.behaviour import (
    INSTRUCTIONS,
    WELL_BEHAVED,
    Behaviour,
    BehaviourError,
    Garbage,
    UsageReport,
    behaviour_from_flags,
    from_headers,
)

ACCEPTED: list[tuple[str, str, dict[str, Any]]] = [
    ("status", "503", {"status": 503}),
    ("status", "200", {"status": None}),
    ("fail-percent", "10", {"status": 503, "fail_percent": 10}),
    ("retry-after", "7", {"retry_after": "7"}),
    ("retry-after", "Fri, 21 Nov 2025 10:00:00 GMT", {"retry_after": "Fri, 21 Nov 2025 10:00:00 GMT"}),
    ("delay", "250ms", {"delay_ms": 250}),
    ("delay", "0", {"delay_ms": 0}),
    ("first-token-delay", "2s", {"first_token_delay_ms": 2000}),
    ("chunk-delay", "1m", {"chunk_delay_ms": 60_000}),
    ("chunks", "10000", {"chunks": 10_000}),
    ("cut-after", "0", {"cut_after": 0}),
    ("stall-after", "3", {"stall_after": 3}),
    ("stream-error", "1", {"stream_error_after": 1}),
    ("garbage", "http", {"garbage": Garbage.HTTP}),
    ("usage", "none", {"usage": UsageReport.NONE}),
    ("input-tokens", "12", {"input_tokens": 12}),
    ("output-tokens", "0", {"output_tokens": 0}),
    ("size", "1024", {"size_bytes": 1024}),
]

REJECTED = [
    ("status", "99"),
    ("status", "302"),
    ("status", "teapot"),
    ("fail-percent", "101"),
    ("retry-after", "soon"),
    ("retry-after", "-1"),
    ("delay", "250"),
    ("delay", "-1s"),
    ("first-token-delay", "fast"),
    ("chunk-delay", "1.5s"),
    ("chunks", "0"),
    ("chunks", "10001"),
    ("cut-after", "+1"),
    ("stall-after", ""),
    ("stream-error", "٣"),
    ("garbage", "all"),
    ("usage", "half"),
    ("input-tokens", "-1"),
    ("output-tokens", "1e3"),
    ("size", "16777217"),
]


@pytest.mark.parametrize(("name", "text", "expected"), ACCEPTED)
def test_header_and_flag_mean_the_same(name: str, text: str, expected: dict[str, Any]) -> None:
    behaviour = Behaviour(**expected)
    assert from_headers({f"X-Simulate-{name}": text}, WELL_BEHAVED, provider="default") == behaviour
    assert behaviour_from_flags(**{name.replace("-", "_"): text}) == behaviour


@pytest.mark.parametrize(("name", "text"), REJECTED)
def test_mistake_names_header_or_flag_and_what_is_allowed(name: str, text: str) -> None:
    allowed = next(instruction.allowed for instruction in INSTRUCTIONS if instruction.name == name)
    with pytest.raises(BehaviourError) as by_header:
        from_headers({f"x-simulate-{name}": text}, WELL_BEHAVED, provider="default")
    with pytest.raises(BehaviourError) as by_flag:
        behaviour_from_flags(**{name.replace("-", "_"): text})
    assert str(by_header.value) == f"x-simulate-{name}: {text!r} is not allowed; write {allowed}"
    assert str(by_flag.value) == f"--{name}: {text!r} is not allowed; write {allowed}"


def test_every_instruction_is_in_both_tables() -> None:
    names = {instruction.name for instruction in INSTRUCTIONS}
    assert names == {name for name, _, _ in ACCEPTED} == {name for name, _ in REJECTED}


def test_unknown_instruction_is_a_typo() -> None:
    with pytest.raises(BehaviourError, match="x-simulate-dealy: no such instruction; there are status, "):
        from_headers({"x-simulate-dealy": "1s"}, WELL_BEHAVED, provider="default")


def test_other_headers_are_none_of_its_business() -> None:
    headers = {"authorization": "Bearer sk", "x-simulated-provider": "a", "delay": "1s"}
    assert from_headers(headers, WELL_BEHAVED, provider="default") is not None
    assert from_headers(headers, WELL_BEHAVED, provider="default") == WELL_BEHAVED


@pytest.mark.parametrize(("only", "is_meant"), [("a", True), ("b, a", True), ("b", False), ("aa", False)])
def test_only_limits_instructions_to_named_providers(only: str, *, is_meant: bool) -> None:
    headers = {"x-simulate-status": "500", "x-simulate-only": only}
    defaults = Behaviour(delay_ms=5)
    expected = Behaviour(delay_ms=5, status=500) if is_meant else defaults
    assert from_headers(headers, defaults, provider="a") == expected


@pytest.mark.parametrize("only", ["", ",", "a,,b", "a b", "a/b"])
def test_only_needs_names(only: str) -> None:
    with pytest.raises(BehaviourError, match="x-simulate-only"):
        from_headers({"x-simulate-only": only}, WELL_BEHAVED, provider="a")


def test_mistake_is_told_even_where_the_instruction_is_not_meant() -> None:
    with pytest.raises(BehaviourError, match="x-simulate-status"):
        from_headers({"x-simulate-status": "x", "x-simulate-only": "b"}, WELL_BEHAVED, provider="a")


def test_headers_override_defaults_one_by_one() -> None:
    defaults = Behaviour(delay_ms=100, chunks=3, status=503, fail_percent=10)
    behaviour = from_headers({"x-simulate-status": "429"}, defaults, provider="a")
    assert behaviour == Behaviour(delay_ms=100, chunks=3, status=429, fail_percent=100)
    behaviour = from_headers({"x-simulate-fail-percent": "20"}, defaults, provider="a")
    assert behaviour == Behaviour(delay_ms=100, chunks=3, status=503, fail_percent=20)


def test_flags_not_given_change_nothing() -> None:
    assert behaviour_from_flags(delay=None, status=None) == WELL_BEHAVED


@given(st.floats(min_value=0, max_value=1, exclude_max=True))
def test_share_of_failures_has_its_ends(draw: float) -> None:
    assert Behaviour(status=500, fail_percent=100).failure(draw) == 500
    assert Behaviour(status=500, fail_percent=0).failure(draw) is None
    assert WELL_BEHAVED.failure(draw) is None
    assert (Behaviour(status=500, fail_percent=30).failure(draw) == 500) == (draw * 100 < 30)


def test_keys_are_not_in_the_repr() -> None:
    assert "sk-secret" not in repr(Behaviour(accepted_keys=frozenset({"sk-secret"})))

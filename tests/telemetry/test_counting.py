"""Calls are counted in integers that configuration has looked up; a scrape shows them under closed labels."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tidegate_sidecar.policies.failures import FailureKind
from tidegate_sidecar.telemetry.cells import BOUNDS_MS
from tidegate_sidecar.telemetry.metrics import Metrics
from tidegate_sidecar.telemetry.records import (
    NO_MODEL,
    OTHER,
    AttemptRecord,
    CallRecord,
    Ending,
    ShadowRefusal,
    UsageState,
)

PAGE: Final = Path(__file__).parents[2] / "docs/operations/standalone.md"

Sample = tuple[str, tuple[tuple[str, str], ...]]


def attempt(provider: str, result: str) -> AttemptRecord:
    made = AttemptRecord()
    made.provider, made.result = provider, result
    return made


def call(**values: Any) -> CallRecord:
    """A served call of one provider, but for `values`."""
    made = CallRecord()
    made.pool, made.provider, made.model_label, made.operation = "team-a/main", "first", "gpt-test", "Chat"
    made.status, made.ending, made.usage = 200, Ending.SERVED, UsageState.REPORTED
    made.attempts = (attempt("first", "ok"),)
    for name, value in values.items():
        assert hasattr(made, name)
        setattr(made, name, value)
    return made


def samples(metrics: Metrics) -> dict[Sample, float]:
    """What calls have counted, by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if not sample.name.startswith(("process_", "tidegate_config", "tidegate_keys", "tidegate_operator"))
        and sample.value
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """One sample; 0 where it is not there."""
    return samples(metrics).get((name, tuple(sorted(labels.items()))), 0)


class Plainly:
    """The same by prometheus-client's own objects, which every call looks up."""

    def __init__(self) -> None:
        self.counts: Counter[Sample] = Counter()
        self.registry = prometheus_client.CollectorRegistry()
        seconds = [bound / 1_000 for bound in BOUNDS_MS]
        where = ("pool", "provider", "model")
        self.duration = prometheus_client.Histogram(
            "ai_request_duration_seconds",
            "x",
            (*where, "operation"),
            buckets=seconds,
            registry=self.registry,
        )
        self.first_token = prometheus_client.Histogram(
            "ai_time_to_first_token_seconds", "x", where, buckets=seconds, registry=self.registry
        )

    def add(self, name: str, count: int = 1, **labels: str) -> None:
        if count:
            self.counts[name, tuple(sorted(labels.items()))] += count

    def count(self, record: CallRecord) -> None:
        where = {"pool": record.pool, "provider": record.provider, "model": record.model_label}
        status = {2: "2xx", 4: "4xx", 5: "5xx"}.get(record.status // 100, "none")
        self.add(
            "ai_requests_total",
            **where,
            operation=record.operation,
            ending=str(record.ending),
            status=status,
            code=record.code,
        )
        self.duration.labels(**where, operation=record.operation).observe(record.duration_ms / 1_000)
        if record.first_token_ms is not None:
            self.first_token.labels(**where).observe(record.first_token_ms / 1_000)
        for direction, tokens in (
            ("input", record.input_tokens),
            ("output", record.output_tokens),
            ("cached_input", record.cached_input_tokens),
            ("cache_write", record.cache_write_tokens),
        ):
            self.add("ai_tokens_total", tokens or 0, **where, direction=direction)
        self.add("tidegate_usage_unreported_total", int(record.usage is UsageState.UNREPORTED), **where)
        for it in record.attempts:
            self.add("tidegate_attempts_total", pool=record.pool, provider=it.provider, result=it.result)
        if record.code and record.rule:
            self._refuse(record, "Enforce")
        for decision in record.would_refuse:
            self._refuse(decision, "Shadow")
        if record.pass_through:
            self.add("tidegate_pass_through_total", provider=record.provider, ending=str(record.ending))

    def _refuse(self, by: CallRecord | ShadowRefusal, mode: str) -> None:
        self.add("tidegate_refusals_total", object=by.object, rule=by.rule, code=by.code, mode=mode)

    def samples(self) -> dict[Sample, float]:
        histograms = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.value
        }
        return {**self.counts, **histograms}


names = st.sampled_from(["", "first", "second"])
words = st.sampled_from(["", "rate-limit", "access"])
tokens = st.one_of(st.none(), st.integers(0, 1_000))
times = st.one_of(st.integers(0, 700_000), st.sampled_from(BOUNDS_MS))
calls = st.builds(
    call,
    pool=st.sampled_from(["", "team-a/main", "team-b/main"]),
    provider=names,
    model_label=st.sampled_from([NO_MODEL, OTHER, "gpt-test"]),
    operation=st.sampled_from(["", "Chat", "Other"]),
    status=st.sampled_from([0, 200, 204, 400, 429, 502]),
    ending=st.sampled_from(Ending),
    code=words,
    object=words,
    rule=words,
    would_refuse=st.lists(st.builds(ShadowRefusal, words, words, words), max_size=2).map(tuple),
    attempts=st.lists(
        st.builds(attempt, names, st.sampled_from(["ok", "Timeout", "ServerError"])), max_size=3
    ).map(tuple),
    input_tokens=tokens,
    output_tokens=tokens,
    cached_input_tokens=tokens,
    cache_write_tokens=tokens,
    usage=st.sampled_from(UsageState),
    first_token_ms=st.one_of(st.none(), times),
    duration_ms=times,
    pass_through=st.sampled_from([None, True]),
)


@given(st.lists(st.tuples(calls, st.booleans()), max_size=12))
def test_integers_say_what_labelled_objects_would(counted: list[tuple[CallRecord, bool]]) -> None:
    """Also for calls that do not know their cells."""
    metrics, plainly = Metrics(), Plainly()
    for record, is_looked_up in counted:
        if is_looked_up:
            record.cells = metrics.cells(record.pool, record.provider, record.model_label, record.operation)
        metrics.count(record)
        plainly.count(record)
    found, expected = samples(metrics), plainly.samples()
    assert found == {name: pytest.approx(number) for name, number in expected.items()}


def test_cells_are_the_same_ones_whenever_they_are_asked_for() -> None:
    """A new configuration goes on with what the one before has counted, in whatever order they overlap."""
    metrics = Metrics()
    before = metrics.cells("team-a/main", "first", "gpt-test", "Chat")
    metrics.count(call(cells=before))
    after = metrics.cells("team-a/main", "first", "gpt-test", "Chat")
    assert after is before
    metrics.count(call(cells=after))
    where = {"pool": "team-a/main", "provider": "first", "model": "gpt-test", "operation": "Chat"}
    assert value(metrics, "ai_requests_total", **where, ending="served", status="2xx", code="") == 2


def test_a_name_that_is_only_configured_makes_no_series() -> None:
    metrics = Metrics()
    before = samples(metrics)
    for model in range(100):
        metrics.cells("team-a/main", "first", f"gpt-{model}", "Chat")
    assert samples(metrics) == before


def test_a_failed_attempt_counts_at_the_provider_that_was_asked() -> None:
    metrics = Metrics()
    metrics.count(
        call(
            provider="second",
            attempts=(attempt("first", "Timeout"), attempt("first", "ServerError"), attempt("second", "ok")),
        )
    )
    found = {
        labels: count
        for (name, labels), count in samples(metrics).items()
        if name == "tidegate_attempts_total"
    }
    pool = ("pool", "team-a/main")
    assert found == {
        (pool, ("provider", "first"), ("result", "Timeout")): 1,
        (pool, ("provider", "first"), ("result", "ServerError")): 1,
        (pool, ("provider", "second"), ("result", "ok")): 1,
    }
    assert not [
        labels for _, labels in samples(metrics) if ("provider", "first") in labels and len(labels) > 3
    ]


def test_what_applications_and_providers_make_up_makes_no_series() -> None:
    metrics = Metrics()
    metrics.count(call())
    known = set(samples(metrics))
    for number in range(20):
        metrics.count(
            call(
                consumer=f"user-{number}",
                requested_model=f"model-{number}",
                model=f"model-{number}",
                reason=f"reason {number}",
                request_id=f"tg-{number}",
            )
        )
    assert set(samples(metrics)) == known


def test_state_is_read_at_the_scrape() -> None:
    metrics, states = (
        Metrics(),
        {("team-a/main", "first", ""): 0.0, ("team-a/main", "first", "gpt-test"): 2.0},
    )
    metrics.breaker_state.read = lambda: states
    metrics.upstream_connections.read = lambda: {("open",): 3, ("idle",): 4}
    metrics.in_flight.read = lambda: {(): 5}
    metrics.cooldowns.read = lambda: {(): 1}
    where = {"pool": "team-a/main", "provider": "first"}
    assert value(metrics, "tidegate_breaker_state", **where, model="gpt-test") == 2
    states["team-a/main", "first", ""] = 1.0
    assert value(metrics, "tidegate_breaker_state", **where, model="") == 1
    assert value(metrics, "tidegate_upstream_connections", state="idle") == 4
    assert value(metrics, "tidegate_calls_in_flight") == 5
    assert value(metrics, "tidegate_cooldowns") == 1


def test_rare_events_are_counted() -> None:
    metrics = Metrics()
    metrics.head_faults.labels("head_too_large").inc()
    metrics.stale_connections.inc()
    metrics.records_dropped.inc(3)
    assert value(metrics, "tidegate_head_faults_total", reason="head_too_large") == 1
    assert value(metrics, "tidegate_stale_connections_total") == 1
    assert value(metrics, "tidegate_records_dropped_total") == 3


def test_every_metric_is_there_from_the_start_and_says_what_it_is() -> None:
    """A metric that appears later breaks the queries of whoever watches."""
    metrics = Metrics()
    first = {family.name: family for family in text_string_to_metric_families(metrics.expose().decode())}
    metrics.count(call(code="rate_limit_exceeded", rule="per-minute", first_token_ms=3, pass_through=True))
    later = {family.name: family for family in text_string_to_metric_families(metrics.expose().decode())}
    assert set(later) == set(first)
    for name, family in later.items():
        assert name.startswith(("ai_", "tidegate_", "process_")), name
        assert len(family.documentation) > 10, name
        assert family.type in {"counter", "gauge", "histogram"}
        assert not [sample.name for sample in family.samples if sample.name.endswith("_created")]


def test_every_metric_is_documented() -> None:
    page = PAGE.read_text()
    for family in Metrics().registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert name.startswith("process_") or f"`{name}`" in page, name


def test_every_field_of_a_record_is_documented() -> None:
    page = PAGE.read_text()
    written = {it.name for it in (*fields(CallRecord), *fields(AttemptRecord), *fields(ShadowRefusal))}
    for name in written - {"started_wall_ns", "model_label", "cells"} | {"time"}:
        assert f"`{name}`" in page, name
    for word in (*Ending, *UsageState, *FailureKind):
        assert f"`{word}`" in page, word

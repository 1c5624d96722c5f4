"""Every metric of the sidecar: name, unit, labels, meaning.

Label values come from closed sets: names in the configuration, codes and words of ours. What an application or a
provider makes up (a consumer, a model nobody configured) never becomes a label value, so the number of series is
bounded by the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from tidegate_sidecar.telemetry.records import CallRecord, UsageState

OTHER: Final = "other"

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""From a cached answer on a local server to the longest thinking stream."""


class Metrics:
    """The sidecar's metrics on a registry of their own."""

    def __init__(self) -> None:
        """Make all of them at once: a metric that appears later breaks the queries of whoever watches."""
        # The library's own switch, for the process: a `_created` beside each counter would double the series.
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library has no annotation for it
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.calls = Counter(
            "ai_requests",
            "Calls by how they ended: what the application got, and the code where Tidegate answered.",
            ("pool", "provider", "model", "operation", "ending", "status", "code"),
            registry=self.registry,
        )
        self.duration = Histogram(
            "ai_request_duration_seconds",
            "From the head of the request to the last byte of the answer.",
            ("pool", "provider", "model", "operation"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.first_token = Histogram(
            "ai_time_to_first_token_seconds",
            "Streams: from the head of the request to the first event for the application.",
            ("pool", "provider", "model"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.tokens = Counter(
            "ai_tokens",
            "Tokens that providers reported, by direction (input, output).",
            ("pool", "provider", "model", "direction"),
            registry=self.registry,
        )
        self.usage_unreported = Counter(
            "tidegate_usage_unreported",
            "Calls that a provider answered, in whole or in part, without usage having been reported.",
            ("pool", "provider", "model"),
            registry=self.registry,
        )
        self.attempts = Counter(
            "tidegate_attempts",
            "Tries by result; more tries than calls are retries and failovers.",
            ("pool", "provider", "result"),
            registry=self.registry,
        )
        self.refusals = Counter(
            "tidegate_refusals",
            "Calls that a rule refused (mode Enforce) or would have refused (mode Shadow).",
            ("object", "rule", "code", "mode"),
            registry=self.registry,
        )
        self.pass_through = Counter(
            "tidegate_pass_through",
            "Calls of a workload under no policy that went out as they are, by how they ended.",
            ("provider", "ending"),
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "tidegate_calls_in_flight", "Calls whose answer is not finished.", registry=self.registry
        )
        self.records_dropped = Counter(
            "tidegate_records_dropped", "Records that nobody took in time.", registry=self.registry
        )
        self.reloads = Counter(
            "tidegate_config_reloads",
            "Configurations that came in, by result (applied, refused).",
            ("result",),
            registry=self.registry,
        )
        self.config_loaded_at = Gauge(
            "tidegate_config_loaded_timestamp_seconds",
            "When the configuration in force was taken; 0 while there is none.",
            registry=self.registry,
        )
        self.config_refused = Gauge(
            "tidegate_config_refused",
            "1 while the newest configuration is wrong and an older one is in force.",
            registry=self.registry,
        )
        self.keys_loaded = Gauge(
            "tidegate_keys_loaded",
            "Usable keys in the folder with keys (TIDEGATE_KEYS_DIR).",
            registry=self.registry,
        )
        self.keys_loaded_at = Gauge(
            "tidegate_keys_loaded_timestamp_seconds",
            "When the folder with keys was read last because it had changed; 0 without one.",
            registry=self.registry,
        )
        self.keys_reloads = Counter(
            "tidegate_keys_reloads",
            "Changes of the folder with keys, by result (applied, refused: the keys before stay in use).",
            ("result",),
            registry=self.registry,
        )
        self.operator_connected = Gauge(
            "tidegate_operator_connected",
            "1 while the operator answers polls for the configuration; 0 without an operator, too.",
            registry=self.registry,
        )
        self.last_known_good_failures = Counter(
            "tidegate_last_known_good_failures",
            "The copy of the configuration on disk could not be read or written, by operation.",
            ("operation",),
            registry=self.registry,
        )
        self.config_age = StateCollector(
            "tidegate_config_age_seconds",
            "Since the operator last said that the configuration in force is the newest; absent without an operator.",
            (),
        )
        self.breaker_state = StateCollector(
            "tidegate_breaker_state", "0 closed, 1 half open, 2 open.", ("pool", "provider")
        )
        self.breaker_transitions = StateCollector(
            "tidegate_breaker_transitions",
            "Changes of a circuit breaker, by the state it went to.",
            ("pool", "provider", "to"),
            CounterMetricFamily,
        )
        self.rate_keys = StateCollector(
            "tidegate_rate_limit_keys", "Keys that a limit counts apart at the moment.", ("object", "rule")
        )
        self.held_bytes = StateCollector(
            "tidegate_held_bytes", "Bytes of bodies that calls in flight hold (TIDEGATE_MAX_HELD_BYTES).", ()
        )
        self.config_info = StateCollector(
            "tidegate_config_info", "1 for the digest of the configuration in force.", ("digest",)
        )
        for collector in (
            self.config_age,
            self.breaker_state,
            self.breaker_transitions,
            self.rate_keys,
            self.held_bytes,
            self.config_info,
        ):
            self.registry.register(collector)

    def record(self, record: CallRecord) -> None:
        """Count one finished call."""
        pool, provider, model = record.pool, record.provider, record.model_label
        status = f"{record.status // 100}xx" if record.status else "none"
        self.calls.labels(pool, provider, model, record.operation, record.ending, status, record.code).inc()
        self.duration.labels(pool, provider, model, record.operation).observe(record.duration_ms / 1_000)
        if record.pass_through:
            self.pass_through.labels(provider, record.ending).inc()
        for attempt in record.attempts:
            self.attempts.labels(pool, attempt.provider, attempt.result).inc()
        if record.first_token_ms is not None:
            self.first_token.labels(pool, provider, model).observe(record.first_token_ms / 1_000)
        if record.usage is UsageState.UNREPORTED:
            self.usage_unreported.labels(pool, provider, model).inc()
        if record.input_tokens is not None:
            self.tokens.labels(pool, provider, model, "input").inc(record.input_tokens)
        if record.output_tokens is not None:
            self.tokens.labels(pool, provider, model, "output").inc(record.output_tokens)
        if record.code and record.rule:
            self.refusals.labels(record.object, record.rule, record.code, "Enforce").inc()
        for decision in record.would_refuse:
            self.refusals.labels(decision.object, decision.rule, decision.code, "Shadow").inc()

    def expose(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)


class StateCollector:
    """Values read from live state at the moment of the scrape: nothing goes stale after a reload."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: tuple[str, ...],
        kind: type[CounterMetricFamily | GaugeMetricFamily] = GaugeMetricFamily,
    ) -> None:
        """Show nothing until `read` is set."""
        self._kind = kind
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self.read: Callable[[], Mapping[tuple[str, ...], float]] = dict

    def collect(self) -> list[CounterMetricFamily | GaugeMetricFamily]:
        """What prometheus-client calls at each scrape."""
        family = self._kind(self._name, self._documentation, labels=self._labels)
        for labels, value in self.read().items():
            family.add_metric(labels, value)
        return [family]

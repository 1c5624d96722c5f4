"""Every metric of the sidecar: name, unit, labels, meaning.

Label values come from closed sets: names in the configuration, codes and words of ours. What an application or a
provider makes up (a consumer, a model nobody configured) never becomes a label value, so the number of series is
bounded by the configuration.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily

from tidegate_sidecar.telemetry.cells import Cells, CellTable, ModelCells
from tidegate_sidecar.telemetry.collectors import CallCollector, StateCollector
from tidegate_sidecar.telemetry.records import CallRecord, Ending, UsageState


class Metrics:
    """The sidecar's metrics on a registry of their own."""

    def __init__(self) -> None:
        """Make all of them at once: a metric that appears later breaks the queries of whoever watches."""
        # The library's own switch, for the process: a `_created` beside each counter would double the series.
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library has no annotation for it
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._table = CellTable()
        self.registry.register(CallCollector(self._table))
        self.head_faults = Counter(
            "tidegate_head_faults",
            "Requests that were no HTTP, or not allowed to reach the sidecar, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self.stale_connections = Counter(
            "tidegate_stale_connections",
            "Requests sent again on a new connection: the provider had closed the one that was kept.",
            registry=self.registry,
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
        self.unknown_fields = Counter(
            "tidegate_unknown_fields",
            "Fields that an operator of a later release sent beside configurations and that were passed over.",
            registry=self.registry,
        )
        self.config_age = StateCollector(
            "tidegate_config_age_seconds",
            "Since the operator last said that the configuration in force is the newest; absent without an operator.",
            (),
        )
        self.breaker_state = StateCollector(
            "tidegate_breaker_state",
            "0 closed, 1 half open, 2 open; without a model: the provider's own, for failures to connect.",
            ("pool", "provider", "model"),
        )
        self.breaker_transitions = StateCollector(
            "tidegate_breaker_transitions",
            "Changes of a circuit breaker, by the state it went to.",
            ("pool", "provider", "model", "to"),
            CounterMetricFamily,
        )
        self.cooldowns = StateCollector(
            "tidegate_cooldowns",
            "Credentials, or models of one, that are left alone because a provider asked for patience.",
            (),
        )
        self.in_flight = StateCollector("tidegate_calls_in_flight", "Calls whose answer is not finished.", ())
        self.upstream_connections = StateCollector(
            "tidegate_upstream_connections",
            "Connections to providers, by state (open: one call uses it; idle: kept for the next).",
            ("state",),
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
            self.cooldowns,
            self.in_flight,
            self.upstream_connections,
            self.rate_keys,
            self.held_bytes,
            self.config_info,
        ):
            self.registry.register(collector)

    def cells(self, pool: str, provider: str, model: str, operation: str) -> Cells:
        """Where calls with these labels are counted, for a `CallRecord` to carry; the same ones at each request.

        Args:
            pool: its label.
            provider: empty for calls that end before one is chosen.
            model: one that the configuration names, `OTHER` or `NO_MODEL`: every value makes series that stay.
            operation: of the dialect's words; empty where it is not known.
        """
        return self._table.cells(pool, provider, model, operation)

    def count(self, record: CallRecord) -> None:
        """Count one finished call. Most are served, and pay for that alone."""
        cells = record.cells
        if cells is None:
            cells = self.cells(record.pool, record.provider, record.model_label, record.operation)
        if record.ending is Ending.SERVED and 200 <= record.status < 300 and not record.code:  # noqa: PLR2004 - 2xx
            cells.served += 1
        else:
            cells.others[str(record.ending), _status_class(record.status), record.code] += 1
        cells.duration.observe(record.duration_ms)
        for attempt in record.attempts:
            results = cells.attempts
            if attempt.provider != record.provider:
                results = self._table.attempts_of(record.pool, attempt.provider)
            results[attempt.result] += 1
        _count_answer(cells.of_model, record)
        if record.code and record.rule:
            self._table.refusals[record.object, record.rule, record.code, "Enforce"] += 1
        for decision in record.would_refuse:
            self._table.refusals[decision.object, decision.rule, decision.code, "Shadow"] += 1
        if record.pass_through:
            self._table.pass_through[record.provider, str(record.ending)] += 1

    def expose(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)


def _count_answer(cells: ModelCells, record: CallRecord) -> None:
    """What a provider's answer brought."""
    if record.first_token_ms is not None:
        cells.first_token.observe(record.first_token_ms)
    if record.usage is UsageState.UNREPORTED:
        cells.usage_unreported += 1
    cells.input_tokens += record.input_tokens or 0
    cells.output_tokens += record.output_tokens or 0
    cells.cached_input_tokens += record.cached_input_tokens or 0
    cells.cache_write_tokens += record.cache_write_tokens or 0


def _status_class(status: int) -> str:
    return f"{status // 100}xx" if status else "none"

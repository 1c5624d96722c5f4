"""What prometheus-client asks at each scrape: integers and live state in its own shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from tidegate_sidecar.telemetry.cells import BOUNDS_MS, SERVED, CellTable, Histogram

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily

_BOUNDS: Final = (*(str(bound / 1_000) for bound in BOUNDS_MS), "+Inf")


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
        """The family as it is now."""
        family = self._kind(self._name, self._documentation, labels=self._labels)
        for labels, value in self.read().items():
            family.add_metric(labels, value)
        return [family]


class CallCollector:
    """The metrics of calls. What has counted nothing is not shown: names of a configuration alone make no series."""

    def __init__(self, table: CellTable) -> None:
        self._table = table

    def collect(self) -> Iterator[Family]:
        """All families as they are now."""
        yield from self._calls()
        yield from self._models()
        yield self._attempts()
        yield _counter(
            "tidegate_refusals",
            "Calls that a rule refused (mode Enforce) or would have refused (mode Shadow).",
            ("object", "rule", "code", "mode"),
            self._table.refusals,
        )
        yield _counter(
            "tidegate_pass_through",
            "Calls of a workload under no policy that went out as they are, by how they ended.",
            ("provider", "ending"),
            self._table.pass_through,
        )

    def _calls(self) -> Iterator[Family]:
        labels = ("pool", "provider", "model", "operation")
        calls = CounterMetricFamily(
            "ai_requests",
            "Calls by how they ended: what the application got, and the code where Tidegate answered.",
            labels=(*labels, "ending", "status", "code"),
        )
        duration = HistogramMetricFamily(
            "ai_request_duration_seconds",
            "From the head of the request to the last byte of the answer.",
            labels=labels,
        )
        for where, cells in self._table.calls.items():
            if cells.served:
                calls.add_metric((*where, *SERVED), cells.served)
            for ended, count in cells.others.items():
                calls.add_metric((*where, *ended), count)
            _add(duration, where, cells.duration)
        yield calls
        yield duration

    def _models(self) -> Iterator[Family]:
        labels = ("pool", "provider", "model")
        first_token = HistogramMetricFamily(
            "ai_time_to_first_token_seconds",
            "Streams: from the head of the request to the first event that carries content.",
            labels=labels,
        )
        tokens = CounterMetricFamily(
            "ai_tokens",
            "Tokens that providers reported, by direction (input, output, cached_input, cache_write).",
            labels=(*labels, "direction"),
        )
        unreported = CounterMetricFamily(
            "tidegate_usage_unreported",
            "Calls that a provider answered, in whole or in part, without usage having been reported.",
            labels=labels,
        )
        for where, cells in self._table.models.items():
            _add(first_token, where, cells.first_token)
            for direction, count in (
                ("input", cells.input_tokens),
                ("output", cells.output_tokens),
                ("cached_input", cells.cached_input_tokens),
                ("cache_write", cells.cache_write_tokens),
            ):
                if count:
                    tokens.add_metric((*where, direction), count)
            if cells.usage_unreported:
                unreported.add_metric(where, cells.usage_unreported)
        yield first_token
        yield tokens
        yield unreported

    def _attempts(self) -> Family:
        return _counter(
            "tidegate_attempts",
            "Attempts by result; more attempts than calls are retries and failovers.",
            ("pool", "provider", "result"),
            {
                (*where, result): count
                for where, results in self._table.attempts.items()
                for result, count in results.items()
            },
        )


def _counter(
    name: str, documentation: str, labels: tuple[str, ...], counts: Mapping[tuple[str, ...], int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, documentation, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family


def _add(family: HistogramMetricFamily, labels: tuple[str, ...], histogram: Histogram) -> None:
    up_to = list(accumulate(histogram.counts))
    if up_to[-1]:
        family.add_metric(labels, list(zip(_BOUNDS, up_to, strict=True)), histogram.sum_ms / 1_000)

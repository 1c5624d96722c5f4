"""Every metric of the operator: its unit is in its name, its labels are bounded, its line says what it means."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """One registry and what is counted in it; the prefix is `tidegate_operator_`."""

    def __init__(self) -> None:
        """Everything begins at zero."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.compiles = Counter(
            "tidegate_operator_compiles_total",
            "Compiles by result: ok, or failed, which is an error in the compiler itself.",
            ["result"],
            registry=self.registry,
        )
        self.compile_seconds = Histogram(
            "tidegate_operator_compile_seconds",
            "Time of one compile, from the snapshot to the edition.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.compile_behind = self._gauge(
            "compile_behind_seconds",
            "For how long the oldest change that is not in force has waited for a compile that succeeds; 0: all is in force.",
        )
        self.objects = self._gauge("objects", "Objects in the index.", ["kind"])
        self.invalid = self._gauge(
            "invalid_objects",
            "Objects whose newest form is not valid; `form` is last_good where an earlier form is in force, else none.",
            ["kind", "form"],
        )
        self.classes = self._gauge("classes", "Configurations in force, one per class of workloads.")
        self.pods = self._gauge("injected_pods", "Injected pods that run or will.")
        self.watch_age = self._gauge(
            "watch_age_seconds", "Time since anything was heard of a kind's watch.", ["kind"]
        )
        self.missed = self._counter(
            "watch_missed_total", "Changes that a list found and the watch had not told.", ["kind"]
        )
        self.watch_restarts = self._counter(
            "watch_restarts_total", "How often the watching ended by itself and was begun again."
        )
        self.lists_failed = self._counter(
            "lists_failed_total", "Lists that the API server did not answer or refused.", ["kind"]
        )
        self.leading = self._gauge("leading", "1 while this replica holds the Lease.")
        self.lease_failed = self._counter(
            "lease_failed_total", "Tries to read or write the Lease that failed."
        )
        self.status_writes = self._counter(
            "status_writes_total",
            "Status writes by result: written, conflict (the object had changed; tried again), gone, failed.",
            ["kind", "result"],
        )
        self.status_waiting = self._gauge(
            "status_waiting", "Objects whose status is not yet as it should be."
        )
        self.open_polls = self._gauge("open_polls", "Polls of sidecars that wait for an answer.")
        self.answers = self._counter(
            "answers_total", "Requests of sidecars and replicas that were answered, by result.", ["result"]
        )
        self.forwards = self._counter(
            "forwards_total",
            "Batches of acknowledgements brought to the holder of the Lease, by result.",
            ["result"],
        )
        self.unknown_fields = self._counter(
            "unknown_fields_total",
            "Fields of messages of sidecars and replicas that this release does not know and passed over.",
        )
        self.events = self._counter("events_total", "Events posted, by type.", ["type"])
        self.workloads_without_sidecar = self._gauge(
            "workloads_without_sidecar",
            "Workloads that have asked for sidecars and have pods without one, by reason: RestartRequired, what makes one "
            "impossible (HostNetwork and so on), or Unexamined: not told of yet. Known to the holder of the Lease.",
            ["reason"],
        )
        self.pods_without_sidecar = self._gauge(
            "pods_without_sidecar", "Their pods without a sidecar. Known to the holder of the Lease."
        )
        self.coverage_failed = self._counter(
            "coverage_failed_total", "Counts of pods without a sidecar that the API server cut short."
        )
        self.last_good_left_out = self._gauge(
            "last_good_left_out", "Valid forms that are too large to be persisted."
        )

    def expose(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, meaning: str, labels: list[str] | None = None) -> Gauge:
        return Gauge(f"tidegate_operator_{name}", meaning, labels or [], registry=self.registry)

    def _counter(self, name: str, meaning: str, labels: list[str] | None = None) -> Counter:
        return Counter(f"tidegate_operator_{name}", meaning, labels or [], registry=self.registry)

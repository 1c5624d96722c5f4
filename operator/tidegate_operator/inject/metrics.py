"""What the injector counts: units are in the names, labels are bounded."""

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

from tidegate_operator.inject.response import Outcome
from tidegate_operator.inject.review import Entry

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """One registry and what is counted in it."""

    def __init__(self) -> None:
        """Everything begins at zero."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._admissions = Counter(
            "tidegate_admissions_total",
            "Reviews by entry of the webhook configuration, what was done (injected, copied, unchanged, skipped, warned, "
            "denied, failed) and why.",
            ["entry", "decision", "reason"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "tidegate_admission_duration_seconds",
            "Time from a review's last byte to its answer.",
            ["entry"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._malformed = Counter(
            "tidegate_admission_requests_malformed_total",
            "Requests that were no review: a version that does not fit, or a caller who is no API server.",
            registry=self.registry,
        )
        self._expiry = Gauge(
            "tidegate_injector_certificate_expiry_seconds",
            "When the certificate that is served ends, in seconds since the epoch.",
            registry=self.registry,
        )

    def answered(self, entry: Entry, outcome: Outcome, seconds: float) -> None:
        """One review was answered."""
        self._admissions.labels(entry.value, outcome.result.value, outcome.reason).inc()
        self._seconds.labels(entry.value).observe(seconds)

    def malformed(self) -> None:
        """One request could not be read."""
        self._malformed.inc()

    def serves_until(self, until_s: int) -> None:
        """Another certificate is served."""
        self._expiry.set(until_s)

    def expose(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

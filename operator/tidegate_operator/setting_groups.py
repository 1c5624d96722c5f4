"""Settings in groups: what belongs together is given together. `settings.py` reads them.

Every default is right in a pod. Periods are milliseconds; each default says why it is what it is.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, field
from typing import Any, Final

from tidegate_operator.compile.unmatched import (
    PASS_THROUGH,
    REFUSE,
    PassThrough,
    parse_base_urls,
    pass_through,
)

INJECTOR_NAME: Final = "tidegate-injector"
WEBHOOK_CONFIGURATION: Final = "ai-tidegate-injector"
"""Webhooks are called in the order of these names: a mesh that comes after us sees the sidecar's ports and probes."""

_HOUR_MS: Final = 3_600_000


def period(default_ms: int, lowest_ms: int = 10, highest_ms: int = _HOUR_MS) -> int:
    """A field whose variable is an integer within bounds; the type is what the field holds."""
    return number(default_ms, lowest_ms, highest_ms)


def number(default: int, lowest: int, highest: int, *, variable: str = "") -> int:
    """The same for a count; `variable` where the name does not follow from group and field."""
    value: int = field(default=default, metadata={"bounds": (lowest, highest), "variable": variable})
    return value


def bounds_of(item: Field[Any]) -> tuple[int, int, int] | None:
    """Default, lowest and highest value of a field that is a number; None for any other."""
    if "bounds" not in item.metadata or item.default is MISSING:
        return None
    lowest, highest = item.metadata["bounds"]
    return int(item.default), lowest, highest


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServerSettings:
    """Calls to the API server."""

    request_ms: int = period(5_000, 100)
    """One call to the API server, answer included."""
    requests_at_once: int = number(8, 1, 64)
    """Calls for compiles and for sidecars at the same time; each occupies a thread. What the holder of the Lease does has its own."""
    retry_max_ms: int = period(10_000, 10)
    """Longest pause between tries to reach the API server; the first are short, and each doubles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSettings:
    """What is listed or looked up besides watches."""

    relist_ms: int = period(600_000, 100)
    """Each kind is listed again this often, whatever its watch says: the net under the watches."""
    relist_pause_ms: int = period(1_000, 10)
    """Least time between two lists of one kind that something asked for (a replica behind, a gap in a watch)."""
    owners_ms: int = period(15_000, 50)
    """How often targets that had no pod are looked for again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """Watches."""

    length_ms: int = period(240_000, 1_000)
    """The server ends a watch after this time, and the next begins: each connection proves that watching works."""
    inactivity_ms: int = period(70_000, 500)
    """A watch that brings nothing for so long, not even the bookmark of each minute, is taken for dead."""
    silent_ms: int = period(360_000, 1_000)
    """A kind without any sign of life for so long makes the replica unready; it is longer than a watch's length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """The Lease."""

    duration_ms: int = period(15_000, 100)
    """A Lease that its holder has not renewed for so long is free."""
    renew_ms: int = period(10_000, 50)
    """A holder that could not renew for so long stops writing; shorter than the duration, so that two never write."""
    retry_ms: int = period(2_000, 10)
    """How often the Lease is renewed, or looked at by the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileSettings:
    """From a change to what is in force."""

    debounce_ms: int = period(100, 0)
    """Quiet time before a compile: a burst of changes is one compile, and one change is not held up noticeably."""
    debounce_max_ms: int = period(2_000, 0)
    """A compile waits no longer than this for quiet, however long a burst lasts."""
    last_good_ms: int = period(500, 0)
    """How long valid forms are gathered before they are persisted: a burst is one write."""
    unmatched: str = REFUSE
    """Calls of pods under no policy: `Refuse` denies them, `PassThrough` lets them go out as they are."""
    pass_through_urls: str = ""
    """Where they go then: `OpenAI=URL,Anthropic=URL`; a type that is not named goes to its provider's public address."""

    @property
    def pass_through(self) -> PassThrough | None:
        """What workloads under no policy get; None: a denial."""
        return (
            pass_through(parse_base_urls(self.pass_through_urls)) if self.unmatched == PASS_THROUGH else None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSettings:
    """Writing the status of objects."""

    burst: int = number(3, 1, 100)
    """Status writes that one object may get at once: the state as found, as compiled, as acknowledged."""
    interval_ms: int = period(5_000, 0)
    """Time in which an object earns another status write: counts of sidecars may change a thousand times a minute."""
    retry_ms: int = period(1_000, 10)
    """Pause after a status write that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarSettings:
    """Sidecars: their connections, and what they say."""

    connections_per_address: int = number(512, 8, 100_000)
    """Connections of sidecars from one address. Pods of the host's network, and those behind one translated address, share theirs."""
    acks_ms: int = period(250, 10)
    """How often what sidecars acknowledged is summed up; a sum that changed is a status to write."""
    hearing_ms: int = period(20_000, 0)
    """How long a sidecar may be silent before its silence counts: from its start, and from when this replica began to lead."""
    peer_token_file: str = ""
    """The operator's own token with the audience of sidecars, to bring acknowledgements to the holder of the Lease.
    Empty: they are not brought, which is right for one replica alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSettings:
    """Certificates of the operator and the injector."""

    folder: str = field(default="", metadata={"variable": "CERTIFICATES"})
    """Folder with `tls.crt`, `tls.key` and `ca.crt` that somebody else keeps, as cert-manager does: these are served, and
    followed when they change. Empty: the holder of the Lease makes certificates, the injector's as well."""
    period_ms: int = number(60_000, 50, _HOUR_MS, variable="CERTIFICATES_MS")
    """How often certificates are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectorSettings:
    """What is done for the injector, and for workloads that it should have seen."""

    service: str = field(default=INJECTOR_NAME, metadata={"variable": "INJECTOR_SERVICE"})
    """The Service that the API server reaches the injector by; its names are in the injector's certificate."""
    webhook_configuration: str = WEBHOOK_CONFIGURATION
    """The MutatingWebhookConfiguration whose `caBundle` is kept. `none`: no configuration is ever touched."""
    coverage_ms: int = period(60_000, 50)
    """How often pods are counted again in namespaces where some should have a sidecar and have none; everywhere: `lists.relist_ms`."""
    excluded_namespaces: tuple[str, ...] = ()
    """`NAME,NAME`: where the webhook configuration lets nothing be injected, so that pods there lack nothing."""

"""What we refuse although the API server does not: the checks that stand in `problems` of a section.

The reasons are in `sample.Stricter`. Where they follow from the schema, the samples are derived with the rest: what is
null, 1.0 or longer than a year.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tidegate_operator.api.kinds import KINDS
from tidegate_operator.api.providerpool import Provider, ProviderPoolSpec
from tidegate_operator.api.section import Section
from tidegate_operator.api.traffic import Backoff, CircuitBreaker
from tidegate_samples.places import ITEM, Field, fields, place_of
from tidegate_samples.rules import with_changes
from tidegate_samples.sample import Changes, Sample, Stricter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate_operator.api.problems import FieldPath


class Refusal(NamedTuple):
    """A section that we alone refuse.

    Attributes:
        what: what is wrong.
        changes: to the section in the valid document.
        below: the place of the problem, from the section.
        ours: words of our message.
        why: the reason.
    """

    what: str
    changes: Changes
    below: FieldPath
    ours: str
    why: Stricter


def _host(what: str, host: str, ours: str) -> Refusal:
    changes = {"baseURL": f"https://{host}/v1", "allowPrivate": True}
    return Refusal(what, changes, ("baseURL",), ours, Stricter.HOST)


def _private(what: str, host: str) -> Refusal:
    changes = {"baseURL": f"https://{host}/v1", "allowPrivate": False}
    return Refusal(what, changes, ("baseURL",), "the host is private or inside the cluster", Stricter.HOST)


def _models(what: str, models: list[dict[str, Any]], below: FieldPath, ours: str) -> Refusal:
    return Refusal(what, {"models": models}, ("models", *below), ours, Stricter.MODEL_NAMES)


def _maximum(field: str) -> Refusal:
    changes = {"timeouts": {field: "2s"}, "policyMaximum": {"timeouts": {field: "1s"}}}
    below = ("policyMaximum", "timeouts", field)
    ours = "1s is below the pool's own 2s; a maximum is as long or longer"
    return Refusal(f"a {field} below the pool's own", changes, below, ours, Stricter.POOL_MAXIMUM)


REFUSALS: Final[dict[tuple[type[Section], tuple[str, ...]], tuple[Refusal, ...]]] = {
    (Provider, ("spec", "providers", ITEM)): (
        _private("a loopback address", "127.0.0.1"),
        _private("a private address", "10.0.0.1"),
        _private("the address of a cloud's metadata", "169.254.169.254"),
        _private("a private address of IPv6", "[fd00::1]"),
        _private("a name without a dot", "ollama"),
        _private("a name inside the cluster", "ollama.ai.svc.cluster.local"),
        _host("an address as one number", "2130706433", "is a disguised IP address"),
        _host("an address in hexadecimal", "0x7f000001", "is a disguised IP address"),
        _host("an empty label in a name", "a..example", "is not the name of a host"),
        _host("a bracket that stays open", "[::1", "not a URL"),
        _host("port 0", "a.example:0", "port 0 cannot be connected to"),
        _host("a port beyond 65535", "a.example:65536", "not a URL"),
        _models(
            "an alias that is the name of a model",
            [{"name": "a", "aliases": ["b"]}, {"name": "b"}],
            (0, "aliases", 0),
            "'b' is the name of a model of this provider already",
        ),
        _models(
            "an alias of two models",
            [{"name": "a", "aliases": ["x"]}, {"name": "b", "aliases": ["x"]}],
            (1, "aliases", 0),
            "'x' is an alias of a of this provider already",
        ),
    ),
    (CircuitBreaker, ("spec", "circuitBreaker")): (
        Refusal(
            "maxOpenFor shorter than openFor",
            {"openFor": "25h", "maxOpenFor": "1d"},
            ("maxOpenFor",),
            "maxOpenFor 1d is shorter than openFor 25h",
            Stricter.DURATION_ORDER,
        ),
    ),
    (Backoff, ("spec", "retry", "backoff")): (
        Refusal(
            "max shorter than base",
            {"base": "25h", "max": "1d"},
            ("max",),
            "max 1d is shorter than base 25h",
            Stricter.DURATION_ORDER,
        ),
    ),
    (ProviderPoolSpec, ("spec",)): (
        *map(_maximum, ("connect", "firstToken", "streamIdle", "request", "stream")),
        Refusal(
            "fewer attempts than the pool's own",
            {"retry": {"maxAttempts": 3}, "policyMaximum": {"retry": {"maxAttempts": 2}}},
            ("policyMaximum", "retry", "maxAttempts"),
            "2 is below the pool's own 3; a maximum is as high or higher",
            Stricter.POOL_MAXIMUM,
        ),
    ),
}
"""Section, and its place in a pool, to what its `problems` refuse."""


def stricter_samples() -> Iterator[Sample]:
    """A sample for each refusal."""
    kind = KINDS["ProviderPool"]
    by_path: dict[tuple[str, ...], Field] = {field.path: field for field in fields(kind, "spec")}
    for (_, path), refusals in REFUSALS.items():
        place = place_of(kind, by_path[path])
        assert place is not None
        for refusal in refusals:
            yield Sample(
                kind=kind,
                field=(*place.path, *refusal.below),
                what=refusal.what,
                document=with_changes(place, refusal.changes),
                ours=refusal.ours,
                stricter=refusal.why,
            )

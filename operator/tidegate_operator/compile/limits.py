"""Rules of which all hold together: rate limits and model allow-lists, each with the field that it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate_policy.model import KeyPart, KeyType, ModelAllowList, RateLimit
from tidegate_policy.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tidegate_operator.api.rules import RateLimitKey, RateLimitRule
    from tidegate_operator.compile.diagnostics import FieldPath
    from tidegate_operator.compile.lookup import Policy
    from tidegate_policy.model import Mode, ObjectRef


def allow_lists(policies: Iterable[Policy]) -> tuple[tuple[ModelAllowList, FieldPath], ...]:
    """The lists of all policies; a call must be allowed by each. Sorted by policy."""
    found: list[tuple[ModelAllowList, FieldPath]] = []
    for policy in sorted(policies, key=lambda it: it.ref):
        spec = policy.spec
        if spec is not None and spec.allow_models is not None:
            patterns = tuple(sorted(spec.allow_models))
            rule = ModelAllowList(source=policy.ref, mode=spec.mode, patterns=patterns)
            found.append((rule, ("spec", "allowModels")))
    return tuple(found)


def rate_limits(policies: Iterable[Policy]) -> tuple[tuple[RateLimit, FieldPath], ...]:
    """The limits of all policies. Sorted by policy and name."""
    found = [limit for policy in policies for limit in _limits_of(policy)]
    return tuple(sorted(found, key=lambda it: (it[0].source, it[0].name)))


def rate_limit_words(limit: RateLimit) -> str:
    """``per-user: 60 per 1m, burst 60, by Consumer``."""
    key = " and ".join(f"header {part.header}" if part.header else part.type.value for part in limit.key)
    models = "" if limit.models == ("*",) else f", models {', '.join(limit.models)}"
    rate = f"{limit.requests} per {format_duration(limit.per_ms)}"
    return f"{limit.name}: {rate}, burst {limit.burst}, by {key}{models} ({limit.mode})"


def _limits_of(policy: Policy) -> Iterator[tuple[RateLimit, FieldPath]]:
    if policy.spec is not None:
        for index, rule in enumerate(policy.spec.rate_limits):
            yield _limit(policy.ref, rule, policy.spec.mode), ("spec", "rateLimits", index)


def _limit(source: ObjectRef, rule: RateLimitRule, default_mode: Mode) -> RateLimit:
    return RateLimit(
        name=rule.name,
        source=source,
        mode=rule.mode or default_mode,
        requests=rule.requests,
        per_ms=rule.per.ms,
        burst=rule.burst or rule.requests,
        key=_key(rule.key),
        models=tuple(sorted(rule.models)),
    )


def _key(parts: tuple[RateLimitKey, ...]) -> tuple[KeyPart, ...]:
    # a header name in two spellings is one part
    found = {
        KeyPart(
            type=part.type,
            header=part.header.name.lower() if part.type is KeyType.HEADER and part.header else "",
        )
        for part in parts
    }
    return tuple(sorted(found, key=lambda part: (part.type, part.header)))

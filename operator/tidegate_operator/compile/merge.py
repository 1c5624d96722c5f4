"""All policies that apply to a class of workloads, merged into its configuration.

Limits, allow-lists and refusals of all of them hold together. Settings with one value go by precedence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidegate_operator.compile.compilation import Setting
from tidegate_operator.compile.denials import denials_of
from tidegate_operator.compile.diagnostics import Reason
from tidegate_operator.compile.findings import Findings
from tidegate_operator.compile.limits import allow_lists, rate_limit_words, rate_limits
from tidegate_operator.compile.lookup import pool_references
from tidegate_operator.compile.overrides import override, timeout_words
from tidegate_operator.compile.precedence import Candidate, by_precedence, decide
from tidegate_policy.model import CompiledConfig, ConsumerIdentity, KeyType

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tidegate_operator.api.traffic import RetryOverrides, TimeoutOverrides
    from tidegate_operator.compile.diagnostics import FieldPath
    from tidegate_operator.compile.lookup import Policy
    from tidegate_operator.compile.precedence import Applying
    from tidegate_operator.compile.resolve import UsablePools
    from tidegate_policy.model import ObjectRef, Pool, RateLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The configuration of a class, and where its values come from.

    Attributes:
        pools_from: the policy whose pools are used; None when no policy names any.
        findings: what came up on the way.
    """

    config: CompiledConfig
    settings: tuple[Setting, ...]
    pools_from: ObjectRef | None
    findings: Findings


def merge(applying: Iterable[Applying], about: tuple[str, ...]) -> Merged:
    """Merge the policies of one class; `about` names its workloads, for messages."""
    return _Merger(applying=by_precedence(applying), about=about).merge()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Merger:
    """Merges the policies of one class of workloads.

    Attributes:
        applying: the policies, by precedence.
        about: names of the workloads, for messages.
    """

    applying: Sequence[Applying]
    about: tuple[str, ...]
    findings: Findings = field(default_factory=Findings)

    def merge(self) -> Merged:
        pools_from, usable, pools_setting = self._pools()
        timeouts, timeouts_setting = self._timeouts()
        retry, retry_setting = self._retry()
        consumer, identity_setting = self._identity()
        policies = [it.policy for it in self.applying]
        allowed, limits = allow_lists(policies), rate_limits(policies)
        config = CompiledConfig(
            sources=tuple(sorted(policy.ref for policy in policies)),
            denials=denials_of(self.applying, pools_from, usable),
            pools=self._overridden(usable, timeouts, retry),
            allow_models=tuple(rule for rule, _ in allowed),
            rate_limits=tuple(rule for rule, _ in limits),
            consumer=consumer,
        )
        self._report_unnamed(pools_from, consumer, limits)
        all_of = [
            Setting(
                name="allowModels",
                value=f"{', '.join(rule.patterns)} ({rule.mode})",
                source=rule.source,
                path=path,
            )
            for rule, path in allowed
        ] + [
            Setting(name="rateLimits", value=rate_limit_words(rule), source=rule.source, path=path)
            for rule, path in limits
        ]
        one_of = (pools_setting, timeouts_setting, retry_setting, identity_setting)
        return Merged(
            config=config,
            settings=(*one_of, *all_of),
            pools_from=pools_from.ref if pools_from else None,
            findings=self.findings,
        )

    def _report_unnamed(
        self,
        pools_from: Policy | None,
        consumer: ConsumerIdentity | None,
        limits: Sequence[tuple[RateLimit, FieldPath]],
    ) -> None:
        """Say what is missing between the policies: no pool at all, no consumer for the limits that count by it."""
        # of a policy that is not in force nobody knows what it would have named
        if self.applying and pools_from is None and all(it.policy.spec for it in self.applying):
            message = "no policy that applies names a pool: every call is refused"
            closest = self.applying[0].policy.ref
            self.findings.warning(
                closest, ("spec", "poolRefs"), Reason.NOT_ENFORCED, message, about=self.about
            )
        for limit, path in limits:
            if consumer is None and any(part.type is KeyType.CONSUMER for part in limit.key):
                message = "no policy that applies sets identity: all calls count as one consumer"
                self.findings.warning(
                    limit.source, (*path, "key"), Reason.NOT_ENFORCED, message, about=self.about
                )

    def _pools(self) -> tuple[Policy | None, UsablePools | None, Setting]:
        candidates = [
            Candidate(
                applying=it, value=pools, words=", ".join(f"{ref.namespace}/{ref.name}" for ref in pools)
            )
            for it in self.applying
            if (pools := pool_references(it.policy))
        ]
        path = ("spec", "poolRefs")
        winner, setting = decide("poolRefs", path, candidates, self.findings, self.about)
        if winner is None:
            return None, None, setting
        policy, usable = winner.applying.policy, winner.applying.usable
        usable.report(policy, self.findings, about=self.about)
        return policy, usable, setting

    def _overridden(
        self,
        usable: UsablePools | None,
        timeouts: Candidate[TimeoutOverrides] | None,
        retry: Candidate[RetryOverrides] | None,
    ) -> tuple[Pool, ...]:
        resolved = usable.pools if usable else ()
        return tuple(override(pool, timeouts, retry, self.findings) for pool in resolved)

    def _timeouts(self) -> tuple[Candidate[TimeoutOverrides] | None, Setting]:
        candidates = [
            Candidate(applying=it, value=timeouts, words=words)
            for it in self.applying
            if it.policy.spec and (timeouts := it.policy.spec.timeouts) and (words := timeout_words(timeouts))
        ]
        return decide("timeouts", ("spec", "timeouts"), candidates, self.findings, self.about)

    def _retry(self) -> tuple[Candidate[RetryOverrides] | None, Setting]:
        candidates = [
            Candidate(applying=it, value=retry, words=f"maxAttempts {retry.max_attempts}")
            for it in self.applying
            if it.policy.spec and (retry := it.policy.spec.retry) and retry.max_attempts is not None
        ]
        return decide("retry", ("spec", "retry"), candidates, self.findings, self.about)

    def _identity(self) -> tuple[ConsumerIdentity | None, Setting]:
        candidates = []
        for it in self.applying:
            identity = it.policy.spec.identity if it.policy.spec else None
            if it.policy.spec and identity and identity.consumer.header:
                header = identity.consumer.header
                name, on_missing, mode = header.name.lower(), header.on_missing, it.policy.spec.mode
                words = f"consumer from header {name}, {on_missing} when it is missing ({mode})"
                candidates.append(Candidate(applying=it, value=(name, on_missing, mode), words=words))
        winner, setting = decide(
            "identity", ("spec", "identity"), candidates, self.findings, self.about, cluster_first=True
        )
        if winner is None:
            return None, setting
        name, on_missing, mode = winner.value
        source = winner.applying.policy.ref
        return ConsumerIdentity(source=source, mode=mode, header=name, on_missing=on_missing), setting

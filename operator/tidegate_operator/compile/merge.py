"""All policies that apply to a class of workloads, merged into its configuration.

Limits, allow-lists and refusals of all of them hold together. Settings with one value go by precedence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tidegate_operator.compile.compilation import Setting
from tidegate_operator.compile.denials import denials_of
from tidegate_operator.compile.diagnostics import Reason
from tidegate_operator.compile.findings import Findings
from tidegate_operator.compile.limits import allow_lists, rate_limit_words, rate_limits
from tidegate_operator.compile.overrides import override
from tidegate_operator.compile.precedence import by_precedence
from tidegate_operator.compile.single_valued import POOLS, RETRY, SINGLE_VALUED, TIMEOUTS, decide_all
from tidegate_policy.model import CompiledConfig, KeyType

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tidegate_operator.compile.diagnostics import FieldPath
    from tidegate_operator.compile.lookup import Policy
    from tidegate_operator.compile.precedence import Applying
    from tidegate_operator.compile.resolve import UsablePools
    from tidegate_operator.compile.single_valued import Decisions, SingleValued
    from tidegate_policy.model import ConsumerIdentity, ObjectRef, RateLimit


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


def merge(
    applying: Iterable[Applying],
    about: tuple[str, ...],
    single_valued: Sequence[SingleValued[Any]] = SINGLE_VALUED,
) -> Merged:
    """Merge the policies of one class.

    Args:
        applying: the policies.
        about: names of its workloads, for messages.
        single_valued: the settings of which one policy decides.
    """
    return _Merger(applying=by_precedence(applying), about=about, single_valued=single_valued).merge()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Merger:
    """Merges the policies of one class of workloads.

    Attributes:
        applying: the policies, by precedence.
        about: names of the workloads, for messages.
        single_valued: the settings of which one policy decides.
    """

    applying: Sequence[Applying]
    about: tuple[str, ...]
    single_valued: Sequence[SingleValued[Any]]
    findings: Findings = field(default_factory=Findings)

    def merge(self) -> Merged:
        decisions = decide_all(self.single_valued, self.applying, self.findings, self.about)
        pools_from, usable = self._pools(decisions)
        policies = [it.policy for it in self.applying]
        allowed, limits = allow_lists(policies), rate_limits(policies)
        resolved = usable.pools if usable else ()
        timeouts, retry = decisions.of(TIMEOUTS), decisions.of(RETRY)
        config = CompiledConfig(
            sources=tuple(sorted(policy.ref for policy in policies)),
            denials=denials_of(self.applying, pools_from, usable),
            pools=tuple(override(pool, timeouts, retry, self.findings) for pool in resolved),
            allow_models=tuple(rule for rule, _ in allowed),
            rate_limits=tuple(rule for rule, _ in limits),
            **decisions.fields(self.single_valued),
        )
        self._report_unnamed(pools_from, config.consumer, limits)
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
        return Merged(
            config=config,
            settings=(*decisions.settings, *all_of),
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

    def _pools(self, decisions: Decisions) -> tuple[Policy | None, UsablePools | None]:
        winner = decisions.of(POOLS)
        if winner is None:
            return None, None
        policy, usable = winner.applying.policy, winner.applying.usable
        usable.report(policy, self.findings, about=self.about)
        return policy, usable

"""Why every call of a class of workloads is refused, if it is; the first reason answers the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate_policy.model import Denial, DenialCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate_operator.compile.lookup import Policy
    from tidegate_operator.compile.precedence import Applying
    from tidegate_operator.compile.resolve import UsablePools


def denials_of(
    applying: Sequence[Applying], pools_from: Policy | None, usable: UsablePools | None
) -> tuple[Denial, ...]:
    """The denials, a kill switch first, since somebody has pulled it on purpose.

    Args:
        applying: the policies, the closest first.
        pools_from: the policy that decides which pools are used; None when no policy names any.
        usable: what is left of its pools.
    """
    if not applying:
        reason = (
            "No AIPolicy applies to this workload. "
            "Create one in its namespace whose targetRefs or selector names it, with the poolRefs it may use."
        )
        return (Denial(code=DenialCode.NO_POLICY, reason=reason),)
    policies = [it.policy for it in applying]
    suspended = [_suspended(policy) for policy in policies if policy.spec and policy.spec.suspend]
    invalid = [_invalid(policy) for policy in policies if policy.spec is None]
    if invalid and pools_from is None:
        # the one that cannot be read may have named the pools
        return (*suspended, *invalid)
    return (*suspended, *invalid, *_without_pools(policies, pools_from, usable))


def _suspended(policy: Policy) -> Denial:
    return Denial(
        code=DenialCode.SUSPENDED,
        reason=f"{policy.ref} is suspended; its spec.suspend has to be false again.",
        source=policy.ref,
    )


def _invalid(policy: Policy) -> Denial:
    problem = policy.problem or "it has no spec"
    reason = f"{policy.ref} is not valid, and what it applies to is refused until it is: {problem}"
    return Denial(code=DenialCode.NO_POLICY, reason=reason, source=policy.ref)


def _without_pools(
    policies: Sequence[Policy], pools_from: Policy | None, usable: UsablePools | None
) -> tuple[Denial, ...]:
    if pools_from is None:
        names = ", ".join(str(policy.ref) for policy in policies)
        reason = f"No policy that applies names a pool; set spec.poolRefs in one of: {names}."
        return (Denial(code=DenialCode.NO_POLICY, reason=reason, source=policies[0].ref),)
    if usable is not None and usable.pools:
        return ()
    problems = "; ".join(usable.problems) if usable else ""
    reason = f"{pools_from.ref} names no pool that can be used: {problems}."
    return (Denial(code=DenialCode.NO_POLICY, reason=reason, source=pools_from.ref),)

"""Which pools a policy can use: its references against what is there and what its owners permit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from tidegate_operator.compile.diagnostics import Reason
from tidegate_operator.compile.lookup import pool_references

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tidegate_operator.compile.findings import Findings
    from tidegate_operator.compile.lookup import Lookup, Policy
    from tidegate_operator.compile.pools import ResolvedPool
    from tidegate_policy.model import ObjectRef


_REMARKS: Final = (Reason.OVERRIDDEN, Reason.REF_SUSPENDED)
"""Of a reference with one of these the policy takes effect, but perhaps not as meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A reference that does not hold."""

    index: int
    reason: Reason
    message: str
    hint: str = ""
    """What helps the policy's author, and is not told to those whose calls are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsablePools:
    """The pools of one policy for the workloads of one namespace.

    Attributes:
        pools: in the order of the policy; a suspended one is among them, and its calls are refused.
        refusals: why the others cannot be used.
        suspended: references to suspended pools, with what to say of each.
    """

    pools: tuple[ResolvedPool, ...]
    refusals: tuple[Refusal, ...]
    suspended: tuple[Refusal, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """The refusals, for those whose calls are refused by them."""
        return tuple(it.message for it in self.refusals if it.reason is not Reason.OVERRIDDEN)

    def report(self, policy: Policy, findings: Findings, *, about: Iterable[str] = ()) -> None:
        """Say which references do not hold; those that a namespace is not permitted are `about` its workloads."""
        for refusal in (*self.refusals, *self.suspended):
            path = ("spec", "poolRefs", refusal.index)
            message = refusal.message + refusal.hint
            if refusal.reason in _REMARKS:
                findings.warning(policy.ref, path, refusal.reason, message)
            elif refusal.reason is Reason.REF_NOT_PERMITTED and not policy.ref.namespace:
                findings.error(policy.ref, path, refusal.reason, message, about=about)
            else:
                findings.error(policy.ref, path, refusal.reason, message)


class Standing(NamedTuple):
    """A policy among the others.

    Attributes:
        usable: its pools for its own namespace; of a cluster-scoped policy for one that every pool permits.
        varies: it is cluster-scoped, and some of its pools permit some namespaces alone.
    """

    policy: Policy
    usable: UsablePools
    varies: bool


class PoolReferences:
    """Answers which pools a policy can use; each question is worked out once."""

    def __init__(self, lookup: Lookup, pools: Mapping[ObjectRef, ResolvedPool]) -> None:
        self._lookup = lookup
        self._pools = pools
        self._varying: dict[tuple[ObjectRef, str], UsablePools] = {}
        self.standing: Mapping[ObjectRef, Standing] = {
            ref: Standing(policy, self._work_out(policy, ref.namespace), self._varies(policy))
            for ref, policy in lookup.policies.items()
        }

    def usable(self, standing: Standing, namespace: str) -> UsablePools:
        """The pools that a policy gives to workloads of a namespace."""
        if not standing.varies:
            return standing.usable
        key = (standing.policy.ref, namespace)
        if key not in self._varying:
            self._varying[key] = self._work_out(standing.policy, namespace)
        return self._varying[key]

    def _varies(self, policy: Policy) -> bool:
        if policy.ref.namespace:
            return False
        found = (self._pools.get(ref) for ref in pool_references(policy))
        return any(pool is not None and not pool.permits_all for pool in found)

    def _work_out(self, policy: Policy, namespace: str) -> UsablePools:
        usable: list[ResolvedPool] = []
        refusals: list[Refusal] = []
        suspended: list[Refusal] = []
        first: dict[ObjectRef, int] = {}
        for index, ref in enumerate(pool_references(policy)):
            if ref in first:
                message = f"names {ref} again, as poolRefs[{first[ref]}] does; remove one of them"
                refusals.append(Refusal(index=index, reason=Reason.OVERRIDDEN, message=message))
                continue
            first[ref] = index
            pool = self._pools.get(ref)
            refusal = self._refusal(index, ref, pool, policy, namespace)
            if refusal is not None:
                refusals.append(refusal)
            elif pool is not None:
                usable.append(pool)
                if pool.spec.suspend:
                    message = f"{ref} is suspended: calls through it are refused"
                    suspended.append(Refusal(index=index, reason=Reason.REF_SUSPENDED, message=message))
        return UsablePools(pools=tuple(usable), refusals=tuple(refusals), suspended=tuple(suspended))

    def _refusal(
        self, index: int, ref: ObjectRef, pool: ResolvedPool | None, policy: Policy, namespace: str
    ) -> Refusal | None:
        if pool is None:
            # what is in a namespace is told to the platform and to those who live there
            viewer = policy.ref.namespace
            message, hint = self._missing(ref, viewer)
            return Refusal(index=index, reason=Reason.REF_NOT_FOUND, message=message, hint=hint)
        if namespace and not pool.permits(namespace, self._lookup.labels_of(namespace)):
            return Refusal(
                index=index,
                reason=Reason.REF_NOT_PERMITTED,
                message=f"{ref} does not allow this namespace",
                hint="; its spec.allowedNamespaces has to",
            )
        if not pool.pool.providers:
            message = f"{ref} has no provider left"
            hint = "; the credentials of all of them are missing"
            return Refusal(index=index, reason=Reason.REF_NOT_FOUND, message=message, hint=hint)
        return None

    def _missing(self, ref: ObjectRef, viewer: str) -> tuple[str, str]:
        """What to say about a pool that cannot be used, and a hint as far as `viewer` may know."""
        pools = self._lookup.pools.get(ref.namespace, {})
        if ref.name in pools:
            problem = pools[ref.name].problem or "it has no spec"
            return f"{ref} is not in force", f": {problem}" if viewer in ("", ref.namespace) else ""
        there = [name for name in pools if self._is_visible(pools[name].ref, viewer)]
        message = f"there is no ProviderPool {ref.name} in namespace {ref.namespace}"
        return message, f"; those there: {', '.join(there) or 'none'}"

    def _is_visible(self, ref: ObjectRef, viewer: str) -> bool:
        if viewer in ("", ref.namespace):
            return True
        pool = self._pools.get(ref)
        return pool is not None and pool.permits(viewer, self._lookup.labels_of(viewer))

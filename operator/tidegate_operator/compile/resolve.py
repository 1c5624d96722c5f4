"""Which pools a policy can use: its references against what is there and what its owners permit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate_operator.compile.diagnostics import Reason
from tidegate_operator.compile.lookup import pool_references

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tidegate_operator.compile.findings import Findings
    from tidegate_operator.compile.lookup import Lookup, Policy
    from tidegate_operator.compile.pools import ResolvedPool
    from tidegate_policy.model import ObjectRef


@dataclass(frozen=True, slots=True, kw_only=True)
class UsablePools:
    """The pools of one policy for the workloads of one namespace.

    Attributes:
        pools: in the order of the policy, with the position of the reference there.
        problems: why the others cannot be used, for those whose calls are refused.
    """

    pools: tuple[tuple[int, ResolvedPool], ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    index: int
    reason: Reason
    message: str
    hint: str = ""
    """What helps the policy's author, and is not told to those whose calls are refused."""


class PoolReferences:
    """Answers which pools a policy can use; each question is worked out once."""

    def __init__(self, lookup: Lookup, pools: Mapping[ObjectRef, ResolvedPool]) -> None:
        self._lookup = lookup
        self._pools = pools
        self._resolved: dict[tuple[ObjectRef, str], tuple[UsablePools, tuple[_Refusal, ...]]] = {}

    def usable(self, policy: Policy, namespace: str) -> UsablePools:
        """The pools that a policy gives to workloads of a namespace."""
        return self._resolve(policy, namespace)[0]

    def depend_on_namespace(self, policy: Policy) -> bool:
        """Whether the answer for a cluster-scoped policy differs between namespaces."""
        found = (self._pools.get(ref) for ref in pool_references(policy))
        return any(pool is not None and not pool.permits_all for pool in found)

    def report(
        self, policy: Policy, namespace: str, findings: Findings, *, about: Iterable[str] = ()
    ) -> None:
        """Say which references do not hold; those that a namespace is not permitted are `about` its workloads."""
        for refusal in self._resolve(policy, namespace)[1]:
            path = ("spec", "providerPools", refusal.index)
            message = refusal.message + refusal.hint
            if refusal.reason is Reason.OVERRIDDEN:
                findings.warning(policy.ref, path, refusal.reason, message)
            elif refusal.reason is Reason.REF_NOT_PERMITTED and not policy.ref.namespace:
                findings.error(policy.ref, path, refusal.reason, message, about=about)
            else:
                findings.error(policy.ref, path, refusal.reason, message)

    def _resolve(self, policy: Policy, namespace: str) -> tuple[UsablePools, tuple[_Refusal, ...]]:
        key = (policy.ref, namespace)
        if key not in self._resolved:
            self._resolved[key] = self._work_out(policy, namespace)
        return self._resolved[key]

    def _work_out(self, policy: Policy, namespace: str) -> tuple[UsablePools, tuple[_Refusal, ...]]:
        usable: list[tuple[int, ResolvedPool]] = []
        refusals: list[_Refusal] = []
        first: dict[ObjectRef, int] = {}
        for index, ref in enumerate(pool_references(policy)):
            if ref in first:
                message = f"names {ref} again, as providerPools[{first[ref]}] does; remove one of them"
                refusals.append(_Refusal(index=index, reason=Reason.OVERRIDDEN, message=message))
                continue
            first[ref] = index
            pool = self._pools.get(ref)
            refusal = self._refusal(index, ref, pool, policy, namespace)
            if refusal is not None:
                refusals.append(refusal)
            elif pool is not None:
                usable.append((index, pool))
        problems = tuple(it.message for it in refusals if it.reason is not Reason.OVERRIDDEN)
        return UsablePools(pools=tuple(usable), problems=problems), tuple(refusals)

    def _refusal(
        self, index: int, ref: ObjectRef, pool: ResolvedPool | None, policy: Policy, namespace: str
    ) -> _Refusal | None:
        if pool is None:
            # what is in a namespace is told to the platform and to those who live there
            viewer = policy.ref.namespace
            message, hint = self._missing(ref, viewer)
            return _Refusal(index=index, reason=Reason.REF_NOT_FOUND, message=message, hint=hint)
        if namespace and not pool.permits(namespace, self._lookup.labels_of(namespace)):
            return _Refusal(
                index=index,
                reason=Reason.REF_NOT_PERMITTED,
                message=f"{ref} does not allow this namespace",
                hint="; its spec.allowedNamespaces has to",
            )
        if not pool.pool.providers:
            message = f"{ref} has no provider left"
            hint = "; the credentials of all of them are missing"
            return _Refusal(index=index, reason=Reason.REF_NOT_FOUND, message=message, hint=hint)
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

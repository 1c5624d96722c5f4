"""Pools: a ProviderPool and the credentials it names to a `Pool` of the contract, once for all who use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate_operator.api.providerpool import AuthenticationType, NamespacesFrom
from tidegate_operator.compile.diagnostics import Reason
from tidegate_operator.compile.findings import Findings
from tidegate_operator.compile.models import models_of
from tidegate_policy.model import (
    Breaker,
    CredentialRef,
    Dialect,
    Header,
    Model,
    ObjectRef,
    Pool,
    Provider,
    Retry,
    Timeouts,
)
from tidegate_policy.provider_types import PROVIDER_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate_operator.api import providerpool
    from tidegate_operator.api.providercredential import ProviderCredentialSpec
    from tidegate_operator.api.providerpool import ProviderPoolSpec
    from tidegate_operator.api.stored import Stored
    from tidegate_operator.compile.lookup import Lookup
    from tidegate_operator.compile.memo import Memo
    from tidegate_operator.compile.models import PoolModels


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolParts:
    """What a pool is made of; `credentials` are those of its namespace by name."""

    ref: ObjectRef
    spec: ProviderPoolSpec
    credentials: Mapping[str, Stored[ProviderCredentialSpec]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedPool:
    """A pool with its references resolved.

    Attributes:
        pool: without the providers whose keys are all missing.
        spec: who may use it, and how far policies may raise its values.
        models: those of `pool`.
        findings: about the object, whoever uses it.
    """

    pool: Pool
    spec: ProviderPoolSpec
    models: PoolModels
    findings: Findings

    def permits(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether workloads of a namespace with these labels may use the pool."""
        allowed = self.spec.allowed_namespaces
        if namespace == self.pool.source.namespace or allowed.from_ is NamespacesFrom.ALL:
            return True
        return allowed.selector is not None and allowed.selector.matches(labels)

    @property
    def permits_all(self) -> bool:
        """Whether every namespace may use the pool."""
        return self.spec.allowed_namespaces.from_ is NamespacesFrom.ALL


def resolve_pools(
    lookup: Lookup, memo: Memo[PoolParts, ResolvedPool], findings: Findings
) -> Mapping[ObjectRef, ResolvedPool]:
    """All pools that are in force."""
    resolved = {}
    for namespace, pools in lookup.pools.items():
        credentials = lookup.credentials.get(namespace, {})
        for stored in pools.values():
            if stored.spec is not None:
                parts = PoolParts(ref=stored.ref, spec=stored.spec, credentials=credentials)
                pool = memo.of(stored.ref, parts, _resolve)
                resolved[stored.ref] = pool
                findings.take_in(pool.findings)
    return resolved


def pool_without_credentials(source: ObjectRef, spec: ProviderPoolSpec) -> Pool:
    """A pool that stands in no object, and whose providers name no credentials."""
    return _pool(source, spec, {}, Findings())


def _resolve(parts: PoolParts) -> ResolvedPool:
    findings = Findings()
    pool = _pool(parts.ref, parts.spec, parts.credentials, findings)
    return ResolvedPool(pool=pool, spec=parts.spec, models=models_of(pool), findings=findings)


def _pool(
    ref: ObjectRef,
    spec: ProviderPoolSpec,
    credentials: Mapping[str, Stored[ProviderCredentialSpec]],
    findings: Findings,
) -> Pool:
    providers = []
    for index, provider in enumerate(spec.providers):
        found = _credentials(ref, index, provider, credentials, findings)
        if provider.authentication.credential_refs and not found:
            message = f"provider {provider.name} is left out: none of its credentials can be used"
            path = ("spec", "providers", index, "authentication", "credentialRefs")
            findings.error(ref, path, Reason.REF_NOT_FOUND, message)
        else:
            providers.append(_provider(provider, found))
    _report_ambiguous_aliases(ref, spec, findings)
    breaker, retry, timeouts = spec.circuit_breaker, spec.retry, spec.timeouts
    return Pool(
        source=ref,
        suspended=spec.suspend,
        providers=tuple(sorted(providers, key=lambda provider: provider.name)),
        breaker=Breaker(
            consecutive_failures=breaker.consecutive_failures,
            failure_rate_percent=breaker.failure_rate_percent,
            slow_call_percent=breaker.slow_call_percent,
            slow_first_token_ms=breaker.slow_first_token.ms,
            minimum_requests=breaker.minimum_requests,
            window_ms=breaker.window.ms,
            open_for_ms=breaker.open_for.ms,
            max_open_for_ms=breaker.max_open_for.ms,
        ),
        retry=Retry(
            max_attempts=retry.max_attempts,
            retry_on=tuple(sorted(retry.retry_on)),
            backoff_base_ms=retry.backoff.base.ms,
            backoff_max_ms=retry.backoff.max.ms,
            budget_percent=retry.budget_percent,
        ),
        timeouts=Timeouts(
            connect_ms=timeouts.connect.ms,
            first_token_ms=timeouts.first_token.ms,
            stream_idle_ms=timeouts.stream_idle.ms,
            request_ms=timeouts.request.ms,
            stream_ms=timeouts.stream.ms,
        ),
    )


def _provider(provider: providerpool.Provider, credentials: tuple[CredentialRef, ...]) -> Provider:
    models = [
        Model(
            name=model.name,
            upstream_name=model.upstream_name or model.name,
            aliases=tuple(sorted(model.aliases)),
        )
        for model in provider.models or ()
    ]
    return Provider(
        name=provider.name,
        type=provider.type,
        base_url=provider.address,
        headers=tuple(
            Header(name=name.lower(), value=value)
            for name, value in sorted(provider.headers.items(), key=lambda item: item[0].lower())
        ),
        credentials=credentials,
        caller_credential=provider.authentication.type is AuthenticationType.CALLER,
        priority=provider.priority,
        weight=provider.weight,
        models=tuple(sorted(models, key=lambda model: model.name)),
        public_only=not provider.allow_private,
    )


def _credentials(
    ref: ObjectRef,
    index: int,
    provider: providerpool.Provider,
    credentials: Mapping[str, Stored[ProviderCredentialSpec]],
    findings: Findings,
) -> tuple[CredentialRef, ...]:
    found = []
    for position, reference in enumerate(provider.authentication.credential_refs):
        path = ("spec", "providers", index, "authentication", "credentialRefs", position, "name")
        stored = credentials.get(reference.name)
        if stored and stored.spec:
            environment, secret = stored.spec.source.environment, stored.spec.source.secret
            found.append(
                CredentialRef(
                    source=stored.ref,
                    environment_variable=environment.variable if environment else "",
                    secret_key=secret.key if secret else "",
                    suspended=stored.spec.suspend,
                )
            )
            if stored.spec.suspend:
                findings.warning(
                    ref, path, Reason.REF_SUSPENDED, f"{stored.ref} is suspended: its key is not used"
                )
            continue
        if stored:
            message = f"{stored.ref} is not in force: {stored.problem or 'it has no spec'}"
        else:
            there = ", ".join(sorted(credentials)) or "none"
            message = (
                f"there is no ProviderCredential {reference.name} in namespace {ref.namespace}; "
                f"those there: {there}"
            )
        findings.error(ref, path, Reason.REF_NOT_FOUND, message)
    return tuple(found)


def _report_ambiguous_aliases(ref: ObjectRef, spec: ProviderPoolSpec, findings: Findings) -> None:
    """A name stands for one model in a pool and dialect: models' own names first, then the first provider's alias."""
    owners: dict[Dialect, dict[str, str]] = {dialect: {} for dialect in Dialect}
    providers = sorted(enumerate(spec.providers), key=lambda item: item[1].name)
    for _, provider in providers:
        owners[PROVIDER_TYPES[provider.type].dialect].update(
            (model.name, model.name) for model in provider.models or ()
        )
    for index, provider in providers:
        owner_of = owners[PROVIDER_TYPES[provider.type].dialect]
        for position, model in enumerate(provider.models or ()):
            for at, alias in enumerate(model.aliases):
                owner = owner_of.setdefault(alias, model.name)
                if owner != model.name:
                    path = ("spec", "providers", index, "models", position, "aliases", at)
                    message = f"{alias!r} means the model {owner} of another provider of this pool; choose another alias"
                    findings.warning(ref, path, Reason.OVERRIDDEN, message)

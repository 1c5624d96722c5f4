"""Which pool and which of its providers can serve a model (PURE).

The first pool of the configuration that has the model in the caller's dialect serves it. Only providers that know
the model by the same canonical name stand in for each other: an alias that means something else at another
provider would get around allow-lists and limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Generic, NamedTuple, TypeVar

from tidegate_policy.model import CompiledConfig, Mode, ModelAllowList, Pool, Provider
from tidegate_policy.patterns import matches_any
from tidegate_sidecar.routing.refusal import Case, Refusal

T = TypeVar("T")

UNLISTED_REMEMBERED: Final = 256
"""Routes of models that nobody lists which are kept; the application can make up names without end."""

_SHOWN: Final = 20
"""Model names in a message; more would be a page, not an answer."""


class Route(NamedTuple, Generic[T]):
    """Where a call may go.

    Attributes:
        pool: position of the pool in the configuration.
        model: the canonical name, which rules see.
        is_listed: the configuration names the model; a wildcard provider serves any other.
        targets: what the router was told to make of each provider that serves it.
        first: those of the lowest priority, of which one is asked first.
    """

    pool: int
    model: str
    is_listed: bool
    targets: tuple[T, ...]
    first: tuple[T, ...]


MakeTarget = Callable[[int, int, str, str], T]
"""Position of the pool, position of the provider in it, canonical model, the name that the provider is asked for."""


class Router(Generic[T]):
    """Answers for one configuration; tables are built once."""

    def __init__(
        self, config: CompiledConfig, dialect_of: Callable[[Provider], str], make_target: MakeTarget[T]
    ) -> None:
        """Build the tables.

        Args:
            config: whose pools it answers for.
            dialect_of: the name of the dialect that a provider speaks.
            make_target: what stands for a provider in a route.
        """
        self._config = config
        self._dialect_of = dialect_of
        self._make_target = make_target
        self._listed: dict[tuple[str, str], Route[T]] = {}
        self._open: dict[str, int] = {}
        self._unlisted: dict[tuple[str, str], Route[T]] = {}
        for index, pool in enumerate(config.pools):
            for dialect in sorted({dialect_of(provider) for provider in pool.providers}):
                self._add(index, pool, dialect)

    def _add(self, index: int, pool: Pool, dialect: str) -> None:
        if dialect in self._open:
            return  # an earlier pool takes whatever is asked: this one never gets its turn
        speaks = [(at, it) for at, it in enumerate(pool.providers) if self._dialect_of(it) == dialect]
        for name, model_name in _canonical(provider for _, provider in speaks).items():
            targets = []
            for at, provider in speaks:
                if not provider.models:
                    targets.append((provider, self._make_target(index, at, model_name, model_name)))
                targets.extend(
                    (provider, self._make_target(index, at, model_name, it.upstream_name))
                    for it in provider.models
                    if it.name == model_name
                )
            self._listed.setdefault((dialect, name), _route(index, model_name, targets, is_listed=True))
        if any(not provider.models for _, provider in speaks):
            self._open[dialect] = index

    def resolve(self, dialect: str, model: str) -> Route[T] | Refusal:
        """Where `model` is served for callers of `dialect`."""
        route = self._listed.get((dialect, model))
        if route is not None:
            return route
        index = self._open.get(dialect)
        if index is None:
            return self._not_found(dialect, model)
        route = self._unlisted.get((dialect, model))
        if route is None:
            if len(self._unlisted) >= UNLISTED_REMEMBERED:
                self._unlisted.clear()
            wildcards = [
                (provider, self._make_target(index, at, model, model))
                for at, provider in enumerate(self._config.pools[index].providers)
                if self._dialect_of(provider) == dialect and not provider.models
            ]
            route = _route(index, model, wildcards, is_listed=False)
            self._unlisted[dialect, model] = route
        return route

    def _not_found(self, dialect: str, model: str) -> Refusal:
        for (other, name), route in self._listed.items():
            if name == model:
                pool = self._config.pools[route.pool]
                provider = next(it for it in pool.providers if self._dialect_of(it) == other)
                return Refusal(
                    case=Case.NOT_SUPPORTED,
                    message=f"`model`: {model!r} is served by provider {provider.name} of {pool.source}, which speaks "
                    f"the {other} dialect; call it with an SDK of that dialect.",
                    source=pool.source,
                    details={"param": "model", "provider": provider.name},
                )
        names = self.names(dialect)
        listed = ", ".join(names[:_SHOWN]) + (
            f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        )
        return Refusal(
            case=Case.MODEL_NOT_FOUND,
            message=f"No provider pool of this workload has the model {model!r}. "
            + (f"There are: {listed}." if names else f"None of them speaks the {dialect} dialect."),
            details={"param": "model", "allowed": names[:_SHOWN]},
        )

    def names(self, dialect: str) -> list[str]:
        """Canonical names of all listed models that every enforced allow-list lets through, sorted."""
        found = {route.model for (spoken, _), route in self._listed.items() if spoken == dialect}
        lists = [it for it in self._config.allow_models if it.mode is Mode.ENFORCE]
        return sorted(name for name in found if all(is_allowed(name, it) for it in lists))

    def callable_names(self, dialect: str) -> list[str]:
        """All names that a call may use, aliases too, sorted. What else an open provider has nobody here knows."""
        enforced = [it for it in self._config.allow_models if it.mode is Mode.ENFORCE]
        names = {name: route.model for (spoken, name), route in self._listed.items() if spoken == dialect}
        if dialect in self._open:
            exact = (pattern for it in enforced for pattern in it.patterns if "*" not in pattern)
            names = {**{name: name for name in exact}, **names}
        return sorted(name for name, model in names.items() if all(is_allowed(model, it) for it in enforced))


def _route(pool: int, model: str, targets: list[tuple[Provider, T]], *, is_listed: bool) -> Route[T]:
    lowest = min(provider.priority for provider, _ in targets)
    first = tuple(target for provider, target in targets if provider.priority == lowest)
    return Route(pool, model, is_listed, tuple(target for _, target in targets), first)


def is_allowed(model: str, allowed: ModelAllowList) -> bool:
    """Whether one list lets a canonical name through; `*` in a pattern is any run of characters."""
    return matches_any(allowed.patterns, model)


def not_allowed(model: str, allowed: ModelAllowList, names: list[str]) -> Refusal:
    """The refusal of a model that `allowed` does not have; `names` are those that a call may use."""
    # A pool that takes whatever is asked for lists no names: then the patterns say what may be asked.
    may = ", ".join(names[:_SHOWN] or allowed.patterns[:_SHOWN])
    return Refusal(
        case=Case.MODEL_NOT_ALLOWED,
        message=f"{allowed.source} does not allow the model {model!r}. Allowed are: {may}.",
        source=allowed.source,
        rule="allowModels",
        details={"param": "model", "allowed": names[:_SHOWN] or list(allowed.patterns[:_SHOWN])},
    )


def _canonical(providers: Iterable[Provider]) -> dict[str, str]:
    """Every name that a model is known by, and the model's own. An own name never means another model."""
    models = [model for provider in providers for model in provider.models]
    names = {model.name: model.name for model in models}
    for model in models:
        for alias in model.aliases:
            names.setdefault(alias, model.name)
    return names

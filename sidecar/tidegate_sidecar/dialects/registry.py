"""The dialects there are, and which of them a path belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar
from urllib.parse import unquote

from tidegate_policy.provider_types import PROVIDER_TYPES
from tidegate_sidecar.dialects.anthropic import Anthropic
from tidegate_sidecar.dialects.base import Dialect, Endpoint, RawHeaders
from tidegate_sidecar.dialects.openai import OpenAI

_T = TypeVar("_T")

_MODELS: Final = "/models"
"""Below the version segment, in every dialect so far."""

UNPREFIXED: Final = "/v1/"
"""Where applications call that were told a host and no path. Dialects share it; see `Dialects.of_path`."""


class Dialects:
    """Dialects by name, by type of provider and by path. Immutable.

    Attributes:
        all: in the order given; the first is spoken where nothing tells which one.
    """

    __slots__ = ("_by_name", "_endpoints", "_mounts", "_places", "_provider_types", "all")

    def __init__(self, dialects: Sequence[Dialect], provider_types: Mapping[str, str]) -> None:
        """Put `dialects` together; `provider_types` maps each type of provider to the name of its dialect.

        Raises:
            ValueError: two dialects claim the same name or the same paths, or a type's dialect is not there.
        """
        self.all = tuple(dialects)
        self._by_name = _unique("name", ((it.name, it) for it in self.all))
        self._endpoints = _unique(
            "path", ((path, (it, endpoint)) for it in self.all for path, endpoint in it.paths.items())
        )
        mounts = _unique("mount", ((mount, it) for it in self.all for mount in it.mounts))
        self._mounts = sorted(mounts.items(), key=lambda item: -len(item[0]))
        self._places = _unique("place", ((place, it) for it in self.all for place in _places(it)))
        self._provider_types = dict(provider_types)
        if unknown := set(self._provider_types.values()) - set(self._by_name):
            raise ValueError(f"no dialect has the name {', '.join(sorted(unknown))}")

    def by_name(self, name: str) -> Dialect:
        """The dialect of that name; a KeyError is a fault of ours."""
        return self._by_name[name]

    def of_provider_type(self, provider_type: str) -> Dialect:
        """The dialect that a provider of that type speaks; a KeyError is a fault of ours."""
        return self._by_name[self._provider_types[provider_type]]

    def endpoint(self, path: str) -> tuple[Dialect, Endpoint] | None:
        """What a POST to `path` asks for; None where nothing is served."""
        return self._endpoints.get(path)

    def served_paths(self) -> list[str]:
        """Every path that is served for POST."""
        return list(self._endpoints)

    def of_path(self, path: str, headers: RawHeaders) -> Dialect:
        """The dialect in which an error on `path` is understood.

        A path that is served, or stands below what a dialect has for itself, decides; then a dialect's marker header does.
        """
        below = path + "/"
        for place, dialect in self._places.items():
            if below.startswith(place):
                return dialect
        names = {name.lower() for name, _ in headers}
        return next((it for it in self.all if it.marker_header and it.marker_header in names), self.all[0])

    def mount(self, raw_path: str, headers: RawHeaders) -> tuple[Dialect, str] | None:
        """Where a call goes that is let through: its dialect, and what follows the base URL of that dialect's provider.

        `raw_path` is as the application wrote it, since it is sent on so; the rest begins with "/".
        """
        for prefix, dialect in self._mounts:
            if raw_path.startswith(prefix):
                return dialect, raw_path[len(prefix) - 1 :]
        if raw_path.startswith(UNPREFIXED):
            return self.of_path(raw_path, headers), raw_path[len(UNPREFIXED) - 1 :]
        return None

    def models(self, raw_path: str, headers: RawHeaders) -> tuple[Dialect, str] | None:
        """What a GET of `raw_path` asks about models: the dialect, and the name of one (empty: all of them); None: nothing."""
        mounted = self.mount(raw_path, headers)
        if mounted is None:
            return None
        dialect, rest = mounted
        if rest == _MODELS:
            return dialect, ""
        name = unquote(rest.removeprefix(_MODELS + "/")) if rest.startswith(_MODELS + "/") else ""
        return (dialect, name) if name else None

    def mounts(self) -> list[str]:
        """Every prefix below which calls can be let through."""
        return [*(prefix for prefix, _ in self._mounts), UNPREFIXED]


def _places(dialect: Dialect) -> list[str]:
    """Prefixes of paths that are of `dialect` alone.

    The first segment of each mount, and below the shared version the first segment of each path that is served there:
    whoever calls /v1/messages/batches speaks the dialect of /v1/messages.
    """
    roots = ["/" + mount.split("/")[1] + "/" for mount in dialect.mounts]
    shared = [path for path in dialect.paths if path.startswith(UNPREFIXED)]
    return list(dict.fromkeys([*roots, *(UNPREFIXED + path.split("/")[2] + "/" for path in shared)]))


def _unique(what: str, items: Iterable[tuple[str, _T]]) -> dict[str, _T]:
    found: dict[str, _T] = {}
    for key, value in items:
        if key in found:
            raise ValueError(f"two dialects have the {what} {key!r}")
        found[key] = value
    return found


DEFAULT: Final = Dialects(
    (OpenAI(), Anthropic()), {kind: traits.dialect for kind, traits in PROVIDER_TYPES.items()}
)
"""All that are built in."""

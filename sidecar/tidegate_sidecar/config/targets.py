"""One provider as it serves one model: everything about an attempt that the configuration decides.

Made when a configuration is taken, so that an attempt joins bytes that are there already.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from tidegate_policy.model import Provider
from tidegate_sidecar.config.egress import Egress
from tidegate_sidecar.dialects.base import Dialect, Operation, RawHeaders
from tidegate_sidecar.policies.breakers import Breakers
from tidegate_sidecar.policies.choice import Candidate
from tidegate_sidecar.proxy.headers import HeaderNames, request_names
from tidegate_sidecar.upstream.origin import Origin
from tidegate_sidecar.upstream.origins import Origins

KEY_HEADERS_REMEMBERED = 4
"""Keys whose header lines a provider keeps; a rotation has two at a time."""


class ProviderState:
    """A provider of a pool and what is known of it.

    Attributes:
        provider: as the configuration has it.
        dialect: that it speaks.
        breakers: of its connections and its models; live state.
        candidate: its place in the choice; the id is its position in the pool.
        place: names the pool of its connections.
    """

    __slots__ = (
        "_base_path",
        "_constants",
        "_credentials",
        "_host",
        "_lines",
        "_origin",
        "breakers",
        "candidate",
        "dialect",
        "place",
        "provider",
        "request_names",
    )

    def __init__(
        self,
        provider: Provider,
        dialect: Dialect,
        breakers: Breakers,
        candidate: Candidate,
        *,
        private: tuple[str, ...],
        egress: Egress,
    ) -> None:
        """Make what stays the same for all calls.

        Args:
            provider: of the configuration.
            dialect: of the provider's type.
            breakers: new ones; live state is joined to them later.
            candidate: its place in the choice.
            private: headers between the application and us, which no provider is sent.
            egress: how this process reaches providers.
        """
        parts = urlsplit(provider.base_url)
        host = parts.hostname or ""
        self.provider = provider
        self.dialect = dialect
        self.breakers = breakers
        self.candidate = candidate
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self.place = egress.key(parts.scheme, host, port, public_only=provider.public_only)
        self._origin: Origin | None = None
        self.request_names: HeaderNames = request_names(
            [header.name for header in provider.headers],
            private,
            is_callers_credential=provider.caller_credential,
        )
        self._host = parts.netloc.rpartition("@")[2].encode("ascii")
        self._base_path = parts.path.rstrip("/")
        self._constants = lines_of(
            [(it.name.encode("latin-1"), it.value.encode("latin-1")) for it in provider.headers]
        )
        self._lines: dict[Operation, bytes] = {}
        self._credentials: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"<ProviderState {self.provider.name}: {self.breakers!r}>"

    def origin(self, origins: Origins) -> Origin:
        """The pool of its connections, held as long as this configuration is.

        Raises:
            TlsFileError: a certificate's file cannot be used.
        """
        if self._origin is None:
            self._origin = origins.get(self.place)
        return self._origin

    def head(self, operation: Operation, query: str) -> bytes:
        """The request line and the provider's own headers of a call for `operation`, up to the application's."""
        if query:
            return self.head_of("POST", self.dialect.endpoints[operation].path, query)
        known = self._lines.get(operation)
        if known is None:
            known = self.head_of("POST", self.dialect.endpoints[operation].path, "")
            self._lines[operation] = known
        return known

    def head_of(self, method: str, path: str, query: str) -> bytes:
        """The same for any path below the base URL."""
        target = f"{self._base_path}{path}?{query}" if query else f"{self._base_path}{path}"
        return b"%b %b HTTP/1.1\r\nhost: %b\r\naccept-encoding: identity\r\n%b" % (
            method.encode("ascii"),
            target.encode("latin-1"),
            self._host,
            self._constants,
        )

    def credential(self, key: str) -> bytes:
        """Header lines that carry `key`."""
        lines = self._credentials.get(key)
        if lines is None:
            if len(self._credentials) >= KEY_HEADERS_REMEMBERED:
                self._credentials.clear()
            lines = self._credentials[key] = lines_of(self.dialect.credential(key))
        return lines


class Target:
    """A provider for one model.

    Attributes:
        state: of the provider.
        model: the canonical name, which rules, breakers and metrics see.
        upstream_model: what the provider is asked for.
        slow_first_token_ms: a stream whose first event takes longer is slow.
        own: header lines of ours that go with its answers.
    """

    __slots__ = (
        "candidate",
        "model",
        "own",
        "priority",
        "slow_first_token_ms",
        "state",
        "upstream_model",
        "weight",
    )

    def __init__(
        self, state: ProviderState, model: str, upstream_model: str, slow_first_token_ms: int
    ) -> None:
        """`state` serves `model` under the name `upstream_model`."""
        self.state = state
        self.candidate = state.candidate
        self.priority, self.weight = state.candidate.priority, state.candidate.weight
        self.slow_first_token_ms = slow_first_token_ms
        self.model = model
        self.upstream_model = upstream_model
        self.own = lines_of(
            [
                (b"x-tidegate-provider", state.provider.name.encode("utf-8")),
                (b"x-tidegate-model", model.encode("utf-8", "replace")),
            ]
        )


def lines_of(headers: RawHeaders) -> bytes:
    """Headers as lines."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])

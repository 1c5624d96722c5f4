"""The leg to a provider, behind one narrow interface.

`ProviderLeg` is all that the rest of the proxy knows: send a request, read the head, read the body piece by piece,
let go. Failures are `UpstreamError` with a kind; no exception of an HTTP library gets past this module.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Final, Protocol, Self

import aiohttp
from yarl import URL

from tidegate_sidecar.providers.base import Headers
from tidegate_sidecar.proxy.resolving import NotPublicError, PublicResolver

LARGE_BYTES: Final = 2**20
"""Larger bodies are written in pieces, as fast as the provider takes them, so that other calls go on meanwhile."""

KEEPALIVE_S: Final = 50
"""Idle connections are closed before the minute after which common load balancers forget them."""


class UpstreamFault(StrEnum):
    """What can go wrong on the way, apart from the answer itself."""

    CONNECT = "connect_failed"
    CONNECT_TIMEOUT = "connect_timed_out"
    CLOSED = "closed"
    GARBAGE = "garbage"


class UpstreamError(Exception):
    """The provider could not be reached, or went away. The message says how, and carries no header or body."""

    def __init__(self, fault: UpstreamFault, message: str) -> None:
        """Keep the kind beside the words."""
        super().__init__(message)
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamRequest:
    """One try, ready to be sent."""

    url: str
    headers: Headers
    body: bytes
    connect_ms: int
    method: str = "POST"
    public_only: bool = False
    """The host's name has to lead to public addresses."""


class UpstreamResponse(Protocol):
    """An answer whose head has arrived. Whoever holds it must `close` it, always."""

    status: int
    headers: Headers

    async def read(self) -> bytes:
        """The next piece of the body, empty at its end; `UpstreamError` when it breaks off."""
        ...

    def close(self) -> None:
        """Let go: the connection is reused when the body was read to its end, and closed when not."""
        ...


class ProviderLeg(Protocol):
    """Sends requests to providers."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send `request` and wait for the head of the answer; `UpstreamError` when there is none.

        Cancelling gives the connection back. Deadlines beyond the connect are the caller's.
        """
        ...


class SessionLeg:
    """`ProviderLeg` on `aiohttp.ClientSession`."""

    def __init__(self, provider_ca_file: str = "") -> None:
        """Trust the system's authorities and, where given, those in the PEM file.

        Raises:
            OSError: the file cannot be read or holds no certificate.
        """
        context = ssl.create_default_context()
        if provider_ca_file:
            context.load_verify_locations(cafile=provider_ca_file)
        self._ssl = context
        self._sessions = AsyncExitStack()
        self._any: aiohttp.ClientSession | None = None
        self._public: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the pools of connections: a connection knows no more by which rule it was made, so there are two."""
        self._any = await self._sessions.enter_async_context(self._open(None))
        resolver = PublicResolver(aiohttp.DefaultResolver())
        self._sessions.push_async_callback(resolver.close)
        self._public = await self._sessions.enter_async_context(self._open(resolver))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        self._any = self._public = None
        await self._sessions.aclose()

    def _open(self, resolver: PublicResolver | None) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            # Calls in flight bound the connections: a call that waited for one would blame the provider for the wait.
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=KEEPALIVE_S, ssl=self._ssl, resolver=resolver
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
            skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
        )

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """See `ProviderLeg`."""
        session = self._public if request.public_only else self._any
        assert session is not None, "the leg is used inside `async with`"  # noqa: S101 - a programming error
        connect_s = request.connect_ms / 1_000
        with _translated():
            response = await session.request(
                request.method,
                URL(request.url, encoded=True),
                data=request.body if len(request.body) <= LARGE_BYTES else BytesIO(request.body),
                headers=request.headers,
                # A redirect would send the key and the prompt to wherever the answer says.
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=connect_s, sock_connect=connect_s),
            )
        return _SessionResponse(response)


class _SessionResponse:
    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Headers = tuple(response.headers.items())

    async def read(self) -> bytes:
        with _translated():
            return await self._response.content.readany()

    def close(self) -> None:
        # aiohttp gives a connection back by itself once the body has been read; this closes any other.
        self._response.close()


@contextmanager
def _translated() -> Iterator[None]:
    """The HTTP library's exceptions as ours, without its messages where they could quote the peer."""
    try:
        yield
    except (TimeoutError, aiohttp.ConnectionTimeoutError) as error:
        raise UpstreamError(UpstreamFault.CONNECT_TIMEOUT, "the connection was not made in time") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise UpstreamError(UpstreamFault.CONNECT, "its certificate is not trusted") from error
    except aiohttp.ClientSSLError as error:
        raise UpstreamError(UpstreamFault.CONNECT, "the TLS handshake failed") from error
    except aiohttp.ClientConnectorDNSError as error:
        raise UpstreamError(UpstreamFault.CONNECT, _name_problem(error.os_error)) from error
    except aiohttp.ClientConnectorError as error:
        reason = error.os_error.strerror or type(error.os_error).__name__
        raise UpstreamError(UpstreamFault.CONNECT, f"the connection failed: {reason}") from error
    except (aiohttp.ServerDisconnectedError, ConnectionError) as error:
        raise UpstreamError(UpstreamFault.CLOSED, "it closed the connection") from error
    except aiohttp.ClientPayloadError as error:
        raise UpstreamError(UpstreamFault.CLOSED, "it closed the connection within the answer") from error
    except (aiohttp.ClientResponseError, aiohttp.http.HttpProcessingError) as error:
        raise UpstreamError(UpstreamFault.GARBAGE, "its answer is not HTTP") from error
    except aiohttp.ClientError as error:
        raise UpstreamError(UpstreamFault.CLOSED, f"the exchange failed ({type(error).__name__})") from error


def _name_problem(error: OSError) -> str:
    if isinstance(error, NotPublicError):
        return "its host name leads to no public address, and its pool does not say allowPrivate"
    return "its host name was not found"

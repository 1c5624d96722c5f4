"""One poll of the operator: what it was asked becomes a request, and what it answers a value."""

from __future__ import annotations

import errno
import json
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp

from tidegate_policy.envelope import MAX_ENVELOPE_BYTES, AsOf, Envelope, Tag, decode_envelope
from tidegate_policy.errors import ContractError
from tidegate_policy.keys import KeyReport
from tidegate_policy.model import SUPPORTED_SCHEMA_VERSIONS
from tidegate_policy.poll import (
    AS_OF,
    CONFIG_PATH,
    KEYS,
    REFUSED,
    SCHEMA_VERSIONS,
    Nack,
    format_as_of,
    format_keys,
    format_versions,
    parse_as_of,
)
from tidegate_sidecar.config.operator_trust import OperatorTrust, TrustError
from tidegate_sidecar.settings import OperatorSettings

_MAX_PROBLEM_CHARS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the sidecar says of itself in a poll.

    Attributes:
        has: the envelope in force; None: none.
        as_of: of what moment it is, at least.
        refused: an envelope that could not be used.
        keys: which keys it lacks for what is in force.
    """

    has: Tag | None = None
    as_of: AsOf | None = None
    refused: Nack | None = None
    keys: KeyReport = field(default=KeyReport())


@dataclass(frozen=True, slots=True)
class Fresh:
    """An envelope, read and checked."""

    envelope: Envelope
    tag: Tag


@dataclass(frozen=True, slots=True)
class NotModified:
    """There is nothing new; `tag` is None where the replica lags and cannot know."""

    tag: Tag | None
    as_of: AsOf | None


@dataclass(frozen=True, slots=True)
class Unusable:
    """An envelope that this process cannot read, and why: the operator has to hear of it."""

    nack: Nack


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """No answer.

    Attributes:
        problem: what to do about it, for a person.
        retry_s: over how many seconds the operator wants it tried again; 0: it does not say.
        is_final: the operator refuses this sidecar, and trying again alone will not help.
        is_nobody_there: nobody listens, so asking cost nobody anything but this sidecar.
    """

    problem: str
    retry_s: int = 0
    is_final: bool = False
    is_nobody_there: bool = False


Answer = Fresh | NotModified | Unusable | Failed


class OperatorPoll:
    """Asks the operator."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        settings: OperatorSettings,
        trust: OperatorTrust,
        on_unknown: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Ask over `session`; `on_unknown` is told of each field of a later release that is passed over."""
        self._on_unknown = on_unknown
        self._session = session
        self._settings = settings
        self._trust = trust
        wait_s = settings.poll_wait_ms / 1_000
        self._prefer = f"wait={max(1, round(wait_s))}"
        self._timeout = aiohttp.ClientTimeout(
            total=wait_s + settings.answer_ms / 1_000, connect=settings.answer_ms / 1_000
        )

    async def __call__(self, standing: Standing) -> Answer:
        """One poll; never raises for what may go wrong out there."""
        try:
            # Blocking, and a few hundred bytes of a file system in memory.
            token = self._settings.token_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            return Failed(problem=f"TIDEGATE_TOKEN_FILE={self._settings.token_file}: {error}")
        try:
            async with self._session.get(
                self._settings.url + CONFIG_PATH,
                headers=_headers(standing, token, self._prefer),
                ssl=self._trust.context(),
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                return await _read(response, self._on_unknown)
        except TrustError as error:
            return Failed(problem=str(error))
        except aiohttp.ClientConnectorCertificateError as error:
            return Failed(problem=_distrust(self._settings.url, error.certificate_error))
        except TimeoutError:
            return Failed(problem=f"The operator did not answer in time: {self._settings.url}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Failed(
                problem=_unreached(self._settings.url, error, token),
                is_nobody_there=isinstance(error, aiohttp.ClientConnectorError)
                and error.os_error.errno == errno.ECONNREFUSED,
            )


def _unreached(url: str, error: Exception, token: str) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"The operator cannot be reached at {url}: {_reason(error)}"
    # A header that cannot be sent quotes its value, which may be the token.
    text = str(error).replace(token, "…") if token else str(error)
    return f"{url}: {text[:_MAX_PROBLEM_CHARS]}"


def _reason(error: aiohttp.ClientConnectorError) -> str:
    """Why there is no connection, without the objects and addresses that the library's own words have."""
    cause = error.os_error
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name has no address"
    if isinstance(cause, ssl.SSLError):
        return f"the TLS handshake failed ({cause.reason or type(cause).__name__})"
    return os.strerror(cause.errno) if cause.errno else type(cause).__name__


def _headers(standing: Standing, token: str, prefer: str) -> dict[str, str]:
    headers = {
        "authorization": f"Bearer {token}",
        "prefer": prefer,
        SCHEMA_VERSIONS: format_versions(SUPPORTED_SCHEMA_VERSIONS),
    }
    if standing.has is not None:
        headers["if-none-match"] = str(standing.has)
    if standing.as_of is not None:
        headers[AS_OF] = format_as_of(standing.as_of)
    if standing.refused is not None:
        headers[REFUSED] = str(standing.refused)
    if standing.keys.lacking:
        headers[KEYS] = format_keys(standing.keys)
    return headers


async def _read(response: aiohttp.ClientResponse, on_unknown: Callable[[str], None]) -> Answer:
    if response.status == HTTPStatus.NOT_MODIFIED:
        named, as_of = response.headers.get("etag"), response.headers.get(AS_OF)
        moment = parse_as_of(as_of, on_unknown) if as_of else None
        return NotModified(Tag.parse(named) if named else None, moment)
    body = bytearray()
    async for chunk in response.content.iter_chunked(2**16):
        body += chunk
        if len(body) > MAX_ENVELOPE_BYTES:
            return Failed(problem=f"the operator's answer is longer than {MAX_ENVELOPE_BYTES} bytes")
    if response.status != HTTPStatus.OK:
        return _failed(response, bytes(body))
    tag = Tag.parse(response.headers.get("etag", ""))
    try:
        envelope, digest = decode_envelope(bytes(body), on_unknown)
    except ContractError as error:
        return Unusable(Nack(tag, str(error)))
    if digest != tag.digest:
        return Unusable(Nack(tag, f"the configuration's digest is {digest}, which is not what its tag says"))
    return Fresh(envelope, tag)


def _failed(response: aiohttp.ClientResponse, body: bytes) -> Failed:
    retry = response.headers.get("retry-after", "")
    retry_s = min(int(retry), 3_600) if retry.isascii() and retry.isdigit() else 0
    try:
        document = json.loads(body)
        text = f"{document['code']}: {document['message']}"
    except (ValueError, KeyError, TypeError):
        text = body[:_MAX_PROBLEM_CHARS].decode(errors="replace")
    return Failed(
        problem=f"the operator answers {response.status} {text[:_MAX_PROBLEM_CHARS]}",
        retry_s=retry_s,
        is_final=response.status < HTTPStatus.INTERNAL_SERVER_ERROR and not retry_s,
    )


def _distrust(url: str, error: Exception) -> str:
    return (
        f"{url} shows a certificate that is not of the operator's authorities ({error}): the operator's Secret was "
        "made anew, or something stands in between; a restart of the pod gives it the present authorities"
    )

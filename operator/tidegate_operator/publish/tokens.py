"""Who asks: a ServiceAccount token is checked here with the cluster's keys, then once by the API server.

The local check refuses what is not meant for us or out of date without asking anybody, so the API server sees a token that
could be right, once in its life. What it does not say is which of its own keys and issuers it accepts beside those that it
publishes: an API server may have two issuers, and goes on accepting the keys of before. So a key or an issuer that is not
known, also after another look, is the API server's to judge, in a number that bounds what strangers can ask of it. An answer is
kept under the token's SHA-256; the token itself is neither kept nor logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import jwt

from tidegate_operator.publish.identity import Refused, Reviewed, ServiceAccount, TokenReviewer
from tidegate_operator.publish.keys import ALGORITHMS, KeysUnavailableError, SigningKeys
from tidegate_operator.publish.observe import Sparing
from tidegate_policy.poll import AUDIENCE

_log = logging.getLogger(__name__)

MAX_KNOWN: Final = 50_000
REVIEWS_AT_ONCE: Final = 16
"""What a restart of the operator may ask of the API server at once."""

REVIEW_S: Final = 20.0
"""How long a poll waits for its review, its place in the queue included."""

REFUSAL_KEPT_S: Final = 10
"""A token that was refused is not reviewed again for so long, however often it comes."""

LEEWAY_S: Final = 30
"""By which the clocks of API server and operator may differ."""

MAX_TOKEN_CHARS: Final = 8_000

STRANGERS: Final = 120
"""Tokens with a key that is not published, reviewed in a minute. Anybody can make such a token."""

_REQUIRED: Final = ["aud", "exp", "iss"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whom a token stands for; the pod's parts are empty for a token that is bound to none."""

    namespace: str
    service_account: str
    pod_name: str
    pod_uid: str

    @property
    def account(self) -> ServiceAccount:
        """The ServiceAccount."""
        return ServiceAccount(self.namespace, self.service_account)


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """Why a token is worth nothing here.

    Attributes:
        status: 401: the token is wrong; 503: it could not be checked.
        code: one of a closed set, for metrics and programs.
        message: for a person; says nothing of the token but whom it was meant for.
    """

    status: int
    code: str
    message: str

    @property
    def is_temporary(self) -> bool:
        """Whether the same token may be good for something later."""
        return self.status == HTTPStatus.SERVICE_UNAVAILABLE


@dataclass(frozen=True, slots=True)
class _Claims:
    """What a token says.

    Attributes:
        expires_s: seconds since the epoch.
        doubt: what is to be said if the API server refuses it; None: nothing speaks against it here.
    """

    expires_s: float
    doubt: Denied | None


class _UnknownKeyError(jwt.InvalidTokenError):
    """Signed with a key that the cluster does not publish."""


class TokenVerifier:
    """Turns a token into a `Caller`."""

    def __init__(
        self,
        keys: SigningKeys,
        reviewer: TokenReviewer,
        *,
        audience: str = AUDIENCE,
        wall_ns: Callable[[], int] = time.time_ns,
        reviews_at_once: int = REVIEWS_AT_ONCE,
        review_s: float = REVIEW_S,
        max_known: int = MAX_KNOWN,
        strangers: int = STRANGERS,
    ) -> None:
        """Know no token yet."""
        self._keys = keys
        self._reviewer = reviewer
        self._audience = audience
        self._wall_ns = wall_ns
        self._reviews = asyncio.Semaphore(reviews_at_once)
        self._review_s = review_s
        self._max_known = max_known
        self._strangers = Sparing(lines=strangers, monotonic_ns=wall_ns)
        self._known: OrderedDict[bytes, tuple[Caller | Denied, float]] = OrderedDict()
        self._by_pod: dict[str, set[bytes]] = {}

    def __repr__(self) -> str:
        return f"<TokenVerifier {len(self._known)} tokens known>"

    async def verify(self, token: str) -> Caller | Denied:
        """Whom `token` stands for, or why for nobody."""
        if not token:
            return _denied("token_missing", "no token: send Authorization: Bearer with the projected token")
        if len(token) > MAX_TOKEN_CHARS:
            return _denied("token_malformed", f"longer than {MAX_TOKEN_CHARS} characters")
        name = hashlib.sha256(token.encode(errors="replace")).digest()
        now_s = self._wall_ns() / 1e9
        if (known := self._known.get(name)) is not None:
            if now_s < known[1]:
                return known[0]
            self._forget(name)
        claims = await self._check(token, now_s)
        if isinstance(claims, Denied):
            return claims
        return await self._review(token, name, claims)

    def forget_pod(self, uid: str) -> None:
        """The pod was deleted: its tokens are reviewed again if they ever come back."""
        for name in tuple(self._by_pod.get(uid, ())):
            self._forget(name)

    async def _check(self, token: str, now_s: float) -> _Claims | Denied:
        """The claims of a token that this cluster may have signed for us, or what is wrong."""
        try:
            header = jwt.get_unverified_header(token)
            if header["alg"] not in ALGORITHMS:
                raise jwt.InvalidAlgorithmError
            key_id = str(header.get("kid", ""))
            key = await self._keys.find(key_id)
            options: Any = {
                # A signature that cannot be checked here is the API server's to check.
                "verify_signature": key is not None,
                "verify_aud": True,
                "require": _REQUIRED,
                **dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_iss"), False),
            }
            claims = jwt.decode(
                token, key or "", algorithms=list(ALGORITHMS), audience=self._audience, options=options
            )
            # Times are compared with a clock that is given.
            _compare_times(claims, now_s)
            doubt: jwt.InvalidTokenError | None = None if key is not None else _UnknownKeyError(key_id[:64])
            if doubt is None and not await self._keys.knows_issuer(str(claims["iss"])):
                doubt = jwt.InvalidIssuerError()
        except KeysUnavailableError as error:
            message = f"the cluster's signing keys cannot be had: {error}"
            return Denied(status=503, code="keys_unavailable", message=message)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            return self._what_is_wrong(token, error)
        if isinstance(doubt, _UnknownKeyError) and not self._strangers.lets(""):
            message = "too many tokens with keys that this cluster does not publish; try again in a moment"
            return Denied(status=503, code="too_many_unknown_keys", message=message)
        return _Claims(float(claims["exp"]), None if doubt is None else self._what_is_wrong(token, doubt))

    def _what_is_wrong(self, token: str, error: Exception) -> Denied:
        match error:
            case _UnknownKeyError():
                whose = f"signed with the key {str(error)!r}, which is none of this cluster's"
                code, message = "token_unknown_key", f"{whose}: is the pod of another cluster?"
            case jwt.InvalidSignatureError():
                code, message = "token_bad_signature", "the signature is not of the key that the token names"
            case jwt.InvalidIssuerError():
                issuers = " or ".join(self._keys.issuers)
                code, message = (
                    "token_wrong_issuer",
                    f"not issued by {issuers}, and the API server does not accept it",
                )
            case jwt.InvalidAudienceError():
                meant = f"the token is not meant for {self._audience}{_meant_for(token)}"
                code, message = "token_wrong_audience", meant
            case jwt.ExpiredSignatureError():
                code, message = "token_expired", "expired: does the sidecar read its file for each poll?"
            case jwt.ImmatureSignatureError():
                code, message = "token_not_yet_valid", "not valid yet: compare the clocks of the nodes"
            case _:
                code, message = "token_malformed", f"not a ServiceAccount token: {type(error).__name__}"
        return _denied(code, message)

    async def _review(self, token: str, name: bytes, claims: _Claims) -> Caller | Denied:
        try:
            async with asyncio.timeout(self._review_s), self._reviews:
                reviewed = await self._reviewer.review(token)
        except Exception as error:  # noqa: BLE001 - whatever a reviewer fails with, the token is not checked
            message = f"the API server could not be asked about the token ({type(error).__name__})"
            _log.warning("%s: %s", message, str(error).replace(token, "…"))
            return Denied(status=503, code="review_unavailable", message=message)
        if isinstance(reviewed, Refused):
            denied = claims.doubt or _denied(
                "token_refused", f"the API server refuses the token: {reviewed.why.replace(token, '…')}"
            )
            self._keep(name, denied, self._wall_ns() / 1e9 + REFUSAL_KEPT_S)
            return denied
        caller = _caller(reviewed)
        self._keep(name, caller, min(claims.expires_s, reviewed.expires or claims.expires_s))
        return caller

    def _keep(self, name: bytes, verdict: Caller | Denied, until_s: float) -> None:
        self._known[name] = (verdict, until_s)
        if isinstance(verdict, Caller) and verdict.pod_uid:
            self._by_pod.setdefault(verdict.pod_uid, set()).add(name)
        while len(self._known) > self._max_known:
            self._forget(next(iter(self._known)))

    def _forget(self, name: bytes) -> None:
        verdict, _ = self._known.pop(name)
        if isinstance(verdict, Caller) and verdict.pod_uid in self._by_pod:
            names = self._by_pod[verdict.pod_uid]
            names.discard(name)
            if not names:
                del self._by_pod[verdict.pod_uid]


def _caller(reviewed: Reviewed) -> Caller:
    return Caller(
        namespace=reviewed.namespace,
        service_account=reviewed.service_account,
        pod_name=reviewed.pod_name,
        pod_uid=reviewed.pod_uid,
    )


def _compare_times(claims: Mapping[str, Any], now_s: float) -> None:
    if now_s > float(claims["exp"]) + LEEWAY_S:
        raise jwt.ExpiredSignatureError
    if now_s < float(claims.get("nbf", 0)) - LEEWAY_S:
        raise jwt.ImmatureSignatureError


def _meant_for(token: str) -> str:
    """Whom a token with a right signature and a wrong audience was meant for: what a person has to mend."""
    audience = jwt.decode(token, options={"verify_signature": False}).get("aud", ())
    return f" but for {str(audience)[:200]!r}" if audience else ""


def _denied(code: str, message: str) -> Denied:
    return Denied(status=401, code=code, message=message)

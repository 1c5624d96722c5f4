"""The operator's publisher in the test's event loop: real TLS, real tokens, and a cluster that a test makes up."""

from __future__ import annotations

import asyncio
import base64
import itertools
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from tidegate_operator.certificates.bundle import Bundle
from tidegate_operator.certificates.plan import Plan, next_step
from tidegate_operator.index.snapshot import Workload
from tidegate_operator.publish.accepting import Shares
from tidegate_operator.publish.board import Board, Edition, Published
from tidegate_operator.publish.identity import KeySet, PodFacts, Refused, Reviewed, ServiceAccount
from tidegate_operator.publish.keys import SigningKeys
from tidegate_operator.publish.polls import Bounds, Context
from tidegate_operator.publish.reports import Ack, PodReport, ReportBook
from tidegate_operator.publish.seals import Seals
from tidegate_operator.publish.server import ConfigServer
from tidegate_operator.publish.tls import trusting_context
from tidegate_operator.publish.tokens import TokenVerifier
from tidegate_policy.envelope import AsOf, Envelope, decode_envelope
from tidegate_policy.model import CompiledConfig
from tidegate_policy.poll import AUDIENCE

ISSUER = "https://kubernetes.default.svc.cluster.local"
OPERATOR = ServiceAccount("tidegate-system", "tidegate-operator")
PLAN = Plan(names=("localhost",), addresses=("127.0.0.1",))
CHAT = Workload(namespace="team-a", kind="Deployment", name="chat", service_account="chat")


def a_pod(name: str = "chat-0", workload: Workload = CHAT, **changes: Any) -> PodFacts:
    pod = PodFacts(name=name, uid=f"uid-{name}", workload=workload, service_account=workload.service_account)
    return replace(pod, **changes)


def first_bundle(now_s: int | None = None) -> Bundle:
    bundle = next_step(None, PLAN, int(time.time()) if now_s is None else now_s)
    assert bundle is not None
    return bundle


class Cluster:
    """Signs tokens, reviews them and knows pods: `KeySource`, `TokenReviewer` and `PodDirectory` at once."""

    def __init__(self, *pods: PodFacts, issuer: str = ISSUER, key_id: str = "key-1") -> None:
        self.pods = {pod.uid: pod for pod in pods}
        self.issuer = issuer
        self.reviews = 0
        self.key_reads = 0
        self.is_down = False
        self.may_review = asyncio.Event()
        self.may_review.set()
        self.published_issuers: tuple[str, ...] | None = None
        """What the discovery document says; None: all that are accepted."""
        self.accepted_issuers = {issuer}
        self.hidden_keys: set[str] = set()
        """Keys that are accepted and not published."""
        self._keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self._serial = itertools.count()
        self.rotate(key_id)

    def rotate(self, key_id: str) -> None:
        """Sign with a new key from now on; the former ones stay valid."""
        self._keys[key_id] = ec.generate_private_key(ec.SECP256R1())
        self._signing = key_id

    def token(self, pod: PodFacts, *, audience: str = AUDIENCE, life_s: int = 600, **claims: Any) -> str:
        now_s = int(time.time())
        payload = {
            "iss": self.issuer,
            "aud": [audience],
            "sub": f"system:serviceaccount:{pod.workload.namespace}:{pod.service_account}",
            "iat": now_s,
            "nbf": now_s,
            "exp": now_s + life_s,
            "jti": str(next(self._serial)),
            "kubernetes.io": {
                "namespace": pod.workload.namespace,
                "pod": {"name": pod.name, "uid": pod.uid},
                "serviceaccount": {"name": pod.service_account, "uid": "sa-uid"},
            },
            **claims,
        }
        return self.sign(payload)

    def operator_token(self, account: ServiceAccount = OPERATOR) -> str:
        workload = Workload(
            namespace=account.namespace, kind="Deployment", name="operator", service_account=account.name
        )
        pod = a_pod("operator-0", workload)
        self.pods[pod.uid] = pod
        return self.token(pod)

    def sign(self, payload: Mapping[str, Any]) -> str:
        return jwt.encode(
            dict(payload), self._keys[self._signing], algorithm="ES256", headers={"kid": self._signing}
        )

    async def keys(self) -> KeySet:
        self.key_reads += 1
        if self.is_down:
            raise ConnectionError("the API server is away")
        keys = [_jwk(*item) for item in self._keys.items() if item[0] not in self.hidden_keys]
        return KeySet(issuers=self.published_issuers or (self.issuer,), jwks={"keys": keys})

    async def review(self, token: str) -> Reviewed | Refused:
        self.reviews += 1
        await self.may_review.wait()
        if self.is_down:
            raise ConnectionError("the API server is away")
        key = self._keys.get(str(jwt.get_unverified_header(token).get("kid")))
        if key is None:
            return Refused("the signature is of no key of this cluster")
        try:
            document = jwt.decode(token, key.public_key(), algorithms=["ES256"], audience=AUDIENCE)
        except jwt.PyJWTError as error:
            return Refused(str(error))
        if document["iss"] not in self.accepted_issuers:
            return Refused("the issuer is none of this cluster's")
        claims = document["kubernetes.io"]
        pod = claims.get("pod", {"name": "", "uid": ""})
        if pod["uid"] and pod["uid"] not in self.pods:
            return Refused("pod not found")
        return Reviewed(
            namespace=claims["namespace"],
            service_account=claims["serviceaccount"]["name"],
            pod_name=pod["name"],
            pod_uid=pod["uid"],
        )

    def find(self, namespace: str, name: str, uid: str) -> PodFacts | None:
        pod = self.pods.get(uid)
        return pod if pod is not None and (pod.workload.namespace, pod.name) == (namespace, name) else None


def _jwk(key_id: str, key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {
        "kty": "EC",
        "crv": "P-256",
        "use": "sig",
        "alg": "ES256",
        "kid": key_id,
        "x": _number(numbers.x),
        "y": _number(numbers.y),
    }


def _number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes(32, "big")).rstrip(b"=").decode()


def a_report(pod_uid: str, digest: str = "", refused: str = "", why: str = "", seen_ns: int = 0) -> PodReport:
    """What a pod says of its configuration."""
    return PodReport(pod_uid=pod_uid, ack=Ack(digest=digest, refused=refused, why=why), seen_ns=seen_ns)


def edition(*configs: tuple[Workload, CompiledConfig], epoch: int = 0, **versions: int) -> Edition:
    """An edition as of `versions` in which each workload has its configuration."""
    published = {workload: Published.of(config) for workload, config in configs}
    return Edition(as_of=AsOf.of(epoch, versions), published_for=published.__getitem__)


class Observer:
    def __init__(self) -> None:
        self.open = 0
        self.most = 0
        self.results: dict[str, int] = {}
        self._changed = asyncio.Event()

    def polls_open(self, count: int) -> None:
        self.open = count
        self.most = max(count, self.most)
        self._notify()

    def answered(self, result: str) -> None:
        self.results[result] = self.results.get(result, 0) + 1
        self._notify()

    def forwarded(self, result: str) -> None:
        self.answered(result)

    def passed_over(self) -> None:
        self.answered("unknown field")

    async def until(self, predicate: Callable[[Observer], bool]) -> None:
        async with asyncio.timeout(20):
            while not predicate(self):
                await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


@dataclass
class Publisher:
    """One replica."""

    server: ConfigServer
    board: Board
    book: ReportBook
    cluster: Cluster
    tokens: TokenVerifier
    observer: Observer
    bundle: Bundle
    url: str = ""
    behind: list[AsOf] = field(default_factory=list)
    heard: asyncio.Queue[PodReport] = field(default_factory=asyncio.Queue)

    def use(self, bundle: Bundle) -> None:
        """What the app does with a new bundle."""
        self.bundle = bundle
        self.server.use_certificate(bundle.leaf.certificate_pem, bundle.leaf.key_pem)
        self.board.announce(bundle.trust)

    async def until_idle(self, polls: int) -> None:
        """Wait until so many polls wait for news."""
        async with asyncio.timeout(20):
            while self.board.waiting != polls:  # noqa: ASYNC110 - the board tells nobody that a poll has begun to wait
                await asyncio.sleep(0)

    async def ack(self, predicate: Callable[[Ack], bool]) -> Ack:
        async with asyncio.timeout(20):
            while not predicate(ack := (await self.heard.get()).ack):
                pass
        return ack


@asynccontextmanager
async def running_publisher(
    cluster: Cluster,
    *,
    bundle: Bundle | None = None,
    wait_s: float = 30,
    grace_s: float = 5,
    port: int = 0,
    per_address: int = 512,
    seals: Seals | None = None,
    **bounds: Any,
) -> AsyncIterator[Publisher]:
    """A replica that listens; it is stopped at the end of the block."""
    board, book, observer = Board(), ReportBook(), Observer()
    tokens = TokenVerifier(SigningKeys(cluster, refetch_after_ns=0), cluster)
    behind: list[AsOf] = []
    heard: asyncio.Queue[PodReport] = asyncio.Queue()
    context = Context(
        board=board,
        pods=cluster,
        book=book,
        bounds=Bounds(**{"wait_s": wait_s, "close_one_in": 0, **bounds}),
        observer=observer,
        on_report=heard.put_nowait,
        on_behind=behind.append,
        seals=lambda: seals,
        random=lambda: 0.0,
    )
    server = ConfigServer(context, tokens, OPERATOR, Shares(per_address=per_address))
    publisher = Publisher(
        server, board, book, cluster, tokens, observer, bundle or first_bundle(), behind=behind, heard=heard
    )
    publisher.use(publisher.bundle)
    host, port = await server.start("127.0.0.1", port)
    publisher.url = f"https://{host}:{port}"
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.run())
        try:
            yield publisher
        finally:
            await server.stop(grace_s)


class Poll:
    """A response to a poll, read to its end."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"<Poll {self.status} {self.body[:200]!r}>"

    @property
    def envelope(self) -> Envelope:
        return decode_envelope(self.body)[0]

    @property
    def tag(self) -> str:
        return self.headers["etag"]

    @property
    def code(self) -> str:
        import json  # noqa: PLC0415 - used here alone

        return str(json.loads(self.body)["code"])


class Poller:
    """A client that speaks the protocol by hand."""

    def __init__(self, publisher: Publisher, trust: str | None = None) -> None:
        self.publisher = publisher
        self._tls: ssl.SSLContext = trusting_context(trust or publisher.bundle.trust)
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def poll(
        self, token: str, *, wait_s: int = 0, path: str = "/v1/config", method: str = "GET", **headers: str
    ) -> Poll:
        """One request; keyword arguments are headers, with `_` for `-`. An empty value leaves a header out."""
        sent = {
            "authorization": f"Bearer {token}",
            "prefer": f"wait={wait_s}",
            "x_tidegate_schema_versions": "1",
            **headers,
        }
        chosen = {name.replace("_", "-"): value for name, value in sent.items() if value}
        async with self.session.request(
            method, self.publisher.url + path, headers=chosen, ssl=self._tls
        ) as response:
            return Poll(response.status, response.headers, await response.read())

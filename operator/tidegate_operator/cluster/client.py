"""The client of the API server, and the only importer of the kubernetes package.

Its calls block, so they run in threads of our own: a bounded number, each call with a deadline that holds for the
answer too. A call whose awaiter is cancelled goes on in its thread until then, and its result is dropped.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import quote

import orjson
import urllib3
from kubernetes import client as kubernetes_client
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from tidegate_operator.cluster.errors import (
    NoAccessError,
    RefusedError,
    UnreachableError,
    UnstableListError,
    refused,
)

MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
FIELD_MANAGER: Final = "tidegate-operator"
"""Who wrote a field, as `kubectl get --show-managed-fields` tells."""
USER_AGENT: Final = f"{FIELD_MANAGER}/{version('tidegate')}"
"""Who asks, as the API server's audit log and its priority levels tell."""

METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

_WRITING = ("PATCH", "POST", "PUT")
_CHUNK = 500
_ERROR_STATUS = 400
_SHOWN_CHARACTERS = 300
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The list of one kind at one moment.

    Attributes:
        items: objects without `apiVersion` and `kind`, which lists leave out.
        version: resourceVersion of the list: the items are all there were at that version.
    """

    items: tuple[dict[str, Any], ...]
    version: int


class Access:
    """How to reach the API server: as a pod's ServiceAccount, or by a kubeconfig."""

    def __init__(self, kubeconfig: str) -> None:
        """Load it.

        Args:
            kubeconfig: path of a kubeconfig; empty for the ServiceAccount of this pod.

        Raises:
            NoAccessError: it cannot be read.
        """
        self.configuration = kubernetes_client.Configuration()
        try:
            if kubeconfig:
                load_kube_config(kubeconfig, client_configuration=self.configuration)  # type: ignore[no-untyped-call]
            else:
                load_incluster_config(client_configuration=self.configuration)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError, ValueError) as error:
            what = f"KUBECONFIG {kubeconfig}" if kubeconfig else "the ServiceAccount of this pod"
            raise NoAccessError(f"{what} cannot be used: {error}") from error
        # urllib3 tries three times by default, each with the whole timeout: a deadline would be four
        self.configuration.retries = False

    @property
    def server(self) -> str:
        """URL of the API server."""
        return str(self.configuration.host)

    def authorization(self) -> str | None:
        """The Authorization header, or None where a client certificate says who we are.

        A ServiceAccount's token is read from its file again after a minute.
        """
        return self.configuration.get_api_key_with_prefix("BearerToken", alias="authorization")

    def tls(self) -> ssl.SSLContext:
        """A context that trusts the server's CA and has our certificate, if we have one."""
        context = ssl.create_default_context(cafile=self.configuration.ssl_ca_cert)
        if self.configuration.cert_file:
            context.load_cert_chain(self.configuration.cert_file, self.configuration.key_file)
        if not self.configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class Outage:
    """Whether the API server answers: an outage is one line at its beginning and one at its end, however many calls it costs."""

    def __init__(self) -> None:
        """It answers."""
        self._since_s: float | None = None

    def lost(self, error: UnreachableError) -> None:
        """A call had no answer."""
        if self._since_s is None:
            self._since_s = time.monotonic()
            _log.warning("the API server cannot be reached, and is tried again and again: %s", error)

    def answered(self) -> None:
        """A call was answered."""
        if self._since_s is not None:
            away_s = time.monotonic() - self._since_s
            self._since_s = None
            _log.warning("the API server answers again, after %.1f s", away_s)


class Clients:
    """Clients of one API server, each with threads and connections of its own: none waits for the calls of another."""

    def __init__(self, access: Access, *, request_ms: int) -> None:
        """There is no client yet; `request_ms` is the deadline of each call."""
        self._access = access
        self._request_ms = request_ms
        self._outage = Outage()
        self._made: list[ClusterClient] = []

    def make(self, name: str, *, at_once: int) -> ClusterClient:
        """One more client; `name` is that of its threads, and of `at_once` calls at the same time more wait."""
        client = ClusterClient(
            self._access, request_ms=self._request_ms, at_once=at_once, name=name, outage=self._outage
        )
        self._made.append(client)
        return client

    def close(self) -> None:
        """Close all of them."""
        for client in self._made:
            client.close()


class ClusterClient:
    """Calls to the API server."""

    def __init__(
        self,
        access: Access,
        *,
        request_ms: int,
        at_once: int,
        name: str = "cluster",
        outage: Outage | None = None,
    ) -> None:
        """Nothing is sent yet.

        Args:
            access: where, and as whom.
            request_ms: deadline of each call.
            at_once: calls at the same time; more of them wait.
            name: of its threads.
            outage: what it shares with other clients of the same API server.
        """
        self._timeout_s = request_ms / 1000
        access.configuration.connection_pool_maxsize = at_once
        self._api = kubernetes_client.ApiClient(access.configuration)
        self._api.user_agent = USER_AGENT
        self._threads = ThreadPoolExecutor(max_workers=at_once, thread_name_prefix=name)
        self._outage = outage or Outage()

    def close(self) -> None:
        """Take no more calls; those under way end by their deadline."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._api.rest_client.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Any:
        """Send one request and return the answer's JSON.

        Raises:
            UnreachableError: there was no answer in time.
            RefusedError: the answer is an error; see errors.py.
        """
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = content_type
        params = dict(query or {}) | ({"fieldManager": FIELD_MANAGER} if method in _WRITING else {})
        call = functools.partial(self._call, method, path, params, headers, body)
        try:
            answer = await self._in_thread(f"{method} {path}", call)
        except UnreachableError as error:
            self._outage.lost(error)
            raise
        except RefusedError:
            self._outage.answered()
            raise
        self._outage.answered()
        return answer

    async def get(self, path: str, *, accept: str = "application/json") -> dict[str, Any]:
        """Read one object."""
        document: dict[str, Any] = await self.request("GET", path, accept=accept)
        return document

    async def find(self, path: str, *, accept: str = "application/json") -> dict[str, Any] | None:
        """Read one object; None when it is not there."""
        try:
            return await self.get(path, accept=accept)
        except RefusedError as error:
            if error.status == 404:  # noqa: PLR2004
                return None
            raise

    async def list(
        self, path: str, *, labels: str = "", fields: str = "", accept: str = "application/json"
    ) -> Answer:
        """Read all objects of a collection, in chunks of one consistent moment.

        Raises:
            UnstableListError: it is not known of what moment the list is, so it is no evidence that something is gone.
            ClusterError: a chunk could not be read.
        """
        items: list[dict[str, Any]] = []
        version = 0
        async for chunk in self._chunks(path, {"labelSelector": labels, "fieldSelector": fields}, accept):
            items += chunk.get("items") or []
            version = int(chunk["metadata"]["resourceVersion"])
        return Answer(items=tuple(items), version=version)

    async def pages(
        self,
        path: str,
        *,
        labels: str = "",
        fields: str = "",
        accept: str = "application/json",
        limit: int = _CHUNK,
    ) -> AsyncIterator[Sequence[dict[str, Any]]]:
        """Read a collection page by page, `limit` objects at a time, for whoever keeps little of it.

        Raises:
            ClusterError: a page could not be read; what came before it is not all.
        """
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        async for chunk in self._chunks(path, selectors, accept, limit):
            yield chunk.get("items") or []

    async def _chunks(
        self, path: str, selectors: Mapping[str, str], accept: str, limit: int = _CHUNK
    ) -> AsyncIterator[dict[str, Any]]:
        # without a resourceVersion the list is of now; with 0 it would be of any moment before
        query = {"limit": str(limit)} | {key: value for key, value in selectors.items() if value}
        moment = ""
        while True:
            chunk = await self.request("GET", path, query=query, accept=accept)
            metadata = chunk.get("metadata") or {}
            version = str(metadata.get("resourceVersion") or "")
            check_moment(path, version, moment or version)
            moment = version
            yield chunk
            token = metadata.get("continue")
            if not token:
                return
            query["continue"] = token

    async def _in_thread(self, what: str, call: Callable[[], Any]) -> Any:
        loop = asyncio.get_running_loop()
        try:
            # the thread's own deadline is per read; this one also bounds an answer that trickles, and the queue
            async with asyncio.timeout(self._timeout_s * 2):
                return await loop.run_in_executor(self._threads, call)
        except TimeoutError as error:
            raise UnreachableError(f"{what}: no answer in {self._timeout_s * 2:g} s") from error

    def _call(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        headers: dict[str, str],
        body: Mapping[str, Any] | None,
    ) -> Any:
        """In a thread: one exchange, and reading the answer, which may be megabytes."""
        try:
            _, url, headers, _, _ = self._api.param_serialize(
                method,
                path,
                query_params=list(query.items()),
                header_params=headers,
                auth_settings=["BearerToken"],
            )
            response = self._api.call_api(method, url, headers, body, _request_timeout=self._timeout_s)
            data: bytes = response.read()  # type: ignore[no-untyped-call]
        except (urllib3.exceptions.HTTPError, kubernetes_client.ApiException, OSError) as error:
            # the package raises its own exception for TLS alone
            raise UnreachableError(f"{method} {path}: {error}") from error
        return _read(f"{method} {path}", response.status, data)


def _read(what: str, status: int, data: bytes) -> Any:
    try:
        document = orjson.loads(data) if data else {}
    except orjson.JSONDecodeError:
        document = None
    if status < _ERROR_STATUS:
        if document is None:
            raise UnreachableError(f"{what}: the answer is no JSON; something in between answered")
        return document
    if isinstance(document, dict) and document.get("kind") == "Status":
        raise refused(what, status, str(document.get("reason") or ""), str(document.get("message") or ""))
    raise refused(what, status, "", " ".join(data[:_SHOWN_CHARACTERS].decode(errors="replace").split()))


def check_moment(path: str, version: str, first: str) -> None:
    """Check that a chunk of a list is of a known moment, the same as the first chunk.

    Raises:
        UnstableListError: it is not.
    """
    if not version.isdecimal() or not int(version):
        raise UnstableListError(f"the list of {path} has resourceVersion {version!r}, which is no moment")
    if version != first:
        raise UnstableListError(
            f"the list of {path} began at resourceVersion {first} and went on at {version}"
        )


def object_path(api: str, plural: str, namespace: str, name: str = "", subresource: str = "") -> str:
    """``/apis/tidegate.dev/v1alpha1/namespaces/team-a/aipolicies/chat/status``; empty parts are left out.

    Args:
        api: `v1` or `group/version`.
        plural: of the kind.
        namespace: empty for a cluster-scoped kind, or for all namespaces.
        name: empty for the collection.
        subresource: such as `status`.
    """
    root = f"/apis/{api}" if "/" in api else f"/api/{api}"
    parts = [root, *(("namespaces", namespace) if namespace else ()), plural, name, subresource]
    return "/".join([parts[0], *(quote(part, safe="") for part in parts[1:] if part)])

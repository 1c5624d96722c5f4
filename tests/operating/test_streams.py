"""A loop that ends cuts what is still watched: the API server may never answer the goodbye of TLS."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_server
from typing import Any

import pytest
from tidegate_testing.publisher import first_bundle

from tidegate_operator.certificates.loading import load
from tidegate_operator.cluster.client import Access, ClusterClient
from tidegate_operator.cluster.liveness import Liveness
from tidegate_operator.cluster.metadata_watch import MetadataWatch
from tidegate_operator.cluster.object_watch import ObjectWatch
from tidegate_operator.cluster.stream import WatchSessions
from tidegate_operator.publish import tls
from tidegate_runtime import loop

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
LIST = json.dumps({"metadata": {"resourceVersion": "5"}, "items": []}).encode()
EVENT = json.dumps(
    {"type": "ADDED", "object": {"metadata": {"name": "one", "resourceVersion": "6"}}}
).encode()

Watch = Callable[[Access, ClusterClient, Callable[[], None]], Coroutine[Any, Any, None]]


def of_a_collection(access: Access, client: ClusterClient, tell: Callable[[], None]) -> Any:
    watch = MetadataWatch(
        access,
        client,
        "/api/v1/pods",
        labels="",
        fields="",
        is_wanted=lambda: True,
        on_change=lambda _: tell(),
        on_begin=lambda: None,
        length_ms=60_000,
        inactivity_ms=60_000,
        retry_max_ms=1,
    )
    return watch.run()


def of_an_object(access: Access, _: ClusterClient, tell: Callable[[], None]) -> Any:
    watch = ObjectWatch(
        access, "/api/v1/pods", "one", on_news=tell, length_ms=60_000, inactivity_ms=60_000, retry_max_ms=1
    )
    return watch.run()


async def of_kopf(access: Access, _: ClusterClient, tell: Callable[[], None]) -> None:
    """As kopf does it: within a session of ours, which is closed when kopf has ended."""
    path, liveness = "/api/v1/pods", Liveness(("Pod",), now_ns=0, silent_ms=60_000)
    sessions = WatchSessions(access, liveness, {path: "Pod"}, lambda _: None)
    try:
        async with sessions.make().get(access.server + path, params={"watch": "true"}) as response:
            async for _ in response.content.iter_any():
                tell()
    finally:
        await sessions.close()


class Silent(threading.Thread):
    """An API server that tells of one change and then says nothing more, no goodbye either."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(daemon=True)
        self._context = context
        self._listener = create_server(("127.0.0.1", 0))
        self._open: list[ssl.SSLSocket] = []
        self.port = int(self._listener.getsockname()[1])

    def run(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
                plain.settimeout(10)
                connection = self._context.wrap_socket(plain, server_side=True)
                request = connection.recv(65_536)
            except OSError:
                return
            self._open.append(connection)
            if b"watch=true" in request:
                connection.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
                connection.sendall(b"%x\r\n%s\n\r\n" % (len(EVENT) + 1, EVENT))
            else:
                connection.sendall(
                    HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(LIST) + LIST
                )

    def close(self) -> None:
        self._listener.shutdown(2)
        self._listener.close()
        self.join(20)
        for connection in self._open:
            connection.close()


@contextmanager
def reaching(folder: Path) -> Iterator[Access]:
    """What is needed to ask such a server."""
    bundle = first_bundle()
    context = tls.serving_context()
    load(context, bundle.leaf.certificate_pem, bundle.leaf.key_pem)
    server = Silent(context)
    server.start()
    authority = base64.b64encode(bundle.trust.encode()).decode()
    cluster = {"server": f"https://localhost:{server.port}", "certificate-authority-data": authority}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": cluster}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "users": [{"name": "me", "user": {"token": "t"}}],
    }
    path = folder / "config"
    path.write_text(json.dumps(config))
    try:
        yield Access(str(path))
    finally:
        server.close()


@pytest.mark.parametrize("watch", [of_a_collection, of_an_object, of_kopf])
def test_a_loop_ends_well_while_something_is_watched(watch: Watch, tmp_path: Path) -> None:
    with reaching(tmp_path) as access:
        client = ClusterClient(access, request_ms=5_000, at_once=1)

        async def work() -> None:
            told = asyncio.Event()
            async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
                running = tasks.create_task(watch(access, client, told.set))
                await told.wait()
                running.cancel()

        ended: list[str] = []

        def run() -> None:
            try:
                loop.run(work())
            except Exception as error:  # noqa: BLE001 - the test tells it
                ended.append(repr(error))
            else:
                ended.append("well")

        # a loop that cannot close may wait for ever: not in the test's own thread
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(30)
        client.close()
        assert ended == ["well"]

"""Which namespaces are counted again after a change, and a watch that tells of changes without keeping anything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tidegate_operator.cluster.client import Access, ClusterClient
from tidegate_operator.cluster.metadata_watch import MetadataWatch
from tidegate_operator.coverage.recounts import MAX_PER_ROUND, PAUSE_S, PAUSES, Recounts

PODS = "/api/v1/pods"
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
clusters: [{{name: here, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
contexts: [{{name: here, context: {{cluster: here, user: me}}}}]
users: [{{name: me, user: {{}}}}]
"""


def test_a_namespace_is_counted_at_once_and_then_no_more_than_a_count_is_worth() -> None:
    recounts = Recounts()
    assert recounts.due_s() is None
    assert recounts.changed(["team"])
    assert not recounts.changed(["team"]), "it is known"
    assert recounts.take({"team"}, 10.0) == {"team"}
    recounts.counted("team", took_s=0.2, now_s=10.2)

    recounts.changed(["team"])
    assert recounts.due_s() == 10.2 + 0.2 * PAUSES
    assert recounts.take({"team"}, 10.3) == frozenset()
    assert recounts.take({"team"}, 10.2 + 0.2 * PAUSES) == {"team"}
    recounts.counted("team", took_s=0.001, now_s=15.0)
    recounts.changed(["team"])
    assert recounts.due_s() == 15.0 + PAUSE_S


def test_changes_where_nobody_asks_are_forgotten() -> None:
    recounts = Recounts()
    recounts.changed(["team", "elsewhere"])
    assert recounts.take({"team"}, 0.0) == {"team"}
    assert recounts.take({"team", "elsewhere"}, 0.0) == frozenset()


@given(st.lists(st.sets(st.integers(0, 300).map(str)), max_size=10))
def test_every_change_is_counted_however_many_there_are_at_once(changes: list[set[str]]) -> None:
    recounts, everywhere = Recounts(), {str(number) for number in range(301)}
    open_changes: set[str] = set()
    for changed in changes:
        recounts.changed(changed)
        open_changes |= changed
        due = recounts.take(everywhere, 0.0)
        assert len(due) <= MAX_PER_ROUND
        open_changes -= due
    while recounts.due_s() is not None:
        open_changes -= recounts.take(everywhere, 0.0)
    assert not open_changes


@dataclass
class Stream:
    """An API server with pods that are watched; `refuse` is the status of the next watches."""

    version: int = 5
    refuse: int = 0
    asked: list[dict[str, str]] = field(default_factory=list)
    events: asyncio.Queue[dict[str, Any] | None] = field(default_factory=asyncio.Queue)

    async def get(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.asked.append(query)
        if "watch" not in query:
            return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": []})
        if self.refuse:
            status, self.refuse = self.refuse, 0
            return web.json_response({"kind": "Status"}, status=status)
        response = web.StreamResponse()
        await response.prepare(request)
        while (event := await self.events.get()) is not None:
            await response.write(json.dumps(event).encode() + b"\n")
        return response

    def tell(self, kind: str, name: str, version: int, **metadata: Any) -> None:
        known = {"name": name, "namespace": "team", "resourceVersion": str(version), **metadata}
        self.events.put_nowait({"type": kind, "object": {"metadata": known}})


@dataclass
class Site:
    api: Stream
    changed: list[str] = field(default_factory=list)
    begun: int = 0
    is_wanted: bool = True

    def begin(self) -> None:
        self.begun += 1

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.005)

    @property
    def watches(self) -> list[dict[str, str]]:
        return [query for query in self.api.asked if "watch" in query]


@asynccontextmanager
async def watching(folder: Path) -> AsyncIterator[Site]:
    here = Site(Stream())
    app = web.Application()
    app.router.add_get(PODS, here.api.get)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = folder / "config"
    config.write_text(KUBECONFIG.format(port=runner.addresses[0][1]))
    access = Access(str(config))
    client = ClusterClient(access, request_ms=5_000, at_once=1)
    watch = MetadataWatch(
        access,
        client,
        PODS,
        labels="a!=b",
        fields="c=d",
        is_wanted=lambda: here.is_wanted,
        on_change=lambda document: here.changed.append(document["metadata"]["name"]),
        on_begin=here.begin,
        length_ms=60_000,
        inactivity_ms=60_000,
        retry_max_ms=1,
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(watch.run())
            yield here
            running.cancel()
    finally:
        client.close()
        await runner.cleanup()


async def test_a_watch_begins_at_a_moment_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    async with watching(tmp_path) as here:
        here.api.tell("ADDED", "one", 6, annotations={"large": "x" * 1_000_000})
        here.api.tell("DELETED", "one", 7)
        here.api.tell("BOOKMARK", "", 9)
        here.api.events.put_nowait(None)
        await here.until(lambda: len(here.watches) == 2)
        assert here.changed == ["one", "one"]
        assert here.begun == 1
        assert [query["resourceVersion"] for query in here.watches] == ["5", "9"]
        assert here.api.asked[0] == {"limit": "1", "labelSelector": "a!=b", "fieldSelector": "c=d"}
        assert here.watches[0].items() >= {"labelSelector": "a!=b", "fieldSelector": "c=d"}.items()


async def test_where_changes_were_lost_it_begins_at_another_moment_and_says_so(tmp_path: Path) -> None:
    async with watching(tmp_path) as here:
        await here.until(lambda: here.begun == 1)
        here.api.version = 100
        here.api.events.put_nowait({"type": "ERROR", "object": {"code": 410}})
        here.api.events.put_nowait(None)
        await here.until(lambda: here.begun == 2)
        assert here.watches[-1]["resourceVersion"] == "100"

        here.api.version, here.api.refuse = 3, 504
        here.api.events.put_nowait(None)
        await here.until(lambda: here.begun == 3)
        assert here.watches[-1]["resourceVersion"] == "3"
        here.api.tell("ADDED", "after", 4)
        await here.until(lambda: here.changed == ["after"])

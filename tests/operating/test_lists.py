"""Lists of whole kinds: of one known moment, after the first one of metadata alone, and never evidence of more than they say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tidegate_testing.operators import injected_pod, policy

from tidegate_operator.cluster.client import METADATA_LIST, Access, ClusterClient, check_moment
from tidegate_operator.cluster.errors import UnstableListError
from tidegate_operator.handlers.informer import POD, Informer
from tidegate_operator.handlers.resync import MAX_READ, Periods, Resync
from tidegate_operator.telemetry.metrics import Metrics

KIND = "AIPolicy"
PATHS = {
    KIND: "/apis/tidegate.dev/v1alpha1/aipolicies",
    POD: "/api/v1/pods",
}
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: here, user: me}}}}]
clusters: [{{name: here, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: me, user: {{token: word}}}}]
"""


def a_policy(name: str, version: int, *, generation: int = 1, **spec: Any) -> dict[str, Any]:
    document = policy("team", name, **spec)
    document["metadata"] |= {
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "generation": generation,
    }
    return document


@dataclass
class ApiServer:
    """One kind's objects, as an API server would list and show them; `version` is what its lists say of their moment."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    version: str = "0"
    asked: list[str] = field(default_factory=list)

    def put(self, *documents: dict[str, Any]) -> None:
        for document in documents:
            self.objects[document["metadata"]["name"]] = document
            self.version = document["metadata"]["resourceVersion"]

    async def list(self, request: web.Request) -> web.Response:
        is_metadata = request.headers["Accept"] == METADATA_LIST
        self.asked.append("list of metadata" if is_metadata else "list")
        shown = ("metadata",) if is_metadata else ("metadata", "spec", "status")
        items = [{key: it[key] for key in shown if key in it} for it in self.objects.values()]
        return web.json_response({"metadata": {"resourceVersion": self.version}, "items": items})

    async def get(self, request: web.Request) -> web.Response:
        self.asked.append(request.match_info["name"])
        found = self.objects.get(request.match_info["name"])
        return web.json_response(found or {"kind": "Status"}, status=200 if found else 404)


@dataclass
class Site:
    """An operator's index, kept by lists alone."""

    api: ApiServer
    informer: Informer
    resync: Resync
    metrics: Metrics
    falls: list[tuple[str, int, int]]
    kind: str

    async def until(self, holds: Callable[[], bool]) -> None:
        """List again and again until something holds."""
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            listing = tasks.create_task(self.resync.follow(self.kind))
            while not holds():
                self.resync.ask(self.kind)
                await asyncio.sleep(0.005)
            listing.cancel()

    async def listed(self) -> None:
        """Return when a list that begins now has been taken in."""
        done = len([it for it in self.api.asked if it.startswith("list")])
        await self.until(lambda: len([it for it in self.api.asked if it.startswith("list")]) >= done + 2)


@asynccontextmanager
async def site(folder: Path, kind: str = KIND) -> AsyncIterator[Site]:
    api, informer, metrics = ApiServer(), Informer(), Metrics()
    app = web.Application()
    base, _, plural = PATHS[kind].rpartition("/")
    app.router.add_get(PATHS[kind], api.list)
    app.router.add_get(f"{base}/namespaces/{{namespace}}/{plural}/{{name}}", api.get)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = folder / "config"
    config.write_text(KUBECONFIG.format(port=runner.addresses[0][1]))
    client = ClusterClient(Access(str(config)), request_ms=5_000, at_once=2)
    falls: list[tuple[str, int, int]] = []
    periods = Periods(relist_ms=600_000, pause_ms=1, retry_max_ms=1)
    resync = Resync(
        client,
        informer,
        metrics,
        periods,
        paths={kind: PATHS[kind]},
        on_fall=lambda *fall: falls.append(fall),
    )
    try:
        yield Site(api, informer, resync, metrics, falls, kind)
    finally:
        client.close()
        await runner.cleanup()


def names(informer: Informer) -> set[str]:
    return {ref.name for ref in informer.objects.held}


async def test_after_the_first_list_only_metadata_is_listed_and_what_is_newer_read_by_name(
    tmp_path: Path,
) -> None:
    async with site(tmp_path) as here:
        here.api.put(a_policy("same", 1), a_policy("changed", 2), a_policy("gone", 3))
        await here.until(lambda: len(names(here.informer)) == 3)
        assert here.api.asked[0] == "list"
        here.api.asked.clear()

        del here.api.objects["gone"]
        here.api.put(a_policy("changed", 5, generation=2, suspend=True), a_policy("new", 6))
        await here.until(lambda: names(here.informer) == {"same", "changed", "new"})

        assert "list" not in here.api.asked
        assert {it for it in here.api.asked if not it.startswith("list")} == {"changed", "new"}
        (changed,) = [it for it in here.informer.objects.held.values() if it.ref.name == "changed"]
        assert changed.stored.spec is not None
        assert changed.stored.spec.suspend
        assert here.informer.objects.versions[KIND] == 6


async def test_where_much_is_newer_everything_is_listed_whole(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        here.api.put(a_policy("same", 1))
        await here.until(lambda: len(names(here.informer)) == 1)
        here.api.asked.clear()
        here.api.put(*(a_policy(f"new-{number}", 2 + number) for number in range(MAX_READ + 1)))
        await here.until(lambda: len(names(here.informer)) == MAX_READ + 2)
        assert here.api.asked.count("list") == 1
        assert not [it for it in here.api.asked if not it.startswith("list")]


@pytest.mark.parametrize("version", ["0", "", "now"])
async def test_a_list_without_a_moment_is_no_evidence_of_anything(tmp_path: Path, version: str) -> None:
    """What answers so may be a cache that is just being filled: nothing is gone, and no version has fallen."""
    async with site(tmp_path) as here:
        here.api.version = version
        await here.listed()
        assert KIND in here.informer.unlisted

        here.api.put(a_policy("chat", 7))
        await here.until(lambda: names(here.informer) == {"chat"})
        here.api.objects.clear()
        here.api.version = version
        await here.listed()
        assert names(here.informer) == {"chat"}
        assert here.falls == []
        assert here.metrics.registry.get_sample_value("tidegate_operator_lists_failed_total", {"kind": KIND})


async def test_a_lower_version_twice_is_a_fall(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        here.api.put(a_policy("chat", 7))
        await here.until(lambda: names(here.informer) == {"chat"})
        here.api.version = "5"
        await here.until(lambda: bool(here.falls))
        assert here.falls[0] == (KIND, 7, 5)


async def test_a_pod_that_the_watch_has_not_told_is_read_whole(tmp_path: Path) -> None:
    """Of a pod's owner and ServiceAccount the metadata tell one alone."""
    async with site(tmp_path, POD) as here:
        here.api.version = "1"
        await here.until(lambda: here.informer.pods.is_listed)
        pod = injected_pod("team", "chat-0")
        pod["metadata"] |= {"uid": "uid-0", "resourceVersion": "2"}
        pod["spec"]["serviceAccountName"] = "chat"
        here.api.put(pod)
        await here.until(lambda: len(here.informer.pods) == 1)
        found = here.informer.pods.get("uid-0")
        assert found is not None
        assert found.service_account == "chat"


def test_chunks_of_a_list_are_of_one_moment() -> None:
    check_moment("/x", "12", "12")
    with pytest.raises(
        UnstableListError, match=r"^the list of /x began at resourceVersion 12 and went on at 13$"
    ):
        check_moment("/x", "13", "12")

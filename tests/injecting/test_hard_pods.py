"""A pod that is made to be hard costs work in proportion to its size, and keeps the pods of others waiting for nothing."""

from __future__ import annotations

import asyncio
import io
import ssl
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from injecting_shapes.platform import PLATFORM, ask, injected, patched, review
from injecting_shapes.pods import container, pod

from tidegate_operator.certificates.plan import Plan, next_step
from tidegate_operator.inject.decide import MAX_CONTAINERS, DenyReason
from tidegate_operator.inject.environment import MAX_SOURCES
from tidegate_operator.inject.metrics import Metrics
from tidegate_operator.inject.pod import Platform
from tidegate_operator.inject.request import read_request
from tidegate_operator.inject.response import Result
from tidegate_operator.inject.review import Entry, answer
from tidegate_operator.inject.serving import LiveCertificate
from tidegate_operator.inject.webhook import MAX_LARGE, SMALL_BYTES, WebhookServer

FORGED = orjson.dumps({"version": "0", "template": "0", "environment": {"app": ["OPENAI_BASE_URL"]}}).decode()


def forged(**app: Any) -> dict[str, Any]:
    """A pod that says it has been injected before, with a container that is hard to compare."""
    document = pod(container("app", **app), annotations={"tidegate.dev/status": FORGED})
    document["spec"]["initContainers"] = [
        {"name": "tidegate-sidecar", "image": "i", "restartPolicy": "Always"}
    ]
    return document


def test_of_thousands_of_slips_a_few_are_told_and_the_others_counted() -> None:
    outcome = ask(pod(annotations={f"tidegate.dev/cpu-requ{number:05d}": "" for number in range(4_000)}))
    assert outcome.result is Result.INJECTED
    assert len(outcome.warnings) == 9
    assert "3992 more annotations" in outcome.warnings[-1]


@pytest.mark.parametrize(
    "app",
    [
        {"env": [{"name": f"V{number}", "value": "1"} for number in range(5_000)]},
        {
            "env": [{"name": "OPENAI_BASE_URL", "value": str(number)} for number in range(1_000)],
            "envFrom": [{"configMapRef": {"name": f"c{number}"}} for number in range(1_000)],
        },
    ],
)
def test_a_list_of_thousands_is_written_at_once_and_right(app: dict[str, Any]) -> None:
    document = forged(**app)
    outcome = ask(document)
    assert outcome.result is Result.INJECTED
    assert len(outcome.patch) < 4 * MAX_SOURCES
    assert ask(patched(document, outcome.patch)).patch == ()


def crowded(field: str, count: int) -> dict[str, Any]:
    """An injected pod, to whose sidecar somebody has added so many of what it must not have."""
    document = injected(pod())
    more = {
        "env": [{"name": f"TIDEGATE_V{number}", "value": "1"} for number in range(count)],
        "volumeMounts": [{"name": "x", "mountPath": f"/usr/{number}"} for number in range(count)],
    }
    document["spec"]["initContainers"][0][field] += more[field]
    return document


def processor_s(entry: Entry, document: dict[str, Any]) -> float:
    """What looking at a pod takes; the least of some tries, since others use the machine as well."""
    request = read_request(review(document))
    taken = []
    for _ in range(5):
        start_s = time.thread_time()
        answer(entry, request, PLATFORM)
        taken.append(time.thread_time() - start_s)
    return min(taken)


@pytest.mark.parametrize("entry", [Entry.PODS, Entry.VERIFIED_PODS])
@pytest.mark.parametrize("field", ["env", "volumeMounts"])
def test_a_sidecar_that_was_given_thousands_costs_in_proportion(field: str, entry: Entry) -> None:
    """Four times as many would cost sixteen times as much, if each were compared with each."""
    few, many = (processor_s(entry, crowded(field, count)) for count in (1_500, 6_000))
    assert many < 10 * few


def test_of_thousands_that_a_sidecar_was_given_a_few_are_told_and_the_others_counted() -> None:
    document = crowded("env", 3_000)
    assert "TIDEGATE_V0, TIDEGATE_V1, TIDEGATE_V10, " in ask(document).warnings[0]
    outcome = ask(document, Entry.VERIFIED_PODS)
    assert "and 2992 more, which would change what it does" in outcome.message
    assert len(outcome.message) < 600
    assert "/usr/7 and 2992 more" in ask(crowded("volumeMounts", 3_000), Entry.VERIFIED_PODS).message


def test_of_many_sources_the_last_ones_are_looked_at_since_they_go_before_the_others() -> None:
    sources = [{"configMapRef": {"name": f"c{number}"}} for number in range(MAX_SOURCES + 3)]
    document = injected(pod(container("app", envFrom=sources)))
    (app,) = (it for it in document["spec"]["containers"] if it["name"] == "app")
    named = [
        entry["valueFrom"]["configMapKeyRef"]["name"]
        for entry in app["env"]
        if entry["name"] == "OPENAI_BASE_URL" and "valueFrom" in entry
    ]
    assert named == [f"c{number}" for number in range(3, MAX_SOURCES + 3)]


def test_a_pod_with_too_many_containers_is_refused_and_told_how_many_it_may_have() -> None:
    most = [container(f"c{number}") for number in range(MAX_CONTAINERS)]
    assert ask(pod(*most)).result is Result.INJECTED
    outcome = ask(pod(*most, container("more")))
    assert (outcome.result, outcome.reason) == (Result.DENIED, DenyReason.TOO_MANY_CONTAINERS)
    assert "has 257 containers; with a sidecar it may have 256" in outcome.message


LARGE = review(pod(container("app", env=[{"name": "V", "value": "x" * SMALL_BYTES}])))
SMALL = review(pod())


class Held:
    """The platform of reviews. Those that are decided in a thread are held up in it until `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.reached = threading.Semaphore(0)

    def __call__(self) -> Platform:
        if threading.current_thread() is not threading.main_thread():
            self.reached.release()
            assert self.go.wait(60)
        return PLATFORM


@asynccontextmanager
async def serving(folder: Path, platform: Held, *, decide_s: float) -> AsyncIterator[Any]:
    """A webhook; what it yields sends it a review and returns whether that was allowed, and the message."""
    bundle = next_step(None, Plan(names=("localhost",), addresses=("127.0.0.1",)), int(time.time()))
    assert bundle is not None
    for name in ("ca.crt", "tls.crt", "tls.key"):
        (folder / name).write_bytes(bundle.to_data()[name])
    certificate = LiveCertificate(folder, lambda _: None, interval_s=600)
    await certificate.look()
    server = WebhookServer(platform, certificate.context, Metrics(), decide_s=decide_s)
    host, port = await server.start("127.0.0.1", 0)
    context = ssl.create_default_context(cadata=bundle.trust)

    async def send(body: bytes) -> tuple[bool, str]:
        async with session.post(f"https://{host}:{port}/pods", data=io.BytesIO(body), ssl=context) as answer:
            response = orjson.loads(await answer.read())["response"]
            return response["allowed"], response.get("status", {}).get("message", "")

    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        try:
            yield send
        finally:
            platform.go.set()
            await server.stop(5)


async def test_a_large_review_keeps_no_small_one_waiting(tmp_path: Path) -> None:
    held = Held()
    async with serving(tmp_path, held, decide_s=60) as send, asyncio.TaskGroup() as tasks:
        large = tasks.create_task(send(LARGE))
        assert await asyncio.to_thread(held.reached.acquire, timeout=60)
        assert await send(SMALL) == (True, "")
        assert not large.done()
        held.go.set()
        assert await large == (True, "")


async def test_a_large_review_that_takes_too_long_is_refused_in_time(tmp_path: Path) -> None:
    async with serving(tmp_path, Held(), decide_s=0.05) as send:
        allowed, message = await send(LARGE)
        assert not allowed
        assert "no decision within 0.05 s" in message


async def test_large_reviews_beyond_the_most_are_refused_at_once(tmp_path: Path) -> None:
    held = Held()
    async with serving(tmp_path, held, decide_s=60) as send, asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(send(LARGE)) for _ in range(MAX_LARGE + 1)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = done
        assert "16 large reviews wait already" in refused.result()[1]
        held.go.set()
        assert {it.result()[0] for it in waiting if await it and it is not refused} == {True}

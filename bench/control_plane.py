"""What the control plane costs, against a real API server: `make bench-control-plane` prints the table.

500 policies in 100 namespaces; 200 sidecars' own polling code, each with the token of its own pod. Measured are the
time from `apply` to the moment a sidecar has the new configuration, the operator's compiles, and its memory. The
many idle polls have a script of their own (`config_polls.py`), the compile alone too (`compile.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import uvloop
from tidegate_cluster.builder import provide
from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.programs import API_SERVER_PROGRAMS
from tidegate_cluster.settings import settings_from_environment
from tidegate_testing.operators import PRODUCTION, Cluster, OperatorProcess, injected_pod, policy, pool

from tidegate_sidecar.config.operator_source import OperatorSource
from tidegate_sidecar.config.source import Loaded
from tidegate_sidecar.settings import OperatorSettings
from tidegate_sidecar.telemetry.metrics import Metrics

AUDIENCE = "tidegate.dev/config"
HOME = "tidegate-system"
WATCHED = "bench-000"


CONNECTED = 60
"""Requests of the limit that all sidecars have when they have connected."""
BESIDE_EDITS = 50


def main() -> int:
    """Run the bench; 1 when the operator did not come up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--namespaces", type=int, default=100)
    parser.add_argument("--policies", type=int, default=500)
    parser.add_argument("--sidecars", type=int, default=200)
    parser.add_argument("--edits", type=int, default=30)
    options = parser.parse_args()
    programs = provide(
        API_SERVER_PROGRAMS, settings_from_environment(), lambda line: print(line, file=sys.stderr)
    )
    with tempfile.TemporaryDirectory() as folder, running(programs, Path(folder)) as (cluster, operator):
        fill(cluster, options)
        rows = {"memory with no objects, MiB": [operator.rss_mib()]}
        operator.until(
            lambda: cluster.condition("aipolicy", WATCHED, "chat-0", "Ready") != "",
            "the first status",
            within_s=120,
        )
        rows |= uvloop.run(edits(cluster, operator, Path(folder), options, options.edits))
        rows["operator memory with all of it, MiB"] = [operator.rss_mib()]
        burden(cluster)
        change(cluster, CONNECTED)
        beside = uvloop.run(edits(cluster, operator, Path(folder), options, BESIDE_EDITS))
        rows |= {f"{name}, beside": values for name, values in beside.items()}
        for name in ("compile_seconds_sum", "compile_seconds_count"):
            rows[name] = [operator.metric(name)]
    report(rows, options)
    return 0


@contextmanager
def running(programs: dict[str, Path], folder: Path) -> Iterator[tuple[Cluster, OperatorProcess]]:
    """A control plane with our kinds, and one operator with the periods of production."""
    with ControlPlane(programs=programs, folder=folder) as control_plane:
        cluster = Cluster(control_plane)
        cluster.install()
        cluster.kubectl("create", "namespace", HOME)
        operator = OperatorProcess(
            kubeconfig=control_plane.kubeconfig,
            namespace=HOME,
            folder=folder,
            settings={},
            periods=PRODUCTION,
        )
        operator.start().wait_ready()
        try:
            yield cluster, operator
        finally:
            operator.stop()


def fill(cluster: Cluster, options: argparse.Namespace) -> None:
    """Namespaces, a pool in each, and the policies spread over them."""
    names = [f"bench-{index:03d}" for index in range(options.namespaces)]
    cluster.apply(*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names))
    cluster.apply(*(pool(name) for name in names))
    limit = {"name": "calls", "requests": CONNECTED, "per": "1m"}
    cluster.apply(
        *(
            policy(
                names[index % len(names)],
                f"chat-{index // len(names)}",
                selector={"matchLabels": {"app": f"app-{index // len(names)}"}},
                rateLimits=[limit],
            )
            for index in range(options.policies)
        )
    )
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": WATCHED},
    }
    cluster.apply(account)
    cluster.apply(*(injected_pod(WATCHED, f"pod-{index}", app="app-0") for index in range(options.sidecars)))


def burden(cluster: Cluster) -> None:
    """A tenant's pool and policy that are as hard as the schema lets them be: thousands of names, a thousand patterns."""
    names = [[f"m{p}x{m}" for m in range(64)] for p in range(32)]
    providers = [
        {
            "name": f"p{p}",
            "type": "OpenAI",
            "models": [{"name": name, "aliases": [f"a{name}y{a}" for a in range(16)]} for name in own],
        }
        for p, own in enumerate(names)
    ]
    limits = [
        {"name": f"l{n}", "requests": 1, "per": "1m", "models": [f"*{'z' * 30}{n}*{i}*" for i in range(16)]}
        for n in range(64)
    ]
    space = "burden"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": space},
    }
    cluster.apply(account, injected_pod(space, "pod-0"), pool(space, "large", providers=providers))
    cluster.apply(policy(space, "large", selector={}, poolRefs=[{"name": "large"}], rateLimits=limits))


async def edits(
    cluster: Cluster, operator: OperatorProcess, folder: Path, options: argparse.Namespace, count: int
) -> dict[str, list[float]]:
    """Connect all sidecars, edit the policy again and again, and time how long each takes to have the edit."""
    arrivals: dict[str, list[float]] = {}
    arrived = asyncio.Condition()

    async def follow(source: OperatorSource) -> None:
        async for update in source.updates():
            if isinstance(update, Loaded) and update.config.rate_limits:
                key = str(update.config.rate_limits[0].requests)
                async with arrived:
                    arrivals.setdefault(key, []).append(time.perf_counter())
                    arrived.notify_all()

    async def all_have(requests: int) -> list[float]:
        async with asyncio.timeout(120), arrived:
            await arrived.wait_for(lambda: len(arrivals.get(str(requests), ())) >= options.sidecars)
        return arrivals[str(requests)]

    authority = authority_of(cluster)
    sources = [
        await asyncio.to_thread(sidecar, cluster, operator, authority, folder, index)
        for index in range(options.sidecars)
    ]
    latencies: list[float] = []
    slowest: list[float] = []
    async with asyncio.TaskGroup() as tasks:
        started = time.perf_counter()
        following = [tasks.create_task(follow(source)) for source in sources]
        connected = max(await all_have(CONNECTED)) - started
        for edit in range(count):
            requests = 1_000 + edit
            began = time.perf_counter()
            await asyncio.to_thread(change, cluster, requests)
            taken = [(moment - began) * 1e3 for moment in await all_have(requests)]
            latencies += taken
            slowest.append(max(taken))
        for task in following:
            task.cancel()
    return {
        "all sidecars connect and have it, ms": [connected * 1e3],
        "apply to enforced, each sidecar, ms": latencies,
        "apply to enforced, the last of them, ms": slowest,
    }


def sidecar(
    cluster: Cluster, operator: OperatorProcess, authority: str, folder: Path, index: int
) -> OperatorSource:
    """The sidecar's source of configurations, with a token of its own pod."""
    pod = cluster.get("pod", WATCHED, f"pod-{index}")
    answer = cluster.control_plane.request(
        "POST",
        f"/api/v1/namespaces/{WATCHED}/serviceaccounts/default/token",
        body={
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [AUDIENCE],
                "expirationSeconds": 3600,
                "boundObjectRef": {
                    "kind": "Pod",
                    "apiVersion": "v1",
                    "name": pod["metadata"]["name"],
                    "uid": pod["metadata"]["uid"],
                },
            },
        },
    )
    own = folder / f"sidecar-{index}"
    own.mkdir(exist_ok=True)
    (own / "token").write_text(answer.json()["status"]["token"])
    settings = OperatorSettings(
        url=f"https://127.0.0.1:{operator.config_port}", ca=authority, token_file=own / "token", state_dir=own
    )
    return OperatorSource(settings, Metrics())


def authority_of(cluster: Cluster) -> str:
    """The authority that signed the operator's certificate, as the injector would hand it to a pod."""
    for item in cluster.control_plane.request("GET", f"/api/v1/namespaces/{HOME}/secrets").json()["items"]:
        for name, value in item.get("data", {}).items():
            if name.endswith("ca.crt") or name == "ca.crt":
                return base64.b64decode(value).decode()
    raise SystemExit("the operator has made no certificate")


def change(cluster: Cluster, requests: int) -> None:
    """Edit the policy through the API, without kubectl's own start; status writes in between are not in the way."""
    path = f"/apis/tidegate.dev/v1alpha1/namespaces/{WATCHED}/aipolicies/chat-0"
    for _ in range(10):
        current = cluster.control_plane.request("GET", path).json()
        current["spec"]["rateLimits"] = [{"name": "calls", "requests": requests, "per": "1m"}]
        answer = cluster.control_plane.request("PUT", path, body=current)
        if answer.status == HTTPStatus.OK:
            return
        if answer.status != HTTPStatus.CONFLICT:
            break
    raise SystemExit(f"the edit was refused: {answer.text}")


def report(rows: dict[str, list[float]], options: argparse.Namespace) -> None:
    """The table; `beside`: while another tenant has the largest pool and policy that the schema takes."""
    print(
        f"\n{options.policies} policies in {options.namespaces} namespaces, {options.sidecars} sidecars, "
        f"{options.edits} edits\n"
    )
    print(f"{'':55} {'p50':>9} {'p99':>9} {'max':>9}")
    for name, values in rows.items():
        cuts = (
            statistics.quantiles(values, n=100, method="inclusive") if len(values) > 1 else [values[0]] * 99
        )
        print(f"{name:55} {statistics.median(values):9.1f} {cuts[98]:9.1f} {max(values):9.1f}")


if __name__ == "__main__":
    sys.exit(main())

"""How long the operator takes from news to digests: everything at once, and after one edit.

    python bench/compile.py [--runs N]

The bar: 500 policies in 100 namespaces compile in 500 ms, and in 100 ms after an edit of one. A run takes the way of
the operator: the index reads the news and makes a snapshot, the compiler compiles it, and each configuration that is
not the one before is encoded and digested. Wall time is what people wait for; CPU time is what counts on a machine
that has other things to do.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tidegate_operator.compile.compiler import Compiler
from tidegate_operator.index.objects import Objects
from tidegate_operator.index.pods import INJECTED_LABEL, Owner, Pods
from tidegate_policy import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tidegate_operator.compile.compilation import ClassKey
    from tidegate_policy.model import CompiledConfig

NAMESPACES = 100
POLICIES = 5
"""In each namespace, all with the namespace's pool."""
WORKLOADS = 20
"""In each namespace."""
PROVIDERS = 4
MODELS = 20
"""Of each provider; each has an alias."""
PLATFORM = "platform"
"""Namespace of the pool that all may use."""

Document = dict[str, Any]


class Timing(NamedTuple):
    """One run, in nanoseconds."""

    compile_wall_ns: int
    compile_cpu_ns: int
    wall_ns: int
    cpu_ns: int


class Replica:
    """As much of an operator as it takes to get from news to digests."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.objects = Objects()
        self.pods = Pods()
        self._version = 0
        self._compiler = Compiler()
        self._digests: dict[ClassKey, tuple[CompiledConfig, str]] = {}

    def tell(self, document: Document) -> None:
        """Take in a form of an object, newer than all before."""
        self._version += 1
        metadata = document["metadata"] | {"resourceVersion": str(self._version), "generation": self._version}
        self.objects.seen(document["kind"], document | {"metadata": metadata})

    def tell_of_pod(self, namespace: str, name: str, labels: Mapping[str, str]) -> None:
        """Take in the one pod of a Deployment."""
        self._version += 1
        deployment = Owner(api="apps/v1", kind="Deployment", name=name, uid=f"deployment-{namespace}-{name}")
        owner = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": name,
            "uid": f"set-{namespace}-{name}",
        }
        self.pods.learn(owner["uid"], deployment)
        self.pods.seen(
            {
                "metadata": {
                    "uid": f"pod-{namespace}-{name}",
                    "namespace": namespace,
                    "name": f"{name}-0",
                    "resourceVersion": str(self._version),
                    "labels": {INJECTED_LABEL: "true", **labels},
                    "ownerReferences": [owner | {"controller": True}],
                }
            }
        )

    def compile(self) -> tuple[int, int]:
        """Compile and digest; wall and CPU time of the compile alone, in nanoseconds."""
        snapshot = self.objects.snapshot(self.pods.by_workload())
        wall_ns, cpu_ns = time.perf_counter_ns(), time.process_time_ns()
        compilation = self._compiler.compile(snapshot)
        took = (time.perf_counter_ns() - wall_ns, time.process_time_ns() - cpu_ns)
        former, self._digests = self._digests, {}
        for key, config in compilation.configs.items():
            known = former.get(key)
            is_same = known is not None and known[0] is config
            self._digests[key] = known if known and is_same else (config, wire.digest(config))
        return took


def named(kind: str, namespace: str, name: str, spec: Document) -> Document:
    """A document of ours."""
    metadata = {"name": name, "uid": f"{kind}-{namespace}-{name}"} | (
        {"namespace": namespace} if namespace else {}
    )
    return {"kind": kind, "metadata": metadata, "spec": spec}


def pool(namespace: str, name: str, *, weight: int = 1) -> Document:
    """A pool with as many models as a large gateway has."""
    models = [{"name": f"model-{at}", "aliases": [f"m{at}"]} for at in range(MODELS)]
    providers = [
        {
            "name": f"provider-{at}",
            "type": "OpenAI",
            "models": models,
            "weight": weight,
            "authentication": {"type": "Credentials", "credentialRefs": [{"name": "key"}]},
        }
        for at in range(PROVIDERS)
    ]
    everybody = {"allowedNamespaces": {"from": "All"}} if namespace == PLATFORM else {}
    return named("ProviderPool", namespace, name, {"providers": providers} | everybody)


def policy(namespace: str, at: int, *, requests: int = 100) -> Document:
    """The first policy of a namespace is for all of it, the others are for a Deployment each."""
    target = {"kind": "Deployment", "name": f"app-{at}"} if at else {"kind": "Namespace", "name": namespace}
    spec = {
        "targetRefs": [target],
        "poolRefs": [{"name": "models"}, {"name": "shared", "namespace": PLATFORM}],
        "allowModels": ["model-1*", "model-2"],
        "rateLimits": [{"name": f"limit-{it}", "requests": requests, "per": "1m"} for it in range(3)],
        "timeouts": {"request": "5m"},
    }
    return named("AIPolicy", namespace, f"policy-{at}", spec)


def floor(*, requests: int = 1_000_000) -> Document:
    """A policy of the platform, for every workload."""
    limits = [{"name": "floor", "requests": requests, "per": "1m"}]
    return named(
        "ClusterAIPolicy",
        "",
        "floor",
        {"namespaceSelector": {}, "allowModels": ["model-*"], "rateLimits": limits},
    )


def filled() -> Replica:
    """A replica that has heard of everything, and has not compiled yet."""
    replica = Replica()
    names = [f"team-{at}" for at in range(NAMESPACES)]
    credential = {"source": {"type": "Environment", "environment": {"variable": "KEY"}}}
    for namespace in (PLATFORM, *names):
        replica.tell(
            {"kind": "Namespace", "metadata": {"name": namespace, "uid": namespace, "labels": {"a": "b"}}}
        )
        replica.tell(named("ProviderCredential", namespace, "key", credential))
    replica.tell(pool(PLATFORM, "shared"))
    replica.tell(floor())
    for namespace in names:
        replica.tell(pool(namespace, "models"))
        for at in range(POLICIES):
            replica.tell(policy(namespace, at))
        for at in range(WORKLOADS):
            replica.tell_of_pod(namespace, f"app-{at}", {"app": f"app-{at}"})
    return replica


def timed(replica: Replica, news: Callable[[], None]) -> Timing:
    """One run, from the news on."""
    wall_ns, cpu_ns = time.perf_counter_ns(), time.process_time_ns()
    news()
    compile_ns = replica.compile()
    return Timing(*compile_ns, time.perf_counter_ns() - wall_ns, time.process_time_ns() - cpu_ns)


def edits(replica: Replica) -> Mapping[str, Callable[[int], None]]:
    """What changes in the rows of the table; the number tells one run from another."""
    return {
        "edit of a policy": lambda run: replica.tell(policy("team-7", 3, requests=101 + run)),
        f"edit of a pool of {POLICIES} policies": lambda run: replica.tell(
            pool("team-7", "models", weight=2 + run)
        ),
        "a new workload": lambda run: replica.tell_of_pod("team-7", f"new-{run}", {}),
        "nothing": lambda _: None,
        "edit of a policy of all": lambda run: replica.tell(floor(requests=1_000_001 + run)),
    }


def row(name: str, timings: list[Timing]) -> str:
    """One line: the median and the most of each."""
    columns = [[timing[at] / 1e6 for timing in timings] for at in range(len(Timing._fields))]
    return f"{name:30}" + "".join(f"{statistics.median(it):9.1f}{max(it):9.1f}" for it in columns)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="How long a compile takes.")
    parser.add_argument("--runs", type=int, default=20, help="of each row; everything at once: a quarter")
    runs: int = parser.parse_args().runs
    columns = ("compile, wall", "compile, CPU", "in all, wall", "in all, CPU")
    sizes = f"{NAMESPACES * POLICIES} policies, {NAMESPACES} namespaces, {NAMESPACES * WORKLOADS} workloads"
    lines = [
        f"{sizes}; milliseconds, median and most of {runs} runs",
        f"{'':30}" + "".join(f"{name:>18}" for name in columns),
    ]
    replica = filled()
    full = []
    for _ in range(max(1, runs // 4)):
        replica = filled()
        full.append(timed(replica, lambda: None))
    lines.append(row("everything", full))
    # As the operator does after its first compile.
    gc.collect()
    gc.freeze()
    for name, edit in edits(replica).items():
        lines.append(row(name, [timed(replica, lambda: edit(run)) for run in range(runs)]))  # noqa: B023 - called at once
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

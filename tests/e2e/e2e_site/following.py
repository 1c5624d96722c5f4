"""Logs of an application's pods as they come: also of those that are gone when a test looks."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tidegate_cluster.errors import KubectlFailedError
from tidegate_node.access import Cluster

_PAUSE_S = 0.5
_LIMIT_S = 30
_OK = 200


class Following:
    """Everything that containers of one name have printed since `begin`, in pods of one namespace that have a label.

    A log that breaks off, since the API server or the node was disturbed, is read again from its beginning.
    """

    def __init__(self, cluster: Cluster, namespace: str, app: str, folder: Path) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._app = app
        self._folder = folder
        self._is_over = threading.Event()
        self._threads: dict[str, threading.Thread] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._replacing = threading.Lock()

    @classmethod
    @contextmanager
    def of(cls, cluster: Cluster, namespace: str, app: str, folder: Path) -> Iterator[Following]:
        """Follow until the block ends."""
        folder.mkdir(parents=True)
        following = cls(cluster, namespace, app, folder)
        watching = threading.Thread(target=following._watch, name=f"pods of {app}")
        watching.start()
        try:
            yield following
        finally:
            following._is_over.set()
            with following._lock:
                for process in following._processes:
                    process.terminate()
            watching.join()
            for thread in following._threads.values():
                thread.join()

    def said(self) -> list[dict[str, Any]]:
        """All lines of all pods, each with the pod's name, in the order of their times."""
        lines: list[dict[str, Any]] = []
        for first in self._folder.glob("*.log"):
            with self._replacing:
                # A log that is read again has everything that the former one had, as soon as it is the longer one.
                text = max(first, first.with_suffix(".again"), key=_size).read_text(encoding="utf-8")
            lines += [{**line, "pod": first.stem} for line in _whole(text)]
        return sorted(lines, key=lambda it: it["at_ms"])

    def failures(self, since_ms: int, *, of_new_pods: bool = False) -> list[dict[str, Any]]:
        """Calls that failed from a moment on, in pods that had an answer before it.

        A pod that starts while something is away says that it has no configuration yet, as it should: with
        `of_new_pods` that counts as well. One of these pods comes when the Deployment's controller tries again after
        the injector was away, whatever is being played then.
        """
        lines = self.said()
        known = {it["pod"] for it in lines if it.get("status") == _OK and it["at_ms"] < since_ms}
        return [
            it
            for it in lines
            if "failure" in it and it["at_ms"] >= since_ms and (of_new_pods or it["pod"] in known)
        ]

    def calls(self) -> int:
        """Calls that were made, as far as they were told."""
        counts = {it["pod"]: it["calls"] for it in self.said() if "calls" in it}
        return sum(counts.values())

    def wait_for_calls(self, more: int, *, within_s: float = 60) -> None:
        """Wait until `more` calls have been made from now on."""
        wanted = self.calls() + more
        self._cluster.wait_until(
            lambda: self.calls() >= wanted,
            namespace=self._namespace,
            what=f"{more} more calls",
            within_s=within_s,
        )

    def _watch(self) -> None:
        """Look for pods; a watch would have to be begun anew after each fault."""
        while not self._is_over.wait(_PAUSE_S):
            done = self._run(
                "get", "pods", f"--selector=app={self._app}", "--output=jsonpath={.items[*].metadata.name}"
            )
            for name in (done or "").split():
                if name not in self._threads:
                    thread = threading.Thread(target=self._follow, args=(name,), name=f"log of {name}")
                    self._threads[name] = thread
                    thread.start()

    def _follow(self, pod: str) -> None:
        first = self._folder / f"{pod}.log"
        again = first.with_suffix(".again")
        target = first
        while not self._is_over.is_set():
            self._log(pod, target)
            with self._replacing:
                if _size(again) > _size(first):
                    again.replace(first)
            target = again
            if self._is_gone(pod):
                return
            self._is_over.wait(_PAUSE_S)

    def _log(self, pod: str, target: Path) -> None:
        with self._lock, target.open("wb") as file:
            if self._is_over.is_set():
                return
            process = subprocess.Popen(
                self._command("logs", "--follow", pod, f"--container={self._app}"),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.DEVNULL,
            )
            self._processes.append(process)
        process.wait()

    def _is_gone(self, pod: str) -> bool:
        done = self._run("get", "pod", pod, "--ignore-not-found", "--output=name")
        return done is not None and not done

    def _run(self, *arguments: str) -> str | None:
        """What kubectl printed; None when it failed, as it does when the API server is away."""
        try:
            done = subprocess.run(
                self._command(*arguments), capture_output=True, text=True, check=False, timeout=_LIMIT_S
            )
        except subprocess.TimeoutExpired:
            return None
        return done.stdout if done.returncode == 0 else None

    def _command(self, *arguments: str) -> list[str]:
        where = (f"--kubeconfig={self._cluster.kubeconfig}", f"--namespace={self._namespace}")
        return [str(self._cluster.program), *where, "--request-timeout=0", *arguments]


def _whole(log: str) -> list[dict[str, Any]]:
    """Its lines, without one that was cut: the last one of a container that was killed, or of one that goes on."""
    return [json.loads(line) for line in log.splitlines() if line[:1] + line[-1:] == "{}"]


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else -1


def now_ms() -> int:
    """The time as applications print it: they share this machine's clock."""
    return time.time_ns() // 1_000_000


def printed(cluster: Cluster, namespace: str, pod: str, container: str) -> list[dict[str, Any]]:
    """What a container has printed; nothing before it has started."""
    try:
        return _whole(cluster.logs(namespace, pod, container))
    except KubectlFailedError:
        return []

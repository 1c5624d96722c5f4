"""Pods that are created without a pause, while something changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from injecting_site.objects import Namespace, has_sidecar, opted_in

EACH = 12
"""Pods that have to come in every state before the next one."""


@contextmanager
def pods_being_created(team: Namespace) -> Iterator[list[str]]:
    """Two clients that create pods without a pause; what went wrong is in the list, after one entry per good pod."""
    results: list[str] = []
    ending = threading.Event()

    def create(client: int) -> None:
        number = 0
        while not ending.is_set():
            status, found = team.create(opted_in(f"pod-{client}-{number}"), dry_run=True)
            results.append("" if status == 201 and has_sidecar(found) else str(found))
            number += 1

    threads = [threading.Thread(target=create, args=(client,)) for client in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield results
    finally:
        ending.set()
        for thread in threads:
            thread.join()

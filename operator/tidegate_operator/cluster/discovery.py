"""Whether the API server serves our kinds yet. kopf looks once, when it starts, so the process waits before that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tidegate_operator.api.kinds import API_VERSION, KINDS
from tidegate_operator.cluster.client import ClusterClient
from tidegate_operator.cluster.errors import ClusterError, NotFoundError

_FIRST_PAUSE_S = 0.1
_log = logging.getLogger(__name__)


async def missing_kinds(client: ClusterClient) -> tuple[str, ...]:
    """Names of the CustomResourceDefinitions that are not served.

    Raises:
        ClusterError: the API server could not be asked.
    """
    try:
        answer = await client.get(f"/apis/{API_VERSION}")
    except NotFoundError:
        return tuple(kind.crd_name for kind in KINDS.values())
    served = {str(resource["name"]) for resource in answer.get("resources") or ()}
    return tuple(kind.crd_name for kind in KINDS.values() if kind.plural not in served)


async def wait_for_kinds(
    client: ClusterClient, *, retry_max_ms: int, tell: Callable[[str], None] = lambda _: None
) -> None:
    """Return once all kinds are served; `tell` is given what is being waited for, and nothing at the end."""
    pause_s, told = _FIRST_PAUSE_S, ""
    while True:
        try:
            missing = await missing_kinds(client)
            problem = (
                f"these CustomResourceDefinitions are not installed: {', '.join(missing)}" if missing else ""
            )
        except ClusterError as error:
            problem = f"the API server cannot be asked: {error}"
        tell(problem)
        if not problem:
            return
        if problem != told:
            told = problem
            _log.warning("waiting: %s", problem)
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, retry_max_ms / 1000)

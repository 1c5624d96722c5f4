"""Takes webhook configurations away before a release goes: ``tidegate-webhook-removal NAME...``, which the chart's pre-delete hook runs.

While an uninstall goes on, or where it stops half-way, pods would be refused in the name of an injector that is gone. Whoever runs this
needs the right to delete configurations of these names, and nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from typing import Final

from tidegate_operator.cluster.client import Access, ClusterClient
from tidegate_operator.cluster.errors import BusyError, ClusterError, NotFoundError, UnreachableError
from tidegate_runtime import logs, loop

DEADLINE_S: Final = 25.0
"""For all of them: the hook's Job has 30 s, with the start of its pod."""
REQUEST_MS: Final = 5_000
PAUSE_S: Final = 1.0
"""Between two tries, while the API server is away or busy."""

COLLECTIONS: Final = (
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
)

_log = logging.getLogger("tidegate_operator.webhook_removal")


async def remove(client: ClusterClient, names: Sequence[str], *, deadline_s: float = DEADLINE_S) -> None:
    """Delete the configurations of these names, of both kinds. One that is not there is no error.

    Raises:
        TimeoutError: the API server was away or busy for all of `deadline_s`.
        ClusterError: it refuses.
    """
    async with asyncio.timeout(deadline_s):
        for path in [f"{collection}/{name}" for collection in COLLECTIONS for name in names]:
            await _delete(client, path)


async def _delete(client: ClusterClient, path: str) -> None:
    while True:
        try:
            await client.request("DELETE", path)
        except NotFoundError:
            return
        except (UnreachableError, BusyError) as error:
            _log.warning("%s cannot be deleted yet: %s", path, error)
            await asyncio.sleep(PAUSE_S)
        else:
            _log.info("%s is deleted", path)
            return


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when none of them is there any more, 1 otherwise."""
    parser = argparse.ArgumentParser(description="Delete webhook configurations by name.")
    parser.add_argument("--kubeconfig", default="", help="default: the ServiceAccount of this pod")
    parser.add_argument("names", nargs="+", metavar="NAME", help="of configurations, changing or validating")
    options = parser.parse_args(arguments)
    logs.configure(logging.INFO)
    try:
        client = ClusterClient(Access(options.kubeconfig), request_ms=REQUEST_MS, at_once=1)
        try:
            loop.run(remove(client, options.names))
        finally:
            client.close()
    except TimeoutError:
        sys.stderr.write(
            f"the API server did not delete {', '.join(options.names)} within {DEADLINE_S:.0f} s\n"
        )
        return 1
    except ClusterError as error:
        sys.stderr.write(f"{', '.join(options.names)} cannot be deleted: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Names by which pods, people and the rest of Tidegate know what the injector does."""

from __future__ import annotations

from typing import Final

from tidegate_operator.index.pods import SIDECAR_CONTAINER

PREFIX: Final = "tidegate.dev/"

INJECT: Final = f"{PREFIX}inject"
"""Label or annotation of a pod, a pod template or a workload, and label of a namespace: `enabled` or `disabled`."""
COPIED: Final = f"{PREFIX}inject-copied"
"""On a pod template: its `inject` annotation was copied from the workload, with this value."""
STATUS: Final = f"{PREFIX}status"
"""On an injected pod: what was injected, as JSON (`status.Status`)."""

CPU_REQUEST: Final = f"{PREFIX}cpu-request"
CPU_LIMIT: Final = f"{PREFIX}cpu-limit"
MEMORY_REQUEST: Final = f"{PREFIX}memory-request"
MEMORY_LIMIT: Final = f"{PREFIX}memory-limit"
IMAGE: Final = f"{PREFIX}image"
STARTUP: Final = f"{PREFIX}startup"
EXCLUDE_ENV: Final = f"{PREFIX}exclude-env"

OVERRIDES: Final = (CPU_REQUEST, CPU_LIMIT, MEMORY_REQUEST, MEMORY_LIMIT, IMAGE, STARTUP, EXCLUDE_ENV)
"""Annotations of a pod (template) that change its sidecar."""

CONTAINER: Final = SIDECAR_CONTAINER
TOKEN_VOLUME: Final = "tidegate-token"  # noqa: S105 - a name
STATE_VOLUME: Final = "tidegate-state"
KEYS_VOLUME: Final = "tidegate-keys"
CA_VOLUME: Final = "tidegate-ca"
VOLUMES: Final = (TOKEN_VOLUME, STATE_VOLUME, KEYS_VOLUME, CA_VOLUME)

APP_PORT: Final = 19280
ADMIN_PORT: Final = 19290
PORTS: Final = (APP_PORT, ADMIN_PORT)
"""Taken in the network namespace that all containers of a pod share."""

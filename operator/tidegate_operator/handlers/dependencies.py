"""What every part of the process depends on."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate_operator.cluster.client import ClusterClient
from tidegate_operator.cluster.elector import Elector
from tidegate_operator.handlers.informer import Informer
from tidegate_operator.settings import Settings
from tidegate_operator.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """Made once, given to each part."""

    settings: Settings
    client: ClusterClient
    informer: Informer
    elector: Elector
    metrics: Metrics

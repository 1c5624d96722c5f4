"""What every part of the process works with."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate_operator.cluster.client import ClusterClient
from tidegate_operator.cluster.elector import Elector
from tidegate_operator.handlers.news import News
from tidegate_operator.settings import Settings
from tidegate_operator.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """Made once, given to each part."""

    settings: Settings
    client: ClusterClient
    news: News
    elector: Elector
    metrics: Metrics

"""What was disturbed by the faults is whole again, and nobody has done anything for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from e2e_site.following import printed
from e2e_site.site import SITE

if TYPE_CHECKING:
    from tidegate_node.access import Cluster

pytestmark = pytest.mark.usefixtures("callers")


def test_a_pod_that_has_started_without_an_operator_is_served(installed: Cluster) -> None:
    installed.wait_until(
        lambda: [it["status"] for it in printed(installed, SITE, "newcomer", "app")[-1:]] == [200],
        namespace=SITE,
        what="an answer for the pod that had to wait",
        within_s=120,
    )
    installed.delete_pod(SITE, "newcomer")


def test_a_pod_that_was_deleted_without_an_injector_is_replaced(installed: Cluster) -> None:
    """The Deployment's controller tries again. Its pauses grow: the next may be as long as the time since its first try."""
    installed.wait_for_rollout(SITE, "deployment/caller", within_s=300)

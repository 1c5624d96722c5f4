"""What the leader does about the injector, held against stores that fail, change and quarrel."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pytest

from tidegate_operator.certificates.bundle import Bundle
from tidegate_operator.certificates.plan import Plan, next_step
from tidegate_operator.cluster.errors import ForbiddenError
from tidegate_operator.cluster.webhooks import Trusting
from tidegate_operator.handlers.webhook_trust import MAX_CHANGES, WebhookTrust

NOW_S = 1_790_000_000
PLAN = Plan(names=("localhost",))


def first() -> Bundle:
    bundle = next_step(None, PLAN, NOW_S)
    assert bundle is not None
    return bundle


class Secret:
    """The injector's Secret, with optimistic concurrency as the API server has it."""

    def __init__(self) -> None:
        self.data: Mapping[str, bytes] | None = None
        self.version = 0

    async def read(self) -> tuple[Mapping[str, bytes], str] | None:
        return None if self.data is None else (self.data, str(self.version))

    async def write(self, data: Mapping[str, bytes], version: str) -> str | None:
        if version != ("" if self.data is None else str(self.version)):
            return None
        self.data, self.version = dict(data), self.version + 1
        return str(self.version)


class Webhooks:
    """Our entries, of a configuration that may quarrel."""

    def __init__(self) -> None:
        self.bundles = {"pods.inject.tidegate.dev": b"", "workloads.inject.tidegate.dev": b""}
        self.version = 1
        self.patches = 0
        self.is_forbidden = False
        self.is_changed_back = False
        self.on_patch: Callable[[], None] = lambda: None

    async def read(self, names: Collection[str]) -> Trusting | None:
        if self.is_forbidden:
            raise ForbiddenError("GET /x", 403, "Forbidden", "no")
        assert set(self.bundles) <= set(names)
        return Trusting(version=str(self.version), bundles=dict(self.bundles))

    async def patch(self, change: Mapping[str, Any], version: str) -> bool:
        if version != str(self.version):
            return False
        self.patches += 1
        self.version += 1
        self.on_patch()
        for entry in change["webhooks"]:
            pem = base64.b64decode(entry["clientConfig"]["caBundle"])
            self.bundles[entry["name"]] = b"" if self.is_changed_back else pem
        return True


class Site:
    """A leader and its stores."""

    def __init__(self) -> None:
        self.secret, self.webhooks = Secret(), Webhooks()
        self.bundle: Bundle | None = first()
        self.leads = True
        self.webhook_trust = WebhookTrust(
            self.secret,
            self.webhooks,
            PLAN,
            bundle=lambda: self.bundle,
            may_write=lambda: self.leads,
            wall_s=lambda: NOW_S,
            interval_s=3_600,
            soon_s=0,
        )


@pytest.fixture
def site() -> Site:
    return Site()


async def test_trust_is_found_before_anything_is_signed(site: Site) -> None:
    assert not await site.webhook_trust.look()
    assert site.webhooks.patches == 1
    assert site.secret.data is None
    assert not await site.webhook_trust.look()
    assert site.secret.data is not None
    assert await site.webhook_trust.look()
    assert site.webhooks.patches == 1


async def test_only_the_leader_does_anything(site: Site) -> None:
    site.leads = False
    assert not await site.webhook_trust.look()
    site.leads, site.bundle = True, None
    assert not await site.webhook_trust.look()
    assert (site.webhooks.patches, site.secret.data) == (0, None)


async def test_what_may_not_be_read_is_told_and_nothing_is_signed(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.webhooks.is_forbidden = True
    await site.webhook_trust.look()
    assert site.secret.data is None
    assert "could not be looked after: GET /x: 403 Forbidden" in caplog.text


async def test_a_damaged_secret_is_made_anew(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        await site.webhook_trust.look()
    assert site.secret.data is not None
    site.secret.data = {**site.secret.data, "tls.key": b"garbage"}
    assert not await site.webhook_trust.look()
    assert site.secret.data["tls.key"] != b"garbage"
    assert "tls.key is no private key" in caplog.text


async def test_a_quarrel_over_trust_is_not_fought_without_a_pause(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody else may keep the same field, as cert-manager does where it is told to."""
    site.webhooks.is_changed_back = True
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(site.webhook_trust.run())
        while "again and again" not in caplog.text:  # noqa: ASYNC110 - what is tested is that it ends by itself
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        running.cancel()
    assert site.webhooks.patches == MAX_CHANGES
    assert site.secret.data is None


async def test_news_are_looked_at_at_once_and_a_quarrel_by_news_has_its_pause_too(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """With a watch on both sides two quarrel as fast as the API server answers, each of whose looks finds itself right at first."""
    site.webhooks.on_patch = site.webhook_trust.wake
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(site.webhook_trust.run())
        for patches in range(1, MAX_CHANGES - 1):
            while site.webhooks.patches < patches or site.secret.data is None:  # noqa: ASYNC110 - both run beside it
                await asyncio.sleep(0)
            assert "again and again" not in caplog.text
            site.webhooks.bundles["pods.inject.tidegate.dev"] = b""
            site.webhook_trust.wake()
        while "again and again" not in caplog.text:  # noqa: ASYNC110 - what is tested is that it ends by itself
            await asyncio.sleep(0)
        site.webhook_trust.wake()
        for _ in range(50):
            await asyncio.sleep(0)
        running.cancel()
    assert site.webhooks.patches + 1 == MAX_CHANGES  # the Secret was one of the changes

"""Certificates as a part of what the holder of the Lease does: the operator's own, the injector's, and who trusts them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tidegate_operator.certificates.bundle import Bundle
from tidegate_operator.certificates.files import ServerFiles
from tidegate_operator.certificates.folder import FolderKeeper
from tidegate_operator.certificates.keeper import CertificateKeeper
from tidegate_operator.certificates.plan import Plan
from tidegate_operator.cluster.client import Access, ClusterClient
from tidegate_operator.cluster.object_watch import ObjectWatch
from tidegate_operator.cluster.secrets import INJECTOR_CERTIFICATES, SecretStore
from tidegate_operator.cluster.webhooks import WEBHOOK_CONFIGURATIONS, WebhookStore
from tidegate_operator.handlers.dependencies import Dependencies
from tidegate_operator.handlers.part import Tasks
from tidegate_operator.handlers.webhook_trust import WebhookTrust
from tidegate_operator.settings import Settings


class CertificateManager:
    """Keeps certificates, or follows those that somebody else keeps."""

    def __init__(
        self,
        dependencies: Dependencies,
        access: Access,
        client: ClusterClient,
        on_files: Callable[[Bundle | ServerFiles], None],
    ) -> None:
        """Nothing is read yet; `client` is for this part alone, and `on_files` takes what is to be served with."""
        settings, elector = dependencies.settings, dependencies.elector
        interval_s = settings.certificates.period_ms / 1000
        names = service_names(settings, settings.service)
        self._keeper: CertificateKeeper | FolderKeeper
        self._webhook_trust: WebhookTrust | None = None
        self._watches: tuple[ObjectWatch, ...] = ()
        if settings.certificates.folder:
            self._keeper = FolderKeeper(
                Path(settings.certificates.folder), name=names[0], on_files=on_files, interval_s=interval_s
            )
            return
        addresses = () if settings.in_cluster else ("127.0.0.1", "::1")
        self._keeper = keeper = CertificateKeeper(
            SecretStore(client, settings.namespace),
            Plan(names=names, addresses=addresses),
            may_write=lambda: elector.is_leading,
            confirm=elector.confirm,
            on_bundle=on_files,
            interval_s=interval_s,
        )
        configuration = settings.injector.webhook_configuration
        self._webhook_trust = WebhookTrust(
            SecretStore(client, settings.namespace, INJECTOR_CERTIFICATES),
            WebhookStore(client, configuration) if configuration else None,
            Plan(names=service_names(settings, settings.injector.service), addresses=addresses),
            bundle=lambda: keeper.bundle,
            may_write=lambda: elector.is_leading,
            interval_s=interval_s,
        )
        if configuration:
            self._watches = tuple(
                ObjectWatch(
                    access,
                    collection,
                    configuration,
                    on_news=self._webhook_trust.wake,
                    length_ms=settings.watch.length_ms,
                    inactivity_ms=settings.watch.inactivity_ms,
                    retry_max_ms=settings.api_server.retry_max_ms,
                )
                for collection in WEBHOOK_CONFIGURATIONS
            )

    async def prepare(self) -> None:
        """Nothing is needed but the Lease."""

    async def ready(self) -> None:
        """Return when there is a certificate to serve with."""
        await self._keeper.wait_ready()

    def tasks(self) -> Tasks:
        """Look after certificates."""
        yield "certificates", self._keeper.run()
        if self._webhook_trust is not None:
            yield "certificates of the injector", self._webhook_trust.run()
        for number, watch in enumerate(self._watches, 1):
            yield f"watch of webhook configuration {number}", watch.run()

    def lead_changed(self) -> None:
        """Look at once: each look asks whether this replica leads."""
        if self._webhook_trust is not None:
            self._webhook_trust.wake()

    @property
    def waiting_for(self) -> str:
        """What is missing while `ready` waits."""
        if isinstance(self._keeper, FolderKeeper):
            return self._keeper.problem
        return "there is no certificate yet: the holder of the Lease makes it"


def service_names(settings: Settings, service: str) -> tuple[str, ...]:
    """DNS names of a certificate for a Service, first the one that is usually asked for."""
    name = f"{service}.{settings.namespace}"
    inside = (f"{name}.svc", f"{name}.svc.cluster.local", name)
    return inside if settings.in_cluster else (*inside, "localhost")

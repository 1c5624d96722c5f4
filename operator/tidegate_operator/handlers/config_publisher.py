"""The publisher as one part of the process: made, started, stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from tidegate_operator.certificates.bundle import Bundle
from tidegate_operator.certificates.files import ServerFiles
from tidegate_operator.handlers.certificate_manager import service_names
from tidegate_operator.handlers.dependencies import Dependencies
from tidegate_operator.handlers.part import Tasks
from tidegate_operator.handlers.publisher_adapters import Directory, Observed, Reviewer
from tidegate_operator.handlers.reduction_events import ReductionEvents
from tidegate_operator.publish.accepting import Shares
from tidegate_operator.publish.board import Board
from tidegate_operator.publish.forward import Forwarder, Leader
from tidegate_operator.publish.identity import ServiceAccount
from tidegate_operator.publish.keys import SigningKeys
from tidegate_operator.publish.polls import Context
from tidegate_operator.publish.reports import PodReport, ReportBook
from tidegate_operator.publish.seals import Seals
from tidegate_operator.publish.server import ConfigServer
from tidegate_operator.publish.tokens import TokenVerifier
from tidegate_operator.settings import Address
from tidegate_policy.envelope import AsOf

_log = logging.getLogger(__name__)


class ConfigPublisher:
    """Serves configurations and gathers what sidecars say to them."""

    def __init__(
        self, dependencies: Dependencies, on_behind: Callable[[AsOf], None], seals: Callable[[], Seals | None]
    ) -> None:
        """Nothing is served yet; `on_behind` is told when a sidecar has seen more than this replica."""
        settings, client, metrics, elector = (
            dependencies.settings,
            dependencies.client,
            dependencies.metrics,
            dependencies.elector,
        )
        self._settings = settings
        self._elector = elector
        self.board = Board()
        self.book = ReportBook()
        reviewer = Reviewer(client)
        self._tokens = TokenVerifier(SigningKeys(reviewer), reviewer)
        observer = Observed(metrics.open_polls, metrics.answers, metrics.forwards, metrics.unknown_fields)
        self._forwarder = Forwarder(
            leader=self._leader,
            token=self._token,
            trust=lambda: self.board.trust,
            # what others have brought to this replica, while it held the Lease, is as good for the next holder
            heard=lambda: tuple(self.book),
            observer=observer,
        )
        self._reductions = ReductionEvents(client, elector.identity)
        context = Context(
            board=self.board,
            pods=Directory(dependencies.informer.pods),
            book=self.book,
            observer=observer,
            on_report=self._take_report,
            on_behind=on_behind,
            on_reduced=self._reductions.offer,
            newer_kinds=lambda: elector.newer_kinds,
            seals=seals,
        )
        elector.on_newer = self.board.wake_all
        peers = ServiceAccount(settings.namespace, settings.service_account)
        shares = Shares(per_address=settings.sidecars.connections_per_address)
        self._server = ConfigServer(context, self._tokens, peers, shares)
        dependencies.informer.on_pod_gone = self._forget

    def tasks(self) -> Tasks:
        """What has to run; connections are served from `start` on."""
        yield "connections of sidecars", self._server.run()
        yield "events of what is enforced no longer", self._reductions.run()
        if self._settings.sidecars.peer_token_file:
            yield "reports to the holder of the Lease", self._forwarder.run()

    async def start(self) -> Address:
        """Listen, with the certificate that `use` was given; the address with the port that the system chose.

        Raises:
            OSError: the address cannot be used.
        """
        listen = self._settings.listen
        return Address.of(await self._server.start(listen.host, listen.port))

    async def stop(self) -> None:
        """Send sidecars to other replicas."""
        await self._server.stop(self._settings.grace_ms / 1000)

    async def close(self) -> None:
        """Close at once, whatever is open; nothing happens after `stop`."""
        await self._server.stop(0)

    def use(self, serving: Bundle | ServerFiles) -> None:
        """Serve with this certificate from now on, and tell sidecars what to trust."""
        self._server.use_certificate(serving.leaf.certificate_pem, serving.leaf.key_pem)
        self.board.announce(serving.trust)

    def _take_report(self, report: PodReport) -> None:
        if not self._elector.is_leading:
            self._forwarder.offer(report)

    def _forget(self, pod_uid: str) -> None:
        self.book.forget(pod_uid)
        self._tokens.forget_pod(pod_uid)

    def _leader(self) -> Leader | None:
        address, name = self._elector.other_holder, service_names(self._settings, self._settings.service)[0]
        return Leader(url=f"https://{address}", server_name=name) if address else None

    def _token(self) -> str:
        """The operator's own token for our audience; it is replaced in its file before it ends."""
        try:
            return Path(self._settings.sidecars.peer_token_file).read_text(encoding="ascii").strip()
        except OSError as error:
            _log.warning("the token for other replicas cannot be read: %s", error)
            return ""

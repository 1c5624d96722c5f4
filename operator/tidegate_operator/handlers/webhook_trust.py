"""Keeps what the injector serves and what the API server trusts: for the holder of the Lease alone.

Trust goes first. What is in `caBundle` is read, then changed where it has to be, and only a later look that finds the change
lets an authority sign: an admission that cannot verify the injector would refuse pods.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Protocol

from tidegate_operator.certificates.bundle import Bundle, BundleError
from tidegate_operator.certificates.files import ServerFiles
from tidegate_operator.certificates.injector import next_files, wanted_trust
from tidegate_operator.certificates.keeper import CertificateStore
from tidegate_operator.certificates.plan import Plan
from tidegate_operator.cluster.errors import ClusterError
from tidegate_operator.cluster.webhooks import Trusting
from tidegate_operator.inject.configuration import own_names, trust_patch

_log = logging.getLogger(__name__)

SOON_S: Final = 1.0
"""Until the next look while something is to be done."""
SETTLE_S: Final = 0.1
"""Between news and the look at it: several changes in a row are one."""

MAX_CHANGES: Final = 10
"""Looks that each change something, with no quiet interval between them. Two are usual; more of them are a quarrel with
somebody who changes it back."""


class TrustStore(Protocol):
    """The webhook configuration; `cluster/webhooks.py` has it in a cluster."""

    async def read(self, names: Collection[str]) -> Trusting | None:
        """The entries of these names; None when there is none of them."""
        ...

    async def patch(self, change: Mapping[str, Any], version: str) -> bool:
        """Change it if it still has `version`; False when it has not."""
        ...


class WebhookTrust:
    """`run` is the body of one task; it does something only while this replica leads."""

    def __init__(
        self,
        store: CertificateStore,
        webhooks: TrustStore | None,
        plan: Plan,
        *,
        bundle: Callable[[], Bundle | None],
        may_write: Callable[[], bool],
        wall_s: Callable[[], float] = time.time,
        interval_s: float,
        soon_s: float = SOON_S,
    ) -> None:
        """Nothing is looked at yet.

        Args:
            store: the injector's Secret.
            webhooks: the configuration; None: somebody else takes care of its trust.
            plan: what leaf there is to be.
            bundle: the operator's certificates, once there are any.
            may_write: whether this process leads.
            wall_s: seconds since the epoch.
            interval_s: pause between two looks.
            soon_s: the same while something is to be done.
        """
        self._store = store
        self._webhooks = webhooks
        self._plan = plan
        self._bundle = bundle
        self._may_write = may_write
        self._wall_s = wall_s
        self._interval_s = interval_s
        self._soon_s = min(soon_s, interval_s)
        self._changes = 0
        """Looks that have changed something since an interval was quiet."""
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something may have changed: look soon."""
        self._woken.set()

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            is_settled = await self.look()
            if self._changes >= MAX_CHANGES:
                _log.warning(
                    "caBundle or the injector's Secret is changed back again and again by somebody else; one of the two has "
                    "to be told not to: see TIDEGATE_WEBHOOK_CONFIGURATION and TIDEGATE_CERTIFICATES"
                )
                await asyncio.sleep(self._interval_s)
                self._changes = 0
                continue
            await self._pause(self._interval_s if is_settled else self._soon_s, is_settled=is_settled)

    async def _pause(self, at_most_s: float, *, is_settled: bool) -> None:
        """Wait for news. Our own changes are news too, so only an interval without any ends what may be a quarrel."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._woken.wait()
        except TimeoutError:
            if is_settled:
                self._changes = 0
            return
        await asyncio.sleep(min(SETTLE_S, at_most_s))
        self._woken.clear()

    async def look(self) -> bool:
        """One look; whether nothing was to be done. Of several changes each is a look of its own."""
        bundle = self._bundle()
        if bundle is None or not self._may_write():
            return False
        try:
            is_settled = await self._look(bundle)
        except ClusterError as error:
            _log.log(error.level, "the injector's certificates could not be looked after: %s", error)
            return True
        self._changes += not is_settled
        return is_settled

    async def _look(self, bundle: Bundle) -> bool:
        stored = await self._store.read()
        data, version = stored if stored is not None else ({}, "")
        before, now_s = _read(data), int(self._wall_s())
        trusting = await self._webhooks.read(own_names()) if self._webhooks is not None else None
        trusted = () if trusting is None else tuple(trusting.bundles.values())
        is_settled = True
        if trusting is not None and self._webhooks is not None:
            trust = wanted_trust(bundle, before, now_s, trusted=trusted)
            differing = [name for name, pem in trusting.bundles.items() if pem != trust.encode("ascii")]
            if differing and self._may_write():
                is_settled = False
                if await self._webhooks.patch(trust_patch(trust, differing), trusting.version):
                    _log.info("caBundle of %d webhooks is the trust of now", len(differing))
        files = next_files(before, bundle, self._plan, now_s, trusted=trusted)
        if files is None and before is not None and data != before.to_data():
            # Somebody has put more into the Secret: the injector's pods are to see nothing else.
            files = before
        if files is not None and self._may_write():
            is_settled = False
            if await self._store.write(files.to_data(), version) is not None:
                _log.info("the injector's certificate is %s", files.leaf)
        return is_settled


def _read(data: Mapping[str, bytes]) -> ServerFiles | None:
    """What the Secret holds; None where it holds nothing that can be used: nothing is lost by making it anew."""
    try:
        return ServerFiles.from_data(data) if data else None
    except BundleError as error:
        _log.warning("the Secret of the injector's certificate is damaged and made anew: %s", error)
        return None

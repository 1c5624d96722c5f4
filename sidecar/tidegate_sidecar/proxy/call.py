"""One call of the application while it lives: what is known of it so far, and what has to be given back at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate_sidecar.dialects.base import NO_USAGE, Dialect, Endpoint, Usage
from tidegate_sidecar.downstream.request import AppRequest
from tidegate_sidecar.messages.message import Message
from tidegate_sidecar.policies.base import Facts, Grant, UsageClass
from tidegate_sidecar.proxy.delivery import Delivery
from tidegate_sidecar.proxy.holding import Reservation
from tidegate_sidecar.proxy.identify import ANONYMOUS
from tidegate_sidecar.routing.router import Route
from tidegate_sidecar.telemetry.records import CallRecord

if TYPE_CHECKING:
    from tidegate_sidecar.config.targets import Target

_NONE: Final = UsageClass.NONE  # members of an enum are slow to look up


class Call:
    """One call.

    The phases fill it in, in this order: `request`, `record`, `delivery`, `hold` are there from the beginning.

    Attributes:
        dialect: of the endpoint.
        endpoint: what the path asks for.
        message: the body.
        model: that it asks for, as the application wrote it.
        wants_stream: an event stream is asked for.
        state: the member that names something which only one account of a provider knows; empty where there is none.
        consumer: on whose behalf it is made.
        route: where it may go.
        facts: what policies see of it.
        grants: taken for the call as a whole.
        usage: what providers have reported, of all attempts that were answered.
        usage_class: where it comes from.
    """

    dialect: Dialect
    message: Message
    endpoint: Endpoint
    route: Route[Target]
    facts: Facts
    model = ""
    wants_stream = False
    state = ""
    consumer = ANONYMOUS
    grants: tuple[Grant, ...] = ()
    usage = NO_USAGE
    usage_class = _NONE

    def __init__(
        self,
        request: AppRequest,
        record: CallRecord,
        delivery: Delivery,
        hold: Reservation,
        started_ns: int,
    ) -> None:
        """Nothing is known yet but the head of the request."""
        self.request = request
        self.record = record
        self.delivery = delivery
        self.hold = hold
        self.started_ns = started_ns

    def count(self, usage: Usage, usage_class: UsageClass) -> None:
        """An attempt has used so much, as far as its provider says."""
        if self.usage_class is _NONE:
            self.usage, self.usage_class = usage, usage_class
        elif usage_class is not _NONE:
            self.usage = self.usage.plus(usage)
            if usage_class is UsageClass.UNREPORTED:
                self.usage_class = usage_class

    def cut(self) -> None:
        """The process stops: its connection is cut, which cancels it."""
        self.request.app.abort()

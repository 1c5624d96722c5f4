"""The admin port: health, readiness, metrics and the configuration in force."""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

import orjson
from aiohttp import HttpVersion10, hdrs, web

from tidegate_policy import wire
from tidegate_policy.units import parse_duration
from tidegate_sidecar.config.live import Live
from tidegate_sidecar.downstream.hosts import Fields, HostProblem, HostRules, check_page, is_address
from tidegate_sidecar.downstream.in_flight import InFlight
from tidegate_sidecar.telemetry.metrics import Metrics

_PATHS = ("/healthz", "/readyz", "/metrics", "/config")
MAX_WAIT_MS: Final = 10_000
"""Longer than any probe that asks `/readyz` to wait."""


class Admin:
    """Answers GET on `_PATHS`, and no web page."""

    def __init__(self, live: Live, metrics: Metrics, in_flight: InFlight, hosts: HostRules) -> None:
        """Show these to whom `hosts` lets ask."""
        self._hosts = hosts
        self._live = live
        self._metrics = metrics
        self._in_flight = in_flight

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request."""
        path = request.path
        if (refusal := self._refused(request)) is not None:
            return refusal
        if path == "/metrics":
            return web.Response(
                body=self._metrics.expose(),
                headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"},
            )
        if path == "/healthz":
            return _json(200, self._health())
        if path == "/readyz":
            return await self._ready(request.query.get("wait", ""))
        return self._config(request.remote)

    def _refused(self, request: web.BaseRequest) -> web.Response | None:
        """What is said to who may not ask, or asks for what there is not."""
        if (problem := self._foreign(request)) is not None:
            return web.Response(status=problem.status, text=f"{problem.message}\n")
        if request.path not in _PATHS:
            return web.Response(status=404, text=f"Served are: {', '.join(_PATHS)}.\n")
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"allow": "GET, HEAD"}, text="Use GET.\n")
        return None

    def _foreign(self, request: web.BaseRequest) -> HostProblem | None:
        """Why it is not answered: a web page asks, by what browsers say or by the name that it has lead here.

        Probes and scrapes come from other machines, by whatever name or address they know the pod.
        """
        if request.path == "/config" or (
            is_loopback(request.remote) and not is_address(request.headers.get(hdrs.HOST, ""))
        ):
            is_http10 = request.version == HttpVersion10
            return self._hosts.check(_Head(request.raw_path, "", is_http10, request.headers))
        return check_page(request.headers)

    async def _ready(self, wait: str) -> web.Response:
        """Readiness, at once or as soon as it is there: a probe that came too early would be the last one for seconds."""
        try:
            wait_ms = min(parse_duration(wait), MAX_WAIT_MS) if wait else 0
        except ValueError as error:
            return web.Response(status=400, text=f"wait: {error}\n")
        if wait_ms and not self._live.configured.is_set() and not self._in_flight.draining:
            try:
                async with asyncio.timeout(wait_ms / 1_000):
                    await self._live.configured.wait()
            except TimeoutError:
                pass
        ready = self._live.pipeline is not None and not self._in_flight.draining
        return _json(200 if ready else 503, {"ready": ready, **self._health()})

    def _health(self) -> dict[str, object]:
        """The process runs, so it is alive; what is wrong with its configuration stands beside that."""
        live = self._live
        pipeline = live.pipeline
        return {
            "status": "draining" if self._in_flight.draining else "ok",
            "config": {
                "state": "pending" if pipeline is None else "refused" if live.problem else "applied",
                "digest": pipeline.digest if pipeline else None,
                "problem": live.problem or None,
            },
            "calls_in_flight": self._in_flight.count,
        }

    def _config(self, remote: str | None) -> web.Response:
        if not is_loopback(remote):
            return web.Response(
                status=403, text="/config answers loopback alone: use kubectl port-forward.\n"
            )
        pipeline = self._live.pipeline
        if pipeline is None:
            return _json(
                503, {"error": "There is no configuration yet.", "problem": self._live.problem or None}
            )
        document = orjson.loads(wire.encode(pipeline.config))
        for pool in document["pools"]:
            for provider in pool["providers"]:
                for header in provider["headers"]:
                    # Constant headers carry no credentials by the API's rules; no one who reads this page needs a value.
                    header["value"] = "redacted"
        return _json(
            200,
            {
                "digest": pipeline.digest,
                "identity": orjson.loads(wire.encode(pipeline.identity)),
                "config": document,
            },
        )


class _Head(NamedTuple):
    """A request as the rules for hosts look at it."""

    target: str
    authority: str
    is_http10: bool
    fields: Fields


def is_loopback(remote: str | None) -> bool:
    """Whether a peer's address is of this machine alone; one that cannot be read is not."""
    try:
        address = ip_address(remote or "")
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _json(status: int, document: dict[str, object]) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n",
        content_type="application/json",
    )

"""The simulated provider as a running server: `Simulator` listens, keeps the record, and says how to behave.

One instance lives in one event loop and starts no task of its own: aiohttp's server has one per connection. A
request goes through `_answer`, top to bottom: read, record, delay, key, instructed failure, validation, answer.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web

from tidegate_cli.simulator.answer import compose
from tidegate_cli.simulator.behaviour import WELL_BEHAVED, Behaviour, BehaviourError, Garbage, from_headers
from tidegate_cli.simulator.connections import REQUEST_BYTES_MAX, CountingServer
from tidegate_cli.simulator.dialect import Call
from tidegate_cli.simulator.exchange import Exchange, pause, until_gone
from tidegate_cli.simulator.prompt import RequestError
from tidegate_cli.simulator.record import Counters, ReceivedRequest
from tidegate_cli.simulator.routing import Operation, Route, check, route

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_MODELS: Final = ("simulated-large", "simulated-small")
"""What `/v1/models` lists; calls may name any other model as well."""


class Address(NamedTuple):
    """Where the simulator listens; the port is the real one where 0 was asked for."""

    host: str
    port: int


class Simulator:
    """Any number of simulated providers behind one address.

    Args:
        behaviour: towards providers for which `set_behaviour` says nothing; request headers override both.
        require_key: calls without a provider key get 401.
        models: names that `/v1/models` lists.
        seed: of the random numbers behind `Behaviour.fail_percent`, so that a run can be repeated.
        requests_max: so many requests are remembered, the oldest go first; 0 remembers none.
    """

    def __init__(
        self,
        *,
        behaviour: Behaviour = WELL_BEHAVED,
        require_key: bool = False,
        models: tuple[str, ...] = DEFAULT_MODELS,
        seed: int = 0,
        requests_max: int = 1000,
    ) -> None:
        self.counters = Counters()
        self._behaviour = behaviour
        self._scripts: dict[str, deque[Behaviour]] = {}
        self._is_key_required = require_key
        self._models = models
        self._random = random.Random(seed)  # noqa: S311 - chance in a simulation guards nothing
        self._requests: deque[ReceivedRequest] = deque(maxlen=requests_max)
        self._numbers = 0
        self._live: set[Exchange] = set()
        self._changed = asyncio.Event()
        self._server: CountingServer | None = None
        self._listener: asyncio.Server | None = None
        self._address: Address | None = None

    def __repr__(self) -> str:
        return f"<Simulator {self.url if self._address else 'not listening'} {self.counters}>"

    @property
    def url(self) -> str:
        """`http://HOST:PORT` of the running simulator; RuntimeError where it is not running."""
        if self._address is None:
            raise RuntimeError("the simulator is not listening; await start() first")
        host, port = self._address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def provider_url(self, provider: str) -> str:
        """Base of the paths that reach the provider of this name; OpenAI's clients want `/v1` after it."""
        return f"{self.url}/providers/{provider}"

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """The remembered requests, oldest first."""
        return tuple(self._requests)

    def requests_to(self, provider: str) -> tuple[ReceivedRequest, ...]:
        """The remembered requests to one provider, oldest first."""
        return tuple(request for request in self._requests if request.provider == provider)

    def set_behaviour(self, provider: str, *behaviours: Behaviour) -> None:
        """Let calls to `provider` be treated so: the first call by the first behaviour, and on with the last one."""
        if not behaviours:
            raise ValueError(f"no behaviour given for {provider!r}; reset_behaviour() takes one away")
        self._scripts[provider] = deque(behaviours)

    def reset_behaviour(self, provider: str | None = None) -> None:
        """Back to the default behaviour, for one provider or (None) for all."""
        if provider is None:
            self._scripts.clear()
        else:
            self._scripts.pop(provider, None)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> Address:
        """Listen; port 0 takes a free one. A stopped simulator may start again, also where it was before.

        Raises:
            OSError: the address cannot be had.
        """
        if self._listener is not None:
            raise RuntimeError(f"the simulator already listens on {self.url}")
        server = CountingServer(self._serve, self._count_connections)
        self._listener = await asyncio.get_running_loop().create_server(server, host, port)
        self._server = server
        bound = self._listener.sockets[0].getsockname()
        self._address = Address(bound[0], bound[1])
        return self._address

    async def stop(self, *, deadline_s: float = 2.0) -> None:
        """Close the address and every connection at once, as a provider that goes down; harmless when not running.

        After `deadline_s` seconds connections that still resist are left to aiohttp, which cancels them.
        """
        listener, server = self._listener, self._server
        self._listener = self._server = self._address = None
        if listener is None or server is None:
            return
        listener.close()
        server.pre_shutdown()
        live = tuple(self._live)
        tasks = [exchange.request.task for exchange in live]
        for exchange in live:
            exchange.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=deadline_s)
        await server.shutdown(deadline_s)

    async def wait_for(self, predicate: Callable[[Simulator], bool], *, deadline_s: float = 30.0) -> None:
        """Return as soon as the predicate holds; it is asked again whenever a counter or the record has changed.

        Raises:
            TimeoutError: it did not hold within the deadline.
        """
        try:
            async with asyncio.timeout(deadline_s):
                while not predicate(self):
                    await self._changed.wait()
        except TimeoutError as error:
            raise TimeoutError(
                f"what was waited for did not happen within {deadline_s} s: {self!r}"
            ) from error

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, whatever becomes of it: every way out passes the counters."""
        self._numbers += 1
        place = route(request.path, request.headers)
        exchange = Exchange(
            request,
            dialect=place.dialect,
            provider=place.provider,
            number=self._numbers,
            count_streams=self._count_streams,
        )
        self._live.add(exchange)
        self.counters.open_requests += 1
        self._notify()
        try:
            response = await self._answer(exchange, place, self._numbers)
        except (asyncio.CancelledError, ConnectionError) as error:
            if exchange.is_cut:
                self.counters.cut_by_simulator += 1
            else:
                self.counters.cut_by_client += 1
            if isinstance(error, ConnectionError):
                # A write met the closed connection before its cancellation did; aiohttp would log it as our fault.
                await until_gone()
            raise
        else:
            self.counters.answered += 1
            return response
        finally:
            self.counters.open_requests -= 1
            self._live.discard(exchange)
            self._notify()

    async def _answer(self, exchange: Exchange, place: Route, number: int) -> web.StreamResponse:
        request = exchange.request
        try:
            body = await _read(request)
            self._remember(place, request, body, number)
            behaviour = self._behaviour_towards(request, place.provider)
            await pause(behaviour.delay_ms)
            self._check_key(place.dialect.key_in(request.headers), behaviour)
            status = behaviour.failure(self._random.random())
            if status is not None:
                return await exchange.send_error(
                    status, f"Simulated failure with status {status}.", behaviour
                )
            if behaviour.garbage is not None and behaviour.garbage is not Garbage.STREAM:
                return await exchange.send_garbage(behaviour.garbage, behaviour)
            check(place, request.method)
            if place.operation is Operation.LIST_MODELS:
                return await exchange.send_json(place.dialect.models(self._models), behaviour)
            prompt = place.dialect.read_prompt(body)
        except RequestError as error:
            return await exchange.send_error(error.status, str(error), WELL_BEHAVED, param=error.param)
        answer = compose(prompt, behaviour)
        call = Call(number=number, created_s=int(time.time()), prompt=prompt, answer=answer)
        if prompt.is_stream:
            return await exchange.send_stream(place.dialect.events(call), behaviour)
        return await exchange.send_json(place.dialect.completion(call), behaviour)

    def _behaviour_towards(self, request: web.BaseRequest, provider: str) -> Behaviour:
        defaults = self._next_behaviour(provider)
        try:
            return from_headers(request.headers, defaults, provider=provider)
        except BehaviourError as error:
            raise RequestError(str(error)) from error

    def _next_behaviour(self, provider: str) -> Behaviour:
        script = self._scripts.get(provider)
        if script is None:
            return self._behaviour
        return script.popleft() if len(script) > 1 else script[0]

    def _check_key(self, key: str | None, behaviour: Behaviour) -> None:
        if key is None and (self._is_key_required or behaviour.accepted_keys is not None):
            raise RequestError("The request has no provider key.", status=401)
        if behaviour.accepted_keys is not None and key not in behaviour.accepted_keys:
            raise RequestError("The provider key is not accepted.", status=401)

    def _remember(self, place: Route, request: web.BaseRequest, body: bytes, number: int) -> None:
        self.counters.received += 1
        self._requests.append(
            ReceivedRequest(
                number=number,
                provider=place.provider,
                method=request.method,
                path=request.path,
                headers=request.headers,
                body=body,
            )
        )
        self._notify()

    def _count_connections(self, change: int) -> None:
        self.counters.open_connections += change
        self._notify()

    def _count_streams(self, change: int) -> None:
        self.counters.open_streams += change
        self._notify()

    def _notify(self) -> None:
        # An event per change in place of a Condition: connections come and go in callbacks, which cannot await its
        # lock, and on one loop there is nothing to lock.
        self._changed.set()
        self._changed = asyncio.Event()


async def _read(request: web.BaseRequest) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise RequestError(f"The request is longer than {REQUEST_BYTES_MAX} bytes.", status=413) from error
    except web.RequestPayloadError as error:
        raise RequestError(f"The body cannot be read: {error}", status=400) from error

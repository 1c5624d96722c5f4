"""What the server that faces the application takes from aiohttp beyond its documentation, name by name.

When an upgrade of aiohttp breaks one of these, the message says which part of `tidegate_sidecar.downstream` stood on it.
"""

# ruff: noqa: TID251 - it is about that server

from __future__ import annotations

import ast
import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import (
    HttpProcessingError,
    HttpRequestParser,
    HttpVersion10,
    HttpVersion11,
    RawRequestMessage,
)
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler
from downstream_site.wireless import Transport

from tidegate_sidecar import downstream
from tidegate_sidecar.downstream.connection import AppConnection
from tidegate_sidecar.downstream.request import NO_METHOD, AppRequest, Written

POST = b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi"
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
OF_CONNECTIONS = {"_messages", "_parser"}
OF_REQUESTS = {"_finish", "_cancel", "_task"}


class Slim:
    """A request that notes what is done to it."""

    def __init__(self, *given: Any) -> None:
        self.given = given
        self.method = given[0].method
        self.done: list[str] = []

    def _finish(self) -> None:
        self.done.append("finish")

    def _cancel(self, _: BaseException) -> None:
        self.done.append("cancel")

    def __setattr__(self, name: str, value: object) -> None:
        if name == "_task":
            self.done.append(f"task = {value}")
        super().__setattr__(name, value)

    async def prepare(self, request: object) -> None:
        assert request is self
        self.done.append("prepare")

    async def write_eof(self) -> None:
        self.done.append("write_eof")

    @property
    def keep_alive(self) -> bool:
        self.done.append("keep_alive")
        return True


class Stock:
    """aiohttp's own connection, with a handler that answers by the request itself."""

    def __init__(self) -> None:
        self.requests: list[Slim] = []
        self.errors: list[tuple[Any, ...]] = []
        self.waits = False
        server = web.Server(self.handle, request_factory=Slim, handler_cancellation=True, access_log=None)  # type: ignore[arg-type]
        stock = self

        class Connection(RequestHandler):
            def handle_error(self, request: Any, *more: Any) -> Any:
                stock.errors.append((request, *more))
                return request

        self.connection = Connection(server, loop=asyncio.get_running_loop())
        self.transport = Transport(self.connection)
        self.connection.connection_made(self.transport)

    async def handle(self, request: Any) -> Any:
        self.requests.append(request)
        if self.waits:
            await asyncio.get_running_loop().create_future()
        return request

    async def turns(self) -> None:
        for _ in range(8):
            await asyncio.sleep(0)

    async def end(self) -> None:
        self.transport.close()
        await self.turns()


async def test_messages_are_queued_as_they_are_read() -> None:
    stock = Stock()
    await stock.turns()
    queue = stock.connection._messages
    stock.connection.data_received(POST + GET)
    assert len(queue) == 2, "RequestHandler._messages no longer has what data_received read"
    for (message, content), wanted in zip(queue, ("POST", "GET"), strict=True):
        assert isinstance(message, RawRequestMessage), "what is queued is no RawRequestMessage"
        assert (message.method, content.is_eof()) == (wanted, True)
    await stock.turns()
    assert not queue
    assert stock.connection._messages is queue
    await stock.end()


async def test_an_error_is_queued_in_the_place_of_a_request() -> None:
    stock = Stock()
    await stock.turns()
    stock.connection.data_received(b"hello\r\n\r\n")
    message, content = stock.connection._messages[-1]
    assert not isinstance(message, RawRequestMessage), "AppConnection cannot tell errors from requests"
    assert isinstance(message.exc, HttpProcessingError), "AppConnection cannot tell what is wrong"
    assert content.is_eof()
    await stock.turns()
    (request, status, error, _) = stock.errors[0]
    assert (status, error) == (400, message.exc), "handle_error is not told what is wrong"
    assert request.method == NO_METHOD, "the request that stands for an error cannot be told from a real one"
    await stock.end()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", False),
        (b"\r\n", False),
        (GET, False),
        (POST, False),
        (POST + b"\r\n", False),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False),
        (b"G", True),
        (GET[:-1], True),
        (GET + b"G", True),
        (POST + POST[:-8], True),
        (POST[:40], True),
    ],
)
async def test_the_parser_tells_whether_a_head_has_begun(data: bytes, *, expected: bool) -> None:
    stock = Stock()
    await stock.turns()
    stock.connection.data_received(data)
    parser = stock.connection._parser
    assert parser is not None, (
        "RequestHandler._parser is gone; heads that never end cannot be told from idle connections"
    )
    try:
        has_begun = parser.feed_eof() is not None
    except HttpProcessingError:
        has_begun = True
    assert has_begun is expected, "feed_eof() no longer tells whether a head has begun"
    await stock.end()


async def test_the_factory_is_given_the_five_that_a_request_takes() -> None:
    stock = Stock()
    await stock.turns()
    stock.connection.data_received(POST)
    await stock.turns()
    message, content, connection, _, _ = stock.requests[0].given
    assert (message.method, message.path, message.should_close, message.chunked) == (
        "POST",
        "/x",
        False,
        False,
    )
    assert message.raw_headers == ((b"Host", b"localhost"), (b"Content-Length", b"2"))
    assert message.headers.getall("host") == ["localhost"]
    assert message.version is HttpVersion11, "AppRequest would take every request for one of another version"
    assert isinstance(content, StreamReader)
    assert connection is stock.connection
    await stock.end()


async def test_a_request_of_the_older_version_has_its_constant() -> None:
    stock = Stock()
    await stock.turns()
    stock.connection.data_received(b"GET / HTTP/1.0\r\n\r\n")
    await stock.turns()
    assert stock.requests[0].given[0].version is HttpVersion10, (
        "AppRequest would refuse every request of HTTP/1.0"
    )
    await stock.end()


async def test_a_request_is_finished_before_its_answer_is_asked_what_it_says() -> None:
    """`_finish` is where a connection learns that its call is over; `prepare` is where an answer learns that it is the last."""
    stock = Stock()
    await stock.turns()
    stock.connection.data_received(POST)
    await stock.turns()
    assert stock.requests[0].done == ["finish", "prepare", "write_eof", "keep_alive", "task = None"]
    await stock.end()


async def test_a_request_is_cancelled_when_its_connection_is_lost() -> None:
    stock = Stock()
    stock.waits = True
    await stock.turns()
    stock.connection.data_received(POST)
    await stock.turns()
    await stock.end()
    assert stock.requests[0].done == ["cancel", "task = None"]


async def test_a_call_that_was_not_begun_is_never_begun_once_its_connection_is_lost() -> None:
    """`AppConnection` writes it down then; if aiohttp began it all the same, there would be two records."""
    for turns in range(4):
        stock = Stock()
        await stock.turns()
        stock.connection.data_received(POST)
        for _ in range(turns):
            await asyncio.sleep(0)
        begun = len(stock.requests)
        stock.connection.connection_lost(None)
        await stock.turns()
        assert len(stock.requests) == begun


async def test_a_body_holds_the_application_back_by_the_names_that_are_extended() -> None:
    """`AppConnection.resume_reading` passes on what ends a hold, and nothing else: a hold by another name would never end."""
    said: list[str] = []

    class Connection(RequestHandler):
        def pause_reading(self) -> None:
            said.append("pause")
            super().pause_reading()

        def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT002
            said.append("resume")
            super().resume_reading(resume_parser)

    stock = Stock()
    stock.waits = True
    connection = Connection(
        web.Server(stock.handle, request_factory=Slim, handler_cancellation=True),  # type: ignore[arg-type]
        loop=asyncio.get_running_loop(),
        read_bufsize=1_000,
        auto_decompress=False,
    )
    transport = Transport(connection)
    connection.connection_made(transport)
    connection.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n" + b"x" * 1_999)
    await stock.turns()
    content = stock.requests[0].given[1]
    assert said == []
    connection.data_received(b"x" * 2_000)
    assert said == ["pause"]
    assert len(content.read_nowait()) == 3_999
    assert said == ["pause", "resume"]
    transport.close()
    await stock.end()


def test_the_parser_is_that_of_llhttp() -> None:
    assert HttpRequestParser.__module__ == "aiohttp._http_parser", "aiohttp was built without its extensions"
    assert EMPTY_PAYLOAD.is_eof()


def test_methods_that_are_extended_are_still_called_what_they_are_called() -> None:
    for name in ("handle_error", "log_exception", "force_close", "close", "pause_reading", "pause_writing"):
        assert callable(getattr(RequestHandler, name)), f"RequestHandler.{name} is gone"
    assert list(inspect.signature(RequestHandler.handle_error).parameters) == [
        "self", "request", "status", "exc", "message",
    ]  # fmt: skip
    for name in ("connections", "pre_shutdown", "shutdown", "connection_made", "connection_lost"):
        assert hasattr(web.Server, name), f"web.Server.{name} is gone"
    assert {"keepalive_timeout", "max_line_size", "max_field_size", "max_headers", "read_bufsize"} <= set(
        inspect.signature(RequestHandler).parameters
    )


def test_no_other_private_name_is_used() -> None:
    """Five, which is what `connection.py` says."""
    theirs = {name for it in (RequestHandler, BaseProtocol, web.Server) for name in _private(it)}
    used = set()
    for path in Path(downstream.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in theirs:
                used.add(node.attr)
    assert used == OF_CONNECTIONS
    assert {name for name in _private(AppRequest) if hasattr(web.BaseRequest, name)} <= OF_REQUESTS
    assert len(OF_CONNECTIONS | OF_REQUESTS) == 5


def test_nothing_of_ours_hides_something_of_aiohttps() -> None:
    theirs = _private(RequestHandler) | _private(BaseProtocol)
    assert not set(AppConnection.__slots__) & theirs
    assert all(hasattr(Written, name) for name in ("prepare", "write_eof"))


def _private(it: type) -> set[str]:
    slots = {name for base in it.__mro__ for name in getattr(base, "__slots__", ())}
    assigned = set(inspect.getsource(it).replace(".", " ").split()) if it is web.Server else set()
    return {
        name for name in {*dir(it), *slots, *assigned} if name.startswith("_") and not name.startswith("__")
    }
